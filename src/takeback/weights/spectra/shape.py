"""The shape of one matrix's change: ranks, drift, rotation and shares, each beside what chance alone gives.

Two nulls stand beside each: a Gaussian Δ, and Δ with its entries permuted within the matrix, which keeps
their values and their sparsity and loses their places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from takeback.weights.cost import MATRIX, gram_seconds, sketch_seconds
from takeback.weights.spectra.permuted import permuted_laws
from takeback.weights.spectra.rank import (
    LEVELS,
    Spectrum,
    entropy_rank,
    exact,
    gaussian_ranks,
    gram,
    mean_ranks,
    rank_bounds,
    sketch,
)
from takeback.weights.spectra.subspaces import (
    Leading,
    gap,
    gaussian_law,
    leading,
    leading_of_rank,
    rotation,
    shares,
)

NULLS = ("gaussian", "permuted")

_RANKS: Mapping[str, str] = {
    "stable_rank": "‖Δ‖² / σ₁²",
    **{
        name: f"smallest number of directions that hold {energy:.0%} of ‖Δ‖²"
        for name, energy in LEVELS.items()
    },
    "entropy_rank": "exp(H(p)) with p_i = σ_i² / Σσ² (after Roy and Vetterli 2007)",
}
_BOUNDED = ("stable_rank", *LEVELS)
_MOVES: Mapping[str, str] = {
    "drift": "Σ(σ_i(W + Δ) − σ_i(W))² / ‖Δ‖², at most 1 (Mirsky 1960)",
    "drift_leading": "largest |σ_i(W + Δ) − σ_i(W)| / σ_i(W) for i ≤ k",
    **{
        f"rotation_{side}_{which}": f"{word} principal angle of W's and (W + Δ)'s leading {side} subspaces, °"
        for side in ("left", "right")
        for which, word in (("max", "largest"), ("mean", "mean"))
    },
}
_SHARES: Mapping[str, str] = {
    "share_left": "share of ‖Δ‖² in W's leading left subspace, ‖UᵀΔ‖² / ‖Δ‖²",
    "share_right": "share of ‖Δ‖² in W's leading right subspace, ‖ΔV‖² / ‖Δ‖²",
    "share_both": "share of ‖Δ‖² in both at once, ‖UᵀΔV‖² / ‖Δ‖²",
}
_NULL_WORDS: Mapping[str, str] = {
    "": "mean of {} under this null",
    "_low": "2.5% quantile of {} under this null",
    "_high": "97.5% quantile of {} under this null",
    "_below": "probability under this null of a smaller {}",
}

MEASURES: Mapping[str, str] = {
    "delta_norm": "‖Δ‖, Frobenius norm of the change",
    "base_norm": "‖W‖, Frobenius norm in base",
    "full_rank": "min(rows, columns), which no rank exceeds",
    **_RANKS,
    **{f"{name}_{end}": f"{end}est value it can have" for name in _BOUNDED for end in ("low", "high")},
    **{f"{name}_{null}": f"{name}, mean under this null" for name in _RANKS for null in NULLS},
    "leading_rank": "k, dimension of W's leading subspaces",
    "leading_energy": "share of ‖W‖² that they hold",
    "gap": "(σ_k − σ_{k+1}) / σ_k of W: where it is small, angles mean little",
    **_MOVES,
    **{f"{name}_{null}": f"{name}, mean under this null" for name in _MOVES for null in NULLS},
    **_SHARES,
    **{
        f"{name}_{null}{part}": words.format(name)
        for name in _SHARES
        for null in NULLS
        for part, words in _NULL_WORDS.items()
    },
}
"""What each measure means; one that can't be known, or of a matrix that did not change, is missing."""

Measured = dict[str, float | None]

_FIRST_SKETCH = 128
"""Directions in the first sketch of W; each further one has twice as many."""


@dataclass(frozen=True)
class Options:
    """Settings of the measures of a change's shape.

    Attributes:
        energy: Share of ‖W‖² that chooses the leading subspaces' dimension.
        decomposed: Random Δ that are decomposed for the nulls of ranks, drift and rotation.
        settled: Matrices whose smaller side is longer have one of them: means over many directions vary
            little from draw to draw. The largest angle is no mean and does vary.
        largest: Matrices whose smaller side is longer are sketched, not decomposed.
        sketched: Directions in the sketch of Δ.
        seed: Of all draws.
        device: Where matrices are decomposed, as torch names it.
    """

    energy: float = 0.5
    decomposed: int = 3
    settled: int = 48
    largest: int = 1024
    sketched: int = 256
    seed: int = 0
    device: str = "cpu"

    def draws(self, shape: tuple[int, ...]) -> int:
        """Return how many random Δ of this shape are decomposed."""
        return 1 if min(shape) > self.settled else self.decomposed

    def seconds(self, shape: tuple[int, int]) -> float:
        """Return about how long `change_shape` takes: W, Δ and W + Δ, and three more for each random Δ."""
        if min(shape) > self.largest:
            return sketch_seconds(shape, self.sketched + 7 * _FIRST_SKETCH)
        return MATRIX + gram_seconds(shape) * (3 + 3 * self.draws(shape))


def change_shape(
    base: torch.Tensor, tuned: torch.Tensor, options: Options, rng: np.random.Generator
) -> Measured:
    """Return the measures of `MEASURES` for W = `base` and W + Δ = `tuned`, (rows, columns) in float64.

    Matrices too large for `options.largest` are sketched: their ranks are bounds, W's leading subspaces are
    those of the sketch, and drift, rotation and the ranks of permuted Δ are missing.
    """
    delta = tuned - base
    change, size = _norm(delta), _norm(base)
    found: Measured = dict.fromkeys(MEASURES)
    found |= {"delta_norm": change, "base_norm": size, "full_rank": min(base.shape)}
    if not change:
        return found
    whole = min(base.shape) <= options.largest
    found |= _delta_ranks(delta, whole, options, rng)
    if not size:
        return found
    before = _Before.of(base, whole, options.energy, rng)
    found |= {"leading_rank": before.space.rank, "leading_energy": before.space.energy}
    found |= _shares(before.space, delta)
    if whole:
        found |= {"gap": gap(before.spectrum, before.space.rank), **_moves(before, tuned, change)}
        found |= _chance(before, delta, options.draws(delta.shape), rng)
    return found


@dataclass(frozen=True, eq=False)
class _Before:
    """Holds W with its spectrum and leading subspaces."""

    matrix: torch.Tensor
    spectrum: Spectrum
    space: Leading

    @classmethod
    def of(cls, base: torch.Tensor, whole: bool, energy: float, rng: np.random.Generator) -> _Before:
        """Decompose W; a sketch grows until it holds enough of ‖W‖²."""
        spectrum = gram(base, energy) if whole else sketch(base, _FIRST_SKETCH, rng)
        while (space := leading(spectrum, energy)) is None:
            spectrum = sketch(base, 2 * len(spectrum.values), rng)
        return cls(base, spectrum, space)

    @cached_property
    def exactly(self) -> _Before:
        """The same by a direct decomposition, which keeps the digits that a Gram matrix loses."""
        spectrum = exact(self.matrix)
        return _Before(self.matrix, spectrum, leading_of_rank(spectrum, self.space.rank))


def _delta_ranks(delta: torch.Tensor, whole: bool, options: Options, rng: np.random.Generator) -> Measured:
    """Return Δ's ranks with their bounds, and a Gaussian's."""
    spectrum = gram(delta) if whole else sketch(delta, options.sketched, rng)
    found: Measured = {"entropy_rank": entropy_rank(spectrum)}
    for name, bounds in rank_bounds(spectrum).items():
        found |= {name: bounds.value, f"{name}_low": bounds.low, f"{name}_high": bounds.high}
    draws = options.draws(spectrum.shape)
    null = gaussian_ranks(spectrum.shape, draws, options.seed, options.largest)
    return found | {f"{name}_gaussian": value for name, value in null.items()}


def _shares(space: Leading, delta: torch.Tensor) -> Measured:
    """Return the shares of ‖Δ‖² inside W's leading subspaces, with both nulls."""
    found: Measured = {}
    permuted = permuted_laws(space, delta)
    for side, share in shares(space, delta).items():
        name = f"share_{side}"
        found[name] = share
        gaussian = gaussian_law(side, space.rank, (delta.shape[0], delta.shape[1]))
        for null, law in zip(NULLS, (gaussian, permuted[side]), strict=True):
            found |= {
                f"{name}_{null}": law.mean,
                f"{name}_{null}_low": law.quantile(0.025),
                f"{name}_{null}_high": law.quantile(0.975),
                f"{name}_{null}_below": law.below(share),
            }
    return found


def _moves(before: _Before, tuned: torch.Tensor, change: float) -> dict[str, float]:
    """Return what a change of this norm did to W's singular values and leading subspaces.

    Decomposed are Gram matrices; where rounding may have moved a number by more than a millionth of it (the
    drift by more than a millionth, an angle by 1e-9°), the matrices themselves. Where W + Δ is zero it has
    no subspaces, and angles are left out.
    """
    after = gram(tuned, rank=before.space.rank)
    found = _moved(before, after, change)
    if _certain(found, before.spectrum, after, before.space.rank, change):
        return found
    return _moved(before.exactly, exact(tuned), change)


def _moved(before: _Before, after: Spectrum, change: float) -> dict[str, float]:
    k, drift = before.space.rank, after.values - before.spectrum.values
    turned = rotation(before.space, leading_of_rank(after, k)) if after.square else {}
    return {
        "drift": float(np.sum(drift**2)) / change**2,
        "drift_leading": float(np.max(np.abs(drift[:k]) / before.spectrum.values[:k])),
        **turned,
    }


def _certain(found: dict[str, float], before: Spectrum, after: Spectrum, rank: int, change: float) -> bool:
    """Tell whether rounding left the digits that `_moves` promises."""
    error, known = before.errors + after.errors, before.values[:rank]
    size, drift = float(np.linalg.norm(error)) / change, found["drift"]
    doubt = {"drift": 2 * size * np.sqrt(drift) + size**2, "drift_leading": np.max(error[:rank] / known)}
    if rank < len(before.values) and after.square:
        apart = before.values[rank - 1] ** 2 - before.values[rank] ** 2
        turned = np.degrees((before.error + after.error) / max(apart, before.error))
        doubt |= dict.fromkeys(("rotation_left_max", "rotation_right_max"), turned)
    least = {"drift": 1e-6}
    return all(value <= least.get(name, 1e-9) + 1e-6 * found[name] for name, value in doubt.items())


def _chance(before: _Before, delta: torch.Tensor, draws: int, rng: np.random.Generator) -> Measured:
    """Return the mean ranks of permuted Δ, and what permuted and Gaussian Δ of equal norm do to W."""
    norm = _norm(delta)
    spectra: list[Spectrum] = []
    moves: dict[str, list[dict[str, float]]] = {null: [] for null in NULLS}
    for null, draw in tuple(_DRAWN.items()) * draws:
        change = draw(delta, rng)
        if draw is _permuted:
            spectra.append(gram(change))
        moves[null].append(_moves(before, change.add_(before.matrix), norm))
        del change  # the next is drawn when this one is gone: they are large
    found: Measured = {f"{name}_permuted": value for name, value in mean_ranks(spectra).items()}
    for null, drawn in moves.items():
        found |= {
            f"{name}_{null}": float(np.mean([one[name] for one in drawn]))
            for name in set.intersection(*map(set, drawn))
        }
    return found


def _gaussian(delta: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return a matrix of normal entries with the norm of another."""
    noise = torch.from_numpy(rng.standard_normal(delta.shape)).to(delta.device)
    return noise.mul_(_norm(delta) / _norm(noise))


def _permuted(delta: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return a matrix with its entries in random places."""
    return torch.from_numpy(rng.permuted(delta.cpu().numpy(), axis=None)).to(delta.device)


_DRAWN = dict(zip(NULLS, (_gaussian, _permuted), strict=True))


def _norm(matrix: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(matrix))
