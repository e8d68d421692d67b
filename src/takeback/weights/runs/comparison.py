"""The work of comparing fine-tunes: sums over disjoint entries for every pair, real and permuted."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from takeback.run.errors import TakebackError
from takeback.run.identity import identity
from takeback.run.threads import cpu_threads
from takeback.weights.runs.fine_tunes import FineTunes, Piece
from takeback.weights.runs.gram import Matrix, gram
from takeback.weights.runs.overlap import (
    OVERLAP_SUMS,
    Changes,
    count_overlaps,
    permutation,
    strata_of,
    visible_in_bf16,
)
from takeback.weights.runs.shared import MOST_ENTRIES, SUBSPACE_SUMS, Subspaces
from takeback.weights.spectra.matrices import has_matrices, matrices_of

KEYS = ("level", "scope", "layer", "i", "j", "permuted")
"""What tells one row from another: `level` is component or tensor, `i` and `j` are places of fine-tunes."""

SUMS = ("entries", "dot", "square_i", "square_j", *OVERLAP_SUMS, *SUBSPACE_SUMS)

Sums = Mapping[str, Matrix]
"""Sums for each pair of fine-tunes, (2, fine-tunes, fine-tunes): real, then with the second permuted."""


@dataclass(frozen=True, eq=False)
class BetweenWork:
    """Compares fine-tunes tensor by tensor; sums of disjoint entries add, so that tensors make layers.

    In the control each change of fine-tune j keeps its value and lands on another weight of the same stratum.
    """

    fine_tunes: FineTunes
    energy: float = 0.5
    seed: int = 0
    name = "between"

    def __post_init__(self) -> None:
        if len(self.fine_tunes.pairs) < 2:
            raise TakebackError("one tuned checkpoint has nothing to be compared with; name two or more")
        if not 0 < self.energy < 1:
            raise TakebackError(
                f"the energy of leading subspaces is {self.energy}; choose one between 0 and 1"
            )

    @property
    def identity(self) -> str:
        """The checkpoints, the energy of leading subspaces, and the seed of the permutations."""
        return identity(self.fine_tunes.identity, self.energy, self.seed)

    def items(self) -> Sequence[str]:
        """Return the tensors."""
        return list(self.fine_tunes.base.shapes)

    def rows(self, item: str) -> pd.DataFrame:
        """Return the sums of a tensor, and of what each component owns in it: a row per pair and kind."""
        layer = self.fine_tunes.anatomy.of_tensor(item)[0][0].layer
        found: dict[tuple[str, str], Sums] = {}
        with cpu_threads(1):
            for key, sums in (*self._entries(item), *self._subspaces(item)):
                found[key] = _added(found.get(key, {}), sums)
        return _frame(found, layer, len(self.fine_tunes.pairs))

    def _entries(self, tensor: str) -> list[tuple[tuple[str, str], Sums]]:
        """Return the sums over entries, of the tensor and of each component in it."""
        owners = self.fine_tunes.anatomy.of_tensor(tensor)
        sums: list[Sums] = [{} for _ in owners]
        for block in self.fine_tunes.blocks(tensor):
            for place, (_, region) in enumerate(owners):
                if (piece := block.cut(region)) is not None:
                    sums[place] = _added(sums[place], self._compare(piece, tensor))
        found = [(("component", str(owner)), part) for (owner, _), part in zip(owners, sums, strict=True)]
        return [*found, *((("tensor", tensor), part) for part in sums)]

    def _compare(self, piece: Piece, tensor: str) -> Sums:
        deltas, weights, strata = piece.deltas, piece.weights, strata_of(piece.weights)
        orders = (permutation(strata, self._generator(tensor, piece, place)) for place in range(len(deltas)))
        permuted = np.stack([delta[order] for delta, order in zip(deltas, orders, strict=True)])
        changes = Changes.of(deltas, piece.visible)
        controls = Changes.of(permuted, visible_in_bf16(weights, permuted))
        kinds = [
            {"dot": gram(deltas, others), **count_overlaps(changes, marks, strata)}
            for others, marks in ((deltas, changes), (permuted, controls))
        ]
        square = np.diag(kinds[0]["dot"])
        everywhere = np.ones((2, len(deltas), len(deltas)))
        return {
            "entries": everywhere * weights.size,
            "square_i": everywhere * square[:, None],
            "square_j": everywhere * square,
            **{name: np.stack([kind[name] for kind in kinds]) for name in kinds[0]},
        }

    def _generator(self, tensor: str, piece: Piece, place: int) -> np.random.Generator:
        """Return the source of one fine-tune's permutation, the same in whatever order pieces are read."""
        return np.random.default_rng(
            [self.seed, zlib.crc32(tensor.encode()), piece.start, piece.column, place]
        )

    def _subspaces(self, tensor: str) -> list[tuple[tuple[str, str], Sums]]:
        """Return the sums over matrices: whole ones of the tensor, of a component also its part of one."""
        shape = self.fine_tunes.base.shapes[tensor]
        if not has_matrices(shape) or not 0 < math.prod(shape) <= MOST_ENTRIES:
            return []
        matrices = [one for one in matrices_of(self.fine_tunes.anatomy, tensor) if min(one.shape) > 1]
        generator = np.random.default_rng([self.seed, zlib.crc32(tensor.encode())])
        compared = Subspaces(
            lambda place, control: self._change(tensor, place, control),
            matrices,
            len(self.fine_tunes.pairs),
            self.energy,
        ).sums(generator)
        found: list[tuple[tuple[str, str], Sums]] = []
        for matrix, sums in zip(matrices, compared, strict=True):
            if matrix.owner is not None:
                found.append((("component", str(matrix.owner)), sums))
            if matrix.role == "whole":
                found.append((("tensor", tensor), sums))
        return found

    def _change(self, tensor: str, place: int, control: bool) -> Matrix:
        """Return what one fine-tune changed in a tensor, or its permuted control."""
        change = np.empty(self.fine_tunes.base.shapes[tensor])
        for block in self.fine_tunes.only(place).blocks(tensor):
            for _, region in self.fine_tunes.anatomy.of_tensor(tensor):
                piece = block.cut(region)
                if piece is None:
                    continue
                values = piece.deltas[0]
                if control:
                    generator = self._generator(tensor, piece, place)
                    values = values[permutation(strata_of(piece.weights), generator)]
                rows = change[piece.start : piece.start + len(piece.base)]
                part = rows[region.index] if region.axis else rows
                part[...] = values.reshape(part.shape)
        return change


def _added(one: Sums, other: Sums) -> Sums:
    both = {**one, **other}
    return {name: one[name] + other[name] if name in one and name in other else both[name] for name in both}


def _frame(found: Mapping[tuple[str, str], Sums], layer: int | None, fine_tunes: int) -> pd.DataFrame:
    """Return the sums of every scope and pair as rows, zeros where there are none."""
    i, j = np.triu_indices(fine_tunes, 1)
    none = np.zeros((2, fine_tunes, fine_tunes))
    scopes, pairs = len(found), len(i)
    rows = scopes * 2 * pairs
    keys = {
        "level": np.repeat([level for level, _ in found], 2 * pairs),
        "scope": np.repeat([scope for _, scope in found], 2 * pairs),
        "layer": pd.array([layer] * rows, "Int64"),
        "i": np.tile(i, 2 * scopes),
        "j": np.tile(j, 2 * scopes),
        "permuted": np.tile(np.repeat([False, True], pairs), scopes),
    }
    values = {
        name: np.concatenate([sums.get(name, none)[:, i, j].ravel() for sums in found.values()])
        for name in SUMS
    }
    return pd.DataFrame({**keys, **values})
