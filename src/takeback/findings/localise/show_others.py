"""Other sources for people: each set from each source below each other, controls as grey rings."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from takeback.draw.columns import ends_of, with_ends
from takeback.draw.forest import Dot, ForestRow, forest
from takeback.draw.numbers import interval, range_of, signed
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.findings.localise.measured import matching
from takeback.findings.localise.others import MATCHED, ZEROS, OtherSources
from takeback.findings.sweep.sets import CONTROLS
from takeback.measure.read import BASE
from takeback.run.tables import records

_NOTE = (
    "Lines are 95% intervals over situations; zeros, which leave little of a model, are in the table alone. "
    "Grey: controls. Noise and the permuted change are as large as "
    "Δ in each component's part of each tensor; grey bars are random sets from base that match the set."
)


@section_of.register
def _(found: OtherSources) -> Section:
    """Draw the effects of each set from each source."""
    figures = tuple(
        _figure(found, str(measure), rows) for measure, rows in found.table.groupby("measure", sort=False)
    )
    return Section(
        "Other sources", tuple(_sentences(found)), figures, (_effects(found.table),), notes=(_NOTE,)
    )


def _sentences(found: OtherSources) -> Iterator[str]:
    table = found.table
    for measure, rows in table[table["kind"].isin(MATCHED)].groupby("measure", sort=False):
        apart = rows[(rows["beside_low"] > 0) | (rows["beside_high"] < 0)]
        yield (
            f"{measure}: {len(apart)} of {len(rows)} controls as large as Δ differ from base by more than "
            "their interval (not corrected for their number)."
        )


def _figure(found: OtherSources, measure: str, table: pd.DataFrame) -> Figure:
    table = table[table["kind"] != ZEROS]
    real, random = table[~table["family"].isin(CONTROLS)], table[table["family"].isin(CONTROLS)]
    rows: list[ForestRow] = []
    for name, of_set in real.groupby("set", sort=False):
        rows.append(ForestRow(str(name)))
        controls = matching(random, str(name))["effect"].dropna()
        for kind, group in of_set.groupby("kind", sort=False):
            dots = tuple(
                Dot(
                    row["effect"],
                    *ends_of(row, "effect"),
                    f"{row['source']}: {with_ends(row, 'effect', signed)}",
                )
                for row in records(group)
                if row["effect"] is not None
            )
            beside = tuple(controls) if kind == BASE else ()
            title = f"{len(beside)} random sets from base"
            rows.append(ForestRow(str(kind), dots, beside, title, control=kind in MATCHED))
    title = f"{measure}: change from tuned"
    return Figure.of(title, forest(rows, 0, "change from tuned", found.gains[measure], title))


def _effects(table: pd.DataFrame) -> Table:
    """Return a row for each set and kind of source; several seeds of one are told by their mean and range."""
    head = ("set", "measure", "source", "effect", "95% interval", "beside base", "95% interval ")
    rows: list[tuple[str, ...]] = []
    groups = table[~table["family"].isin(CONTROLS)].groupby(["set", "measure", "kind"], sort=False)
    for (name, measure, kind), group in groups:
        first, several = records(group)[0], len(group) > 1
        keys = (str(name), str(measure), f"{kind} × {len(group)}" if several else str(first["source"]))
        rows.append((*keys, *_told(group, "effect"), *_told(group, "beside")))
    return Table(head, tuple(rows), ("set", "measure", "source"))


def _told(group: pd.DataFrame, name: str) -> tuple[str, str]:
    values = group[name].dropna()
    if len(group) > 1 and len(values):
        return signed(float(values.mean())), range_of(values)
    row = records(group)[0]
    return signed(row[name]), interval(*ends_of(row, name))
