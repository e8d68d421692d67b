"""What the Gram matrix of a training run's snapshots tells: how far, how straight, how linear in time.

Every measure is a function of the Gram matrix alone, so that a random walk goes through the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from takeback.weights.runs.gram import Matrix, cosine, distances, ratio, with_start

STEP_MEASURES: Mapping[str, str] = {
    "cosine_final": "cosine of Δ_t = θ_t − θ_0 with Δ_T",
    "multiple": "c_t = ⟨Δ_t, Δ_T⟩ / ‖Δ_T‖², the best multiple of the final change; t/T on a linear path",
    "linear": "1 − ‖Δ_t − (t/T) Δ_T‖² / ‖Δ_t‖²: what linear motion explains of the change so far",
    "turn": "cosine of the move since the last snapshot with the move before it",
    "progress": "‖Δ_t‖ / ‖Δ_T‖",
}
"""Measures at each snapshot after the start."""

PATH_MEASURES: Mapping[str, str] = {
    "straightness": "‖Δ_T‖ / Σ_t ‖θ_{t+1} − θ_t‖, 1 on a straight path",
    "principal": "share of Σ_t ‖θ_t − mean‖², the start among them, in its first principal direction",
    "linear_r2": "1 − Σ ‖Δ_t − (t/T) Δ_T‖² / Σ ‖Δ_t‖² over the snapshots between start and end",
    "multiple_r2": "1 − Σ ‖Δ_t − c_t Δ_T‖² / Σ ‖Δ_t‖² with the best c_t, over the same snapshots",
}
"""Measures of a whole path."""


def step_measures(products: Matrix, steps: Sequence[int]) -> dict[str, Matrix]:
    """Return `STEP_MEASURES` for each snapshot, NaN where one is undefined.

    Args:
        products: ⟨Δ_s, Δ_t⟩ of the snapshots after the start.
        steps: the training step of each; the last is the end T of the path.
    """
    square, final = np.diag(products), products[:, -1]
    share = np.asarray(steps, np.float64) / steps[-1]
    return {
        "cosine_final": cosine(final, square, square[-1:]),
        "multiple": ratio(final, square[-1:]),
        "linear": 1 - ratio(_residual(products, share), square),
        "turn": _turns(with_start(products)),
        "progress": np.sqrt(ratio(square, square[-1:])),
    }


def path_measures(products: Matrix, steps: Sequence[int]) -> dict[str, float]:
    """Return `PATH_MEASURES` of a path, NaN where one is undefined; arguments as for `step_measures`."""
    square, final = np.diag(products), products[:-1, -1]
    positions = with_start(products)
    share = np.asarray(steps, np.float64) / steps[-1]
    between = square[:-1].sum()
    return {
        "straightness": _one(np.sqrt(square[-1]), distances(positions).sum()),
        "principal": _principal(positions),
        "linear_r2": 1 - _one(_residual(products, share)[:-1].sum(), between),
        "multiple_r2": _one(float(final @ final), between * square[-1]),
    }


def _residual(products: Matrix, share: Matrix) -> Matrix:
    """Return ‖Δ_t − share_t Δ_T‖² for each snapshot."""
    square = np.diag(products)
    return np.maximum(square - 2 * share * products[:, -1] + share**2 * square[-1], 0.0)


def _turns(positions: Matrix) -> Matrix:
    """Return the cosine of each move with the one before it, NaN for the first."""
    moves = np.diff(np.diff(positions, axis=0), axis=1)
    square = np.maximum(np.diag(moves), 0.0)
    return np.concatenate([[np.nan], cosine(np.diag(moves, 1), square[1:], square[:-1])])


def _principal(positions: Matrix) -> float:
    centred = positions - positions.mean(0) - positions.mean(1)[:, None] + positions.mean()
    return _one(np.linalg.eigvalsh(centred)[-1], np.trace(centred))


def _one(top: float, bottom: float) -> float:
    return float(ratio(np.asarray(top), np.asarray(bottom)))
