"""Sums over ragged groups, such as the legal actions of each situation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def sum_by(owner: NDArray[np.int64], values: ArrayLike, groups: int) -> NDArray[np.float64]:
    """Add up the values of each group, shape (groups,); a group without values has 0.

    >>> sum_by(np.array([0, 2, 2]), [1.0, 2.0, 3.0], 3)
    array([1., 0., 5.])
    """
    return np.bincount(owner, np.asarray(values, np.float64), groups).astype(np.float64)
