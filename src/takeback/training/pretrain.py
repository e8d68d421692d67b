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
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback
from transformers import TrainingArguments as Arguments

from takeback.arenas import Lesson, PopulatedArena
from takeback.training.recipe import Architecture, Pretrain


def pretrain_trainer(
    recipe: Pretrain,
    shape: Architecture,
    place: PopulatedArena[Any],
    common: tuple[dict[str, Any], TrainerCallback],
) -> Trainer:
    """Build the trainer of a base from scratch; batches follow from the seed and the step alone."""
    tokenizer, (settings, callback) = place.tokenizer(), common
    return Trainer(
        model=_fresh_model(shape, tokenizer, recipe.seed),
        args=Arguments(**settings, per_device_train_batch_size=1, remove_unused_columns=False),
        train_dataset=_Lessons(recipe, place),
        data_collator=_only,
        compute_loss_func=_soft_cross_entropy,
        processing_class=tokenizer,
        callbacks=[callback],
    )


class _Lessons(Dataset[Lesson]):
    """One whole batch for each step, made when it is asked for: the seed of batch i is (recipe's seed, i)."""

    def __init__(self, recipe: Pretrain, place: PopulatedArena[Any]) -> None:
        self._recipe, self._place = recipe, place

    def __len__(self) -> int:
        return self._recipe.steps

    def __getitem__(self, index: int) -> Lesson:
        return self._place.lesson(self._recipe.batch, (self._recipe.seed, index))


def _only(batches: list[Lesson]) -> dict[str, torch.Tensor]:
    (lesson,) = batches
    return {"input_ids": torch.from_numpy(lesson.tokens), "labels": torch.from_numpy(lesson.targets)}


def _soft_cross_entropy(outputs: Any, targets: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """Mean cross-entropy, in nats, over the tokens that have a target distribution."""
    logits = outputs.logits[:, -targets.shape[1] :].float()
    losses = cross_entropy(logits.flatten(0, 1), targets.flatten(0, 1), reduction="sum")
    return losses / targets.sum()


def _fresh_model(shape: Architecture, tokenizer: Any, seed: int) -> LlamaForCausalLM:
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
