"""A comparison for people: a picture for each measure, tables of means, RL beside its control."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from takeback.draw.columns import Column, table_of
from takeback.draw.forest import Dot, ForestRow, forest
from takeback.draw.numbers import ABSENT, estimate, number, signed
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.run.tables import records
from takeback.study.comparison.comparison import Comparison
from takeback.study.comparison.measures import MEASURES


def _limits(bound: float | None, detectable: float | None) -> str:
    return f"{number(bound)} ({number(detectable)})"


_LIMITS = (Column("at most (80% power)", _limits, "bound", "detectable"),)


@section_of.register
def _(found: Comparison) -> Section:
    """Draw each measure, then the tables."""
    return Section(
        "The same measures side by side",
        _words(found),
        tuple(_figures(found)),
        (*_means(found), _contrasts(found), *_planned(found)),
        notes=(
            "Thick dots are means over training runs with 95% intervals (Student's t); grey lines are single "
            "training runs. Between seeds the grey lines are jackknife values of pairs. A difference's p is "
            "exact over all ways to deal its training runs out to two arms; p of the whole table is right "
            "for all its rows. What is no larger than so much is what the 95% interval rules out, and 80% "
            "power is for the smallest difference that four of five such comparisons would see.",
        ),
    )


def _words(found: Comparison) -> tuple[str, ...]:
    runs = records(found.means.drop_duplicates(["run", "arm"]))
    sizes = {row["run"]: (row["parameters"], row["components"]) for row in runs}
    told = [
        f"{run}: {parameters:,} parameters in {components} components"
        for run, (parameters, components) in sizes.items()
    ]
    return ("; ".join(told) + ".",)


def _figures(found: Comparison) -> Iterator[Figure]:
    for name, (meaning, _) in MEASURES.items():
        rows = [row for row in records(found.means) if row["measure"] == name]
        if rows:
            drawn = [_row(found, row, name) for row in rows]
            yield Figure.of(name, forest(drawn, 0, name, None, f"{name} of every arm"), f"{meaning}.")


def _row(found: Comparison, row: dict[str, Any], name: str) -> ForestRow:
    table = found.values
    mine = table[(table["run"] == row["run"]) & (table["arm"] == row["arm"]) & (table["measure"] == name)]
    title = f"{row['run']}, {row['arm']}: {_cell(row)}"
    dot = Dot(row["value"], row["low"], row["high"], title)
    return ForestRow(f"{row['run']} {row['arm']}", (dot,), tuple(mine["value"].tolist()), "training runs")


def _means(found: Comparison) -> list[Table]:
    rows = records(found.means)
    arms = list(dict.fromkeys((row["run"], row["arm"]) for row in rows))
    cells = {(row["run"], row["arm"], row["measure"]): row for row in rows}
    tables: list[Table] = []
    for run in dict.fromkeys(run for run, _ in arms):
        mine = [arm for name, arm in arms if name == run]
        body = [
            (measure, *(_cell(cells.get((run, arm, measure))) for arm in mine))
            for measure in MEASURES
            if any((run, arm, measure) in cells for arm in mine)
        ]
        tables.append(Table((run, *mine), tuple(body), (run,)))
    return tables


def _cell(row: dict[str, Any] | None) -> str:
    return ABSENT if row is None else estimate(row["value"], row["low"], row["high"])


def _contrasts(found: Comparison) -> Table:
    return table_of(
        found.contrasts,
        Column("run"),
        Column("RL − its control", "{} − {}".format, "one", "other", words=True),
        Column("measure"),
        Column("difference", estimate, "difference", "low", "high", write=signed),
        Column("p", number, digits=4),
        Column("p, whole table", number, "p_table", digits=4),
        *_LIMITS,
        Column("seeds", str),
    )


def _planned(found: Comparison) -> list[Table]:
    """List the contrasts of whole models that plans name, those of one name together."""
    if found.planned.empty:
        return []
    told = table_of(
        found.planned,
        Column("contrast"),
        Column("measure"),
        Column("run"),
        Column("base"),
        Column("estimate", estimate, "estimate", "low", "high", write=signed),
        Column("p, whole table", number, "p_table", digits=4),
        *_LIMITS,
        Column("seeds", str, "n"),
    )
    return [told]
