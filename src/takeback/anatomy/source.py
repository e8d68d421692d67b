"""The door to an anatomy: from a live module, or from anything with a config and tensor shapes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, TypeVar, cast

from takeback.anatomy.anatomy import Anatomy
from takeback.anatomy.families import Family, canonical_name, families, known_family, no_family
from takeback.anatomy.partition import decoder_anatomy, says_tied, value_of
from takeback.anatomy.region import RESOLUTIONS
from takeback.anatomy.stack import stack_anatomy
from takeback.anatomy.tensors import TENSORS, tensor_anatomy
from takeback.run.errors import TakebackError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor, nn

Value = TypeVar("Value")


class Described(Protocol):
    """Has a config (None for a stack of linear layers) and the shapes of its tensors, as a checkpoint has."""

    @property
    def config(self) -> Any:
        """The config, as a mapping or an object."""
        ...

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each tensor by name."""
        ...


def anatomy_of(source: nn.Module | Described, resolution: str = "heads") -> Anatomy:
    """Return the anatomy of a Hugging Face decoder or of a stack of linear layers, live or in a checkpoint.

    Where no family knows the model type, and of any other state dict, every tensor is a component.

    No weights are read: a module may be on the meta device. `resolution` is "heads" or "neurons"; a stack of
    linear layers has units in any case, but many outputs are one component unless it is "neurons". Where a
    config says that embeddings are tied, a stored unembedding is a copy without a component of its own; in a
    live module it counts whether the parameters are one.

    Raises:
        UnknownName: the resolution is unknown, or the model type is one that is not read.
        TakebackError: a tensor that nothing claims, or one whose shape does not fit the config.
    """
    if is_module(source):
        config = getattr(source, "config", None)
        family = family_in(config)
        shapes = {name: tuple(parameter.shape) for name, parameter in parameters_of(source).items()}
        if _type_in(config) is None:
            _check_linear(source)
    else:
        described = cast("Described", source)
        config = described.config
        family = family_in(config)
        shapes = canonical_names({name: tuple(shape) for name, shape in described.shapes.items()}, family)
        if family is not None and says_tied(family, config):
            shapes = {name: shape for name, shape in shapes.items() if name != family.unembedding}
    if family is None:
        return _without_family(_type_in(config), shapes, resolution)
    return decoder_anatomy(family, config, shapes, resolution)


def is_module(source: object) -> TypeGuard[nn.Module]:
    """Return whether `source` is a torch module, without loading torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.nn.Module)


def family_in(config: Any) -> Family | None:
    """Return the family that a config's `model_type` names, None where no family has it or there is none.

    Raises:
        UnknownName: the model type is one that is not read; the message says what to do.
    """
    model_type = _type_in(config)
    return None if model_type is None else known_family(model_type)


def parameters_of(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's parameters by canonical name, tied ones once.

    Buffers that files hold and the family claims are among them, as a router's bias that training moves;
    where no family says what is a parameter, all that hold floats.
    """
    config = getattr(module, "config", None)
    family = family_in(config)
    found: dict[str, Tensor] = dict(module.named_parameters())
    if family is None and _type_in(config) is None:
        return found
    claimed = {
        name: buffer
        for name, buffer in module.named_buffers()
        if (buffer.is_floating_point() if family is None else family.match(name) is not None)
    }
    if claimed:
        kept = module.state_dict(keep_vars=True)
        found |= {name: buffer for name, buffer in claimed.items() if name in kept}
    if family is not None and family.unembedding in found and family.embedding not in found:
        found[family.embedding] = found.pop(family.unembedding)  # tied, and the head comes first
    return canonical_names(found, family)


def canonical_names(stored: Mapping[str, Value], family: Family | None) -> dict[str, Value]:
    """Rename the keys to the family's canonical names, leaving out what is no parameter.

    Raises:
        TakebackError: two keys have the same canonical name.
    """
    if family is None:
        return dict(stored)
    renamed: dict[str, Value] = {}
    for name, value in stored.items():
        canonical = canonical_name(family, name)
        if canonical in renamed:
            raise TakebackError(f"two tensors are both {canonical!r}, one of them under the name {name!r}")
        if canonical is not None:
            renamed[canonical] = value
    return renamed


def _type_in(config: Any) -> str | None:
    return None if config is None else value_of(config, "model_type") or None


def _without_family(
    model_type: str | None, shapes: Mapping[str, tuple[int, ...]], resolution: str
) -> Anatomy:
    if resolution not in (*RESOLUTIONS, TENSORS):
        raise unknown_name("resolution", resolution, RESOLUTIONS)
    if model_type is None:
        try:
            return stack_anatomy(shapes, resolution)
        except TakebackError as error:
            reason = f"its components are whole tensors (T:NAME), as {error}"
    else:
        reason = no_family(model_type)
        if resolution == "neurons":
            raise TakebackError(reason)
    return tensor_anatomy(shapes, reason)


def _check_linear(module: nn.Module) -> None:
    from torch import nn

    for name, part in module.named_modules():
        if not isinstance(part, nn.Linear) and next(part.parameters(recurse=False), None) is not None:
            raise TakebackError(
                f"{name or 'the model'} is a {type(part).__name__}, and no config names the model's family; "
                f"only stacks of linear layers go without one (known families: {', '.join(families())})"
            )
