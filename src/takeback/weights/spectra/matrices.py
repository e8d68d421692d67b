"""The matrices of a model: tensors of two axes, slices of a stack, and what components own of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import torch

from takeback.anatomy import Anatomy, Region
from takeback.checkpoint.pair import Pair
from takeback.checkpoint.weights import all_finite
from takeback.component import Component
from takeback.run.errors import TakebackError

_LAYER = re.compile(r"(?:^|.*\.)(?:layers|h)\.[0-9]+\.")


@dataclass(frozen=True, slots=True)
class WeightMatrix:
    """Names a matrix in a model: a whole one, or the part of it that one component owns.

    `owner` is None where several components share a whole matrix, `kind` and `layer` where they differ in
    them; `slice` is its place in a tensor that stacks matrices (the experts of a layer).
    """

    region: Region
    shape: tuple[int, int]
    role: Literal["whole", "part"]
    owner: Component | None
    kind: str | None
    layer: int | None
    slice: int | None = None

    @property
    def full_rank(self) -> int:
        """The smaller of rows and columns, which no rank exceeds."""
        return min(self.shape)

    @property
    def label(self) -> str:
        """The tensor's name without its layer: what matrices of the same kind share."""
        return label_of(self.region.tensor)


def label_of(tensor: str) -> str:
    """Return a tensor's name without its layer, its module's prefix and the word `weight`.

    >>> label_of("model.layers.3.self_attn.q_proj.weight"), label_of("lm_head.weight")
    ('self_attn.q_proj', 'lm_head')
    """
    name = tensor.removesuffix(".weight")
    return _LAYER.sub("", name) if _LAYER.match(name) else name.rpartition(".")[2]


def matrices_of(anatomy: Anatomy, tensor: str) -> list[WeightMatrix]:
    """Return the matrices of one tensor: the whole first, then the components' parts; vectors have none.

    A part of one row or one column is a vector, and a part that is the whole is not said twice.

    Raises:
        UnknownName: the model has no tensor of this name.
    """
    owners, shape = anatomy.of_tensor(tensor), anatomy.shapes[tensor]
    if len(shape) == 3:
        return [_slice(tensor, shape, place, owners) for place in range(shape[0])]
    if len(shape) != 2:
        return []
    rows, columns = shape
    whole = _owned([component for component, _ in owners])
    found = [WeightMatrix(Region(tensor), (rows, columns), "whole", *whole)]
    for component, region in owners:
        lines = range(shape[region.axis or 0])[region.start : region.stop]
        part = (len(lines), columns) if region.axis == 0 else (rows, len(lines))
        if region.axis is not None and part != (rows, columns) and min(part) > 1:
            found.append(WeightMatrix(region, part, "part", component, component.kind, component.layer))
    return found


def has_matrices(shape: tuple[int, ...]) -> bool:
    """Return whether a tensor of this shape holds matrices.

    >>> has_matrices((3, 4)), has_matrices((8, 3, 4)), has_matrices((3,))
    (True, True, False)
    """
    return len(shape) in (2, 3)


def sides_of(pair: Pair, matrix: WeightMatrix) -> tuple[torch.Tensor, torch.Tensor]:
    """Read a matrix of base and of tuned, in float64.

    Raises:
        TakebackError: it holds a value that is not finite, or a file cannot be read any more.
    """
    base, tuned = (
        side.read_region(matrix.region).reshape(matrix.shape).double().contiguous()
        for side in (pair.base, pair.tuned)
    )
    if not (all_finite(base) and all_finite(tuned)):
        raise TakebackError(f"tensor {matrix.region.tensor} holds a value that is not finite")
    return base, tuned


def _slice(
    tensor: str, shape: tuple[int, ...], place: int, owners: list[tuple[Component, Region]]
) -> WeightMatrix:
    """Return one slice of a stack, owned by whoever has a stretch of it."""
    here = [
        component
        for component, region in owners
        if region.axis != 0 or place in range(shape[0])[region.start : region.stop]
    ]
    region = Region(tensor, axis=0, start=place, stop=place + 1)
    return WeightMatrix(region, (shape[1], shape[2]), "whole", *_owned(here), slice=place)


def _owned(owners: list[Component]) -> tuple[Component | None, str | None, int | None]:
    """Return the component, the kind and the layer that all owners have in common."""
    first = owners[0]
    alone = all(owner == first for owner in owners)
    same_kind = all(owner.kind == first.kind for owner in owners)
    same_layer = all(owner.layer == first.layer for owner in owners)
    return (
        first if alone else None,
        first.kind if same_kind else None,
        first.layer if same_layer else None,
    )
