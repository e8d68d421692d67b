"""From a checkpoint's name to a policy in an arena."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from takeback.arenas import Arena
from takeback.behaviour.policy import Policy
from takeback.checkpoint import Checkpoint, load_model, load_tokenizer, open_checkpoint
from takeback.errors import unknown_name


def load_policy(model: str | Path | Checkpoint, arena: Arena[Any], style: str | None = None) -> Policy:
    """Open a checkpoint as a policy, in fp32 and evaluation mode.

    Args:
        model: a checkpoint, or anything `open_checkpoint` takes.
        arena: where it acts.
        style: of its prompts; by default `compact` with the arena's own tokenizer, else `sentence`.

    Raises:
        UnknownName: the arena has no such style.
        TakebackError: the checkpoint can't be opened or has no tokenizer.
    """
    checkpoint = model if isinstance(model, Checkpoint) else open_checkpoint(model)
    tokenizer = load_tokenizer(checkpoint)
    if style is None:
        style = "compact" if tokenizer.get_vocab() == arena.tokenizer().get_vocab() else "sentence"
    elif style not in arena.styles:
        raise unknown_name("prompt style", style, arena.styles)
    return Policy(load_model(checkpoint), tokenizer, style)
