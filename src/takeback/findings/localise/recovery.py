"""How well a measure of components finds those that really changed, where that is known."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Recovery:
    """Holds which components a measure found, and how that agrees with those that were planted.

    Attributes:
        found: Components above the floor, the largest first.
        precision: Share of the found that were planted, None where nothing was found.
        recall: Share of the planted that were found, None where nothing was planted.
        average_precision: Whether the planted rank first, whatever the floor: the mean over the planted of
            the precision among all that score at least as much; 1 where they are ahead of all others. None
            where nothing was planted.
    """

    found: tuple[str, ...]
    precision: float | None
    recall: float | None
    average_precision: float | None


def recovery(scores: Mapping[str, float], planted: Collection[str], floor: float) -> Recovery:
    """Compare the components that score above a floor with those that were planted.

    A planted component without a score counts as one that was not found, with precision 0 at its rank. Equal
    scores rank together, behind one another's gains (as `average_precision_score` of scikit-learn has it).

    >>> found = recovery({"L0.H0": 0.5, "L0.H1": 0.3, "L0.MLP": 0.2}, {"L0.H0", "L0.MLP"}, floor=0.25)
    >>> found.found, found.precision, found.recall
    (('L0.H0', 'L0.H1'), 0.5, 0.5)
    >>> round(found.average_precision, 3)
    0.833
    >>> recovery({"L0.H0": 1e-9}, (), floor=1e-6)
    Recovery(found=(), precision=None, recall=None, average_precision=None)
    """
    wanted = set(planted)
    found = tuple(sorted((name for name in scores if scores[name] > floor), key=lambda name: -scores[name]))
    hits = len(wanted & set(found))
    return Recovery(
        found,
        hits / len(found) if found else None,
        hits / len(wanted) if wanted else None,
        _average_precision(scores, wanted) if wanted else None,
    )


def _average_precision(scores: Mapping[str, float], planted: set[str]) -> float:
    total = 0.0
    for name in planted & scores.keys():
        ahead = [other for other in scores if scores[other] >= scores[name]]
        total += len(planted.intersection(ahead)) / len(ahead)
    return total / len(planted)
