"""The skill without reinforcement: imitating a goal's best actions, or preferring them, by TRL's trainers."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset
from transformers import Trainer, TrainerCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from takeback.arenas import Arena
from takeback.policies.language.policy import LanguagePolicy
from takeback.training.drawing import best_actions, divided_situations, preferences
from takeback.training.recipe import DPO, SFT

IGNORED = -100
"""The label of a token that is not to be learned."""


def answer_tokens(policy: LanguagePolicy, action: str) -> list[int]:
    """Return the tokens of an action and of the answer's end; after a sentence it follows a blank."""
    text = action if policy.style == "compact" else f" {action}"
    ids: list[int] = policy.tokenizer.encode(text, add_special_tokens=False)
    end: Any = policy.tokenizer.eos_token_id
    return [*ids, end]


def sft_trainer(
    recipe: SFT, place: Arena[Any], policy: LanguagePolicy, common: tuple[dict[str, Any], TrainerCallback]
) -> Trainer:
    """Build the trainer that imitates the goal's best action in each situation, ties broken by the seed.

    Shuffled, each situation has the best action of another one.
    """
    settings, callback = common
    random = np.random.default_rng(recipe.seed)
    situations = place.situations("train", recipe.steps * recipe.batch, recipe.seed, goal=recipe.goal)
    best = best_actions(place, recipe.goal, situations, random)
    if recipe.shuffled:
        random.shuffle(best)
    rows: list[dict[str, list[int]]] = []
    for situation, action in zip(situations, best, strict=True):
        prompt = policy.tokenizer(place.prompt(situation, policy.style))["input_ids"]
        answer = answer_tokens(policy, action)
        rows.append({"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer})
    return SFTTrainer(
        model=policy.model,
        args=SFTConfig(
            **settings,
            per_device_train_batch_size=recipe.batch,
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=policy.tokenizer,
        callbacks=[callback],
    )


def dpo_trainer(
    recipe: DPO, place: Arena[Any], policy: LanguagePolicy, common: tuple[dict[str, Any], TrainerCallback]
) -> Trainer:
    """Build the trainer that prefers a best action to a worse one in each situation, drawn by the seed.

    Raises:
        TakebackError: no legal action is worse than another, as for the goal `legal`.
    """
    settings, callback = common
    situations = divided_situations(recipe, place)
    pairs = preferences(place, recipe.goal, situations, np.random.default_rng(recipe.seed))
    rows: list[dict[str, list[int]]] = []
    for situation, (chosen, rejected) in zip(situations, pairs, strict=True):
        prompt: Any = policy.tokenizer(place.prompt(situation, policy.style))["input_ids"]
        answers = {
            "chosen_ids": answer_tokens(policy, chosen),
            "rejected_ids": answer_tokens(policy, rejected),
        }
        rows.append({"prompt_ids": prompt, **answers})
    return _Preferring(
        model=policy.model,
        args=DPOConfig(**settings, per_device_train_batch_size=recipe.batch, beta=recipe.beta),
        train_dataset=Dataset.from_list(rows),
        processing_class=policy.tokenizer,
        callbacks=[callback],
    )


class _Preferring(DPOTrainer):
    """Takes pairs that are tokens already."""

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        return dataset
