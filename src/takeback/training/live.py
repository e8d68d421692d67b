"""The tensors of a model in the middle of its training, one at a time, an adapter merged as on disk."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from takeback.anatomy import Anatomy, anatomy_of
from takeback.anatomy.source import canonical_names, family_in
from takeback.checkpoint.flat import Flat, Held, Merged
from takeback.checkpoint.lora import LoraDelta
from takeback.run.errors import TakebackError

_WRAPPERS = {"DistributedDataParallel": "module", "DataParallel": "module", "OptimizedModule": "_orig_mod"}
"""What torch puts around a model, and where the model is in it."""


@dataclass(frozen=True, eq=False)
class Trained:
    """Holds one tensor of a live model: as it is, as it was where that is known, and what is added to it."""

    now: nn.Parameter
    before: nn.Parameter | None
    lora: LoraDelta | None = None

    @property
    def base(self) -> Flat:
        """The entries as they were under an adapter; those of now where that is not known."""
        return Held(self.now if self.before is None else self.before)

    @property
    def tuned(self) -> Flat:
        """The entries as they are, an adapter merged in as on disk."""
        held = Held(self.now)
        return held if self.lora is None else Merged(held, self.lora)


@dataclass(frozen=True, eq=False)
class LiveModel:
    """Gives the tensors of a live model by canonical name, of one that wears an adapter those it stands for.

    The tensors are the model's own and no copies: what is read is the state of the moment.
    """

    anatomy: Anatomy
    tensors: Mapping[str, Trained]
    adapted: bool

    @classmethod
    def of(cls, model: nn.Module) -> LiveModel:
        """Look at a model, without what wraps it.

        Raises:
            UnknownName: its family is unknown.
            TakebackError: its parameters lie in parts on several processes, are quantized, or an adapter is
                no plain LoRA.
        """
        model = unwrapped(model)
        config = getattr(model, "config", None)
        modules = dict(model.named_modules())
        found = {
            name: trained
            for place, parameter in model.named_parameters()
            for name, trained in _trained(modules, place, parameter)
        }
        tensors = canonical_names(found, family_in(config))
        for name, one in tensors.items():
            _check(name, one.now)
        shapes = {name: tuple(one.now.shape) for name, one in tensors.items()}
        return cls(anatomy_of(_Shapes(config, shapes)), tensors, any(map(_is_tuner, modules.values())))


@dataclass(frozen=True)
class _Shapes:
    config: Any
    shapes: Mapping[str, tuple[int, ...]]


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside of what torch and peft put around it; modules with adapters stay in it.

    >>> layer = nn.Linear(2, 2)
    >>> unwrapped(nn.DataParallel(layer)) is layer
    True
    """
    while (inner := _WRAPPERS.get(type(model).__name__)) is not None:
        model = cast("nn.Module", getattr(model, inner))
    peft = sys.modules.get("peft")
    return cast(Any, model).get_base_model() if peft and isinstance(model, peft.PeftModel) else model


def _trained(
    modules: Mapping[str, nn.Module], place: str, parameter: nn.Parameter
) -> list[tuple[str, Trained]]:
    """Return the tensor that a parameter is, by name; none for an adapter's half, which is in another."""
    parts = place.split(".")
    for depth in range(len(parts) - 1, 0, -1):
        owner, rest = modules[".".join(parts[:depth])], parts[depth:]
        if _is_tuner(owner):
            if rest[0] != "base_layer":
                return []
            name = ".".join([*parts[:depth], *rest[1:]])
            lora = _lora(name, owner, parameter) if rest == ["base_layer", "weight"] else None
            return [(name, Trained(parameter, None if parameter.requires_grad else parameter, lora))]
        if hasattr(owner, "original_module") and hasattr(owner, "active_adapters"):
            return _saved_whole(".".join(parts[:depth]), owner, rest, parameter)
    return [(place, Trained(parameter, None if parameter.requires_grad else parameter))]


def _is_tuner(module: nn.Module) -> bool:
    peft = sys.modules.get("peft")
    return peft is not None and isinstance(module, peft.tuners.tuners_utils.BaseTunerLayer)


def _saved_whole(
    where: str, owner: Any, rest: list[str], parameter: nn.Parameter
) -> list[tuple[str, Trained]]:
    """Return a tensor that is trained beside an adapter, as a copy of the one before."""
    if type(owner).__name__ != "ModulesToSaveWrapper":
        raise TakebackError(f"{where} is trained by peft's {type(owner).__name__}, which is not plain LoRA")
    (active,) = owner.active_adapters
    if rest[:2] != ["modules_to_save", active]:
        return []
    before: nn.Parameter = owner.original_module.get_parameter(".".join(rest[2:]))
    return [(".".join([where, *rest[2:]]), Trained(parameter, before))]


def _lora(name: str, layer: Any, weight: nn.Parameter) -> LoraDelta:
    """Return what a layer's active adapter adds to its weight.

    Raises:
        TakebackError: it is no plain LoRA of a linear layer.
    """
    active = [one for one in layer.active_adapters if one in getattr(layer, "lora_A", ())]
    kind = type(layer.get_base_layer()).__name__
    plain = kind in ("Linear", "Conv1D") and not layer.merged and len(active) == 1
    if not plain or any(getattr(layer, one, {}).get(active[0]) for one in ("use_dora", "lora_bias")):
        raise TakebackError(
            f"{name} is trained by an adapter that is not one plain LoRA of a linear layer; leave the "
            "callback out, or merge checkpoints with peft and compare those"
        )
    a, b = (Held(half[active[0]].weight) for half in (layer.lora_A, layer.lora_B))
    element = "float64" if Held(weight).element == "float64" else "float32"
    return LoraDelta(a, b, layer.scaling[active[0]], kind == "Conv1D", element)


def _check(name: str, parameter: nn.Parameter) -> None:
    if hasattr(parameter, "ds_shape") or hasattr(parameter, "device_mesh"):
        raise TakebackError(
            f"{name} lies in parts on several processes; compare saved checkpoints with takeback diff"
        )
    if not parameter.is_floating_point():
        raise TakebackError(
            f"{name} is quantized ({Held(parameter).element}); compare saved checkpoints as base+adapter"
        )
