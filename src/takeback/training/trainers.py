"""What trains by a method: two functions that methods are registered for, by the class of their recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback

from takeback.arenas import Arena
from takeback.checkpoint import Network
from takeback.policies.language import LanguagePolicy
from takeback.run.errors import TakebackError
from takeback.training.recipe import Recipe
from takeback.training.reward import Rewarder

Batch: TypeAlias = Mapping[str, Any]
Loss: TypeAlias = Callable[[Network, Batch], tuple[Tensor, dict[str, float]]]
"""Gives the loss of a step, and what is logged beside it."""


@dataclass(frozen=True, eq=False)
class LanguageRun:
    """What a trainer of a language model is built from.

    Attributes:
        place: where it learns.
        policy: which model.
        settings: settings of `transformers`.
        callback: keeps snapshots and tells the progress.
        adapter: peft's config of the adapter that is trained in place of the model's weights.
        begin: to be called before anything is written that the run keeps.
    """

    place: Arena[Any]
    policy: LanguagePolicy
    settings: dict[str, Any]
    callback: TrainerCallback
    adapter: Any = None
    begin: Callable[[], None] = lambda: None

    @property
    def common(self) -> dict[str, Any]:
        """What every trainer of TRL is given."""
        return {
            "model": self.policy.model,
            "processing_class": self.policy.tokenizer,
            "callbacks": [self.callback],
            "peft_config": self.adapter,
        }

    def batches(self, recipe: Recipe, size: int) -> dict[str, Any]:
        """Return the settings of a step of so many answers, all at once or some at a time.

        Raises:
            TakebackError: the size of a step is no multiple of what is learned at a time.
        """
        micro: int = getattr(recipe, "micro_batch", None) or size
        if size % micro:
            raise TakebackError(
                f"micro_batch {micro} does not divide the {size} answers of a step; name a divisor"
            )
        return {"per_device_train_batch_size": micro, "gradient_accumulation_steps": size // micro}

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return Path(self.settings["output_dir"]).parent


@dataclass(frozen=True, eq=False)
class NetworkTask:
    """What a policy network is trained on: a whole batch for each step, and their loss.

    `rewarder` scores its own answers, where it learns from them.
    """

    batches: Dataset[Batch]
    loss: Loss
    rewarder: Rewarder | None = None


@singledispatch
def language_trainer(recipe: Recipe, run: LanguageRun) -> tuple[Trainer, Rewarder | None]:
    """Build a trainer of a language model, and what scores its own answers where it learns from them.

    Raises:
        TakebackError: the method trains no language models, or not in this arena.
    """
    raise TakebackError(f"method {recipe.method} trains policy networks, and a language model is none")


@singledispatch
def network_task(recipe: Recipe, place: Arena[Any], network: Network) -> NetworkTask:
    """Return what a method trains a policy network on.

    Raises:
        TakebackError: the method trains no networks, or not in this arena.
    """
    raise TakebackError(f"method {recipe.method} trains language models, and a policy network is none")
