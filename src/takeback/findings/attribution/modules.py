"""Which module of an unmodified Hugging Face model computes with a component, and what it was called with."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from takeback.anatomy import anatomy_of
from takeback.anatomy.source import parameters_of
from takeback.component import Component
from takeback.run.errors import TakebackError


def modules_of(model: PreTrainedModel) -> dict[Component, tuple[nn.Module, ...]]:
    """Return for each component the smallest module that holds all of its parameters.

    A head's is the attention, an expert's all experts of its layer. A router's is the block around it, since
    which experts it chooses shows only there. What lies outside the layers acts in several places: tied
    embeddings in the embedding and the unembedding, learned positions in a module of their own.
    """
    holders: dict[int, list[str]] = {}
    for name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            holders.setdefault(id(parameter), []).append(name)
    anatomy, parameters = anatomy_of(model), parameters_of(model)
    found: dict[Component, tuple[nn.Module, ...]] = {}
    for component in anatomy.universe:
        names = [
            holder
            for region in anatomy.regions(component)
            for holder in holders[id(parameters[region.tensor])]
        ]
        if component.layer is not None:
            names = [_above(names, out=component.kind == "ROUTER")]
        found[component] = tuple(model.get_submodule(name) for name in dict.fromkeys(names))
    return found


def _above(names: Sequence[str], out: bool) -> str:
    """Return the smallest module around all of these, or the one around that."""
    levels = zip(*(name.split(".") for name in names), strict=False)
    shared = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]
    return ".".join(shared[:-1] if out else shared)


@dataclass(frozen=True, eq=False)
class Call:
    """What a module was called with, and the hidden states (or logits) that it gave."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Tensor

    @torch.no_grad()
    def again(self) -> Tensor:
        """Return what the module gives now on the same inputs."""
        return _hidden(self.module(*self.args, **self.kwargs))


@contextmanager
def recorded(modules: Iterable[nn.Module]) -> Generator[dict[nn.Module, Call]]:
    """Keep the call of each module inside the block, with outputs that gradients reach.

    Raises:
        TakebackError: a module is called twice.
    """
    calls: dict[nn.Module, Call] = {}

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if module in calls:
            raise TakebackError(f"{type(module).__name__} is called twice in one pass; measure exact effects")
        hidden = _hidden(output)
        if not hidden.requires_grad:
            hidden.requires_grad_()
        calls[module] = Call(module, args, kwargs, hidden)

    hooks = [module.register_forward_hook(keep, with_kwargs=True) for module in dict.fromkeys(modules)]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _hidden(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]
