"""Kinds of LoRA that are more than a product added to a weight, merged by peft's own code."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from takeback.checkpoint.shards import Entry
from takeback.run.errors import TakebackError
from takeback.run.extras import needed

if TYPE_CHECKING:
    import torch
    from torch import nn

_KEPT = ("lora_alpha", "use_rslora", "use_dora", "lora_bias", "init_lora_weights")


@dataclass(frozen=True)
class PeftMerge:
    """Is what peft makes of one tensor: its layer alone is built, adapted, merged and let go.

    `kind` is of the layer, "Linear", "Conv1D" (inputs first) or "Embedding"; `tensor` is "weight" or "bias";
    `parts` are the adapter's tensors of this layer by what peft calls them after the layer's name.
    """

    module: str
    kind: str
    tensor: str
    shape: tuple[int, ...]
    rank: int
    alpha: float
    settings: Mapping[str, Any]
    parts: Mapping[str, Entry]
    element: str = "float32"

    @property
    def files(self) -> list[Path]:
        """The files that it lies in."""
        return [entry.file for entry in self.parts.values()]

    def merged(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the tensor as `merge_and_unload` leaves it in the layer, computed in `element`.

        Raises:
            TakebackError: peft is not installed, or does not accept the adapter.
        """
        import torch

        needed("peft", "train", f" to merge {self.files[0].parent}")
        layer = self._layer(weight.to(getattr(torch, self.element)))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on settings that this one layer leaves without effect
                merged = self._merged(layer)
        except (ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
            why = " ".join(str(error).split())
            raise TakebackError(f"peft can't merge {self.module} of {self.files[0].parent}: {why}") from error
        return getattr(merged, self.tensor).detach()

    def _layer(self, weight: torch.Tensor) -> nn.Module:
        import torch
        from torch import nn
        from transformers.pytorch_utils import Conv1D

        if self.tensor == "bias":  # nothing but the bias itself goes into it
            rows = len(weight)
            width = self.parts["lora_A.weight"].shape[1]
            first = {"Conv1D": (width, rows)}.get(self.kind, (rows, width))
            values = {"weight": torch.zeros(first, dtype=weight.dtype), "bias": weight}
        else:
            rows = weight.shape[1 if self.kind == "Conv1D" else 0]
            values = {"weight": weight, "bias": torch.zeros(rows, dtype=weight.dtype)}
        shape = values["weight"].shape
        if self.kind == "Embedding":
            layer: nn.Module = nn.Embedding(shape[0], shape[1], dtype=weight.dtype)
            del values["bias"]
        elif self.kind == "Conv1D":
            layer = Conv1D(shape[1], shape[0]).to(weight.dtype)
        else:
            layer = nn.Linear(shape[1], shape[0], dtype=weight.dtype)
        layer.load_state_dict(values)
        return layer

    def _merged(self, layer: nn.Module) -> nn.Module:
        import peft
        from torch import nn

        held = nn.Module()
        held.layer = layer
        adapted: Any = peft.get_peft_model(held, self._config())
        state = {
            f"base_model.model.layer.{name.removeprefix('token_adapter.')}": entry.read()
            for name, entry in self.parts.items()
        }
        told = peft.set_peft_model_state_dict(adapted, state)
        if told.unexpected_keys:
            raise ValueError(f"it has no place for {told.unexpected_keys[0]}")
        return adapted.merge_and_unload().layer

    def _config(self) -> Any:
        import peft

        if any(name.startswith("token_adapter.") for name in self.parts):
            rows = _rows_of(self.module, self.settings.get("trainable_token_indices"))
            return peft.TrainableTokensConfig(target_modules=["layer"], token_indices=rows)
        kept = {name: self.settings[name] for name in _KEPT if self.settings.get(name) is not None}
        kept |= {"r": self.rank, "lora_alpha": self.alpha, "fan_in_fan_out": self.kind == "Conv1D"}
        return peft.LoraConfig(**kept, target_modules=["layer"])


def _rows_of(module: str, indices: Any) -> Any:
    """Return the trained tokens of an embedding: given for all, or by the end of a module's name."""
    if not isinstance(indices, dict):
        return indices
    return next((rows for end, rows in indices.items() if f".{module}".endswith(f".{end}")), [])


PARTS = re.compile(
    r"(?P<module>.+?)\."
    r"(?P<part>lora_[AB]\.weight|lora_B\.bias|lora_embedding_[AB]|lora_magnitude_vector"
    r"|token_adapter\.trainable_tokens_delta)(?P<more>\.weight)?"
)
"""What peft calls the tensors of an adapted layer, after the layer's name."""
