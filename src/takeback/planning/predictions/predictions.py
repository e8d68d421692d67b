"""Predicting what a person will say or what will become of a project, settling it once, and scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import pandas as pd

from takeback.draw.result import Result, as_table
from takeback.planning.predictions.event import Event, Predicted, Resolved, append, read_events
from takeback.run.errors import TakebackError, unknown_name
from takeback.study.conjectures.scores import COLUMNS as OF_SCORES
from takeback.study.conjectures.scores import brier, log_score, scores

AS_MADE, GAP, CHANGED, BY_HAND = "as made", "what was before it is gone", "changed", "by hand"

COUNTED: Final = (AS_MADE, GAP)
"""What is scored: the words are those that were written down."""

COLUMNS: Final[Mapping[str, str]] = {
    "name": "of the prediction",
    "kind": "feedback: what a person will say; project: what will become of a project",
    "statement": "what is predicted",
    "about": "of whom, or of which project",
    "author": "who predicted it",
    "predicted": "the day it was written down",
    "probability": "that it turns out true",
    "outcome": "whether it did; missing where that is open",
    "resolved": "the day it was settled; empty where it is open",
    "because": "what happened",
    "brier": "(probability − outcome)²; missing for what is not scored",
    "log_score": "in bits: −log2 of the probability given to what came out; missing for what is not scored",
    "edit": f"{AS_MADE}; or what became of its words since: what was changed or written by hand has no score",
    "line": "where it stands in the file",
}
"""What each column means."""


@dataclass(frozen=True, eq=False, repr=False)
class Predictions(Result):
    """What became of the predictions in a file.

    Attributes:
        predictions: a row for each; columns as in `COLUMNS`.
        scores: a row for each author; columns as in `takeback.study.conjectures.scores.COLUMNS`.
    """

    name = "predictions"
    predictions: pd.DataFrame = field(metadata=as_table("predictions", COLUMNS))
    scores: pd.DataFrame = field(metadata=as_table("prediction_scores", OF_SCORES))


def predict(prediction: Predicted, path: str | Path) -> Predicted:
    """Add a prediction to a file, which may be new, and return it with its seal.

    Raises:
        TakebackError: its name is taken, or the file can't be read or added to.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "predictions.yaml"
    >>> told = {"statement": "He asks for controls.", "about": "Bob", "by": "Ada", "probability": 0.7}
    >>> made = predict(Predicted.model_validate({**told, "predicted": "2026-01-05"}), file)
    >>> _ = resolve(file, made.name, True, date(2026, 1, 9))
    >>> float(read_predictions(file).scores["brier"].round(3).iloc[0])
    0.09
    """
    made = append(path, prediction)
    assert isinstance(made, Predicted)
    return made


def resolve(path: str | Path, name: str, outcome: bool, day: date, because: str = "") -> Resolved:
    """Settle a prediction, once.

    Raises:
        UnknownName: the file has no such prediction.
        TakebackError: it is settled already, or the file can't be read or added to.
    """
    events = [one for one, _ in read_events(path)]
    names = [one.name for one in events if isinstance(one, Predicted)]
    if name not in names:
        raise unknown_name(f"prediction in {path}", name, names)
    for one in events:
        if isinstance(one, Resolved) and one.name == name:
            told = "true" if one.outcome else "false"
            raise TakebackError(
                f"{path}: {name!r} was settled as {told} on {one.resolved}; that is done once"
            )
    event = Resolved(name=name, resolved=day, outcome=outcome, because=because)
    settled = append(path, event)
    assert isinstance(settled, Resolved)
    return settled


def read_predictions(path: str | Path) -> Predictions:
    """Read predictions, what became of them, and the scores of those who made them.

    Raises:
        TakebackError: the file is not there or can't be read, or an event is wrong; names the line.
    """
    events = read_events(path)
    edits = dict(_edits([one for one, _ in events]))
    settled = {one.name: one for one, _ in events if isinstance(one, Resolved)}
    rows = [
        _row(one, settled.get(one.name), edits, line) for one, line in events if isinstance(one, Predicted)
    ]
    floats = dict.fromkeys(("probability", "brier", "log_score"), "Float64")
    kinds = {**dict.fromkeys(COLUMNS, "object"), **floats, "outcome": "boolean", "line": "int64"}
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(kinds)
    return Predictions("Predictions", table, scores(table[table["edit"].isin(COUNTED)]))


def _edits(events: list[Event]) -> Iterator[tuple[tuple[str, type[Event]], str]]:
    """Tell what became of each event since it was written."""
    last = ""
    for one in events:
        if not one.seal:
            yield (one.name, type(one)), BY_HAND
            continue
        yield (
            (one.name, type(one)),
            AS_MADE if one.holds and one.follows(last) else GAP if one.holds else CHANGED,
        )
        last = one.seal


def _row(
    one: Predicted, settled: Resolved | None, edits: Mapping[tuple[str, type[Event]], str], line: int
) -> dict[str, Any]:
    edit = edits[one.name, Predicted]
    if settled is not None and edit == AS_MADE and (told := edits[one.name, Resolved]) != AS_MADE:
        edit = told if told == GAP else f"outcome {told}"
    outcome = settled.outcome if settled else None
    scored = outcome if edit in COUNTED else None
    return {
        "name": one.name,
        "kind": one.kind,
        "statement": one.statement,
        "about": one.about,
        "author": one.by,
        "predicted": str(one.predicted),
        "probability": one.probability,
        "outcome": outcome,
        "resolved": str(settled.resolved) if settled else "",
        "because": settled.because if settled else "",
        "brier": None if scored is None else brier(one.probability, scored),
        "log_score": None if scored is None else log_score(one.probability, scored),
        "edit": edit,
        "line": line,
    }
