"""Training with only some components free to move: all others end as they are in the parent, bit for bit.

A head is a stretch of several tensors, so that freezing whole parameters is not enough. Tensors without a
free entry take no part in training. In those that are free in part, gradients of the other entries are zero,
so that clipping and logged norms see free entries alone, and what an optimiser moves all the same (weight
decay) is put back after each of its steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from takeback.anatomy import Region, anatomy_of
from takeback.anatomy.source import parameters_of
from takeback.component import ComponentSet
from takeback.run.errors import TakebackError, UnknownName

EVERYTHING = "*"
"""The text of the set of all components."""


@dataclass(frozen=True, eq=False)
class Still:
    """Holds a parameter that is free in part: which of its entries are, and what the others have to be."""

    parameter: Tensor
    free: Tensor
    before: Tensor

    def mask(self, gradient: Tensor) -> Tensor:
        """Return the gradient with zeros where nothing may move."""
        return torch.where(self.free, gradient, 0)

    @torch.no_grad()
    def put_back(self) -> None:
        """Give the entries that are not free their values again."""
        self.parameter.copy_(torch.where(self.free, self.parameter, self.before))


class HeldStill(TrainerCallback):
    """Puts back after every step of the optimiser what is not free to move."""

    def __init__(self, still: Iterable[Still]) -> None:
        self.still = tuple(still)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put it back."""
        for one in self.still:
            one.put_back()


def free_components(model: nn.Module, text: str) -> ComponentSet:
    """Read which components are free, at the resolution of heads or else of neurons.

    Raises:
        UnknownName: a name or wildcard matches nothing in the model; the message names the nearest.
        TakebackError: the set is empty.
    """
    try:
        free = anatomy_of(model).parse(text)
    except UnknownName as error:
        try:
            free = anatomy_of(model, "neurons").parse(text)
        except UnknownName:
            raise error from None
    if not free:
        raise TakebackError(
            f"only {text!r}: nothing would be free to move; name a component, or leave it out"
        )
    return free


def free_only(model: nn.Module, text: str) -> HeldStill:
    """Let training move only the components that `text` names; the callback has to be added to the trainer.

    What is not free is held at the values that the model has now. To be called before the optimiser is made.

    >>> layers = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> held = free_only(layers, "L0.U1")
    >>> [parameter.requires_grad for parameter in layers.parameters()]
    [True, True, False, False]
    >>> held.still[0].free.tolist()
    [[False, False], [True, True]]

    Raises:
        UnknownName: a name or wildcard matches nothing in the model.
        TakebackError: the set is empty.
    """
    free = free_components(model, text)
    regions: dict[str, list[Region]] = {}
    for region in anatomy_of(model, free.resolution).regions(free):
        regions.setdefault(region.tensor, []).append(region)
    still: list[Still] = []
    for name, parameter in parameters_of(model).items():
        if name not in regions:
            parameter.requires_grad_(False)
        elif regions[name][0].axis is not None:
            still.append(_still(parameter, regions[name]))
    return HeldStill(still)


def _still(parameter: Tensor, regions: Iterable[Region]) -> Still:
    free = torch.zeros(parameter.shape, dtype=torch.bool, device=parameter.device)
    for region in regions:
        free[region.index] = True
    held = Still(parameter, free, parameter.detach().clone())
    parameter.register_hook(held.mask)
    return held
