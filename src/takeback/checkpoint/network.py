"""Policy networks: stacks of linear layers that read an observation and have one output for each action."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from takeback.checkpoint.network_config import KEY, WEIGHTS, NetworkConfig
from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file

ACTIVATIONS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "elu": functional.elu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "leaky_relu": functional.leaky_relu,
    "identity": lambda values: values,
}
"""What stands between layers, by name."""


class Network(nn.Module):
    """A stack of linear layers with one activation between them; parameters have the names of its file.

    >>> network = Network.fresh([2, 3, 4], NetworkConfig(activation="relu"), seed=0)
    >>> [name for name, _ in network.named_parameters()]
    ['policy.0.weight', 'policy.0.bias', 'policy.1.weight', 'policy.1.bias']
    >>> network(torch.zeros(5, 2)).shape
    torch.Size([5, 4])
    """

    def __init__(self, layers: Mapping[str, nn.Linear], config: NetworkConfig) -> None:
        super().__init__()
        self.network = config
        for name, layer in layers.items():
            self._put(name, layer)
        self.named_layers = dict(layers)

    def _put(self, name: str, layer: nn.Linear) -> None:
        """Give a layer its name, also one that `add_module` refuses, such as `layers`."""
        if not name:
            for part, parameter in layer.named_parameters():
                self.register_parameter(part, parameter)
            return
        *path, last = name.split(".")
        place: nn.Module = self
        for part in path:
            inner = place._modules.get(part)
            place._modules[part] = place = nn.Module() if inner is None else inner
        place._modules[last] = layer

    @classmethod
    def fresh(cls, widths: Sequence[int], config: NetworkConfig, seed: int) -> Network:
        """Make a network of these widths, from inputs to outputs, with torch's usual initial weights."""
        generator = torch.Generator().manual_seed(seed)
        layers: dict[str, nn.Linear] = {}
        for place, (inputs, outputs) in enumerate(pairwise(widths)):
            layer = nn.Linear(inputs, outputs)
            bound = 1 / math.sqrt(inputs)
            with torch.no_grad():
                for parameter in (layer.weight, layer.bias):
                    parameter.uniform_(-bound, bound, generator=generator)
            layers[f"policy.{place}"] = layer
        return cls(layers, config)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], config: NetworkConfig, order: Iterable[str]) -> Network:
        """Make a network of the tensors of a file, its layers in this order.

        Raises:
            TakebackError: a layer does not read what the one before it gives.
        """
        layers: dict[str, nn.Linear] = {}
        before: int | None = None
        for name in order:
            weight = tensors[f"{name}.weight".removeprefix(".")]
            bias = tensors.get(f"{name}.bias".removeprefix("."))
            if before is not None and weight.shape[1] != before:
                raise TakebackError(
                    f"layer {name!r} reads {weight.shape[1]} numbers, the layer before it gives {before}; a "
                    "network is a stack of layers in the natural order of their names"
                )
            layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
            layer.weight = nn.Parameter(weight.to(torch.float32, copy=True))
            if bias is not None:
                layer.bias = nn.Parameter(bias.to(torch.float32, copy=True))
            layers[name], before = layer, weight.shape[0]
        return cls(layers, config)

    @property
    def layers(self) -> tuple[nn.Linear, ...]:
        """Its layers from below."""
        return tuple(self.named_layers.values())

    @property
    def inputs(self) -> int:
        """How many numbers it reads."""
        return self.layers[0].in_features

    @property
    def outputs(self) -> int:
        """How many outputs it has."""
        return self.layers[-1].out_features

    def activate(self, values: Tensor) -> Tensor:
        """Apply what stands between layers."""
        return ACTIVATIONS[self.network.activation](values)

    def forward(self, observations: Tensor) -> Tensor:
        """Return the outputs for observations, shape (n, inputs) to (n, outputs)."""
        hidden = observations
        for layer in self.layers[:-1]:
            hidden = self.activate(layer(hidden))
        return self.layers[-1](hidden)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the network into a folder, whole or not at all; `open_checkpoint` reads it back.

        The metadata are one entry: safetensors writes several in an order that changes from call to call.
        """
        from safetensors.torch import save_file

        tensors = {name: one.detach().cpu().contiguous() for name, one in self.named_parameters()}
        with atomic_file(Path(folder) / WEIGHTS) as draft:
            save_file(tensors, draft, {KEY: json.dumps(self.network.model_dump())})
