"""The skill without reinforcement: imitating the best answers, or preferring them, by TRL's trainers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from transformers import Trainer
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from takeback.training.lessons import ActionLessons, Lesson
from takeback.training.pretrain import imitating_trainer
from takeback.training.recipe import DPO, SFT, Drift
from takeback.training.reward import Rewarder
from takeback.training.rows import RowLessons, lessons_of
from takeback.training.trainers import LanguageRun, language_trainer

IGNORED = -100
"""The label of a token that is not to be learned."""


@language_trainer.register(SFT)
def sft_trainer(recipe: SFT, run: LanguageRun) -> tuple[Trainer, None]:
    """Build the trainer that imitates a best answer in each situation, ties broken by the seed.

    Shuffled, each situation has the best answer of another one.
    """
    return _imitating(recipe, run, lessons_of(run).best(recipe)), None


def imitating(recipe: SFT, run: LanguageRun, situations: Sequence[Any], actions: Sequence[str]) -> Trainer:
    """Build the trainer that imitates one action in each situation, a batch a step, in their order."""
    return _imitating(recipe, run, ActionLessons(run.place, run.policy).spelled(situations, actions))


def _imitating(recipe: SFT | Drift, run: LanguageRun, lessons: Sequence[Lesson]) -> Trainer:
    """Build the trainer that learns the answers of lessons, a batch a step, in their order."""
    rows = [
        {"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer}
        for prompt, answer in lessons
    ]
    return SFTTrainer(
        **run.common,
        args=SFTConfig(
            **run.settings,
            **run.batches(recipe, recipe.batch),
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
        ),
        train_dataset=Dataset.from_list(rows),
    )


@language_trainer.register(Drift)
def drifting_trainer(recipe: Drift, run: LanguageRun) -> tuple[Trainer, Rewarder | None]:
    """Build the trainer that goes on with pretraining: on an arena's players, or on a user's texts.

    Raises:
        TakebackError: the arena has neither, or the model's tokens are not the arena's own.
    """
    lessons = lessons_of(run)
    if isinstance(lessons, RowLessons):
        return _imitating(recipe, run, lessons.texts(recipe)), None
    return imitating_trainer(recipe, run)


@language_trainer.register(DPO)
def dpo_trainer(recipe: DPO, run: LanguageRun) -> tuple[Trainer, None]:
    """Build the trainer that prefers a better answer to a worse one in each situation, drawn by the seed.

    Raises:
        TakebackError: no answer is worse than another, as for the goal `legal`.
    """
    rows = [
        {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}
        for prompt, chosen, rejected in lessons_of(run).preferences(recipe)
    ]
    trainer = _Preferring(
        **run.common,
        args=DPOConfig(**run.settings, **run.batches(recipe, recipe.batch), beta=recipe.beta),
        train_dataset=Dataset.from_list(rows),
    )
    return trainer, None


class _Preferring(DPOTrainer):
    """Takes pairs that are tokens already."""

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        return dataset
