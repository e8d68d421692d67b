"""Repair: sets whose takeback undoes a damage of tuning and keeps its gain, beside what people do today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pandas as pd

from takeback.draw.result import Result, as_table
from takeback.findings.localise.shares import Controls, at_least
from takeback.findings.repair.line import Line
from takeback.findings.repair.remedies import LAYERS, RANDOM, SETS, WAYS, Remedy, of_today
from takeback.findings.repair.search import Hunt, Repairing, find_sets, reads_singles
from takeback.findings.repair.trade import Trade, Traded
from takeback.findings.sweep.run import squared_norms
from takeback.findings.sweep.sets import NamedSet
from takeback.measure.read import Ask
from takeback.run.stats import Estimate
from takeback.run.tables import records
from takeback.weights import diff

COLUMNS: Mapping[str, str] = {
    "way": "how it was made: " + "; ".join(f"{way}: {words}" for way, words in WAYS.items()),
    "name": "what it is called",
    "components": "what is taken back",
    "source": "what it is taken back from; a degree between the two models, or a cut change, is a source",
    "n_components": "how many components",
    "parameters": "the share of all parameters that they are",
    "best": "whether it is the best of its way, by where hybrids are chosen",
    "chosen": "whether it is the best of all ways there, which is written",
    "chosen_kept": "share of the gain that it keeps where hybrids are chosen",
    "chosen_restored": "share of the damage that it restores there",
    "kept": "share of the gain that it keeps where hybrids are judged: 1 as tuned, 0 as base",
    "kept_low": "lower end of its interval",
    "kept_high": "upper end of it",
    "restored": "share of the damage that it restores there: 0 as tuned, 1 as base",
    "restored_low": "lower end of its interval",
    "restored_high": "upper end of it",
    "above": "share restored beyond that of one strength for all weights which keeps as much",
    "above_low": "lower end of its interval, paired by situation",
    "above_high": "upper end of it",
    "keep_value": "mean of the measure to keep where hybrids are judged",
    "keep_low": "lower end of its interval",
    "keep_high": "upper end of it",
    "restore_value": "mean of the measure to restore there",
    "restore_low": "lower end of its interval",
    "restore_high": "upper end of it",
    "controls": "of the best small set and the best layers: random sets that match it, from the same source",
    "controls_kept": "what these keep, mean",
    "controls_restored": "what these restore, mean",
    "p": "(1 + these that are at least as far above one strength) / (1 + these)",
}
"""What each column of the table means."""

TRIED: Mapping[str, str] = {
    name: COLUMNS[name] for name in ("way", "name", "n_components", "chosen_kept", "chosen_restored")
}
"""The columns of what was tried where hybrids are chosen."""

SIDES = ("base", "tuned")
SHOWN = 12
"""Sets of one way that are judged at most: those that no other one beats where hybrids are chosen."""

_WORDS = ("way", "name", "components", "source")
_TRUTHS = ("best", "chosen")
_INTEGERS = ("n_components", "controls")


@dataclass(frozen=True, eq=False, repr=False)
class Repaired(Result):
    """Holds every remedy that was judged: a row of `COLUMNS` for each, base and tuned among them.

    Attributes:
        table: the remedies, judged on situations that chose none of them.
        tried: everything that was tried where hybrids are chosen.
        keep: the measure to keep.
        restore: the measure to restore.
        margin: the share of the gain that may be lost.
        chosen: the hybrid to write, the best of all ways where hybrids are chosen; None where nothing
            restores anything within the margin.
    """

    name = "repair"
    table: pd.DataFrame = field(metadata=as_table("repair", COLUMNS))
    tried: pd.DataFrame = field(metadata=as_table("repair_tried"))
    keep: str
    restore: str
    margin: float
    chosen: Ask | None

    def best(self, way: str) -> Mapping[str, Any] | None:
        """Return the row of the best of a way, None where nothing of it restores within the margin."""
        rows = records(self.table[(self.table["way"] == way) & self.table["best"]])
        return rows[0] if rows else None


def repair(trade: Trade, settings: Repairing | None = None) -> Repaired:
    """Find hybrids that restore one measure and keep another within a margin, and judge them.

    On one half of the situations sets are looked for (see `find_sets`), and the best of every way is the one
    that restores most of what keeps `1 − margin` of the gain. On the other half these, the sets that no other
    one beats and random sets that match the best small set and the best layers are judged, each beside one
    strength for all weights that keeps as much.

    Raises:
        NoChange: there is no gain to keep, or no damage to undo.
        TakebackError: an answer can't be had.
    """
    settings = settings or Repairing()
    choosing, judging = trade.halves(settings.seed)
    trade.check([choosing, judging])
    today = of_today(trade.first)
    trade.read([one.ask for one in today])  # both halves at once, so that no source is made twice
    hunt = Hunt(choosing, settings)
    hunt.look(today)
    find_sets(hunt)
    best = {way: found for way in WAYS if (found := hunt.best(hunt.of_way(way))) is not None}
    chosen = max(best.values(), key=lambda one: hunt.restored(one, one.way == SETS), default=None)
    front = [one for way in (SETS, LAYERS) for one in _unbeaten(hunt, way)]
    judged = dict.fromkeys([*today, *best.values(), *front])
    random = {best[way]: _beside(trade, best[way], settings) for way in (SETS, LAYERS) if way in best}
    line = Line(judging, [one.ask for one in (*judged, *chain(*random.values()))])
    line.meet([one.ask for one in best.values()])
    marked = _Marked(hunt, frozenset(best.values()), chosen)
    others = {one: [marked.row(line, other) for other in some] for one, some in random.items()}
    rows = [
        *_ends(line, trade),
        *(_against(marked.row(line, one), others.get(one, ())) for one in judged),
        *chain(*others.values()),
    ]
    tried = [marked.tried(one) for one in hunt.tried]
    return Repaired(
        str(trade.first.pair),
        _typed(rows, COLUMNS),
        _typed(tried, TRIED),
        str(trade.keep.target),
        str(trade.restore.target),
        settings.margin,
        None if chosen is None else chosen.ask,
    )


def readings(trade: Trade, settings: Repairing) -> tuple[list[Ask], int]:
    """Return the hybrids that are read whatever comes out, and how many more there are at most."""
    anatomy = trade.first.anatomy
    asks = [*trade.keep.ends.values(), *(one.ask for one in of_today(trade.first))]
    alone = len(anatomy.universe) if any(map(reads_singles, trade.benches)) else 0
    layers = len({one.layer for one in anatomy.universe} - {None})
    judged = 2 * SHOWN + 4 * settings.controls + 4 * len(WAYS)
    return asks, alone + settings.trials(len(anatomy.universe), layers) + judged


@dataclass(frozen=True)
class _Marked:
    """Says of remedies what is known where they were chosen."""

    hunt: Hunt
    best: frozenset[Remedy]
    chosen: Remedy | None

    def row(self, line: Line, one: Remedy) -> dict[str, Any]:
        """Return the row of a remedy that was judged."""
        anatomy = line.found.trade.first.anatomy
        whole = anatomy.parameters(anatomy.universe)
        about = {
            **self.tried(one),
            "components": str(one.components),
            "source": one.ask.key[1],
            "parameters": anatomy.parameters(one.components) / whole,
            "best": one in self.best,
            "chosen": one == self.chosen,
        }
        return {**about, **_judged(line.found, one.ask), **_ends_of("above", line.above(one.ask))}

    def tried(self, one: Remedy) -> dict[str, Any]:
        """Return the row of a remedy as it was chosen by."""
        kept, restored = self.hunt.tried.get(one, (None, None))
        named = {"way": one.way, "name": one.name, "n_components": len(one.components)}
        return {**named, "chosen_kept": kept, "chosen_restored": restored}


def _unbeaten(hunt: Hunt, way: str) -> list[Remedy]:
    """Return the sets of which no other of their way keeps and restores as much where hybrids are chosen."""
    front: list[Remedy] = []
    for one in sorted(hunt.of_way(way), key=lambda one: tuple(-value for value in hunt.tried[one])):
        if not front or hunt.tried[one][1] > hunt.tried[front[-1]][1] + 1e-9:
            front.append(one)
    front = [one for one in front if hunt.tried[one][1] > 0]
    step = max(1, -(-len(front) // SHOWN))
    return front[::step]


def _beside(trade: Trade, best: Remedy, settings: Repairing) -> list[Remedy]:
    """Return random sets that match the best one of a way, taken back from the same source."""
    named = NamedSet("repair", best.name, best.components)
    norms = squared_norms(diff(trade.first.pair))
    drawn = Controls(norms, settings.controls, settings.seed).beside(trade.first.anatomy, [named])
    return [Remedy(RANDOM, one.name, Ask(one.components, best.ask.source)) for one in drawn]


def _ends(line: Line, trade: Trade) -> list[dict[str, Any]]:
    ends = trade.keep.ends
    return [
        {"way": side, "name": side, "best": False, "chosen": False, **_judged(line.found, ends[side])}
        for side in SIDES
    ]


def _judged(found: Traded, ask: Ask) -> dict[str, Any]:
    """Return what a hybrid keeps and restores, and the two measures themselves."""
    trade = found.trade
    return {
        **_ends_of("kept", found.kept(ask)),
        **_ends_of("restored", found.restored(ask)),
        **_ends_of("keep_value", trade.keep.level(found.keep, ask), "keep"),
        **_ends_of("restore_value", trade.restore.level(found.restore, ask), "restore"),
    }


def _ends_of(name: str, estimate: Estimate, before: str = "") -> dict[str, float | None]:
    stem = before or name
    return {name: estimate.value, f"{stem}_low": estimate.low, f"{stem}_high": estimate.high}


def _against(row: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a row with what random sets keep and restore, if there are any, and its p among them."""
    if not others:
        return dict(row)
    return {
        **row,
        "controls": len(others),
        "controls_kept": sum(one["kept"] for one in others) / len(others),
        "controls_restored": sum(one["restored"] for one in others) / len(others),
        "p": at_least([one["above"] for one in others], row["above"]),
    }


def _typed(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    kinds = {
        name: "boolean" if name in _TRUTHS else "Int64" if name in _INTEGERS else "Float64"
        for name in columns
        if name not in _WORDS
    }
    table = pd.DataFrame(rows, columns=list(columns)).astype(kinds)
    return table.astype({name: "string" for name in _WORDS if name in columns})
