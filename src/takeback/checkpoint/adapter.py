"""LoRA adapters as PEFT saves them, merged tensor by tensor in float32."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from takeback.anatomy import Family, canonical_name
from takeback.anatomy.wiring import known_wiring
from takeback.checkpoint.shards import Entry, read_header, weight_entries
from takeback.run.errors import TakebackError
from takeback.run.json_text import read_json
from takeback.run.machine_code import machine_code
from takeback.run.reading import Missing, Unreadable

if TYPE_CHECKING:
    import torch

_READ = {"r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save", "peft_type"}
_WITHOUT_EFFECT = {
    "task_type",
    "auto_mapping",
    "peft_version",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "target_modules",
    "exclude_modules",
    "lora_dropout",
    "fan_in_fan_out",  # told by the family: a saved value is that of the last module only
    "layers_to_transform",
    "layers_pattern",
    "megatron_core",
    "qalora_group_size",
    "runtime_config",
    "eva_config",
}
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),
}


class Half(Protocol):
    """Is one of an adapter's thin matrices, in a file or in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        ...

    def read(self) -> torch.Tensor:
        """Return it; it must not be written to."""
        ...


@dataclass(frozen=True, slots=True)
class LoraDelta:
    """Holds what an adapter adds to one weight: scale · B A, transposed where inputs come first."""

    a: Half
    b: Half
    scale: float
    transposed: bool
    element: str = "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weight that it fits."""
        shape = (self.b.shape[0], self.a.shape[1])
        return shape[::-1] if self.transposed else shape

    @property
    def files(self) -> list[Path]:
        """The files that it lies in; none in memory."""
        return [half.file for half in (self.a, self.b) if isinstance(half, Entry)]

    def merged(self, weight: torch.Tensor) -> torch.Tensor:
        """Return weight + scale · B A (Hu et al. 2021, arXiv 2106.09685), computed in `element`."""
        import torch

        wide = weight.to(getattr(torch, self.element)).contiguous()
        return torch.from_numpy(self.add_to(wide.numpy(), self.factors()))

    def factors(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Read the thin matrices whose product is added: (rows, rank) and (rank, columns)."""
        import torch

        wide: torch.dtype = getattr(torch, self.element)
        halves = [half.read().to(wide) for half in (self.b, self.a)]
        if self.transposed:
            halves = [half.T for half in reversed(halves)]
        left, right = (half.contiguous().numpy() for half in halves)
        return left, right

    def add_to(
        self, weight: NDArray[Any], factors: tuple[NDArray[Any], NDArray[Any]], first: int = 0
    ) -> NDArray[Any]:
        """Return rows of the weight, from the row `first` on and in `element`, with what is added to them."""
        left, right = factors
        merged = np.zeros_like(weight, order="C")
        parts = [np.ascontiguousarray(part) for part in (weight, left[first : first + len(weight)], right)]
        kinds = [f"*{part.dtype}" for part in (*parts, merged)]
        types = ("int64", "int64", "int64", *kinds[:3], str(merged.dtype), kinds[3])
        sizes = (len(weight), len(right), merged.shape[1])
        places = [part.ctypes.data for part in parts]
        machine_code("takeback.checkpoint.merge", "add_product", *types)(
            *sizes, *places, self.scale, merged.ctypes.data
        )
        return merged


@dataclass(frozen=True)
class Adapter:
    """Holds what an adapter changes, by canonical name: what it adds, and what takes a tensor's place."""

    deltas: dict[str, LoraDelta] = field(default_factory=dict[str, LoraDelta])
    replaced: dict[str, Entry] = field(default_factory=dict[str, Entry])


def read_adapter(folder: Path, family: Family | None, base: Mapping[str, Entry], tied: bool) -> Adapter:
    """Read which tensors of the `base` a LoRA adapter changes, and how.

    Raises:
        TakebackError: the adapter is no plain LoRA (the message names what it is), or does not fit the base.
    """
    names = _Names(folder, family, base, tied)
    settings = _settings(folder)
    if not (folder / "adapter_model.safetensors").is_file():
        weight_entries(folder)
        raise TakebackError(f"{folder} has no adapter_model.safetensors")
    adapter, halves = Adapter(), dict[str, dict[str, Entry]]()
    for stored, entry in read_header(folder / "adapter_model.safetensors").items():
        name = stored.removeprefix("base_model.model.")
        half = re.fullmatch(r"(.+)\.lora_([AB])\.weight", name)
        if half is not None:
            halves.setdefault(half[1], {})[half[2]] = entry
        else:  # modules_to_save, and embeddings that peft saves beside their adapter
            target = names.target(name.replace(".base_layer.", "."))
            if family is None or target not in family.vocabulary or entry.shape[1:] != base[target].shape[1:]:
                _check_shape(folder, target, entry.shape, base)
            adapter.replaced[target] = entry
    for module, pair in halves.items():
        target = names.target(f"{module}.weight")
        delta = _delta(folder, module, pair, settings, names.inputs_first(target, pair))
        _check_shape(folder, target, delta.shape, base)
        wide = "float64" if base[target].element == "float64" else "float32"
        adapter.deltas[target] = replace(delta, element=wide)
    return adapter


def _settings(folder: Path) -> dict[str, Any]:
    file = folder / "adapter_config.json"
    try:
        settings = read_json(file)
    except Missing:
        raise TakebackError(
            f"{folder} has no adapter_config.json; write base+adapter with a PEFT adapter's folder"
        ) from None
    except Unreadable as error:
        raise TakebackError(f"{file} is not an adapter's config: {error.why}") from error
    if not isinstance(settings, dict) or settings.get("peft_type") != "LORA":
        kind = settings.get("peft_type") if isinstance(settings, dict) else None
        raise TakebackError(
            f"{folder} is an adapter of type {kind}, not LORA; merge it with peft and save that"
        )
    strange = [
        name
        for name, value in settings.items()
        if value and name not in _READ | _WITHOUT_EFFECT | _NEUTRAL.keys()
    ]
    strange += [
        f"{name}={settings[name]}"
        for name, plain in _NEUTRAL.items()
        if settings.get(name, plain[0]) not in plain
    ]
    if strange:
        raise TakebackError(
            f"{folder} uses {', '.join(strange)}, which is not plain LoRA; merge it with peft and save that"
        )
    return settings


@dataclass(frozen=True)
class _Names:
    """Finds the tensors of a base that an adapter's names stand for."""

    folder: Path
    family: Family | None
    tensors: Mapping[str, Entry]
    tied: bool

    def target(self, name: str) -> str:
        """Return the canonical name of the tensor that the adapter's `name` stands for."""
        target = name if self.family is None else canonical_name(self.family, name)
        if target is None or target not in self.tensors:
            tied = ", or has it tied" if self.tied else ""
            raise TakebackError(
                f"{self.folder} holds {name}, which is no part of a plain LoRA of a base that has no such "
                f"tensor{tied}"
            )
        return target

    def inputs_first(self, target: str, pair: Mapping[str, Entry]) -> bool:
        """Return whether a weight is (inputs, outputs): in some families all but the embeddings are.

        Where nothing says it, the shapes do, and a square one is (outputs, inputs) as in most models.
        """
        if self.family is not None and target in (self.family.embedding, self.family.unembedding):
            return False
        wiring = None if self.family is None else known_wiring(self.family.name)
        if wiring is not None:
            return wiring.transposed
        a, b = pair.get("A"), pair.get("B")
        shape = self.tensors[target].shape
        return a is not None and b is not None and shape[::-1] == (b.shape[0], a.shape[1]) != shape


def _delta(
    folder: Path, module: str, pair: Mapping[str, Entry], settings: Mapping[str, Any], transposed: bool
) -> LoraDelta:
    if len(pair) < 2:
        raise TakebackError(f"{folder} has only one half of the adapter of {module}; fetch or save it again")
    rank = _of_module(module, settings.get("rank_pattern") or {}, settings["r"])
    alpha = _of_module(module, settings.get("alpha_pattern") or {}, settings["lora_alpha"])
    if pair["A"].shape[0] != rank or pair["B"].shape[1] != rank:
        raise TakebackError(f"{folder} has rank {pair['A'].shape[0]} for {module}, its config says {rank}")
    scale = alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    return LoraDelta(pair["A"], pair["B"], scale, transposed)


def _of_module(module: str, patterns: Mapping[str, int], default: int) -> int:
    """Return the value of the first pattern that fits the end of a module's name, as PEFT matches them."""
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), default)


def _check_shape(folder: Path, name: str, shape: tuple[int, ...], base: Mapping[str, Entry]) -> None:
    if tuple(shape) != base[name].shape:
        raise TakebackError(
            f"{folder} changes {name} of shape {list(shape)}, but the base has {list(base[name].shape)}"
        )
