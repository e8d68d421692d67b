"""From a checkpoint's name to a policy in an arena."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from takeback.arenas import Arena, Tokenized, able, arena
from takeback.checkpoint import Checkpoint, Placement, open_checkpoint
from takeback.checkpoint.placement import HERE
from takeback.policies.policy import Policy
from takeback.run.errors import TakebackError


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


class LoadOnce:
    """Loads policies for several arenas; a language model that one still holds is not loaded again."""

    def __init__(self) -> None:
        self._models: WeakValueDictionary[tuple[str, str], Any] = WeakValueDictionary()

    def __reduce__(self) -> tuple[Any, ...]:
        """Send it elsewhere without models."""
        return LoadOnce, ()

    def __call__(self, model: Checkpoint, arena: Arena[Any], *, placement: Placement = HERE) -> Policy:
        """Load a policy, as `load_policy` does.

        Raises:
            TakebackError: the checkpoint can't be opened, or it can't act in this arena.
        """
        if model.settings is None:
            return load_policy(model, arena, placement=placement)
        from takeback.policies.language.policy import load_language_policy

        here = placement.settled(model)
        key = f"{model.digest} {model.runs_as}", f"{here.dtype} {here.device}"
        policy = load_language_policy(model, arena, None, here, self._models.get(key))
        self._models[key] = policy.model
        return policy


def home_of(model: Checkpoint) -> Arena[Any]:
    """Return the arena that a model was made for: the endgames, of models of the bases that ship.

    Raises:
        TakebackError: it is an ordinary language model, which can be asked anything.
    """
    from takeback.checkpoint import load_tokenizer

    endgames = arena("endgames")
    if model.settings is None:  # a policy network
        return endgames
    own = able(endgames, Tokenized).tokenizer().get_vocab()
    if model.tokenizer_folder is not None and own.items() <= load_tokenizer(model).get_vocab().items():
        return endgames
    raise TakebackError(
        f"nothing says what to ask {model.ref}; name it: --arena rows:FILE (your own prompts, with "
        "--reward), lm-eval:TASK, gym:ENV, endgames (chess) or module:object"
    )
