"""A decoder run layer by layer: its own layers, called with the arguments that its own forward gives them."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from takeback.anatomy.source import family_in
from takeback.run.errors import TakebackError

CACHES = ("past_key_values", "layer_past", "cache")
"""What layers call the cache of keys and values that they are given."""

WAYS = 16
"""Most rows at once of a model that is read plainly."""

MOST_READ = 0.75
"""Largest share of positions that is read of which the last layer is computed at those alone: all keys and
values are needed in any case, and of a layer's work they are about a fifth."""

Call: TypeAlias = dict[str, Any]
"""The arguments of a layer's call besides its hidden states, by name."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a model is asked: arguments of its forward, and which positions of each row are read.

    Attributes:
        arguments: `input_ids` and whatever else the forward takes, such as `attention_mask`.
        read: the positions that are read, shape (rows, reads).
        order: the row that each read position stands in, (rows, reads), where each way has a row of its own.
    """

    arguments: Mapping[str, Any]
    read: Tensor
    order: Tensor | None = None

    def rows(self, start: int, stop: int) -> Inputs:
        """Return some of the rows."""
        rows = len(self.read)

        def some(tensor: Tensor) -> Tensor:
            return tensor[start:stop] if tensor.dim() and tensor.shape[0] == rows else tensor

        return Inputs(_each(self.arguments, some), self.read[start:stop])


def plain_logits(model: PreTrainedModel, inputs: Inputs) -> Tensor:
    """Return the logits at the read positions as the model's own forward gives them."""
    if inputs.order is not None:
        return _gathered(model, inputs.arguments["input_ids"], inputs.order, inputs.read)
    length = inputs.arguments["input_ids"].shape[1]
    kept = length - int(inputs.read.min())
    logits = model(**inputs.arguments, use_cache=False, logits_to_keep=kept).logits
    return _at(logits, inputs.read - (length - logits.shape[1]))  # some models keep all


def _gathered(model: PreTrainedModel, tokens: Tensor, order: Tensor, read: Tensor) -> Tensor:
    """Return the logits at places of rows, some rows at a time, padded behind."""
    known = inspect.signature(model.forward).parameters
    first = int(read.min())
    kept = tokens.shape[1] - first
    options = {"use_cache": False, "logits_to_keep": kept}
    options = {name: value for name, value in options.items() if name in known}
    found: Tensor | None = None
    for some in torch.arange(len(tokens), device=tokens.device).split(WAYS):
        logits: Tensor = model(input_ids=tokens[some], **options).logits[:, -kept:]
        here = (order >= some[0]) & (order <= some[-1])
        if found is None:
            found = logits.new_zeros((*order.shape, logits.shape[-1]))
        found[here.to(logits.device)] = logits[order[here] - some[0], read[here] - first]
    assert found is not None
    return found


@dataclass(frozen=True, eq=False)
class Replay:
    """Runs a model of Hugging Face piece by piece; every piece is the module's own code.

    Attributes:
        model: the model; while a piece runs, the forward of its layers may be replaced for that moment.
        layers: its decoder layers, from below.
        cut: whether the last layer may be computed at the read positions only, from all keys and values.
        members: how many values a layer gives, the hidden states first; 0 where it gives these alone.
    """

    model: PreTrainedModel
    layers: tuple[nn.Module, ...]
    cut: bool = True
    members: int = 0
    _signatures: dict[type, inspect.Signature] = field(default_factory=dict[type, inspect.Signature])

    @classmethod
    def of(cls, model: PreTrainedModel, cut: bool = True, members: int = 0) -> Replay:
        """Find the layers of a model of a known family.

        Raises:
            TakebackError: the model has no decoder layers where its family has them.
        """
        family = family_in(model.config)
        if family is None:
            raise TakebackError("no family says where the layers of its type are")
        for name, _ in model.named_parameters():
            match = family.match(name)
            if match is not None and match.layer is not None:
                stack = model.get_submodule(name.partition(f".{match.layer}.")[0])
                return cls(model, tuple(stack.children()), cut, members)
        raise TakebackError(f"{type(model).__name__} has no layers of the family {family.name}")

    @cached_property
    def alone(self) -> tuple[bool, ...]:
        """Of each layer, whether nothing else in the model has a tensor of it.

        That nothing else reads one, but through the layer, is taken for granted, as where layers run one by
        one.
        """
        everywhere = _tensors(self.model)
        return tuple(_tensors(layer).items() <= everywhere.items() for layer in self.layers)

    def start(self, inputs: Inputs) -> tuple[Tensor, tuple[Call, ...]]:
        """Return the first layer's hidden states, and the arguments with which each layer is called.

        Raises:
            TakebackError: the model does not call its layers one after the other, once each.
        """
        embedded: list[Tensor] = []
        calls: dict[nn.Module, Call] = {}

        def record(layer: nn.Module, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
            calls[layer] = self._named(layer, args, kwargs)
            embedded.append(hidden)
            return self._as_given(hidden)

        ids = inputs.arguments["input_ids"]
        last = torch.full((1,), ids.shape[1] - 1, device=ids.device)  # an int may cut layers
        with self._instead(record):
            self.model(**inputs.arguments, use_cache=False, logits_to_keep=last)
        if list(calls) != list(self.layers) or len(embedded) != len(self.layers):
            raise TakebackError(f"{type(self.model).__name__} does not call each of its layers once in order")
        return embedded[0], tuple(calls.values())

    def layer(self, number: int, hidden: Tensor, call: Call, read: Tensor) -> Tensor:
        """Return a layer's output, (…, rows, positions, width); of the last one at the read positions."""
        layer = self.layers[number]
        if number < len(self.layers) - 1:
            return _hidden(layer(hidden, **call))
        if not self.cut or read.shape[1] > MOST_READ * hidden.shape[-2]:
            return _at(_hidden(layer(hidden, **call)), read)
        cache = next((name for name in CACHES if name in call), None)
        if cache is None:
            raise TakebackError(f"{type(layer).__name__} takes no cache of keys and values")
        seen = _KeysAndValues.of(lambda keys: layer(hidden, **{**call, cache: keys}))
        return _hidden(layer(_at(hidden, read), **{**_at_reads(call, hidden, read), cache: seen}))

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of the last layer's output: all that the model does after its layers.

        Every position is a row of its own, so that the model may be asked about a single token meanwhile.
        """
        rows, reads = hidden.shape[-3:-1]
        alone = hidden.flatten(-3, -2).unsqueeze(-2)
        one = torch.zeros(1, 1, dtype=torch.long, device=hidden.device)
        with self._instead(lambda *_, **__: self._as_given(alone)):
            found = self.model(input_ids=one, attention_mask=one + 1, use_cache=False).logits
        return found.reshape(rows, reads, -1)

    def _as_given(self, hidden: Tensor) -> Any:
        return (hidden, *(None,) * (self.members - 1)) if self.members else hidden

    def _named(self, layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        if type(layer) not in self._signatures:
            self._signatures[type(layer)] = inspect.signature(type(layer).forward)
        signature = self._signatures[type(layer)]
        call = dict(signature.bind(layer, None, *args, **kwargs).arguments)
        for parameter in signature.parameters.values():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                call |= call.pop(parameter.name, {})
        return dict(list(call.items())[2:])

    @contextmanager
    def _instead(self, forward: Callable[..., Any]) -> Generator[None]:
        """Let `forward(layer, hidden states, ...)` stand for every layer's forward inside the block."""
        with ExitStack() as restored:
            for layer in self.layers:
                own = vars(layer).get("forward")
                restored.callback(_restore, layer, own)
                layer.forward = _bound(forward, layer)
            yield


def members_given(model: PreTrainedModel, inputs: Inputs) -> tuple[Tensor, int]:
    """Return the logits at the read positions, and how many values a layer gives (0: hidden states alone)."""
    given: list[Any] = []
    first = Replay.of(model).layers[0]
    hook = first.register_forward_hook(lambda _, __, output: given.append(output))
    try:
        found = plain_logits(model, inputs)
    finally:
        hook.remove()
    return found, len(given[0]) if given and isinstance(given[0], tuple) else 0


def _tensors(module: nn.Module) -> Counter[int]:
    """Count in how many places of a module each of its parameters and buffers stands."""
    every = (module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))
    return Counter(id(one) for _, one in chain(*every))


def _hidden(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def _bound(forward: Callable[..., Any], layer: nn.Module) -> Callable[..., Any]:
    return lambda *args, **kwargs: forward(layer, *args, **kwargs)


def _restore(layer: nn.Module, own: Any) -> None:
    del layer.forward
    if own is not None:
        layer.forward = own


class _Taken(Exception):
    """Leaves a layer once its keys and values are known."""


class _KeysAndValues:
    """Takes the keys and values of all positions from a layer, and gives them to its next call."""

    def __init__(self) -> None:
        self._both: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(cls, call: Callable[[_KeysAndValues], Any]) -> _KeysAndValues:
        taken = cls()
        try:
            call(taken)
        except _Taken:
            return taken
        raise TakebackError("the layer did not hand its keys and values to the cache")

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if self._both is None:
            self._both = keys, values
            raise _Taken
        return self._both


def _at(hidden: Tensor, read: Tensor) -> Tensor:
    """Return the read positions of (…, rows, positions, width)."""
    places = read.to(hidden.device)[:, :, None].expand(*hidden.shape[:-3], -1, -1, hidden.shape[-1])
    return hidden.gather(-2, places)


def _at_reads(call: Call, hidden: Tensor, read: Tensor) -> Call:
    """Cut what a call says of every position down to the read ones: masks, positions and their embeddings."""
    rows, length = hidden.shape[-3:-1]

    def cut(value: Tensor) -> Tensor:
        if value.dim() == 4 and value.shape[-2] == length:
            mask = value.expand(rows, -1, -1, -1)
            places = read.to(mask.device)[:, None, :, None]
            return mask.gather(2, places.expand(-1, mask.shape[1], -1, mask.shape[3]))
        if value.dim() == 3 and value.shape[1] == length:
            return _at(value.expand(rows, -1, -1), read)
        if value.dim() == 2 and value.shape[1] == length:
            return value.expand(rows, -1).gather(1, read.to(value.device))
        return value

    found = _each(call, cut)
    if found.get("attention_mask") is None and not (read.shape[1] == 1 and bool((read == length - 1).all())):
        later = torch.arange(length, device=hidden.device) > read.to(hidden.device)[:, :, None]
        mask = torch.zeros(later.shape, dtype=hidden.dtype, device=hidden.device)
        found["attention_mask"] = mask.masked_fill_(later, torch.finfo(hidden.dtype).min)[:, None]
    return found


def _each(values: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Change every tensor in nested mappings and sequences."""
    if isinstance(values, Tensor):
        return change(values)
    if isinstance(values, Mapping):
        return {name: _each(value, change) for name, value in values.items()}
    if isinstance(values, (tuple, list)):
        return tuple(_each(value, change) for value in values)
    return values
