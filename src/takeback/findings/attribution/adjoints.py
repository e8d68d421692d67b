"""Measures as sums over next tokens: what moving each next-token probability of a readout is worth.

A readout's outcomes are products of next-token probabilities along a token tree. Let V be the slope of the
measure that is to be expected from a node on: the outcome's own slope where the answer ends, that of a dead
end where no answer goes on. Then moving the probability of a branch moves the measure by what reaches the
node × (V of the branch − V of a dead end), since a branch gains what dead ends lose. With these numbers held
fixed, a measure is linear in probabilities; each situation, and so each batch, adds its own part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from takeback.measure.measure import Slopes
from takeback.policies.language.expand import Decided, Expansion
from takeback.policies.language.forward import next_token_logprobs
from takeback.policies.language.packing import Batch
from takeback.policies.language.plan import ReadoutPlan
from takeback.policies.language.rounds import ModelScores, Round, RoundAnswers, ask
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError
from takeback.run.grouping import sum_by

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Adjoints:
    """What the probabilities of a round are worth to each measure.

    Attributes:
        asked: the round.
        pair: worth of each pair's next token, shape (measures, pairs).
        end: worth of an end at each target, shape (measures, targets).
        ends: the tokens that end an answer.
    """

    asked: Round
    pair: Floats
    end: Floats
    ends: Ints

    def __len__(self) -> int:
        return len(self.asked.batches)

    def sums(self, model: PreTrainedModel, number: int) -> Tensor:
        """Run a batch and return Σ worth × probability, shape (measures,): its gradient is the measures'."""
        batch, pairs = self.asked.batches[number], self.asked.pairs_of[number]
        place = np.zeros(len(self.asked.situations), np.int64)
        place[batch.targets] = batch.places
        logprobs = next_token_logprobs(model, batch.rows).flatten(0, 1)
        following = logprobs[place[self.asked.pair_target[pairs]], self.asked.pair_token[pairs]].exp()
        ending = logprobs[batch.places][:, self.ends].exp().sum(dim=1)
        pair, end = (
            torch.from_numpy(worth).to(logprobs)
            for worth in (self.pair[:, pairs], self.end[:, batch.targets])
        )
        return pair @ following + end @ ending

    def situations(self, number: int) -> Ints:
        """Return the situation of each row of a batch."""
        batch: Batch = self.asked.batches[number]
        owners = np.zeros(len(batch.rows.tokens), np.int64)
        owners[batch.places // (batch.rows.nodes + 1)] = self.asked.situations[batch.targets]
        return owners


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """One policy's answers in every round of a readout, and the probability of reaching each target.

    Attributes:
        plan: what was asked.
        steps: the rounds after the legal one.
        answers: those of the legal round, then of each step.
        reach: the probability of reaching each target of these rounds.
        outcomes: the probability of every outcome, as the judge numbers them.
        undecided: the mass that is in none of them, shape (situations,).
        left: the situation of each prefix that was not decided, shape (prefixes,).
    """

    plan: ReadoutPlan
    steps: tuple[Expansion, ...]
    answers: tuple[RoundAnswers, ...]
    reach: tuple[Floats, ...]
    outcomes: Floats
    undecided: Floats
    left: Ints

    @classmethod
    @torch.no_grad()
    def of(cls, model: PreTrainedModel, plan: ReadoutPlan, steps: Sequence[Expansion]) -> ForwardPass:
        """Read a model on the prefixes of the legal actions and of the steps."""
        scores, ends = ModelScores(model), plan.tree.vocabulary.ends
        rounds = (plan.legal.round, *(step.asked for step in steps))
        return cls.put_together(plan, steps, [ask(scores, [0], asked, ends)[0] for asked in rounds])

    @classmethod
    def put_together(
        cls, plan: ReadoutPlan, steps: Sequence[Expansion], answers: Sequence[RoundAnswers]
    ) -> ForwardPass:
        """Work out the probabilities of outcomes from the answers in each round."""
        first, legal, n = answers[0], plan.legal, len(plan.texts)
        reach = [legal.reach(first)]
        if plan.exact:
            known = Decided.first(plan, first, reach[0])
            for step, found in zip(steps, answers[1:], strict=True):
                reach.append(known.frontier.masses[step.chosen])
                known = known.after(plan, step, found)
            outcomes, undecided = known.outcomes, known.frontier.totals(n)
            left = known.frontier.situations
        else:
            done = legal.end >= 0
            outcomes = sum_by(legal.end[done], (reach[0] * first.end)[done], plan.judge.outcomes)
            undecided = 1 - sum_by(legal.round.situations[done], (reach[0] * first.end)[done], n)
            left = np.zeros(0, np.int64)
        return cls(plan, tuple(steps), tuple(answers), tuple(reach), outcomes, undecided, left)

    def readouts(self, like: Readouts) -> Readouts:
        """Return the probabilities as readouts, which are like others in all that has no slope."""
        actions, n = self.plan.judge.actions, len(self.plan.texts)
        return replace(
            like,
            probabilities=self.outcomes[:actions],
            masses=self.outcomes[actions:].reshape(n, -1),
            undecided=self.undecided,
        )

    def adjoints(self, slopes: Mapping[str, Slopes]) -> tuple[Adjoints, ...]:
        """Return what each round's probabilities are worth to measures with these slopes.

        Raises:
            TakebackError: a measure needs classes of illegality, and they are sampled.
        """
        for name, one in slopes.items():
            if not self.plan.exact and (one.illegal.any() or one.undecided.any()):
                raise TakebackError(
                    f"measure {name!r} needs classes of illegality, which are sampled with this vocabulary "
                    "and have no slopes; ask for its exact effects"
                )
        each = [self._worth(one) for one in slopes.values()]
        rounds = [self.plan.legal.round, *(step.asked for step in self.steps)]
        ends = np.flatnonzero(self.plan.tree.vocabulary.ends)
        return tuple(
            Adjoints(asked, np.stack([of[i][0] for of in each]), np.stack([of[i][1] for of in each]), ends)
            for i, asked in enumerate(rounds)
        )

    def _worth(self, slopes: Slopes) -> list[tuple[Floats, Floats]]:
        """Return what pairs and ends of each round are worth to one measure, from the deepest round up."""
        of_outcome = np.concatenate([slopes.legal, slopes.illegal.reshape(-1), [0.0]])  # -1 is left out
        n = len(self.plan.texts)
        dead = of_outcome[self.plan.judge.dead_ends] if self.plan.exact else np.zeros(n)
        found: list[tuple[Floats, Floats]] = []
        beyond = slopes.undecided[self.left]
        for step, answers, reach in list(zip(self.steps, self.answers[1:], self.reach[1:], strict=True))[
            ::-1
        ]:
            kept = len(step.chosen) - len(reach)
            local = _Local(step.asked, answers, dead[step.asked.situations], of_outcome[step.ends])
            found.append(local.worth(reach, beyond[kept:]))
            before = np.empty(len(step.chosen))
            before[~step.chosen], before[step.chosen] = beyond[:kept], local.values(beyond[kept:])
            beyond = before
        legal = self.plan.legal
        local = _Local(legal.round, self.answers[0], dead[legal.round.situations], of_outcome[legal.end])
        after = np.zeros(len(legal.child))
        after[legal.child < 0] = beyond
        for pairs in reversed(legal.levels):
            after[pairs] = local.values(after)[legal.child[pairs]]
        return [local.worth(self.reach[0], after), *reversed(found)]


@dataclass(frozen=True, eq=False)
class _Local:
    """A round with what each target's dead ends and its end are worth."""

    asked: Round
    answers: RoundAnswers
    dead: Floats
    end: Floats

    def values(self, after: Floats) -> Floats:
        """Return what reaching each target is worth, if going on along each pair is worth `after`."""
        gain = self.answers.pair * (after - self.dead[self.asked.pair_target])
        ended = self.answers.end * (self.end - self.dead)
        return self.dead + ended + sum_by(self.asked.pair_target, gain, len(self.dead))

    def worth(self, reach: Floats, after: Floats) -> tuple[Floats, Floats]:
        """Return what moving the probability of each pair and each end is worth."""
        at = self.asked.pair_target
        return reach[at] * (after - self.dead[at]), reach * (self.end - self.dead)
