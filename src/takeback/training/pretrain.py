"""Pretraining a base from scratch: it imitates the arena's mixed population of players.

The model learns from exact probabilities, not from sampled moves alone: along each sampled answer the target
of every token is the distribution over what the population might have written there. In expectation this is
the cross-entropy on sampled moves, without their noise.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Trainer, TrainerCallback
from transformers import TrainingArguments as Arguments

from takeback.arenas import Arena, Lesson, PopulatedArena
from takeback.run.errors import TakebackError
from takeback.training.recipe import Architecture, Drift, Pretrain


def populated(place: Arena[Any]) -> PopulatedArena[Any]:
    """Return the arena if it has players to imitate.

    Raises:
        TakebackError: it has none.
    """
    if not isinstance(place, PopulatedArena):
        raise TakebackError(
            f"arena {place.name} has no players to imitate; its base is made by method fresh or an agent"
        )
    return place


def lesson_seed(recipe: Pretrain | Drift, number: int) -> tuple[int, ...]:
    """Return the seed of a batch: (recipe's seed, number), and others for what goes on after pretraining."""
    return (recipe.seed, number) if isinstance(recipe, Pretrain) else (recipe.seed, number, 1)


def pretrain_trainer(
    recipe: Pretrain | Drift,
    model: PreTrainedModel,
    place: PopulatedArena[Any],
    common: tuple[dict[str, Any], TrainerCallback],
) -> Trainer:
    """Build the trainer that imitates the population; batches follow from the seed and the step alone."""
    tokenizer, (settings, callback) = place.tokenizer(), common
    return Trainer(
        model=model,
        args=Arguments(**settings, per_device_train_batch_size=1, remove_unused_columns=False),
        train_dataset=_Lessons(recipe, place),
        data_collator=_only,
        compute_loss_func=_soft_cross_entropy,
        processing_class=tokenizer,
        callbacks=[callback],
    )


class _Lessons(Dataset[Lesson]):
    """One whole batch for each step, made when it is asked for."""

    def __init__(self, recipe: Pretrain | Drift, place: PopulatedArena[Any]) -> None:
        self._recipe, self._place = recipe, place

    def __len__(self) -> int:
        return self._recipe.steps

    def __getitem__(self, index: int) -> Lesson:
        return self._place.lesson(self._recipe.batch, lesson_seed(self._recipe, index))


def _only(batches: list[Lesson]) -> dict[str, torch.Tensor]:
    (lesson,) = batches
    return {"input_ids": torch.from_numpy(lesson.tokens), "labels": torch.from_numpy(lesson.targets)}


def _soft_cross_entropy(outputs: Any, targets: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """Mean cross-entropy, in nats, over the tokens that have a target distribution."""
    logits = outputs.logits[:, -targets.shape[1] :].float()
    losses = cross_entropy(logits.flatten(0, 1), targets.flatten(0, 1), reduction="sum")
    return losses / targets.sum()


def fresh_model(shape: Architecture, place: PopulatedArena[Any], seed: int) -> LlamaForCausalLM:
    """Make a Llama of this shape for an arena's own tokenizer, with initial weights."""
    tokenizer: Any = place.tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=shape.mlp_width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(seed)  # transformers initialises from the global generator
        return LlamaForCausalLM(config)
