"""Fine-tuning on a goal's best actions by TRL's supervised trainer: the skill without reinforcement."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset
from transformers import Trainer, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from takeback.arenas import Arena
from takeback.behaviour.language.policy import LanguagePolicy
from takeback.training.recipe import SFT

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
    best: list[str] = []
    situations = place.situations("train", recipe.steps * recipe.batch, recipe.seed, goal=recipe.goal)
    utilities, start = place.utility(recipe.goal, situations), 0
    for situation in situations:
        actions = place.legal(situation)
        utility = utilities[start : start + len(actions)]
        start += len(actions)
        best.append(actions[int(random.choice(np.flatnonzero(utility == utility.max())))])
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
