"""From a recipe to a trainer that is ready to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import Trainer, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from takeback.arenas import Arena, PopulatedArena, arena
from takeback.behaviour import load_policy
from takeback.behaviour.language import LanguagePolicy
from takeback.behaviour.network import NetworkPolicy
from takeback.errors import TakebackError
from takeback.training.networks import fresh_network, network_trainer
from takeback.training.pretrain import fresh_model, populated, pretrain_trainer
from takeback.training.recipe import RFT, RL, SFT, Clone, Drift, Pretrain, Shallow
from takeback.training.reward import ArenaReward, Rewarder, best_answers, chance_of
from takeback.training.supervised import answer_tokens, sft_trainer

_SCHEDULES = {"constant": "constant_with_warmup", "cosine": "cosine"}


def build_trainer(
    recipe: RL | RFT | SFT | Drift | Clone | Pretrain, folder: Path, callback: TrainerCallback
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
    if isinstance(recipe, Drift):
        return _drift_trainer(recipe, populated(place), parent, (settings, callback)), None
    if isinstance(recipe, RL | RFT):
        return _grpo_trainer(recipe, place, parent, (settings, callback))
    return sft_trainer(recipe, place, parent, (settings, callback)), None


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


class _BestAnswers(GRPOTrainer):
    """Fine-tunes on the best of each situation's answers: GRPO with other weights than its advantages."""

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        output = super()._generate_and_score_completions(inputs)
        (score,) = self.reward_funcs
        assert isinstance(score, ArenaReward)
        rewards = torch.tensor(score.last).reshape(-1, output["advantages"].numel() // len(inputs) or 1)
        output["advantages"] = best_answers(rewards).flatten().to(output["advantages"].device)
        return output


def _grpo_trainer(
    recipe: RL | RFT,
    place: Arena[Any],
    policy: LanguagePolicy,
    common: tuple[dict[str, Any], TrainerCallback],
) -> tuple[Trainer, ArenaReward]:
    settings, callback = common
    # One row for each prompt of the whole run: the data never starts over, so a resumed run sees its order.
    situations = place.situations("train", recipe.steps * recipe.prompts, recipe.seed, goal=recipe.goal)
    rows = [{"prompt": place.prompt(s, policy.style), "situation": place.prompt(s)} for s in situations]
    score = ArenaReward(place, recipe.goal, policy.tokenizer, chance_of(recipe))
    longest = max(len(answer_tokens(policy, action)) for s in situations[:64] for action in place.legal(s))
    config = GRPOConfig(
        **settings,
        per_device_train_batch_size=recipe.prompts * recipe.completions,
        num_generations=recipe.completions,
        steps_per_generation=1,  # each step is a generation boundary, so resuming is exact after any
        max_completion_length=max(4, longest),
        temperature=recipe.temperature,
        beta=recipe.kl,
        scale_rewards=recipe.scale_rewards if isinstance(recipe, RL) else "none",
        shuffle_dataset=False,
    )
    trainer = (GRPOTrainer if isinstance(recipe, RL) else _BestAnswers)(
        model=policy.model,
        reward_funcs=score,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=policy.tokenizer,
        callbacks=[callback],
    )
    return trainer, score
