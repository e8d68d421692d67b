"""From a checkpoint on disk to a live model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from takeback.anatomy import anatomy_of
from takeback.anatomy.partition import COMMON_ROWS
from takeback.anatomy.source import parameters_of
from takeback.checkpoint.checkpoint import Checkpoint
from takeback.checkpoint.network import Network
from takeback.checkpoint.placement import CPU, MAP, free_memory
from takeback.checkpoint.vocabulary import SharedVocabulary
from takeback.checkpoint.weights import narrowest_dtype, stacked
from takeback.run.errors import TakebackError, warned
from takeback.run.progress import no_library_bars

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


Model = TypeVar("Model")


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
    if checkpoint.config is None:
        raise TakebackError(
            f"{checkpoint.ref} is a plain state dict; a language model needs a folder with a config"
        )
    _check_speaks(checkpoint)
    built = checkpoint.wrapped or not checkpoint.plain or checkpoint.resized is not None
    try:
        model: Any = _built(checkpoint, dtype) if built else _whole(checkpoint, dtype, device)
    except torch.OutOfMemoryError as error:
        raise _too_large(checkpoint, device) from error
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise TakebackError(f"transformers can't load {checkpoint.folder}: {reason}") from error
    if any(str(where) in (CPU, "disk") for where in getattr(model, "hf_device_map", {}).values()):
        raise _too_large(checkpoint, device)
    if built or checkpoint.adapted or checkpoint.separated:
        _fill(model, replace(checkpoint, vocabulary=None))
    for name in checkpoint.heads:
        _add_head(model, name, checkpoint.read(name).to(model.dtype))
    if checkpoint.vocabulary is not None:
        widen(model, checkpoint.vocabulary)
    try:
        return model.eval() if device in (CPU, MAP) else model.eval().to(torch.device(device))
    except torch.OutOfMemoryError as error:
        raise _too_large(checkpoint, device) from error


INSTEAD = ("score", "classifier")
"""Heads that transformers puts in the place of output embeddings; value heads stand beside them."""


def _check_speaks(checkpoint: Checkpoint) -> None:
    """Raise if a model has another head in the place of output embeddings."""
    silent = [name for name in checkpoint.heads if name.partition(".")[0] in INSTEAD]
    if silent and checkpoint.output_embeddings not in checkpoint.shapes:
        raise TakebackError(
            f"{checkpoint.ref} has {silent[0]} where a language model has output embeddings, so it answers "
            "no prompts; diff and hybrid read it"
        )


ABSENT = "absent rows"
"""The name beside a model's tensors of which rows of a shared vocabulary it has not."""


_ABSENT_ROWS = "absent_rows"
"""Where a model keeps which rows of its vocabulary it has not."""


def absent_rows(model: nn.Module) -> Tensor | None:
    """Return which rows of the vocabulary that it shares with another model a live one has not, (rows,)."""
    return vars(model).get(_ABSENT_ROWS)


def _add_head(model: PreTrainedModel, name: str, values: Tensor) -> None:
    """Give a live model a value head, which it does not use, so that it has all of its components."""
    *path, last = name.split(".")
    part: nn.Module = model
    for step in path:
        if step not in dict(part.named_children()):
            part.add_module(step, nn.Module())
        part = part.get_submodule(step)
    part.register_parameter(last, nn.Parameter(values.to(model.device), requires_grad=False))


def widen(model: PreTrainedModel, vocabulary: SharedVocabulary) -> None:
    """Give a live model the rows of a larger vocabulary, as zeros whose tokens have no probability.

    Its logits of tokens that it has not are the lowest number of their type, so that a softmax over all of
    them is that of the model alone. Which these are is in `absent_rows`, and may be changed.
    """
    embeddings, outputs = model.get_input_embeddings(), model.get_output_embeddings()
    assert outputs is not None
    tied = outputs.weight is embeddings.weight
    for part in (embeddings, outputs):
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(vocabulary.padded(parameter.detach()), parameter.requires_grad))
    if tied:
        outputs.weight = embeddings.weight
    for part, size in ((embeddings, "num_embeddings"), (outputs, "out_features")):
        setattr(part, size, vocabulary.rows)
    model.config.get_text_config().vocab_size = vocabulary.rows
    setattr(model.config, COMMON_ROWS, vocabulary.common)
    absent = vocabulary.absent.to(next(embeddings.parameters()).device)
    vars(model)[_ABSENT_ROWS] = absent

    def without(_: nn.Module, __: Any, output: Any) -> Any:
        lowest = torch.finfo(output.logits.dtype).min
        output.logits = output.logits.masked_fill(absent.to(output.logits.device), lowest)
        return output

    model.register_forward_hook(without)


def _whole(checkpoint: Checkpoint, dtype: torch.dtype | None, device: str) -> PreTrainedModel:
    """Load what a folder holds, with an implementation of attention that is there."""
    from transformers import AutoModelForCausalLM

    def loaded(config: Any) -> Any:
        with no_library_bars():
            return AutoModelForCausalLM.from_pretrained(
                checkpoint.folder,
                config=config,
                dtype="auto" if dtype is None else dtype,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                device_map="auto" if device == MAP else None,
            )

    model, told = _with_attention(checkpoint, loaded)
    if lost := sorted(set(told["missing_keys"]) - set(checkpoint.shapes)):
        shown = ", ".join(lost[:3]) + (", …" if len(lost) > 3 else "")
        raise TakebackError(f"{checkpoint.ref} lacks {len(lost)} of its model's tensors: {shown}")
    return model


def _built(checkpoint: Checkpoint, dtype: torch.dtype | None) -> PreTrainedModel:
    """Build a model that no folder holds as transformers loads it; its tensors are filled in later."""
    from transformers import AutoModelForCausalLM

    kind = narrowest_dtype(*checkpoint.dtypes.values()) if dtype is None else dtype
    return _with_attention(
        checkpoint,
        lambda config: AutoModelForCausalLM.from_config(config, dtype=kind, trust_remote_code=False),
    )


def _with_attention(checkpoint: Checkpoint, make: Callable[[Any], Model]) -> Model:
    """Make a model of a config; an implementation of attention that is not installed is replaced."""
    config: Any = checkpoint.alone.config
    try:
        return make(config)
    except ImportError as error:
        wanted = getattr(config, "_attn_implementation", None)
        if wanted in (None, "eager", "sdpa"):
            raise TakebackError(f"transformers can't load {checkpoint.folder}: {error}") from error
        plain = copy.deepcopy(config)
        plain._attn_implementation = "sdpa"
        try:
            model = make(plain)
        except ValueError:  # the model has no such attention
            plain._attn_implementation = "eager"
            model = make(plain)
        warned(
            f"{checkpoint.ref} asks for the attention {wanted}, which is not installed here: "
            f"{plain._attn_implementation} is used"
        )
        return model


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
    lost = [
        name
        for name in parameters
        if name not in shapes
        and not {one for part in stored.get(name, [[""]]) for one in part} <= set(shapes)
    ]
    if lost:
        raise TakebackError(
            f"{checkpoint.ref} lacks {len(lost)} of its model's tensors: {', '.join(lost[:3])}"
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
    if anatomy.note:
        raise TakebackError(f"{checkpoint.ref} can't be run as a network: {anatomy.note}")
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

    folder, more = checkpoint.tokenizer_folder, dict[str, str]()
    if folder is None and checkpoint.files[0].suffix == ".gguf":
        folder, more = checkpoint.files[0].parent, {"gguf_file": checkpoint.files[0].name}
    if folder is None:
        raise TakebackError(
            f"{checkpoint.ref} has no tokenizer beside its weights; save one into {checkpoint.folder}"
        )
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **more)
    except Exception as error:  # tokenizers raises plain Exceptions about broken files
        told = " ".join(str(error).split())
        raise TakebackError(f"transformers can't load the tokenizer in {folder}: {told}") from error
