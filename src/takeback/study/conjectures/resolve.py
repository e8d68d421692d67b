"""Resolving a run's conjectures: each rule is decided by its tables, each author scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd

from takeback.draw.result import Result, as_table
from takeback.run.errors import TakebackError
from takeback.study.conjectures.judge import TableSource, Verdict, judge
from takeback.study.conjectures.lock import AS_LOCKED, LATE, Standing, read_lock, standings
from takeback.study.conjectures.record import RunTables, unfinished
from takeback.study.conjectures.scores import COLUMNS as OF_SCORES
from takeback.study.conjectures.scores import brier, log_score, scores

NAME: Final = "conjectures"

RESOLVED, UNRESOLVED, BROKEN = "resolved", "unresolved", "broken"

COLUMNS: Final[Mapping[str, str]] = {
    "name": "of the conjecture",
    "sentence": "what is expected",
    "rule": "what decides it",
    "probability": "that the rule is true, as its author held before the run",
    "author": "who",
    "outcome": "whether the rule is true; missing where the record can't tell",
    "state": f"{RESOLVED}; {UNRESOLVED}: the record can't tell; {BROKEN}: the rule names what there is not",
    "why": "the numbers on both sides of the rule, or what is missing or wrong",
    "read": "each number that the rule read from a table, and of how many rows",
    "brier": "(probability − outcome)²; missing for what is not scored",
    "log_score": "in bits: −log2 of the probability given to what came out; missing for what is not scored",
    "edit": "as locked, or what became of it later; what was added after, or locked late, has no score",
    "now": "its present text where that is not the locked one",
    "locked": "SHA-256 of all conjectures that were locked",
}
"""What each column means."""


@dataclass(frozen=True, eq=False, repr=False)
class Resolution(Result):
    """What became of a run's conjectures.

    Attributes:
        conjectures: a row for each; columns as in `COLUMNS`.
        scores: a row for each author; columns as in `takeback.study.conjectures.scores.COLUMNS`.
    """

    name = NAME
    conjectures: pd.DataFrame = field(metadata=as_table(NAME, COLUMNS))
    scores: pd.DataFrame = field(metadata=as_table("conjecture_scores", OF_SCORES))

    @property
    def broken(self) -> list[str]:
        """The conjectures whose rule names something that there is not, with what is wrong."""
        rows = self.conjectures[self.conjectures["state"] == BROKEN]
        return [f"{name}: {why}" for name, why in zip(rows["name"], rows["why"], strict=True)]


def resolve(run: str | Path) -> Resolution:
    """Decide every conjecture of a finished run by its tables; nothing is written.

    A rule that can't be decided is unresolved, or broken where it names something that the tables, though
    there, don't have; both are told and neither is scored.

    Raises:
        TakebackError: the run is not finished, its conjectures were not locked, or a table is damaged.
    """
    run = Path(run)
    stands, locked = standings(run), read_lock(run).sha256
    if lacking := unfinished(run):
        raise TakebackError(
            f"{run} is not finished: it lacks {lacking}; conjectures are resolved at its end, so run it on"
        )
    table = _decided(stands, RunTables.of(run), locked)
    counted = pd.Series([one.counts for one in stands], index=table.index, dtype=bool)
    return Resolution("Conjectures", table, scores(table[counted]))


def decided(run: str | Path, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Decide what was locked in a folder by tables made outside a study; columns as in `COLUMNS`.

    Raises:
        TakebackError: there is no lock, or it was edited.
    """
    locked = read_lock(run)
    stands = [Standing(one, LATE if locked.late else AS_LOCKED) for one in locked.conjectures]
    return _decided(stands, _Given({}, tables), locked.sha256)


def resolve_at_end(run: str | Path) -> Resolution | None:
    """Resolve a run's conjectures and write what came out into its folder; None where there are none.

    Writes `conjectures.parquet`, `conjecture_scores.parquet`, and both as `conjectures.html` and `.json`.

    Raises:
        TakebackError: as `resolve`, or the disk refuses.
    """
    run = Path(run)
    if not standings(run):
        return None
    found = resolve(run)
    found.write(run)
    return found


@dataclass(frozen=True)
class _Given:
    planned: Mapping[str, tuple[object, ...]]
    tables: Mapping[str, pd.DataFrame]

    def get(self, name: str) -> pd.DataFrame | None:
        return self.tables.get(name)


def _decided(stands: Sequence[Standing], tables: TableSource, locked: str) -> pd.DataFrame:
    table = pd.DataFrame([_row(one, tables, locked) for one in stands], columns=list(COLUMNS))
    floats = dict.fromkeys(("probability", "brier", "log_score"), "Float64")
    return table.astype({**dict.fromkeys(COLUMNS, "object"), **floats, "outcome": "boolean"})


def _row(standing: Standing, tables: TableSource, locked: str) -> dict[str, Any]:
    one = standing.conjecture
    state, verdict = _verdict(standing, tables)
    scored = verdict.outcome is not None and standing.counts
    outcome = bool(verdict.outcome)
    return {
        **{name: getattr(one, name) for name in ("name", "sentence", "rule", "probability", "author")},
        "outcome": verdict.outcome,
        "state": state,
        "why": verdict.why,
        "read": verdict.read,
        "brier": brier(one.probability, outcome) if scored else None,
        "log_score": log_score(one.probability, outcome) if scored else None,
        "edit": standing.edit,
        "now": standing.now,
        "locked": locked,
    }


def _verdict(standing: Standing, tables: TableSource) -> tuple[str, Verdict]:
    rule = standing.conjecture.parsed
    for reading in rule.readings():
        tables.get(reading.table)  # a damaged file is no fault of the rule's, and raises here
    try:
        verdict = judge(rule, tables)
    except TakebackError as error:
        return BROKEN, Verdict(None, str(error), "")
    return (UNRESOLVED if verdict.outcome is None else RESOLVED), verdict
