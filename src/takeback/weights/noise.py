"""Whether anything stands out from noise: equal normal noise in every entry, and what a cast leaves.

Under equal noise of variance σ² a part of n entries has ΣΔ² ~ σ² χ²(n), so that the ratio of its mean square
to that of all others is F-distributed. Its normal approximation is Paulson's (1942, "An approximate
normalization of the analysis of variance distribution"), which holds for a few entries and for 10⁹.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.01
"""How often equal noise makes anything at all stand out."""


@dataclass(frozen=True, eq=False)
class EqualNoise:
    """Holds what equal noise says of parts: which are `above` it, which `below`, and its size σ.

    `reach` is the largest ratio of a part's root mean square to σ that is no more than noise, of the smallest
    and of the largest part.
    """

    sigma: float
    above: NDArray[np.bool_]
    below: NDArray[np.bool_]
    reach: tuple[float, float]

    @property
    def plain(self) -> bool:
        """Whether nothing stands out."""
        return not (self.above.any() or self.below.any())


def noise_of(
    squares: NDArray[np.float64], counts: NDArray[np.int64], level: float = LEVEL
) -> EqualNoise | None:
    """Compare each part's ΣΔ² over its entries with those of the parts that do not stand out.

    `level` is the probability that equal noise makes any part stand out, to either side (Bonferroni). None
    where fewer than three parts have entries, or less than half of them look alike.

    >>> found = noise_of(np.array([1000.0, 1010.0, 990.0, 1005.0, 3000.0]), np.full(5, 1000))
    >>> found.above.tolist()
    [False, False, False, False, True]
    """
    full = counts > 0
    if full.sum() < 3 or not squares.any():
        return None
    limit = -NormalDist().inv_cdf(level / 2 / int(full.sum()))
    n = np.where(full, counts, 1).astype(np.float64)
    alike = full & (
        np.abs(_scores(squares / n, n, float(np.median((squares / n)[full])), np.inf)) < 2 * limit
    )
    scores, square, size = np.zeros(len(n)), 1.0, 1.0
    for _ in range(len(n)):
        if 2 * alike.sum() < full.sum() or not squares[alike].any():
            return None
        square, size = float(squares[alike].sum()), float(n[alike].sum())
        others, rest = square - squares * alike, np.maximum(size - n * alike, 1.0)
        scores = np.where(full, _scores(squares / n, n, others / rest, rest), 0.0)
        kept = full & (np.abs(scores) <= limit)
        if (kept == alike).all():
            break
        alike = kept
    ends = np.array([n[full].min(), n[full].max()])
    reach = (1 - 2 / (9 * ends) + limit * np.sqrt(2 / (9 * ends))) ** 1.5
    sigma = float(np.sqrt(square / size))
    return EqualNoise(sigma, scores > limit, scores < -limit, (float(reach[0]), float(reach[1])))


def _scores(mean: NDArray[np.float64], n: NDArray[np.float64], other: Any, m: Any) -> NDArray[np.float64]:
    """Return Paulson's standard normal score of the ratio of two mean squares of n and m entries."""
    ratio = np.cbrt(np.divide(mean, other, out=np.full_like(mean, np.inf), where=np.asarray(other) > 0))
    low, high, known = 2 / (9 * n), 2 / (9 * m), np.where(np.isinf(ratio), 1.0, ratio)
    scores = ((1 - high) * known - (1 - low)) / np.sqrt(high * known**2 + low)
    return np.where(np.isinf(ratio), np.inf, scores)
