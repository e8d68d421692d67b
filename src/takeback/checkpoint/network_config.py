"""How a policy network is run, as the metadata of its file say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    from torch import Tensor

KEY: Final = "takeback_network"
"""Where a safetensors file's metadata say how its network is to be run."""

WEIGHTS: Final = "model.safetensors"
"""The file of a network's weights in a folder of its own."""


class NetworkConfig(BaseModel):
    """Says how a stack of linear layers acts: what lies between layers, and what its outputs are."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    activation: Literal["relu", "tanh", "sigmoid", "elu", "gelu", "silu", "leaky_relu", "identity"]
    outputs: Literal["logits", "values"] = "logits"
    """`logits`: the policy is their softmax. `values`: it takes the largest, as DQN does."""
    exploration: float = Field(default=0.0, ge=0, le=1)
    """With `values`, the probability with which an action is drawn evenly instead."""

    @classmethod
    def of(cls, metadata: Mapping[str, str], origin: str) -> NetworkConfig:
        """Read it from the metadata of a safetensors file.

        Raises:
            TakebackError: they do not say it, or what they say is not valid.
        """
        if KEY not in metadata:
            raise TakebackError(
                f"{origin} does not say how its network is run; save it with the metadata "
                f'{KEY!r}: \'{{"activation": "relu", "outputs": "logits"}}\''
            )
        try:
            return cls.model_validate_json(metadata[KEY])
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise TakebackError(f"{origin} says of its network what makes no sense: {told}") from None

    def weights(self, outputs: Tensor) -> Tensor:
        """Turn outputs, shape (n, actions), into weights that are in proportion to the probabilities.

        They take the place of `outputs`.

        >>> import torch
        >>> config = NetworkConfig(activation="relu", outputs="values", exploration=0.3)
        >>> config.weights(torch.tensor([[0.0, 5.0, 1.0]])).tolist()
        [[0.10000000149011612, 0.800000011920929, 0.10000000149011612]]
        """
        if self.outputs == "logits":
            return outputs.sub_(outputs.amax(dim=1, keepdim=True)).exp_()
        largest, each = outputs.argmax(dim=1, keepdim=True), self.exploration / outputs.shape[1]
        return outputs.fill_(each).scatter_(1, largest, 1 - self.exploration + each)
