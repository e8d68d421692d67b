"""The forward pass of a causal language model: next-token distributions on packed rows."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from takeback.hybrid.replay import Inputs, plain_logits
from takeback.policies.language.packing import PackedRows
from takeback.policies.language.unroll import takes_trees, unrolled
from takeback.run.errors import TakebackError


@contextmanager
def ready(model: PreTrainedModel) -> Generator[None]:
    """Switch dropout and gradients off inside the block, and the model's mode back after it."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)


def next_token_logprobs(model: PreTrainedModel, rows: PackedRows) -> torch.Tensor:
    """Return the log-probability of every token after the prompt's end and after every node of packed rows.

    Args:
        model: Any decoder of transformers with `sdpa` or `eager` attention, unmodified.
        rows: Prompts, each followed by nodes of a token tree, which see their prompt and ancestors only.

    Returns:
        Float32, shape (rows, 1 + nodes, vocabulary), on the model's device; column 0 follows the prompt.

    Raises:
        TakebackError: the model's attention can't take a mask for each pair of tokens.
    """
    return torch.log_softmax(next_token_logits(model, rows), dim=-1)


def next_token_logits(model: PreTrainedModel, rows: PackedRows) -> torch.Tensor:
    """Return the logits of what follows prompts and nodes, float32, shape (rows, 1 + nodes, vocabulary).

    Raises:
        TakebackError: the model's attention can't take a mask for each pair of tokens.
    """
    inputs = inputs_of(model, rows)
    if inputs.order is not None:
        return plain_logits(model, inputs).float()
    output = model(**inputs.arguments, use_cache=False, logits_to_keep=rows.nodes + 1)
    return output.logits.float()


def inputs_of(model: PreTrainedModel, rows: PackedRows) -> Inputs:
    """Return what a model is given so that each node of packed rows sees its prompt and ancestors only.

    A model whose layers take no such mask is given each way through a tree in a row of its own.

    Raises:
        TakebackError: the implementation of its attention takes no masks; it can be loaded with another.
    """
    if not takes_trees(model):
        return unrolled(model, rows)
    count, length = rows.tokens.shape
    read = torch.arange(length - rows.nodes - 1, length, device=model.device).expand(count, -1)
    return Inputs(_arguments(model, rows), read)


def _arguments(model: PreTrainedModel, rows: PackedRows) -> dict[str, Any]:
    positions = torch.from_numpy(rows.positions)
    return {
        "input_ids": torch.from_numpy(rows.tokens).to(model.device),
        "position_ids": positions.to(model.device),
        "attention_mask": _masks(model, torch.from_numpy(rows.sees), positions),
    }


def _masks(model: PreTrainedModel, sees: torch.Tensor, positions: torch.Tensor) -> Any:
    """Build what transformers takes as it is: an additive (rows, 1, T, T) mask, or one per layer type."""
    config: Any = model.config.get_text_config()
    if config._attn_implementation not in ("sdpa", "eager"):
        raise TakebackError(
            f"attention {config._attn_implementation!r} takes no tree masks; load the model with "
            "attn_implementation='sdpa' or 'eager'"
        )
    kinds = set[str](getattr(config, "layer_types", None) or ())
    window: int | None = getattr(config, "sliding_window", None)

    def additive(window: int | None) -> torch.Tensor:
        visible = sees
        if window is not None:
            visible = sees & (positions[:, :, None] - positions[:, None, :] < window)
        hidden = torch.finfo(model.dtype).min
        mask = torch.zeros(visible.shape, dtype=model.dtype).masked_fill_(~visible, hidden)
        return mask[:, None].to(model.device)

    if "sliding_attention" in kinds:
        return {"full_attention": additive(None), "sliding_attention": additive(window)}
    return additive(None if kinds else window)
