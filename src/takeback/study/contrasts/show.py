"""Contrasts for people: components by contrasts beside the noise floor, then what was found, in tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from takeback.component import Component
from takeback.draw.columns import Column, table_of
from takeback.draw.grid import grid
from takeback.draw.heatmap import Cell, Ends, limit_of
from takeback.draw.numbers import ABSENT, at_most, estimate, number, signed
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.run.tables import records
from takeback.study.contrasts.contrasts import Contrasts
from takeback.study.contrasts.factors import factors, sentences
from takeback.study.contrasts.quantities import SHOWN, WEIGHTS
from takeback.study.contrasts.reach import LEVEL
from takeback.study.contrasts.together import OTHERS, WHOLE_MODELS

FLOOR, RANDOM = "floor", "random"
_WORDS_SHOWN = 8
_ROWS = 30

Row = dict[str, Any]

_ESTIMATE = Column("estimate", estimate, "estimate", "low", "high", write=signed)
_CARRIES = Column("carries the gain", lambda carries: "yes" if carries else "no", "carries", words=True)


@section_of.register
def _(found: Contrasts) -> Section:
    """Draw the main measures, then the tables."""
    words = list(found.words[:_WORDS_SHOWN])
    if more := len(found.words) - len(words):
        words.append(f"and {more} more notes, all of them in contrasts.html")
    outstanding = _components(found, _ROWS)
    listed = (factors(found), *_verdicts(found), *([outstanding] if outstanding.rows else []))
    return Section(
        "What the arms differ in",
        sentences(found),
        tuple(_figures(found)),
        (factors(found), *_carriers(found)),
        folded=(
            ("Components that stand out, measure by measure", _components(found)),
            ("Whole models", _whole(found)),
            ("Other measures of whole models", _whole(found, others=True)),
        ),
        notes=(
            *found.words,
            "Intervals are over training runs and situations where what each situation adds was kept, else "
            "over training runs in these situations alone; p is over training runs in these situations. A "
            "frame marks a component whose p over all of its table (contrasts, measures, components) is at "
            f"most {LEVEL}. What is not told from chance stands with the largest size that its 95% interval "
            f"does not rule out, and the smallest that 80% of such studies would see. The column {FLOOR} is "
            "the standard error that an estimate has from differences between seeds of an arm alone, the "
            f"largest of the contrasts; {RANDOM} is what the smallest random sets do. Intervals are not "
            "corrected for the number of rows.",
        ),
        terminal=(*sentences(found), *words, *listed),
    )


def _numbered(found: Contrasts) -> str:
    """Say which contrast a column's number stands for."""
    return ", ".join(f"{place} {name}" for place, name in enumerate(found.weights, 1))


def _figures(found: Contrasts) -> Iterator[Figure]:
    for source, measure in SHOWN:
        table = found.contrasts
        mine = table[(table["source"] == source) & (table["measure"] == measure) & (table["component"] != "")]
        if len(mine):
            title = f"{measure}, by component" if source == WEIGHTS else f"{source}: {measure}"
            yield Figure.of(title, _picture(found, records(mine), title), _numbered(found))


def _picture(found: Contrasts, rows: list[Row], title: str) -> str:
    columns = {name: str(place) for place, name in enumerate(found.weights, 1)}
    cells: dict[tuple[str, str], Cell] = {}
    marked: list[tuple[str, str]] = []
    for row in rows:
        key = row["component"], columns[row["contrast"]]
        words = f"{row['contrast']}, {row['component']}: {_estimate(row)}, p {number(row['p_table'], 4)}"
        if stands_out := row["p_table"] <= LEVEL:
            marked.append(key)
        cells[key] = Cell(row["estimate"], words if stands_out else f"{words}, {_null(row)}")
    for name in (FLOOR, RANDOM):
        cells |= {key: cell for key, cell in _floor(rows, name) if cell.value is not None}
    names = [*columns.values(), *dict.fromkeys(column for _, column in cells if column in (FLOOR, RANDOM))]
    limit = limit_of(cell.value for cell in cells.values())
    ends = Ends(limit, signed(limit), signed(-limit))
    groups = _layers({row["component"] for row in rows})
    return grid(groups, names, cells, ends, marked, title)


def _floor(rows: list[Row], name: str) -> Iterator[tuple[tuple[str, str], Cell]]:
    column = "floor" if name == FLOOR else "random_sets"
    for component in {row["component"] for row in rows}:
        known = [row[column] for row in rows if row["component"] == component and row[column] is not None]
        value = max(known, default=None)
        yield (component, name), Cell(value, f"{component}: {name} {number(value)}")


def _layers(components: set[str]) -> Mapping[str, list[str]]:
    """Group components by layer, in canonical order."""
    groups: dict[str, list[str]] = {}
    for one in sorted((Component.parse(name) for name in components), key=Component.place):
        heading = "outside the layers" if one.layer is None else f"layer {one.layer}"
        groups.setdefault(heading, []).append(str(one))
    return groups


def _components(found: Contrasts, most: int | None = None) -> Table:
    """List what stands out from chance over the whole family, most certain first."""
    table = found.contrasts
    some = table[(table["p_table"] <= LEVEL) & (table["component"] != "")]
    order = {key: place for place, key in enumerate(SHOWN)}
    rows = [row for row in records(some) if (row["source"], row["measure"]) in order]
    rows.sort(key=lambda row: (order[row["source"], row["measure"]], row["contrast"], -abs(row["estimate"])))
    told = table_of(
        rows[:most],
        Column("contrast"),
        Column("component"),
        Column("measure"),
        _ESTIMATE,
        Column("p, whole table", number, "p_table", digits=4),
        Column("floor", number),
        Column("seeds", str, "n"),
    )
    if most is None or len(rows) <= most:
        return told
    return replace(told, rows=(*told.rows, (f"and {len(rows) - most} more", *[""] * 6)))


def _whole(found: Contrasts, others: bool = False) -> Table:
    """List the whole model's measures: those that runs are compared on, or the others."""
    table = found.contrasts
    rows = records(
        table[(table["component"] == "") & (table["table"] == (OTHERS if others else WHOLE_MODELS))]
    )
    return table_of(
        rows,
        Column("contrast"),
        Column("measure"),
        _ESTIMATE,
        Column("over", _over, "situations", words=True),
        Column("p", number, digits=4),
        Column("p, whole table", number, "p_table", digits=4),
        Column("smallest", number, "smallest_p_table", digits=4),
        Column("no larger than", _size, "bound"),
        Column("80% power for", _size, "detectable"),
        Column("floor", number),
        Column("seeds", str, "n"),
    )


def _over(situations: float | None) -> str:
    return "runs" if situations is None else "runs, situations"


def _size(value: float | None) -> str:
    return ABSENT if value is None else number(value)


def _null(row: Row) -> str:
    return at_most(row["bound"], row["detectable"], power=True)


def _carriers(found: Contrasts) -> list[Table]:
    """List every component with each condition of the rule."""
    rows = records(found.carriers)
    if not rows:
        return []
    conditions = [name for name in rows[0] if f"p: {name}" in rows[0]]
    told = (Column(name, _with_p, name, f"p: {name}") for name in conditions)
    return [table_of(rows, Column("component"), _CARRIES, *told)]


def _with_p(value: float | None, p: float | None) -> str:
    return f"{signed(value)} (p {number(p)})"


def _verdicts(found: Contrasts) -> list[Table]:
    """List every component with how many conditions of the rule hold, those of most first."""
    rows = records(found.carriers)
    if not rows:
        return []
    of = sum(f"p: {name}" in rows[0] for name in rows[0])
    counted = [{**row, "held": of - len(list(filter(None, row["failed"].split("; "))))} for row in rows]
    counted.sort(key=lambda row: -row["held"])
    held = Column("conditions that hold", f"{{}} of {of}".format, "held")
    failed = Column("that do not", lambda failed: failed or ABSENT, "failed", words=True)
    return [table_of(counted, Column("component"), _CARRIES, held, failed)]


def _estimate(row: Row) -> str:
    return estimate(row["estimate"], row["low"], row["high"], signed)
