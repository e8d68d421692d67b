"""Which tensors of a training state are the model's, and their names without those of the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

_OTHERS = ("optim", "optimizer", "lr_scheduler", "scheduler", "train_state", "dataloader", "rng")
_STATES = ("app", "state_dict", "module", "actor", "_orig_mod")


def model_names(found: Mapping[str, Value]) -> dict[str, Value]:
    """Leave out the optimizer's and take off the names of what the model is stored in.

    >>> list(model_names({"app.model.model.norm.weight": 1, "app.model.lm_head.weight": 2, "optim.lr": 3}))
    ['model.norm.weight', 'lm_head.weight']
    >>> list(model_names({"model.norm.weight": 1, "lm_head.weight": 2}))
    ['model.norm.weight', 'lm_head.weight']
    """
    named = {name: value for name, value in found.items() if not set(name.split(".")[:2]) & set(_OTHERS)}
    while named:
        firsts = {name.partition(".")[0] for name in named}
        (first, *others) = firsts
        wraps = first in _STATES or (
            first == "model"
            and any(
                name.startswith(("model.model.", "model.lm_head.", "model.transformer.")) for name in named
            )
        )
        if others or not wraps:
            return named
        named = {name.partition(".")[2]: value for name, value in named.items()}
    return named
