"""Leading subspaces of two changes of one matrix: how much they have in common, against chance.

Leading are the fewest directions that hold a given share of ‖Δ‖², k the smaller of two changes' numbers.
The overlap of directions U of one change and U' of the other is ‖UᵀU'‖²_F / k: 1 for equal subspaces, k/d
expected for random ones of d dimensions. What Δ' has inside both leading subspaces of Δ is
‖UᵀΔ'V‖²_F / ‖Δ'‖², expected to be k²/(rows · columns) if its entries are in random order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from takeback.weights.spectra.matrices import WeightMatrix
from takeback.weights.spectra.rank import exact, sketch
from takeback.weights.spectra.subspaces import Leading, leading, leading_of_rank, shares

EXACT = 1024
"""The largest smaller side of a matrix that is decomposed exactly; larger ones are sketched."""

SKETCHED = 128
"""Directions that a sketch gives: all of them are leading where they hold less than the wanted share."""

MOST_ENTRIES = 1 << 26
"""Entries of the largest tensor that is looked at: a whole one of one fine-tune is read at a time."""

_SHARED = tuple(
    f"{what}{null}" for what in ("left", "right", "inside_i", "inside_j") for null in ("", "_null")
)
SUBSPACE_SUMS = ("matrices", "sketched", "directions", *_SHARED, "energy_i", "energy_j")

Sums = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Frame:
    """Holds the leading subspaces of a change, its ‖Δ‖², and whether they come from a sketch."""

    space: Leading
    square: float
    sketched: bool

    def inside(self, delta: torch.Tensor) -> float:
        """Return ‖UᵀΔ'V‖²_F, what another change has inside both subspaces."""
        return shares(self.space, delta)["both"] * float(delta.square().sum())


def frame(delta: torch.Tensor, energy: float, generator: np.random.Generator) -> Frame | None:
    """Find the leading subspaces that hold the share `energy` of ‖Δ‖²; None where nothing changed."""
    if not bool(delta.any()):
        return None
    sketched = min(delta.shape) > EXACT
    spectrum = sketch(delta, SKETCHED, generator) if sketched else exact(delta)
    space = leading(spectrum, energy) or leading_of_rank(spectrum, len(spectrum.values))
    return Frame(space, spectrum.square, sketched)


@dataclass(frozen=True, eq=False)
class Subspaces:
    """Compares the leading subspaces of fine-tunes' changes of one tensor.

    `read` gives the change of one fine-tune, if told so its permuted control; `matrices` are the tensor's.
    """

    read: Callable[[int, bool], NDArray[np.float64]]
    matrices: Sequence[WeightMatrix]
    fine_tunes: int
    energy: float

    def sums(self, generator: np.random.Generator) -> list[Sums]:
        """Return `SUBSPACE_SUMS` for each matrix, (2, fine-tunes, fine-tunes) each; those of several add.

        Place 0 compares Δ_i and Δ_j, place 1 Δ_i and the permuted Δ_j, for i < j; the rest is 0.
        """
        real, permuted = (self._frames(control, generator) for control in (False, True))
        shape = (2, self.fine_tunes, self.fine_tunes)
        found = [{name: np.zeros(shape) for name in SUBSPACE_SUMS} for _ in self.matrices]
        for place in range(self.fine_tunes):
            change, control = self._parts(place, False), self._parts(place, True)
            for number, sums in enumerate(found):
                frames, controls = real[number], permuted[number]
                for other in range(place):
                    _compare(sums, (1, other, place), frames[other], controls[place])
                    _put(sums["inside_j"], (0, other, place), frames[other], change[number])
                    _put(sums["inside_j"], (1, other, place), frames[other], control[number])
                for other in range(place + 1, self.fine_tunes):
                    _compare(sums, (0, place, other), frames[place], frames[other])
                    _put(sums["inside_i"], (0, place, other), frames[other], change[number])
                    _put(sums["inside_i"], (1, place, other), controls[other], change[number])
        return found

    def _frames(self, control: bool, generator: np.random.Generator) -> list[list[Frame | None]]:
        """Return the leading subspaces of every fine-tune's change, for each matrix."""
        found: list[list[Frame | None]] = [[] for _ in self.matrices]
        for place in range(self.fine_tunes):
            for frames, part in zip(found, self._parts(place, control), strict=True):
                frames.append(frame(part, self.energy, generator))
        return found

    def _parts(self, place: int, control: bool) -> list[torch.Tensor]:
        change = torch.from_numpy(self.read(place, control))
        return [change[matrix.region.index].reshape(matrix.shape) for matrix in self.matrices]


def _put(
    sums: NDArray[np.float64], where: tuple[int, int, int], space: Frame | None, change: torch.Tensor
) -> None:
    if space is not None and bool(change.any()):
        sums[where] = space.inside(change)


def _compare(sums: Sums, where: tuple[int, int, int], one: Frame | None, other: Frame | None) -> None:
    """Write what two changes' subspaces share, and what chance gives; nothing where one has none."""
    if one is None or other is None:
        return
    i, j = one.space, other.space
    count = min(i.rank, j.rank)
    rows, columns = len(i.left), len(i.right)
    found = {
        "matrices": 1,
        "sketched": one.sketched,
        "directions": count,
        "left": float((i.left[:, :count].T @ j.left[:, :count]).square().sum()),
        "left_null": count**2 / rows,
        "right": float((i.right[:, :count].T @ j.right[:, :count]).square().sum()),
        "right_null": count**2 / columns,
        "inside_i_null": one.square * j.rank**2 / math.prod((rows, columns)),
        "inside_j_null": other.square * i.rank**2 / math.prod((rows, columns)),
        "energy_i": one.square,
        "energy_j": other.square,
    }
    for name, value in found.items():
        sums[name][where] = value
