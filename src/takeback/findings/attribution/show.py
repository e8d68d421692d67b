"""Attribution for people: maps of estimated effects beside the exact ones, and how well they agree."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from takeback.component import Component
from takeback.draw.columns import Column, table_of
from takeback.draw.heatmap import Cell, Ends, heat_map, limit_of
from takeback.draw.numbers import interval, number, signed
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.findings.attribution.attribution import METHODS, TOP, Attribution
from takeback.run.tables import records

LISTED = 10
"""How many of a measure's largest effects are listed."""

_NOTE = (
    "Effects of taking one component back from tuned (hybrid minus tuned). Intervals hold the spread over "
    "situations; how far the method itself is off shows only beside exact effects."
)


@section_of.register
def _(found: Attribution) -> Section:
    """Draw maps of each measure, estimated and exact on one scale, the largest effects, and all folded."""
    return Section(
        title="Attribution: every component at once",
        words=tuple(_sentences(found)),
        figures=tuple(
            figure for _, rows in found.table.groupby("measure", sort=False) for figure in _maps(rows)
        ),
        tables=(_listed(_largest(found)),),
        folded=(("All components", _listed(found.table)),),
        notes=(_NOTE,),
    )


def _sentences(found: Attribution) -> Iterator[str]:
    """Say how effects were estimated, and how well they agree with exact ones."""
    steps = f" in {found.steps} steps" if found.method == "path" else ""
    yield f"Method {found.method}{steps}: {METHODS[found.method]}."
    if found.exact is None:
        yield "Not compared with exact effects, from which it may differ: how far differs from pair to pair."
        return
    for row in records(found.against(found.exact)):
        yield (
            f"{row['measure']}: rank correlation with exact effects {number(row['spearman'], 2)} over "
            f"{row['components']} components, correlation {number(row['pearson'], 2)}, over situations too "
            f"{number(row['pearson_situations'], 2)}; {row['top']} of the {TOP} largest are the same."
        )


def _largest(found: Attribution) -> pd.DataFrame:
    """Return the rows of the largest estimated effects on each measure."""
    table = found.table
    order = table["effect"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].groupby("measure", sort=False).head(LISTED).sort_values("measure", kind="stable")


def _maps(rows: pd.DataFrame) -> Iterator[Figure]:
    measure = rows["measure"].iloc[0]
    columns = [name for name in ("effect", "exact") if rows[name].notna().any()]
    limit = limit_of(float(value) for name in columns for value in rows[name])
    for name in columns:
        cells = {
            Component.parse(str(component)): Cell(float(value), f"{component}: {signed(float(value), 4)}")
            for component, value in zip(rows["component"], rows[name], strict=True)
        }
        title = f"{measure}, {'estimated' if name == 'effect' else 'exact'}"
        picture = heat_map(cells, Ends(limit, signed(limit), signed(-limit)), "diverging", title)
        yield Figure.of(title, picture)


def _listed(rows: pd.DataFrame) -> Table:
    return table_of(
        rows,
        Column("measure"),
        Column("component"),
        Column("estimated", signed, "effect", digits=4),
        Column("95% over situations", interval, "low", "high", digits=4, words=True),
        Column("exact", signed, digits=4),
    )
