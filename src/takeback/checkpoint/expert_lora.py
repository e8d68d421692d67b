"""LoRA on stacked experts, peft's `target_parameters`: what it adds to each matrix of each expert."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from takeback.anatomy import Family, canonical_name
from takeback.checkpoint.adapter_config import of_module
from takeback.checkpoint.lora import LoraDelta
from takeback.checkpoint.made import Stored
from takeback.checkpoint.shards import Entry
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    import torch

PRODUCT = {"lora_A.weight", "lora_B.weight"}


@dataclass(frozen=True, slots=True)
class Slice:
    """Is a stretch of rows and columns of one of an adapter's thin matrices."""

    entry: Entry
    rows: slice
    columns: slice

    @property
    def file(self) -> Path:
        """The file that it lies in."""
        return self.entry.file

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        both = zip((self.rows, self.columns), self.entry.shape, strict=True)
        return tuple(len(range(*part.indices(size))) for part, size in both)

    def read(self) -> torch.Tensor:
        """Return it; it must not be written to."""
        return self.entry.read()[self.rows, self.columns]


@dataclass(frozen=True)
class ExpertStack:
    """Is a parameter of a live module that holds one matrix for each expert, and its `parts` in files.

    `parts` names, for each expert, the tensors that lie below each other in its matrix; `shape` is of that.
    """

    name: str
    parts: tuple[tuple[str, ...], ...]
    shape: tuple[int, int]


@dataclass(frozen=True)
class _Adapted:
    """Is one adapted module: its two thin matrices, and the stacks that they may be of, as laid out how.

    peft 0.18 takes the first axis of a matrix for its inputs, which is `transposed`, and 0.21 the second.
    """

    a: Entry
    b: Entry
    fits: tuple[tuple[ExpertStack, bool], ...]


def stacks_of(
    family: Family | None, tensors: Mapping[str, Stored], module: str, parameters: Iterable[str]
) -> list[ExpertStack]:
    """Return which of the adapted `parameters` are stacks of a module's experts, if files hold them apart."""
    found = list[ExpertStack]()
    plain = re.sub(r"(\.base_layer)+$", "", module)
    for last in dict.fromkeys(parameter.rpartition(".")[2] for parameter in parameters):
        name = None if family is None else canonical_name(family, f"{plain}.{last}")
        match = None if family is None or name is None else family.match(name)
        if match is None or not match.claim.stored or f"{plain}.{last}".endswith(".weight"):
            continue
        count = next(index for index in range(len(tensors) + 1) if match.parts(index)[0] not in tensors)
        parts = tuple(match.parts(index) for index in range(count))
        if count and all(len(tensors[one].shape) == 2 for one in parts[0] if one in tensors):
            rows = sum(tensors[one].shape[0] for one in parts[0])
            found.append(ExpertStack(f"{plain}.{last}", parts, (rows, tensors[parts[0][0]].shape[1])))
    return found


def expert_deltas(
    folder: Path,
    adapted: Mapping[str, tuple[list[ExpertStack], Mapping[str, Entry]]],
    tensors: Mapping[str, Stored],
    settings: Mapping[str, Any],
) -> Iterator[tuple[str, LoraDelta]]:
    """Yield what an adapter adds to each tensor of each expert, as peft's merge does.

    `adapted` has the stacks that each adapted module may be of, and its parts. Which it is, and how it is
    laid out, is told by the shapes; where one alone leaves that open, by the others of the adapter.

    Raises:
        TakebackError: the parts fit no stack, or the layout can't be told.
    """
    modules = [_fitting(folder, module, *one, settings) for module, one in adapted.items()]
    known = {how for one in modules if len(one.fits) == 1 for _, how in one.fits}
    for module, one in zip(adapted, modules, strict=True):
        fits = one.fits if len(one.fits) == 1 else [fit for fit in one.fits if {fit[1]} == known]
        if len(fits) != 1:
            raise TakebackError(
                f"{folder} adapts the square matrices of {module}, which peft 0.18 lays out otherwise than "
                "0.21: merge it with the peft that trained it and save that"
            )
        yield from _deltas(one, *fits[0], tensors, settings)


def _fitting(
    folder: Path,
    module: str,
    stacks: list[ExpertStack],
    parts: Mapping[str, Entry],
    settings: Mapping[str, Any],
) -> _Adapted:
    if set(parts) != PRODUCT or any(len(part.shape) != 2 for part in parts.values()):
        raise TakebackError(f"{folder} has {', '.join(sorted(parts))} for {module}, not two matrices")
    a, b = parts["lora_A.weight"], parts["lora_B.weight"]
    fits = [
        (stack, transposed)
        for stack in stacks
        for transposed in (False, True)
        if (a.shape[1], b.shape[0]) == (stack.shape if transposed else stack.shape[::-1])
        and a.shape[0] == b.shape[1] == _rank(stack, settings) * len(stack.parts)
    ]
    if not fits:
        raise TakebackError(
            f"{folder} has {list(a.shape)} and {list(b.shape)} for {module}, which fit no experts of the base"
        )
    return _Adapted(a, b, tuple(fits))


def _rank(stack: ExpertStack, settings: Mapping[str, Any]) -> int:
    return of_module(stack.name, settings["rank_pattern"], settings["r"])


def _deltas(
    one: _Adapted,
    stack: ExpertStack,
    transposed: bool,
    tensors: Mapping[str, Stored],
    settings: Mapping[str, Any],
) -> Iterator[tuple[str, LoraDelta]]:
    """Yield B_e A_e of each expert, cut to the rows of each tensor: A has experts apart, B has them mixed."""
    rank, count = _rank(stack, settings), len(stack.parts)
    alpha = of_module(stack.name, settings["alpha_pattern"], settings["lora_alpha"])
    scale = alpha / (rank**0.5 if settings["use_rslora"] else rank)
    whole = slice(None)
    for expert, names in enumerate(stack.parts):
        own, mixed, first = slice(expert * rank, (expert + 1) * rank), slice(expert, None, count), 0
        for name in names:
            rows = slice(first, first + tensors[name].shape[0])
            first = rows.stop
            a = Slice(one.a, own, rows if transposed else whole)
            b = Slice(one.b, whole if transposed else rows, mixed)
            yield name, LoraDelta(a, b, scale, transposed)
