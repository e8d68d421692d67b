"""Adapters as PEFT saves them: which tensors of a base each kind of LoRA changes, and how."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from takeback.anatomy import Family, canonical_name
from takeback.anatomy.wiring import known_wiring
from takeback.checkpoint.adapter_config import lora_settings, of_module
from takeback.checkpoint.expert_lora import PRODUCT, ExpertStack, expert_deltas, stacks_of
from takeback.checkpoint.lora import LoraDelta
from takeback.checkpoint.made import Stored
from takeback.checkpoint.peft_merge import PARTS, PeftMerge
from takeback.checkpoint.shards import Entry, read_header, weight_entries
from takeback.run.errors import TakebackError

Change = LoraDelta | PeftMerge
"""What an adapter makes of one tensor."""

_EMBEDDED = {"lora_embedding_A", "lora_embedding_B"}
_TOKENS = "token_adapter.trainable_tokens_delta"
_SPLITS_BASE = ("pissa", "olora")


@dataclass(frozen=True)
class Adapter:
    """Holds what an adapter changes, by canonical name: what it adds, and what takes a tensor's place.

    `unties` says that it gives one of two tied embeddings a value of its own.
    """

    deltas: dict[str, Change] = field(default_factory=dict[str, Change])
    replaced: dict[str, Entry] = field(default_factory=dict[str, Entry])
    unties: bool = False


def read_adapter(
    folder: Path, family: Family | None, base: Mapping[str, Stored], tied: tuple[str, str] | None
) -> Adapter:
    """Read which tensors of the `base` a LoRA adapter changes, and how.

    Where the base has its embeddings `tied` (their two names), `base` has both. Rows of trained tokens then
    change both, as in peft; anything else on one of them unties them, since that is the model that was
    trained (peft's `merge_and_unload` would add it to both).

    Raises:
        TakebackError: the adapter is of a kind that is not read (the message names it), is malformed, or does
            not fit the base.
    """
    names, settings = _Names(folder, family, base), lora_settings(folder)
    if not (folder / "adapter_model.safetensors").is_file():
        weight_entries(folder)
        raise TakebackError(f"{folder} has no adapter_model.safetensors")
    adapter, modules = Adapter(), dict[str, dict[str, Entry]]()
    for stored, entry in read_header(folder / "adapter_model.safetensors").items():
        _check_entry(folder, stored, entry)
        name = stored.removeprefix("base_model.model.")
        part = PARTS.fullmatch(name)
        if part is not None:
            modules.setdefault(part["module"], {})[part["part"]] = entry
        else:  # modules_to_save, biases, and embeddings that peft saves beside their adapter
            target = names.target(name.replace(".base_layer.", "."))
            rows = () if family is None else family.vocabulary
            if target not in rows or entry.shape[1:] != base[target].shape[1:]:
                _check_shape(folder, target, entry.shape, base)
            adapter.replaced[target] = entry
    for target, change in _all_changes(names, modules, settings):
        _check_shape(folder, target, change.shape, {**base, **adapter.replaced})
        wide = "float64" if base[target].element == "float64" else "float32"
        adapter.deltas[target] = replace(change, element=wide)
    return _tied(adapter, tied, base) if tied else adapter


def _all_changes(
    names: _Names, modules: Mapping[str, Mapping[str, Entry]], settings: Mapping[str, Any]
) -> Iterator[tuple[str, Change]]:
    experts = dict[str, tuple[list[ExpertStack], Mapping[str, Entry]]]()
    for module, parts in modules.items():
        stacks = stacks_of(names.family, names.tensors, module, settings.get("target_parameters") or ())
        if stacks:
            experts[module] = stacks, parts
        else:
            yield from _changes(names, module, parts, settings)
    yield from expert_deltas(names.folder, experts, names.tensors, settings)


def _tied(adapter: Adapter, both: tuple[str, str], base: Mapping[str, Stored]) -> Adapter:
    """Leave tied what stays so: copies of the base's own, the same for both, rows of tokens."""
    embedding, unembedding = both
    replaced = dict(adapter.replaced)
    if embedding in replaced and replaced[both[0]].shape != base[both[0]].shape:
        replaced.pop(unembedding, None)  # a vocabulary that was made larger, and stays tied
        return Adapter(adapter.deltas, replaced)
    for name in both:
        if name in replaced and _same(replaced[name], base[name]):
            del replaced[name]
    apart = [name for name in both if name in adapter.deltas and not _only_tokens(adapter.deltas[name])]
    if not apart and all(name in replaced for name in both):
        first, second = (replaced[name].read() for name in both)
        if first.equal(second):
            del replaced[unembedding]
            return Adapter(adapter.deltas, replaced)
    apart += [name for name in both if name in replaced]
    deltas = dict(adapter.deltas)
    if not apart:
        deltas.pop(unembedding, None)
    elif embedding in deltas and unembedding not in deltas and _only_tokens(deltas[both[0]]):
        deltas[unembedding] = deltas[embedding]
    return Adapter(deltas, replaced, bool(apart))


def _same(one: Stored, other: Stored) -> bool:
    first, second = one.read(), other.read()
    return first.equal(second.to(first.dtype))


def _only_tokens(change: Change) -> bool:
    return isinstance(change, PeftMerge) and _TOKENS in change.parts


@dataclass(frozen=True)
class _Names:
    """Finds the tensors of a base that an adapter's names stand for."""

    folder: Path
    family: Family | None
    tensors: Mapping[str, Stored]

    def target(self, name: str) -> str:
        """Return the canonical name of the tensor that the adapter's `name` stands for."""
        target = name if self.family is None else canonical_name(self.family, name)
        if target is None or target not in self.tensors:
            if re.search(r"\.experts(\.base_layer)*\.weight$", name):
                raise TakebackError(
                    f"{self.folder} adapts stacked experts (target_parameters), which are read only where "
                    "files hold them one by one; merge it with peft and save that"
                )
            raise TakebackError(f"{self.folder} holds {name}, and the base has no such tensor")
        return target

    def inputs_first(self, target: str, parts: Mapping[str, Entry]) -> bool:
        """Return whether a weight is (inputs, outputs): in some families all but the embeddings are.

        Where nothing says it, the shapes do, and a square one is (outputs, inputs) as in most models.
        """
        if self.family is not None and target in (self.family.embedding, self.family.unembedding):
            return False
        wiring = None if self.family is None else known_wiring(self.family.name)
        if wiring is not None:
            return wiring.transposed
        a, b = parts.get("lora_A.weight"), parts.get("lora_B.weight")
        shape = self.tensors[target].shape
        return a is not None and b is not None and shape[::-1] == (b.shape[0], a.shape[1]) != shape


def _changes(
    names: _Names, module: str, parts: Mapping[str, Entry], settings: Mapping[str, Any]
) -> list[tuple[str, Change]]:
    """Return what the parts of one layer's adapter make of its weight, and of its bias."""
    target = names.target(f"{module}.weight")
    first = names.inputs_first(target, parts)
    rank = of_module(module, settings["rank_pattern"], settings["r"])
    alpha = of_module(module, settings["alpha_pattern"], settings["lora_alpha"])
    _check_parts(names.folder, module, parts, rank)
    if settings["use_dora"] and "lora_magnitude_vector" not in parts and _TOKENS not in parts:
        raise TakebackError(f"{names.folder} says use_dora, but has no lora_magnitude_vector for {module}")
    if set(parts) == PRODUCT and settings["init_lora_weights"] not in _SPLITS_BASE:
        scale = alpha / (math.sqrt(rank) if settings["use_rslora"] else rank)
        return [(target, LoraDelta(parts["lora_A.weight"], parts["lora_B.weight"], scale, first))]
    if set(parts) == _EMBEDDED and settings["init_lora_weights"] not in _SPLITS_BASE:
        scale = alpha / (math.sqrt(rank) if settings["use_rslora"] else rank)
        return [(target, LoraDelta(parts["lora_embedding_A"], parts["lora_embedding_B"], scale, True))]
    rows = parts.keys() & _EMBEDDED or _TOKENS in parts
    kind = "Embedding" if rows else "Conv1D" if first else "Linear"
    shape = names.tensors[target].shape
    made = PeftMerge(module, kind, "weight", shape, rank, alpha, settings, parts)
    if "lora_B.bias" not in parts:
        return [(target, made)]
    bias = names.target(f"{module}.bias")
    return [(target, made), (bias, replace(made, tensor="bias", shape=names.tensors[bias].shape))]


def _check_parts(folder: Path, module: str, parts: Mapping[str, Entry], rank: int) -> None:
    """Raise unless a layer has both halves of an adapter, of its config's rank, or rows of tokens."""
    if set(parts) == {_TOKENS}:
        return
    halves = sorted(parts.keys() & PRODUCT) or sorted(parts.keys() & _EMBEDDED)
    if len(halves) < 2 or _TOKENS in parts:
        raise TakebackError(f"{folder} has only one half of the adapter of {module}; fetch or save it again")
    a, b = (parts[half] for half in halves)
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise TakebackError(f"{folder} has {list(a.shape)} and {list(b.shape)} for {module}, no matrices")
    if a.shape[0] != rank or b.shape[1] != rank:
        raise TakebackError(f"{folder} has rank {a.shape[0]} for {module}, its config says {rank}")


def _check_entry(folder: Path, stored: str, entry: Entry) -> None:
    if not entry.element.startswith(("float", "bfloat")):
        raise TakebackError(f"{folder} holds {stored} as {entry.element}; save it as floating-point numbers")


def _check_shape(folder: Path, name: str, shape: tuple[int, ...], base: Mapping[str, Stored]) -> None:
    if tuple(shape) != base[name].shape:
        raise TakebackError(
            f"{folder} changes {name} of shape {list(shape)}, but the base has {list(base[name].shape)}"
        )
