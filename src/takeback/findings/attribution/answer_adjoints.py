"""Measures of listed answers as sums over log-probabilities: what moving each answer's is worth.

With slopes s by the probabilities w of choices, moving the log-probability of choice a moves the measure by
w_a (s_a − Σ w s), over its length if log-probabilities are divided by that; `AnswerReadouts.by_logprob` has
the same of a pool, whose weights are corrected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from takeback.hybrid.memory import units_of
from takeback.measure.measure import Slopes
from takeback.policies.answers import AnswerReadouts
from takeback.policies.language.answers import AnswerBatch, AnswerPlan
from takeback.policies.language.forward import next_token_logits

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOGITS = 2**24
"""Most logits of one pass with gradients, which are held; one row is run in any case."""

ACTIVATIONS = 2**27
"""About how many bytes of activations such a pass holds, for each unit of work; one row runs in any case."""


@dataclass(frozen=True, eq=False)
class AnswerAdjoints:
    """What the log-probability of each asked answer is worth to each measure.

    Attributes:
        plan: what was asked.
        worth: shape (measures, 2 × answers): of each after its prompt, then of each without.
        batches: what is run with gradients: the plan's batches, cut small.
    """

    plan: AnswerPlan
    worth: Floats
    batches: tuple[AnswerBatch, ...]

    def __len__(self) -> int:
        return len(self.batches)

    def sums(self, model: PreTrainedModel, number: int) -> Tensor:
        """Run a batch and return Σ worth × log-probability, shape (measures,); its gradient is theirs."""
        batch = self.batches[number]
        logits = next_token_logits(model, batch.rows).flatten(0, 1) / self.plan.arena.temperature
        place, token = (torch.from_numpy(one).to(logits.device) for one in (batch.place, batch.token))
        logprobs = logits[place, token] - logits.logsumexp(dim=-1)[place]
        return torch.from_numpy(self.worth[:, batch.answer]).to(logprobs) @ logprobs

    def situations(self, number: int) -> Ints:
        """Return the situation of each row of a batch."""
        batch = self.batches[number]
        owner = np.repeat(np.arange(len(self.plan.told)), [len(one) for *_, one in self.plan.told])
        owners = np.zeros(len(batch.rows.tokens), np.int64)
        owners[batch.place // (batch.rows.nodes + 1)] = owner[batch.answer % len(owner)]
        return owners


def answer_adjoints(
    model: PreTrainedModel, plan: AnswerPlan, readouts: AnswerReadouts, slopes: Mapping[str, Slopes]
) -> AnswerAdjoints:
    """Return what the answers' log-probabilities are worth to measures with these slopes."""
    none = np.zeros(len(readouts.logprobs))
    weighed = np.stack([readouts.by_logprob(one.legal) for one in slopes.values()])
    direct = np.stack([none if one.logprobs is None else one.logprobs for one in slopes.values()])
    alone = -weighed if plan.arena.normalisation == "unconditional" else np.zeros_like(weighed)
    worth = np.concatenate([weighed + direct, alone], axis=1)
    batches = tuple(small for batch in plan.batches for small in batch.cut(_places(model, batch)))
    return AnswerAdjoints(plan, worth, batches)


def _places(model: PreTrainedModel, batch: AnswerBatch) -> int:
    """Return how many places of a batch one pass with gradients reads at most.

    A layer holds about ten hidden states and four inner ones for each token.
    """
    config: Any = model.config.get_text_config()
    inner: Any = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    inner = max(inner) if isinstance(inner, list | tuple) else inner  # one of each layer
    token = config.num_hidden_layers * (10 * config.hidden_size + 4 * inner) * model.dtype.itemsize
    rows = ACTIVATIONS * units_of(model) // (token * batch.rows.tokens.shape[1])
    return min(LOGITS // config.vocab_size, rows * (batch.rows.nodes + 1))
