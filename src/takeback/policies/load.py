"""From a checkpoint's name to a policy in an arena."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from takeback.arenas import Arena
from takeback.checkpoint import Checkpoint, Placement, open_checkpoint
from takeback.checkpoint.placement import HERE
from takeback.policies.policy import Policy


def load_policy(
    model: str | Path | Checkpoint,
    arena: Arena[Any],
    style: str | None = None,
    placement: Placement = HERE,
) -> Policy:
    """Open a checkpoint as a policy, in evaluation mode: a language model or a policy network.

    Args:
        model: a checkpoint, or anything `open_checkpoint` takes.
        arena: where it acts.
        style: of a language model's prompts; by default the arena's first, such as `compact`, with its own
            tokenizer, else its last, such as `sentence`.
        placement: where it runs and in which element type; by default on the CPU in fp32.

    Raises:
        UnknownName: the arena has no such style.
        TakebackError: the checkpoint can't be opened, it can't act in this arena, or there is no such device.
    """
    checkpoint = model if isinstance(model, Checkpoint) else open_checkpoint(model)
    here = placement.settled(checkpoint)
    if checkpoint.settings is None:
        from takeback.policies.network.policy import load_network_policy

        return load_network_policy(checkpoint, arena, here)
    from takeback.policies.language.policy import load_language_policy

    return load_language_policy(checkpoint, arena, style, here)
