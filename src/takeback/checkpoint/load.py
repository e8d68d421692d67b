"""From a checkpoint on disk to a live model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from takeback.anatomy import anatomy_of
from takeback.anatomy.source import parameters_of
from takeback.checkpoint.checkpoint import Checkpoint
from takeback.checkpoint.network import Network
from takeback.checkpoint.placement import CPU, MAP, free_memory
from takeback.checkpoint.weights import narrowest_dtype, stacked
from takeback.run.errors import TakebackError
from takeback.run.progress import no_library_bars

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_model(
    checkpoint: Checkpoint, dtype: torch.dtype | None = torch.float32, device: str = CPU
) -> PreTrainedModel:
    """Load a checkpoint as an unmodified Hugging Face model in evaluation mode, an adapter merged in.

    Args:
        checkpoint: an opened Hugging Face folder, with or without an adapter.
        dtype: of the parameters; None keeps what is stored.
        device: where they lie; see `Placement`.

    Raises:
        TakebackError: the checkpoint is a plain state dict or lacks tensors, transformers can't load it, or
            it does not fit on the device.
    """
    from transformers import AutoModelForCausalLM

    if checkpoint.config is None:
        raise TakebackError(
            f"{checkpoint.ref} is a plain state dict; a language model needs a folder with a config"
        )
    if checkpoint.streamed:
        return _replayed(checkpoint, dtype, device)
    try:
        with no_library_bars():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                checkpoint.folder,
                config=checkpoint.config,
                dtype="auto" if dtype is None else dtype,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                device_map="auto" if device == MAP else None,
            )
    except torch.OutOfMemoryError as error:
        raise _too_large(checkpoint, device) from error
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise TakebackError(f"transformers can't load {checkpoint.folder}: {reason}") from error
    model, told = loaded
    if lost := sorted(set(told["missing_keys"]) - set(checkpoint.shapes)):
        shown = ", ".join(lost[:3]) + (", …" if len(lost) > 3 else "")
        raise TakebackError(f"{checkpoint.ref} lacks {len(lost)} of its model's tensors: {shown}")
    if any(str(where) in (CPU, "disk") for where in getattr(model, "hf_device_map", {}).values()):
        raise _too_large(checkpoint, device)
    if checkpoint.adapted or checkpoint.separated:
        _fill(model, checkpoint)
    try:
        return model.eval() if device in (CPU, MAP) else model.eval().to(torch.device(device))
    except torch.OutOfMemoryError as error:
        raise _too_large(checkpoint, device) from error


def _replayed(checkpoint: Checkpoint, dtype: torch.dtype | None, device: str) -> PreTrainedModel:
    """Build the model of a step of a stream, whose tensors no folder holds, and fill them in."""
    from transformers import AutoModelForCausalLM

    kind = narrowest_dtype(*checkpoint.dtypes.values()) if dtype is None else dtype
    model = AutoModelForCausalLM.from_config(checkpoint.config, dtype=kind, trust_remote_code=False)
    _fill(model, checkpoint)
    try:
        return model.eval() if device == CPU else model.eval().to(torch.device(device))
    except torch.OutOfMemoryError as error:
        raise _too_large(checkpoint, device) from error


def _too_large(checkpoint: Checkpoint, device: str) -> TakebackError:
    free = free_memory(device) or 0
    return TakebackError(
        f"{checkpoint.ref} does not fit on {device}, where {free / 1e9:.1f} GB are free: take --dtype bf16, "
        "another --device, or --hold one"
    )


@torch.no_grad()
def _fill(model: PreTrainedModel, checkpoint: Checkpoint) -> None:
    """Copy every tensor of a checkpoint into its live model."""
    parameters, stored, shapes = parameters_of(model), anatomy_of(model).stored, checkpoint.shapes
    parts = {part for slices in stored.values() for names in slices for part in names}
    for name in shapes:
        if name not in parameters and name not in parts:
            raise TakebackError(
                f"{checkpoint.ref}: the live model has no tensor {name!r}; merge it with peft"
            )
    for name, parameter in parameters.items():
        whole = name in shapes
        parameter.copy_(checkpoint.read(name) if whole else stacked(checkpoint.read, stored[name]))


def load_network(checkpoint: Checkpoint, device: str = CPU) -> Network:
    """Load a plain state dict as a policy network, in fp32.

    Raises:
        TakebackError: its file does not say how it is run, its layers do not follow on each other, or its
            weights are not all finite.
    """
    config, anatomy = checkpoint.network, checkpoint.anatomy("neurons")
    tensors = {name: checkpoint.read(name).to(torch.float32) for name in checkpoint.shapes}
    if broken := [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]:
        raise TakebackError(
            f"{checkpoint.ref} holds numbers that are not finite, in {', '.join(broken[:3])}; its training "
            "went wrong: take an earlier checkpoint"
        )
    first = {layer: name for name, (cut, *_) in anatomy.cuts.items() for layer in [cut.layer]}
    order = [first[layer].rpartition(".")[0] for layer in range(anatomy.layers)]
    return Network.of(tensors, config, order).eval().to(torch.device(device))


def load_tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerBase:
    """Load the tokenizer that belongs to a checkpoint.

    Raises:
        TakebackError: none of its folders holds one, or transformers can't load it without foreign code.
    """
    from transformers import AutoTokenizer

    folder = checkpoint.tokenizer_folder
    if folder is None:
        raise TakebackError(
            f"{checkpoint.ref} has no tokenizer beside its weights; save one into {checkpoint.folder}"
        )
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers raises plain Exceptions about broken files
        told = " ".join(str(error).split())
        raise TakebackError(f"transformers can't load the tokenizer in {folder}: {told}") from error
