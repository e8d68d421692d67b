"""From a recipe to a trainer that is ready to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

from takeback.arenas import Arena, PopulatedArena, arena
from takeback.policies.language import LanguagePolicy
from takeback.policies.load import load_policy
from takeback.policies.network import NetworkPolicy
from takeback.run.errors import TakebackError
from takeback.training.networks import fresh_network, network_trainer
from takeback.training.onpolicy import on_policy_trainer
from takeback.training.pretrain import fresh_model, populated, pretrain_trainer
from takeback.training.recipe import DPO, RFT, RL, SFT, Clone, Drift, Pretrain, Shallow
from takeback.training.reward import Rewarder
from takeback.training.supervised import dpo_trainer, sft_trainer

Stepwise = RL | RFT | SFT | DPO | Drift | Clone | Pretrain
"""Recipes whose steps are those of an optimiser."""

_SCHEDULES = {"constant": "constant_with_warmup", "cosine": "cosine"}


def build_trainer(
    recipe: Stepwise, folder: Path, callback: TrainerCallback
) -> tuple[Trainer, Rewarder | None]:
    """Build the trainer that a recipe describes, writing its resumable checkpoints to `folder`.

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
        "bf16": recipe.precision == "bf16",
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": False,
        "logging_steps": 50 if isinstance(recipe, Pretrain) else 1,
        "save_steps": recipe.save_every,
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
    }
    if isinstance(recipe, Pretrain):
        if isinstance(recipe.architecture, Shallow):
            network = fresh_network(recipe.architecture, place, recipe.seed)
            return network_trainer(recipe, place, network, settings, callback)
        model = fresh_model(recipe.architecture, populated(place), recipe.seed)
        return pretrain_trainer(recipe, model, populated(place), (settings, callback)), None
    parent = load_policy(recipe.parent, place)
    if isinstance(parent, NetworkPolicy):
        if parent.model.network.outputs != "logits":
            raise TakebackError(
                f"method {recipe.method} trains networks whose outputs are logits; {recipe.parent} gives "
                "values, which method agent trains by dqn"
            )
        return network_trainer(recipe, place, parent.model.train(), settings, callback)
    if not isinstance(parent, LanguagePolicy) or isinstance(recipe, Clone):
        raise TakebackError(f"method {recipe.method} trains policy networks, and {recipe.parent} is none")
    return _language_trainer(recipe, place, parent, (settings, callback))


def _language_trainer(
    recipe: RL | RFT | SFT | DPO | Drift,
    place: Arena[Any],
    parent: LanguagePolicy,
    common: tuple[dict[str, Any], TrainerCallback],
) -> tuple[Trainer, Rewarder | None]:
    match recipe:
        case RL() | RFT():
            return on_policy_trainer(recipe, place, parent, common)
        case SFT():
            return sft_trainer(recipe, place, parent, common), None
        case DPO():
            return dpo_trainer(recipe, place, parent, common), None
        case Drift():
            return _drift_trainer(recipe, populated(place), parent, common), None


def _drift_trainer(
    recipe: Drift,
    place: PopulatedArena[Any],
    policy: LanguagePolicy,
    common: tuple[dict[str, Any], TrainerCallback],
) -> Trainer:
    if policy.tokenizer.get_vocab() != place.tokenizer().get_vocab():
        raise TakebackError(
            f"method drift goes on with pretraining in the arena's own tokens; {recipe.parent} has others"
        )
    return pretrain_trainer(recipe, policy.model.train(), place, common)
