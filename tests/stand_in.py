"""A device that is not there: tensors that say they lie on a card, compute on the CPU and refuse a mix."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

CARD = torch.device("meta")
"""What the stand-ins say: a device that torch knows on every machine, and on which it computes nothing."""

CPU = torch.device("cpu")


class Elsewhere(torch.Tensor):
    """A tensor on a card: a view of one on the CPU, which only it and operations on it can reach."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor, card: torch.device) -> Elsewhere:
        made: Any = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=card,
            requires_grad=inner.requires_grad,
        )
        made.inner = inner
        return made

    def __repr__(self, *_: Any) -> str:
        return f"{self.inner!r} on {self.device}"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Factories(TorchDispatchMode):
    """Makes what is asked for on a card."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    flat, _ = tree_flatten((args, kwargs))
    tensors = [one for one in flat if isinstance(one, torch.Tensor)]
    places = {one.device for one in tensors if isinstance(one, Elsewhere)}
    moves = func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_)
    asked = kwargs.get("device")
    asked = None if asked is None else torch.device(asked)
    if not moves:
        plain = any(one.dim() and not isinstance(one, Elsewhere) for one in tensors)
        if len(places) + (plain and bool(places)) > 1:
            raise AssertionError(f"{func} mixes tensors of {places} with others")
    target = asked or (tensors[0].device if moves and tensors else next(iter(places), CPU))
    inner_kwargs = {**kwargs, **({"device": CPU} if asked is not None else {})}
    found = func(*tree_map(_inside, args), **tree_map(_inside, inner_kwargs))
    if target != CARD:
        return found
    if func._schema.is_mutable and isinstance(args[0], Elsewhere):
        return args[0]
    return tree_map(lambda one: Elsewhere(one, target) if isinstance(one, torch.Tensor) else one, found)


def _inside(one: Any) -> Any:
    return one.inner if isinstance(one, Elsewhere) else one


def move(model: Any) -> Any:
    """Let the parameters and buffers of a model lie on a card, tied ones as one."""
    moved: dict[int, Any] = {}
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for name, tensor in held.items():
                if tensor is None or isinstance(tensor, Elsewhere):
                    continue
                if id(tensor) not in moved:
                    placed: Any = Elsewhere(tensor.detach(), CARD)
                    of = module._parameters
                    moved[id(tensor)] = torch.nn.Parameter(placed, False) if held is of else placed
                held[name] = moved[id(tensor)]
    return model


@contextmanager
def cards() -> Generator[None]:
    """Let tensors be made on cards that are not there."""
    made = torch.tensor

    def tensor(data: Any, *, device: Any = None, **more: Any) -> torch.Tensor:
        return made(data, **more) if device is None else made(data, **more).to(device)

    with (
        mock.patch("torch.tensor", tensor),
        mock.patch("torch._C._InferenceMode", return_value=nullcontext()),
        torch.no_grad(),
        _Factories(),
    ):
        yield
