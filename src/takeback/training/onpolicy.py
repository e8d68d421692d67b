"""Language models that learn from their own answers, by TRL: GRPO, RLOO, the best answers, whole games."""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset
from transformers import Trainer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_config import RLOOConfig
from trl.trainer.rloo_trainer import RLOOTrainer

from takeback.training.drawing import tried_situations
from takeback.training.games import GameReward, GameRollout
from takeback.training.lessons import longest_action
from takeback.training.recipe import RFT, RL
from takeback.training.reward import LanguageReward, Rewarder, chance_of
from takeback.training.rows import lessons_of
from takeback.training.trainers import LanguageRun, language_trainer


@language_trainer.register(RL)
@language_trainer.register(RFT)
def on_policy_trainer(recipe: RL | RFT, run: LanguageRun) -> tuple[Trainer, Rewarder]:
    """Build the trainer of a language model that learns from its own answers, and what scores them."""
    # One row for each prompt of the whole run: the data never starts over, so a resumed run sees its order.
    if isinstance(recipe, RL) and recipe.horizon is not None:
        return _game_trainer(recipe, recipe.horizon, run)
    trials = lessons_of(run).trials(recipe)
    rows = [{"prompt": prompt, "situation": number} for number, prompt in enumerate(trials.prompts)]
    settings = {**run.settings, **_grouped(recipe, run, recipe.prompts), **trials.sampling}
    score = trials.score
    shared: dict[str, Any] = {**run.common, "reward_funcs": score, "train_dataset": Dataset.from_list(rows)}
    if isinstance(recipe, RFT):
        return _BestAnswers(args=GRPOConfig(**settings, scale_rewards="none"), **shared), score
    if recipe.algorithm == "rloo":
        return RLOOTrainer(args=RLOOConfig(**settings), **shared), score
    return GRPOTrainer(args=GRPOConfig(**settings, scale_rewards=recipe.scale_rewards), **shared), score


class _BestAnswers(GRPOTrainer):
    """Fine-tunes on the best of each situation's answers: GRPO with other weights than its advantages."""

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        output = super()._generate_and_score_completions(inputs)
        (score,) = self.reward_funcs
        assert isinstance(score, LanguageReward)
        assert self.num_generations
        rewards = torch.tensor(score.last).reshape(-1, self.num_generations)
        output["advantages"] = score.best(rewards).flatten().to(output["advantages"].device)
        return output


def _game_trainer(recipe: RL, horizon: int, run: LanguageRun) -> tuple[Trainer, Rewarder]:
    place, policy = run.place, run.policy
    begun = tried_situations(place, recipe)
    # A start has a row for each move of its games; every row is repeated for each of the games.
    rows = [{"prompt": place.prompt(start)} for start in begun for _ in range(horizon)]
    score = GameReward(place, recipe.goal, chance_of(recipe))
    longest = longest_action(place, policy, begun)
    sampling = {"max_completion_length": longest, "temperature": recipe.temperature}
    settings: dict[str, Any] = {**run.settings, **_grouped(recipe, run, recipe.prompts * horizon), **sampling}
    trainer = GRPOTrainer(
        **run.common,
        reward_funcs=score,
        args=GRPOConfig(**settings, scale_rewards=recipe.scale_rewards),
        train_dataset=Dataset.from_list(rows),
        rollout_func=GameRollout(recipe, horizon, (place, begun), policy, score),
    )
    return trainer, score


def _grouped(recipe: RL | RFT, run: LanguageRun, rows: int) -> dict[str, Any]:
    batches = run.batches(recipe, rows * recipe.completions)
    # Each step is a generation boundary, so resuming is exact after any.
    return {
        **batches,
        "num_generations": recipe.completions,
        "steps_per_generation": batches["gradient_accumulation_steps"],
        "beta": recipe.kl,
        "shuffle_dataset": False,
    }
