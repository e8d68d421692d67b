"""The skill without reinforcement: imitating a goal's best actions, or preferring them, by TRL's trainers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import Trainer
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from takeback.arenas import written
from takeback.policies.language.policy import COMPACT, LanguagePolicy
from takeback.training.drawing import best_actions, divided_situations, preferences
from takeback.training.recipe import DPO, SFT
from takeback.training.trainers import LanguageRun, language_trainer

IGNORED = -100
"""The label of a token that is not to be learned."""


def answer_tokens(policy: LanguagePolicy, action: str) -> list[int]:
    """Return the tokens of an action and of the answer's end.

    After a prompt that is not compact it follows a blank, if the tokenizer has one.
    """
    texts = [action] if policy.style == COMPACT else [f" {action}", action]
    encoded: list[list[int]] = [policy.tokenizer.encode(text, add_special_tokens=False) for text in texts]
    unknown: Any = policy.tokenizer.unk_token_id
    ids = next((ids for ids in encoded if unknown not in ids), encoded[0])
    end: Any = policy.tokenizer.eos_token_id
    return [*ids, end]


@language_trainer.register(SFT)
def sft_trainer(recipe: SFT, run: LanguageRun) -> tuple[Trainer, None]:
    """Build the trainer that imitates the goal's best action in each situation, ties broken by the seed.

    Shuffled, each situation has the best action of another one.
    """
    place, random = run.place, np.random.default_rng(recipe.seed)
    situations = place.situations("train", recipe.steps * recipe.batch, recipe.seed, goal=recipe.goal)
    best = best_actions(place, recipe.goal, situations, random)
    if recipe.shuffled:
        random.shuffle(best)
    return imitating(recipe, run, situations, best), None


def imitating(recipe: SFT, run: LanguageRun, situations: Sequence[Any], actions: Sequence[str]) -> Trainer:
    """Build the trainer that imitates one action in each situation, a batch a step, in their order."""
    place, policy = run.place, run.policy
    rows: list[dict[str, list[int]]] = []
    for situation, action in zip(situations, actions, strict=True):
        prompt = policy.tokenizer(written(place, situation, policy.style))["input_ids"]
        answer = answer_tokens(policy, action)
        rows.append({"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer})
    return SFTTrainer(
        model=policy.model,
        args=SFTConfig(
            **run.settings,
            per_device_train_batch_size=recipe.batch,
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=policy.tokenizer,
        callbacks=[run.callback],
    )


@language_trainer.register(DPO)
def dpo_trainer(recipe: DPO, run: LanguageRun) -> tuple[Trainer, None]:
    """Build the trainer that prefers a best action to a worse one in each situation, drawn by the seed.

    Raises:
        TakebackError: no legal action is worse than another, as for the goal `legal`.
    """
    place, policy = run.place, run.policy
    situations = divided_situations(recipe, place)
    pairs = preferences(place, recipe.goal, situations, np.random.default_rng(recipe.seed))
    rows: list[dict[str, list[int]]] = []
    for situation, (chosen, rejected) in zip(situations, pairs, strict=True):
        prompt: Any = policy.tokenizer(written(place, situation, policy.style))["input_ids"]
        answers = {
            "chosen_ids": answer_tokens(policy, chosen),
            "rejected_ids": answer_tokens(policy, rejected),
        }
        rows.append({"prompt_ids": prompt, **answers})
    trainer = _Preferring(
        model=policy.model,
        args=DPOConfig(**run.settings, per_device_train_batch_size=recipe.batch, beta=recipe.beta),
        train_dataset=Dataset.from_list(rows),
        processing_class=policy.tokenizer,
        callbacks=[run.callback],
    )
    return trainer, None


class _Preferring(DPOTrainer):
    """Takes pairs that are tokens already."""

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        return dataset
