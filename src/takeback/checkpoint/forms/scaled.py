"""Quantised weights in safetensors: FP8 with its scales is dequantised, other kinds are refused by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from takeback.checkpoint.made import Made, Stored
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    import torch

_SCALES = ("_scale_inv", "_scale")
_BESIDE = (
    ".input_scale",
    ".activation_scale",
    ".output_scale",
    ".k_scale",
    ".v_scale",
    ".q_scale",
    ".prob_scale",
)
_PACKED: Mapping[str, tuple[str, str]] = {
    ".qweight": ("GPTQ or AWQ", "load it with gptqmodel or autoawq, dequantize, and save that"),
    ".weight_packed": (
        "compressed-tensors",
        "load it with compressed_tensors' decompress_model and save that",
    ),
    ".absmax": ("bitsandbytes", "load it with transformers and call model.dequantize(), then save that"),
    ".quant_map": ("bitsandbytes", "load it with transformers and call model.dequantize(), then save that"),
    "_blocks": ("MXFP4", "load it with Mxfp4Config(dequantize=True) of transformers and save that"),
    ".SCB": ("bitsandbytes in 8 bits", "load it with transformers, model.dequantize(), and save that"),
}
_BLOCK = 128


@dataclass(frozen=True, slots=True)
class Floats:
    """Holds weights that are all plain numbers, the settings without a quantization, and what was done."""

    entries: Mapping[str, Stored]
    settings: Mapping[str, Any]
    told: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Scaled(Made):
    """Is a weight in FP8 times its scale: one number, one a row, or one a block."""

    weight: Stored
    scale: Stored
    block: tuple[int, int]

    def made(self) -> torch.Tensor:
        """Return weight · scale in float32."""
        import torch

        weight, scale = self.weight.read().to(torch.float32), self.scale.read().to(torch.float32)
        if scale.numel() == 1:
            return weight * scale.reshape(())
        if scale.dim() == 1:
            scale = scale[:, None]
        if scale.shape[1] == 1 and scale.shape[0] == weight.shape[0]:
            return weight * scale
        wide = scale.repeat_interleave(self.block[0], 0).repeat_interleave(self.block[1], 1)
        return weight * wide[: weight.shape[0], : weight.shape[1]]


def as_floats(folder: Path, entries: Mapping[str, Stored], settings: Mapping[str, Any]) -> Floats:
    """Return weights as plain numbers: FP8 times its scales, anything else as it is.

    Raises:
        TakebackError: they are quantised in a way that is not read here (named, with what to do), or a scale
            does not fit its weight.
    """
    quantization = settings.get("quantization_config")
    quantization = quantization if isinstance(quantization, dict) else {}
    _refuse_packed(folder, entries, quantization)
    found = dict(entries)
    scaled = 0
    for name, entry in entries.items():
        scale = next((name + end for end in _SCALES if name + end in entries), None)
        if scale is not None and entry.element.startswith("float8"):
            found[name] = _scaled(folder, name, entry, entries[scale], quantization)
            del found[scale]
            scaled += 1
    raw = sum(entry.element.startswith("float8") for entry in found.values())
    if scaled:
        found = {name: entry for name, entry in found.items() if not name.endswith(_BESIDE)}
    told = [f"FP8 with scales, dequantised ({scaled} tensors)"] if scaled else []
    told += [f"FP8 without scales, taken as it is ({raw} tensors)"] if raw else []
    if scaled and not raw:
        settings = {name: value for name, value in settings.items() if name != "quantization_config"}
    odd = f"{folder} has {raw} tensors in FP8 and no scales: their numbers are compared as they stand"
    return Floats(found, settings, " and ".join(told), (odd,) if raw else ())


def _refuse_packed(folder: Path, entries: Mapping[str, Stored], quantization: Mapping[str, Any]) -> None:
    for name, entry in entries.items():
        end = next((end for end in _PACKED if name.endswith(end)), None)
        if end in (".absmax", ".quant_map") or (end and not entry.element.startswith(("float", "bfloat"))):
            kind, todo = _PACKED[end]
            method = quantization.get("quant_method")
            kind = str(method) if isinstance(method, str) else kind
            raise TakebackError(f"{folder} is quantized by {kind} ({name} is {entry.element}); {todo}")


def _scaled(
    folder: Path, name: str, entry: Stored, scale: Stored, quantization: Mapping[str, Any]
) -> _Scaled:
    """Pair a weight with its scale, whose shape says what each number is of."""
    block = quantization.get("weight_block_size") or [_BLOCK, _BLOCK]
    if not (
        isinstance(block, list) and len(block) == 2 and all(type(size) is int and size > 0 for size in block)
    ):
        raise TakebackError(f"{folder} says weight_block_size {block}, which is no pair of sizes")
    shape, own = entry.shape, scale.shape
    blocks = tuple(-(-extent // size) for extent, size in zip(shape, block, strict=False))
    fits = math.prod(own) == 1 or own in ((shape[0],), (shape[0], 1)) or (len(shape) == 2 and own == blocks)
    if not fits or not scale.element.startswith(("float", "bfloat")):
        raise TakebackError(
            f"{folder} has a scale of shape {list(own)} for {name} of shape {list(shape)}, which is not one "
            f"for all, nor one a row or a block of {block}"
        )
    return _Scaled(entry.file, entry.stored, "float32", shape, entry, scale, (block[0], block[1]))
