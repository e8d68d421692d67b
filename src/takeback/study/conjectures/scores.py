"""Scoring probabilities by what came out, of conjectures as of any other predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from takeback.run.errors import TakebackError

HALF: Final = {"brier": 0.25, "log_score": 1.0}
"""What always saying 0.5 scores."""

COLUMNS: Final[Mapping[str, str]] = {
    "author": "who gave the probabilities",
    "n": "predictions that came out true or false",
    "true": "of those, how many came true",
    "expected_true": "the sum of their probabilities",
    "brier": "mean Brier score: squared distance of the probability from what came out; 0 is best, 1 worst",
    "expected_brier": "the mean Brier score that the probabilities would have if they were right",
    "brier_half": "what always saying 0.5 scores",
    "log_score": "mean log score in bits: −log2 of the probability given to what came out; 0 is best",
    "log_score_half": "what always saying 0.5 scores",
    "unresolved": "predictions that nothing decided; they are in no score",
}
"""What each column of `scores` means."""


def brier(probability: float, outcome: bool) -> float:
    """Return the Brier score (Brier 1950) of one prediction, (p − o)²: 0 is best, 1 worst.

    Raises:
        TakebackError: the probability is not above 0 and below 1.

    >>> brier(0.5, True), brier(0.9, True) < brier(0.9, False)
    (0.25, True)
    """
    _check(probability)
    return (probability - outcome) ** 2


def log_score(probability: float, outcome: bool) -> float:
    """Return the logarithmic score (Good 1952) of one prediction in bits: −log2 of what the truth was given.

    Raises:
        TakebackError: the probability is not above 0 and below 1.

    >>> log_score(0.5, False), log_score(0.25, True)
    (1.0, 2.0)
    """
    _check(probability)
    return -math.log2(probability if outcome else 1 - probability)


def scores(predictions: pd.DataFrame) -> pd.DataFrame:
    """Score each author's predictions.

    Args:
        predictions: `author`, `probability`, and `outcome`, missing where nothing decided it.

    Returns:
        A row for each author, in the order of first predictions; columns as in `COLUMNS`. Means over no
        prediction are missing.

    >>> told = pd.DataFrame({"author": ["Ada"] * 2, "probability": [0.8, 0.4], "outcome": [True, False]})
    >>> scores(told)[["author", "n", "brier"]].to_dict("records")
    [{'author': 'Ada', 'n': 2, 'brier': 0.1}]
    """
    rows: list[dict[str, object]] = []
    for author in dict.fromkeys(predictions["author"]):
        mine = predictions[predictions["author"] == author]
        p, o = settled(mine)
        pairs = [(float(a), bool(b)) for a, b in zip(p, o, strict=True)]
        means = {
            "expected_true": math.fsum(p),
            "brier": _mean([brier(a, b) for a, b in pairs]),
            "expected_brier": _mean([a * (1 - a) for a, _ in pairs]),
            "brier_half": HALF["brier"],
            "log_score": _mean([log_score(a, b) for a, b in pairs]),
            "log_score_half": HALF["log_score"],
        }
        counts = {"n": len(pairs), "true": int(sum(o)), "unresolved": len(mine) - len(pairs)}
        rows.append({"author": author, **counts, **means})
    floats = [name for name in COLUMNS if name not in ("author", "n", "true", "unresolved")]
    kinds = {"author": "object", **dict.fromkeys(("n", "true", "unresolved"), "int64")}
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({**kinds, **dict.fromkeys(floats, "Float64")})


def settled(predictions: pd.DataFrame) -> tuple[Sequence[float], Sequence[bool]]:
    """Return the probabilities and outcomes of the decided predictions, the least probable first."""
    known = predictions[predictions["outcome"].notna()].sort_values("probability", kind="stable")
    return known["probability"].astype(float).tolist(), known["outcome"].astype(bool).tolist()


@dataclass(frozen=True, slots=True)
class CalibrationCurve:
    """How many of the k least probable predictions came true, beside what their probabilities foretell.

    Attributes:
        came: how many came true, for k = 0 to n.
        foretold: the sum of the k least probabilities.
        spread: the standard deviation of `came` if the probabilities are right and outcomes independent.
    """

    came: tuple[float, ...]
    foretold: tuple[float, ...]
    spread: tuple[float, ...]


def calibration(probabilities: Sequence[float], outcomes: Sequence[bool]) -> CalibrationCurve:
    """Compare forecasts with outcomes without bins, which few predictions would leave empty.

    Sums over predictions ordered by probability, after Tygert's cumulative plots (2021,
    doi 10.1186/s40537-021-00540-9).

    >>> calibration([0.2, 0.8], [False, True]).foretold
    (0.0, 0.2, 1.0)
    """
    order = np.argsort(np.asarray(probabilities, dtype=np.float64), kind="stable")
    p = np.asarray(probabilities, dtype=np.float64)[order]
    o = np.asarray(outcomes, dtype=np.float64)[order]
    return CalibrationCurve(_sums(o), _sums(p), tuple(math.sqrt(v) for v in _sums(p * (1 - p))))


def _sums(values: np.ndarray) -> tuple[float, ...]:
    return (0.0, *np.cumsum(values).tolist())


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _check(probability: float) -> None:
    if not 0 < probability < 1:
        raise TakebackError(f"a probability lies above 0 and below 1, not at {probability:g}")
