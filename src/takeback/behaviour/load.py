"""From a checkpoint's name to a policy in an arena."""

from __future__ import annotations

from typing import Any

from takeback.arenas import Arena
from takeback.behaviour.policy import Policy
from takeback.checkpoint import load_model, load_tokenizer, open_checkpoint
from takeback.errors import unknown_name


def load_policy(ref: str, arena: Arena[Any], style: str | None = None) -> Policy:
    """Open a checkpoint as a policy, in fp32 and evaluation mode.

    Args:
        ref: anything `open_checkpoint` takes.
        arena: where it acts.
        style: of its prompts; by default `compact` with the arena's own tokenizer, else `sentence`.

    Raises:
        UnknownName: the arena has no such style.
        TakebackError: the checkpoint can't be opened or has no tokenizer.
    """
    checkpoint = open_checkpoint(ref)
    tokenizer = load_tokenizer(checkpoint)
    if style is None:
        style = "compact" if tokenizer.get_vocab() == arena.tokenizer().get_vocab() else "sentence"
    elif style not in arena.styles:
        raise unknown_name("prompt style", style, arena.styles)
    return Policy(load_model(checkpoint), tokenizer, style)
