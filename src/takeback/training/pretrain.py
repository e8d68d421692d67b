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
from transformers import LlamaConfig, LlamaForCausalLM, Trainer
from transformers import TrainingArguments as Arguments

from takeback.arenas import Arena, ImitationBatch, Populated, Tokenized, able
from takeback.policies.language import LanguagePolicy
from takeback.run.errors import TakebackError
from takeback.training.recipe import Architecture, Drift, Pretrain
from takeback.training.trainers import LanguageRun, language_trainer


def batch_seed(recipe: Pretrain | Drift, number: int) -> tuple[int, ...]:
    """Return the seed of a batch: (recipe's seed, number), and others for what goes on after pretraining."""
    return (recipe.seed, number) if isinstance(recipe, Pretrain) else (recipe.seed, number, 1)


@language_trainer.register(Pretrain)
def imitating_trainer(recipe: Pretrain | Drift, run: LanguageRun) -> tuple[Trainer, None]:
    """Build the trainer that imitates the population; batches follow from the seed and the step alone.

    Raises:
        TakebackError: the arena has no population, or the model's tokens are not the arena's own.
    """
    if getattr(recipe, "micro_batch", None) is not None:
        raise TakebackError(f"method {recipe.method} learns an arena's whole batches; leave micro_batch out")
    batches = _TokenBatches(recipe, able(run.place, Populated))
    tokenizer = able(run.place, Tokenized).tokenizer()
    if run.policy.tokenizer.get_vocab() != tokenizer.get_vocab():
        raise TakebackError(
            f"method {recipe.method} goes on with pretraining in the arena's own tokens; "
            f"{getattr(recipe, 'parent', 'the model')} has others"
        )
    model: Any = run.policy.model.train()
    if run.adapter is not None:
        from peft import get_peft_model

        model = get_peft_model(model, run.adapter)
    trainer = Trainer(
        model=model,
        args=Arguments(**run.settings, per_device_train_batch_size=1, remove_unused_columns=False),
        train_dataset=batches,
        data_collator=_only,
        compute_loss_func=_soft_cross_entropy,
        processing_class=tokenizer,
        callbacks=[run.callback],
    )
    return trainer, None


class _TokenBatches(Dataset[ImitationBatch]):
    """One whole batch for each step, made when it is asked for."""

    def __init__(self, recipe: Pretrain | Drift, place: Populated) -> None:
        self._recipe, self._place = recipe, place

    def __len__(self) -> int:
        return self._recipe.steps

    def __getitem__(self, index: int) -> ImitationBatch:
        return self._place.imitation_batch(self._recipe.batch, batch_seed(self._recipe, index))


def _only(batches: list[ImitationBatch]) -> dict[str, torch.Tensor]:
    (batch,) = batches
    return {"input_ids": torch.from_numpy(batch.tokens), "labels": torch.from_numpy(batch.targets)}


def _soft_cross_entropy(outputs: Any, targets: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """Mean cross-entropy, in nats, over the tokens that have a target distribution."""
    logits = outputs.logits[:, -targets.shape[1] :].float()
    losses = cross_entropy(logits.flatten(0, 1), targets.flatten(0, 1), reduction="sum")
    return losses / targets.sum()


def fresh_policy(shape: Architecture, place: Arena[Any], seed: int) -> LanguagePolicy:
    """Make a Llama of this shape for an arena's own tokenizer, with initial weights.

    Raises:
        TakebackError: the arena has no population to imitate, or no tokenizer.
    """
    able(place, Populated)
    tokenizer: Any = able(place, Tokenized).tokenizer()
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
        return LanguagePolicy(LlamaForCausalLM(config), tokenizer)
