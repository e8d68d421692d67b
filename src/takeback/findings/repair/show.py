"""Repairs for people: the frontier of kept and restored, the best of each way, what beats one strength."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from takeback.draw.columns import Column, ends_of, table_of
from takeback.draw.frontier import Bargain, Lot, frontier
from takeback.draw.numbers import at_most, count, estimate, listing, number, percent, share
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.findings.repair.remedies import INTERPOLATION, RANDOM, SETS, WAYS
from takeback.findings.repair.repair import SIDES, Repaired
from takeback.run.tables import records

LEAST = 0.01
"""The share of the damage that a remedy must restore beyond one strength, for sure, to be said to beat it."""

_NOTES = (
    "Remedies are chosen on one half of the situations and told on the other half. Shares: of the gain, 100% "
    "is tuned and 0% base; of the damage, 0% is tuned and 100% base.",
    "Beyond one strength: the share restored, less what one strength for all weights restores where it keeps "
    "as much (the best of its line); the interval is paired by situation, and knows that the place on the "
    "line is estimated. It is not corrected for the number of ways; a lower end below 1% does not count.",
    "Random sets have as many components of each kind as the best small set or the best layers, from the "
    "same source; p counts those at least as far beyond one strength.",
)

Row = Mapping[str, Any]


@section_of.register
def _(found: Repaired) -> Section:
    """Draw the frontier, and tell the best of each way."""
    label = f"{found.restore} restored against {found.keep} kept, by the way a hybrid is made"
    return Section(
        title=f"Repair: keep {found.keep}, restore {found.restore}",
        words=tuple(sentences(found)),
        figures=(Figure.of("What is kept against what is restored", _frontier(found, label)),),
        tables=(_best(found),),
        folded=(("Every remedy that was judged", _every(found)), ("What the ways are", _ways())),
        notes=_NOTES,
    )


def sentences(found: Repaired) -> Iterator[str]:
    """Say what the best small set is and does, whether anything beats one strength, and what was chosen."""
    ends = {row["way"]: row for row in _rows(found) if row["way"] in SIDES}
    yield (
        f"Where hybrids are judged, {found.keep} is {_level(ends['base'], 'keep')} in base and "
        f"{_level(ends['tuned'], 'keep')} in tuned; {found.restore} is {_level(ends['base'], 'restore')} and "
        f"{_level(ends['tuned'], 'restore')}."
    )
    if (best := found.best(SETS)) is not None:
        yield _of_set(found, best)
    yield from (_of_random(row) for row in _rows(found) if row["best"] and row["controls"])
    yield from _against_one_strength(found)
    yield _chosen(found)


def _rows(found: Repaired) -> list[dict[str, Any]]:
    return records(found.table)


def _level(row: Row, of: str) -> str:
    return estimate(row[f"{of}_value"], row[f"{of}_low"], row[f"{of}_high"])


def _share(row: Row, name: str) -> str:
    return share(row[name], *ends_of(row, name))


def _of_set(found: Repaired, best: Row) -> str:
    kept = "stays within the margin"
    if best["kept_low"] is None or best["kept_low"] < 1 - found.margin:
        kept = "may be beyond the margin"
    if best["kept_high"] is not None and best["kept_high"] < 1 - found.margin:
        kept = "is beyond the margin"
    return (
        f"The best small set, {best['name']} ({count(best['n_components'], 'component')}, "
        f"{percent(best['parameters'])} of the parameters), keeps {_share(best, 'kept')} of the gain and "
        f"restores {_share(best, 'restored')} of the damage. It {kept} of {percent(found.margin)}."
    )


def _of_random(row: Row) -> str:
    return (
        f"{count(row['controls'], 'random set')} like {_named(row)} keep {percent(row['controls_kept'])} and "
        f"restore {percent(row['controls_restored'])} (means; p {number(row['p'], 2)} by how far they are "
        "beyond one strength)."
    )


def beats(row: Row) -> bool:
    """Tell whether a remedy restores more than one strength that keeps as much, by more than a hair."""
    return row["above_low"] is not None and row["above_low"] > LEAST


def _against_one_strength(found: Repaired) -> Iterator[str]:
    others = [row for row in _rows(found) if row["best"] and row["way"] not in (INTERPOLATION, RANDOM)]
    better = [row for row in others if beats(row)]
    none = [way for way in WAYS if way != RANDOM and found.best(way) is None]
    if none:
        yield f"Nothing restores anything within the margin by {listing(none)}."
    for row in better:
        yield (
            f"Beyond one strength for all weights that keeps as much, {_named(row)} restores "
            f"{_share(row, 'above')} more of the damage."
        )
    if not better:
        sizes = "; ".join(
            f"{_named(row)} {_share(row, 'above')}, "
            f"{at_most(None if row['above_high'] is None else max(row['above_high'], 0.0), write=percent)}"
            for row in others
        )
        yield f"Nothing beats one strength for all weights here{f': beyond it, {sizes}' if sizes else ''}."


def _named(row: Row) -> str:
    return f"{row['way']} {row['name']}"


def _chosen(found: Repaired) -> str:
    row = next((row for row in _rows(found) if row["chosen"]), None)
    if row is None:
        return (
            f"Nothing restores anything within a margin of {percent(found.margin)}, so no hybrid is chosen."
        )
    return (
        f"Chosen, as it restores most within the margin where hybrids are chosen: {_named(row)}. It keeps "
        f"{_share(row, 'kept')} of the gain and restores {_share(row, 'restored')} of the damage."
    )


def _frontier(found: Repaired, label: str) -> str:
    rows = _rows(found)
    ends = {row["way"]: _bargain(row) for row in rows if row["way"] in SIDES}
    lots: list[Lot] = []
    for place, way in enumerate(WAYS):
        some = [row for row in rows if row["way"] == way]
        bargains = [_bargain(row) for row in some]
        if way == INTERPOLATION:
            bargains = [ends["tuned"], *bargains, ends["base"]]
        lots.append(Lot(way, -1 if way == RANDOM else place, tuple(bargains), way == INTERPOLATION))
    chosen = next((_bargain(row) for row in rows if row["chosen"]), None)
    names = (f"share of the gain kept ({found.keep})", f"share of the damage restored ({found.restore})")
    return frontier(lots, names, 1 - found.margin, chosen, label)


def _bargain(row: Row) -> Bargain:
    title = f"{_named(row)}: keeps {_share(row, 'kept')}, restores {_share(row, 'restored')}"
    if not row["best"]:
        return Bargain(row["kept"], row["restored"], title)
    return Bargain(row["kept"], row["restored"], title, ends_of(row, "kept"), ends_of(row, "restored"))


def _best(found: Repaired) -> Table:
    rows = [row for row in _rows(found) if row["best"]]
    return table_of(
        rows,
        Column("way"),
        Column("best of it", None, "name"),
        Column("keeps", share, "kept", "kept_low", "kept_high"),
        Column("restores", share, "restored", "restored_low", "restored_high"),
        Column("beyond one strength", share, "above", "above_low", "above_high"),
        Column("random sets restore", percent, "controls_restored"),
        Column("p", number, "p"),
    )


def _every(found: Repaired) -> Table:
    return table_of(
        found.table,
        Column("way"),
        Column("name"),
        Column("kept, chosen by", percent, "chosen_kept"),
        Column("restored, chosen by", percent, "chosen_restored"),
        Column("keeps", share, "kept", "kept_low", "kept_high"),
        Column("restores", share, "restored", "restored_low", "restored_high"),
        Column("beyond one strength", share, "above", "above_low", "above_high"),
        Column(found.keep, number, "keep_value"),
        Column(found.restore, number, "restore_value"),
    )


def _ways() -> Table:
    return table_of(
        pd.DataFrame({"way": list(WAYS), "what it is": list(WAYS.values())}),
        Column("way"),
        Column("what it is"),
    )
