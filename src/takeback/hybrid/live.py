"""Takebacks on a model in memory: slices copied in place, and put back when the block ends."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import torch
from torch import Tensor, nn

from takeback.anatomy import Anatomy, Family, Region, anatomy_of, families
from takeback.anatomy.partition import says_tied
from takeback.anatomy.source import Described, canonical_names, is_module, parameters_of
from takeback.checkpoint.load import ABSENT, absent_rows
from takeback.checkpoint.weights import narrowest_dtype, stacked
from takeback.component import ComponentSet
from takeback.run.errors import TakebackError


class ReadableWeights(Described, Protocol):
    """Gives the tensors of a checkpoint or hybrid by canonical name, whole and in regions."""

    def read(self, name: str, /) -> Tensor:
        """Return a tensor."""
        ...

    def read_region(self, region: Region, /) -> Tensor:
        """Return the entries of a region."""
        ...


Source: TypeAlias = nn.Module | Mapping[str, Tensor] | ReadableWeights
"""Where slices may come from: a live module, a state dict, a checkpoint or hybrid on disk."""

Model = TypeVar("Model", bound=nn.Module)


@contextmanager
def taken_back(
    model: Model, base: Source, components: ComponentSet, anatomy: Anatomy | None = None
) -> Generator[Model, None, None]:
    """Yield `model` with the entries of `components` copied from `base`; put them back when the block ends.

    Only the slices touched are copied and kept, so that a sweep can call this often; what was there comes
    back bit for bit, after an exception too. Blocks may be nested. `base` may be in another dtype as long as
    the model's holds its values exactly. `anatomy` is that of the model, where the caller has it already.

    >>> import torch
    >>> model, base = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    >>> with taken_back(model, base, anatomy_of(model).parse("L0.U1")):
    ...     bool((model.weight == base.weight)[1].all() and (model.weight != base.weight)[0].all())
    True

    Raises:
        TakebackError: the set is of another model, or `base` has not the tensors, shapes or a fitting dtype.
    """
    with exchanged(slices(model, base, components, anatomy)):
        yield model


def slices(
    model: nn.Module, base: Source, components: ComponentSet, anatomy: Anatomy | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Return a view of each slice of the model that belongs to `components`, with base's entries for it.

    Raises:
        TakebackError: as `taken_back` does.
    """
    anatomy = anatomy_for(model, components) if anatomy is None else anatomy
    parameters = parameters_of(model)
    regions = anatomy.regions(components)
    source = _readable(base, families().get(anatomy.family))
    _check_fit(source, anatomy, regions)
    found: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad():
        for region in regions:
            there = parameters[region.tensor][region.index]
            new = _read(source, anatomy, region)
            _check_slice(region, there, new)
            found.append((there, new))
        found += _rows_there(model, source, anatomy, regions)
    return found


def tensors_in(weights: nn.Module | ReadableWeights, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """Return all tensors by canonical name, and under `ABSENT` which rows of a vocabulary are not there."""
    if is_module(weights):
        held: dict[str, Tensor] = {**parameters_of(weights)}
        return held if (absent := absent_rows(weights)) is None else {**held, ABSENT: absent}
    readable = cast("ReadableWeights", weights)
    found = {name: readable.read(name).to(dtype) for name in readable.shapes}
    shared = getattr(readable, "vocabulary", None)
    return found if shared is None else {**found, ABSENT: shared.absent}


def _rows_there(
    model: nn.Module, base: ReadableWeights, anatomy: Anatomy, regions: Iterable[Region]
) -> list[tuple[Tensor, Tensor]]:
    """Return which of the rows in these regions are absent in the model, and which are in base."""
    absent = absent_rows(model)
    if absent is None:
        return []
    family = families()[anatomy.family]
    outputs = family.unembedding if family.unembedding in anatomy.shapes else family.embedding
    stretches = [region for region in regions if region.tensor == outputs]
    given = base.tensors.get(ABSENT) if isinstance(base, _InMemory) else None
    if given is None and (shared := getattr(base, "vocabulary", None)) is not None:
        given = shared.absent
    if given is None:
        given = torch.zeros_like(absent)
    given = given.to(absent.device)
    return [(absent[region.start : region.stop], given[region.start : region.stop]) for region in stretches]


@contextmanager
def exchanged(pairs: Iterable[tuple[Tensor, Tensor]]) -> Generator[None]:
    """Let the first of each pair hold the values of the second; put its own back when the block ends."""
    kept: list[tuple[Tensor, Tensor]] = []
    try:
        with torch.no_grad():
            for there, new in pairs:
                kept.append((there, there.clone()))
                there.copy_(new)
        yield
    finally:
        with torch.no_grad():
            for there, before in kept:
                there.copy_(before)


def grafted(
    model: Model, base: Source, components: ComponentSet, anatomy: Anatomy | None = None
) -> AbstractContextManager[Model]:
    """Yield `model` as `base` with only `components` from it: all others are taken back; see `taken_back`.

    Raises:
        TakebackError: as `taken_back` does.
    """
    return taken_back(model, base, ~components, anatomy)


def anatomy_for(model: nn.Module, components: ComponentSet) -> Anatomy:
    """Return the model's anatomy at the resolution that the set has."""
    return anatomy_of(model, components.resolution)


@dataclass(frozen=True, slots=True)
class _InMemory:
    """Reads tensors in memory like a checkpoint."""

    tensors: Mapping[str, Tensor]
    config: Any = None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}

    def read(self, name: str, /) -> Tensor:
        return self.tensors[name]

    def read_region(self, region: Region, /) -> Tensor:
        return self.tensors[region.tensor][region.index]


def _readable(base: Source, family: Family | None) -> ReadableWeights:
    if is_module(base):
        return _InMemory(tensors_in(base))
    if isinstance(base, Mapping):
        return _InMemory(canonical_names(base, family))
    return cast("ReadableWeights", base)


def _check_fit(base: ReadableWeights, anatomy: Anatomy, regions: Iterable[Region]) -> None:
    """Raise unless `base` holds what the regions need, in the model's shapes, and is tied as the model is."""
    shapes = base.shapes
    _check_tied(base, anatomy)
    for region in regions:
        parts = [name for names in anatomy.parts(region) for name in names]
        missing = [name for name in parts if name not in shapes]
        if region.tensor in shapes:
            if tuple(shapes[region.tensor]) != anatomy.shapes[region.tensor]:
                raise TakebackError(
                    f"tensor {region.tensor!r} has shape {anatomy.shapes[region.tensor]} in the model and "
                    f"{tuple(shapes[region.tensor])} in base; take back from a model of the same architecture"
                )
        elif missing or not parts:
            raise TakebackError(
                f"base has no tensor {missing[0] if missing else region.tensor!r}, which the model has; "
                "take back from a model of the same architecture"
            )


def _check_tied(base: ReadableWeights, anatomy: Anatomy) -> None:
    family = families().get(anatomy.family)
    if family is None:
        _check_whole(base, anatomy)
        return
    shapes, unembedding = base.shapes, family.unembedding
    if unembedding in anatomy.shapes:
        if unembedding not in shapes:
            raise TakebackError("base has tied embeddings and the model has not; untie base first")
    elif unembedding in shapes and not _is_copy(base, family):
        raise TakebackError("the model has tied embeddings and base has not; untie the model first")


def _check_whole(base: ReadableWeights, anatomy: Anatomy) -> None:
    """Raise if `base` has a tensor that the model has not, but for one that it holds twice, as tied ones."""
    names = [name for name in base.shapes if name not in anatomy.shapes]
    for name in names:
        shape = tuple(base.shapes[name])
        alike = [one for one in base.shapes if one != name and tuple(base.shapes[one]) == shape]
        if not any(torch.equal(base.read(one), base.read(name)) for one in alike):
            raise TakebackError(
                f"base has a tensor {name!r}, which the model has not, or has tied to another"
            )


def _is_copy(base: ReadableWeights, family: Family) -> bool:
    """Return whether the unembedding that `base` holds is its embedding once more."""
    if base.config is not None:
        return says_tied(family, base.config)
    one, other = base.read(family.embedding), base.read(family.unembedding)
    return one.data_ptr() == other.data_ptr() or torch.equal(one, other)


def _read(base: ReadableWeights, anatomy: Anatomy, region: Region) -> Tensor:
    if region.tensor in base.shapes:
        return base.read_region(region)
    return stacked(base.read, anatomy.parts(region))


def _check_slice(region: Region, there: Tensor, new: Tensor) -> None:
    """Raise unless `new` can take the place of the entries `there` without a change of value."""
    if new.shape != there.shape:
        raise TakebackError(
            f"base gives {tuple(new.shape)} where {region.tensor!r} of the model has {tuple(there.shape)}; "
            "take back from a model of the same architecture"
        )
    if new.dtype != there.dtype and not new.dtype.is_floating_point:
        raise TakebackError(
            f"tensor {region.tensor!r} is {new.dtype} in base; dequantize it to floating-point weights first"
        )
    fits = new.dtype == there.dtype or narrowest_dtype(there.dtype, new.dtype) == there.dtype
    if not fits and not torch.equal(new.to(there.dtype).double(), new.double()):
        raise TakebackError(
            f"tensor {region.tensor!r} is {new.dtype} in base, with values the model's {there.dtype} can't "
            f"hold exactly; load the model in {new.dtype}"
        )
