"""From a recipe to a trainer that is ready to run; the modules of methods are imported, to be registered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from transformers import Trainer, TrainerCallback

from takeback.arenas import Arena, arena
from takeback.checkpoint import Network, open_checkpoint
from takeback.policies.language import LanguagePolicy
from takeback.policies.load import load_policy
from takeback.policies.network import NetworkPolicy
from takeback.run.errors import TakebackError
from takeback.training import onpolicy, pretrain, supervised  # noqa: F401  # pyright: ignore[reportUnusedImport]
from takeback.training.lora import adapter_of, seed_adapter
from takeback.training.networks import fresh_network, network_trainer
from takeback.training.pretrain import fresh_policy
from takeback.training.recipe import Common, Pretrain, Shallow, Tuned
from takeback.training.reward import Rewarder
from takeback.training.rows import SomeRows, refuse_unsuited
from takeback.training.trainers import LanguageRun, language_trainer, network_task

_OF_LANGUAGE_MODELS = ("lora", "micro_batch")
_SCHEDULES = {"constant": "constant_with_warmup", "cosine": "cosine"}


def build_trainer(
    recipe: Common, folder: Path, callback: TrainerCallback, begin: Callable[[], None] = lambda: None
) -> tuple[Trainer, Rewarder | None]:
    """Build the trainer that a recipe describes, writing its resumable checkpoints to `folder`.

    Args:
        recipe: what to train.
        folder: where its checkpoints go.
        callback: keeps snapshots and tells the progress.
        begin: called before anything is written that the run keeps; what can be refused was by then.

    Returns:
        The trainer and, where a policy learns from its own answers, what scores them.

    Raises:
        UnknownName: the arena or goal doesn't exist.
        TakebackError: the parent can't be opened.
    """
    place = arena(recipe.arena)
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": recipe.steps,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": _SCHEDULES[recipe.schedule],
        "warmup_steps": recipe.warmup_steps,
        "seed": recipe.seed,
        "bf16": isinstance(recipe, Pretrain) and recipe.precision == "bf16",
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": False,
        "logging_steps": 50 if isinstance(recipe, Pretrain) else 1,
        "save_steps": recipe.save_every,
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
    }
    if isinstance(place, SomeRows):
        refuse_unsuited(recipe, place)
    parent = _parent(recipe, place)
    lora = recipe.lora if isinstance(recipe, Tuned) else None
    if isinstance(parent, Network):
        if given := [name for name in _OF_LANGUAGE_MODELS if getattr(recipe, name, None) is not None]:
            raise TakebackError(f"{' and '.join(given)} is for language models, and the parent is a network")
        return network_trainer(network_task(recipe, place, parent), parent.train(), settings, callback)
    adapter = None
    if isinstance(recipe, Tuned) and lora is not None:
        adapter = adapter_of(lora, parent.model, open_checkpoint(recipe.parent))
        seed_adapter(recipe.seed)
    run = LanguageRun(place, parent, settings, callback, adapter, begin)
    return language_trainer(recipe, run)


def _parent(recipe: Common, place: Arena[Any]) -> Network | LanguagePolicy:
    """Return what is trained: a new model, or that of the recipe's parent."""
    if isinstance(recipe, Pretrain):
        shape = recipe.architecture
        if isinstance(shape, Shallow):
            return fresh_network(shape, place, recipe.seed)
        return fresh_policy(shape, place, recipe.seed)
    assert isinstance(recipe, Tuned)
    parent = load_policy(recipe.parent, place)
    if not isinstance(parent, NetworkPolicy):
        return cast("LanguagePolicy", parent)
    if parent.model.network.outputs != "logits":
        raise TakebackError(
            f"method {recipe.method} trains networks whose outputs are logits; {recipe.parent} gives "
            "values, which method agent trains by dqn"
        )
    return parent.model
