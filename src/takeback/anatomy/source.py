"""The door to an anatomy: from a live module, or from anything with a config and tensor shapes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, TypeVar, cast

from takeback.anatomy.anatomy import Anatomy
from takeback.anatomy.families import Family, canonical_name, families, family_of
from takeback.anatomy.partition import decoder_anatomy, says_tied, value_of
from takeback.anatomy.stack import stack_anatomy
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    from torch import nn

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

    No weights are read: a module may be on the meta device. `resolution` is "heads" or "neurons"; a stack of
    linear layers has units in any case, but many outputs are one component unless it is "neurons". Where a
    config says that embeddings are tied, a stored unembedding is a copy without a component of its own; in a
    live module it counts whether the parameters are one.

    Raises:
        UnknownName: the family or the resolution is unknown; the message lists those known.
        TakebackError: a tensor that nothing claims, or one whose shape does not fit the config.
    """
    if is_module(source):
        config = getattr(source, "config", None)
        family = family_in(config)
        shapes = {name: tuple(parameter.shape) for name, parameter in parameters_of(source).items()}
        if family is None:
            _check_linear(source)
    else:
        described = cast("Described", source)
        config = described.config
        family = family_in(config)
        shapes = canonical_names({name: tuple(shape) for name, shape in described.shapes.items()}, family)
        if family is not None and says_tied(family, config):
            shapes = {name: shape for name, shape in shapes.items() if name != family.unembedding}
    if family is None:
        return stack_anatomy(shapes, resolution)
    return decoder_anatomy(family, config, shapes, resolution)


def is_module(source: object) -> TypeGuard[nn.Module]:
    """Return whether `source` is a torch module, without loading torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.nn.Module)


def family_in(config: Any) -> Family | None:
    """Return the family that a config's `model_type` names, None where there is no config or model type.

    Raises:
        UnknownName: the model type is of no known family.
    """
    model_type = None if config is None else value_of(config, "model_type")
    return family_of(model_type) if model_type else None


def parameters_of(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return a module's parameters by canonical name, tied ones once.

    Raises:
        UnknownName: the module's config names an unknown family.
    """
    return canonical_names(dict(module.named_parameters()), family_in(getattr(module, "config", None)))


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


def _check_linear(module: nn.Module) -> None:
    from torch import nn

    for name, part in module.named_modules():
        if not isinstance(part, nn.Linear) and next(part.parameters(recurse=False), None) is not None:
            raise TakebackError(
                f"{name or 'the model'} is a {type(part).__name__}, and no config names the model's family; "
                f"only stacks of linear layers go without one (known families: {', '.join(families())})"
            )
