"""What a readout of policy networks needs of arena and situations, prepared once for every network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from takeback.arenas import ForNetworks, able
from takeback.checkpoint.network_config import NetworkConfig
from takeback.policies.readout import Readouts, drawn_legal
from takeback.run.errors import TakebackError
from takeback.run.grouping import sum_by

if TYPE_CHECKING:
    from takeback.arenas import Arena

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class OutputLists:
    """Outputs of each situation, end to end; those of situation i begin at `starts[i]`."""

    outputs: Ints
    counts: Ints
    starts: Ints

    @classmethod
    def by(cls, owner: Ints, outputs: Ints, situations: int) -> OutputLists:
        """List outputs whose situations ascend."""
        counts = np.bincount(owner, minlength=situations)
        return cls(outputs, counts, np.cumsum(counts) - counts)

    def of(self, rows: Ints) -> tuple[Ints, Ints]:
        """Return the places of some situations' entries here, and to which of `rows` each belongs."""
        counts = self.counts[rows]
        owner = np.repeat(np.arange(len(rows)), counts)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.starts[rows][owner] + within, owner


@dataclass(frozen=True, eq=False)
class NetworkPlan:
    """Situations made ready to be read from any number of networks with the arena's outputs.

    Of the illegal outputs of a situation most are of one class (in chess those that leave an empty square):
    the few others are listed, and what is on no list is of that class.

    Attributes:
        texts: each situation as tables call it.
        clusters: each situation's cluster, for standard errors.
        actions: each situation's legal actions.
        observations: what the network reads, shape (n, inputs).
        legal: the output of each legal action.
        commonest: the class of most illegal outputs of each situation, shape (n,).
        others: the illegal outputs of other classes.
        classes: the class of each of them.
    """

    arena: Arena[Any]
    texts: tuple[str, ...]
    clusters: tuple[str, ...]
    actions: tuple[tuple[str, ...], ...]
    observations: Tensor
    legal: OutputLists
    commonest: Ints
    others: OutputLists
    classes: Ints

    @classmethod
    def prepare(cls, arena: Arena[Any], situations: Iterable[Any]) -> NetworkPlan:
        """Prepare situations.

        Raises:
            TakebackError: there are none, the arena shows networks nothing, or a legal action has no output.
        """
        chosen = list(situations)
        if not chosen:
            raise TakebackError("no situations to read; ask the arena for at least one")
        shown = able(arena, ForNetworks)
        actions = tuple(tuple(arena.legal(situation)) for situation in chosen)
        verdicts = shown.verdicts(chosen)
        counts = np.array([len(legal) for legal in actions])
        owner = np.repeat(np.arange(len(chosen)), counts)
        starts = np.cumsum(counts) - counts
        row, output = np.nonzero(verdicts >= 0)
        legal = np.full(len(owner), -1)
        legal[starts[row] + verdicts[row, output]] = output
        if (legal < 0).any():
            missing = [a for some in actions for a in some][int(np.flatnonzero(legal < 0)[0])]
            raise TakebackError(f"arena {arena.name} has no output for its legal action {missing!r}")
        classes = len(arena.kinds)
        tally = np.stack([(verdicts == -1 - number).sum(axis=1) for number in range(classes)], axis=1)
        commonest = tally.argmax(axis=1)
        row, output = np.nonzero((verdicts < 0) & (verdicts != (-1 - commonest)[:, None]))
        return cls(
            arena=arena,
            texts=tuple(arena.prompt(situation) for situation in chosen),
            clusters=tuple(str(arena.cluster(situation)) for situation in chosen),
            actions=actions,
            observations=torch.from_numpy(shown.observe(chosen)),
            legal=OutputLists.by(owner, legal, len(chosen)),
            commonest=commonest,
            others=OutputLists.by(row, output, len(chosen)),
            classes=-1 - verdicts[row, output].astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.texts)


class OutcomeMasses:
    """The probabilities of all outcomes of one policy, put together from blocks of rows."""

    def __init__(self, plan: NetworkPlan, config: NetworkConfig) -> None:
        self._plan, self._config = plan, config
        self.probabilities = np.zeros(len(plan.legal.outputs))
        self.masses = np.zeros((len(plan), len(plan.arena.kinds)))
        self.greedy = np.zeros(len(plan), np.int64)

    def copy(self) -> OutcomeMasses:
        """Return the same numbers once more."""
        other = OutcomeMasses.__new__(OutcomeMasses)
        other._plan, other._config = self._plan, self._config
        other.probabilities, other.masses = self.probabilities.copy(), self.masses.copy()
        other.greedy = self.greedy.copy()
        return other

    def put(self, rows: Ints, outputs: Tensor) -> None:
        """Take the outputs of some situations, shape (rows, outputs); they may be overwritten."""
        plan, classes = self._plan, self.masses.shape[1]
        legal, of_legal = plan.legal.of(rows)
        other, of_other = plan.others.of(rows)
        self._put_greedy(rows, outputs, (legal, of_legal))
        weights = self._config.weights(outputs)
        wanted = _taken(weights, of_legal, plan.legal.outputs[legal])
        rest = _taken(weights, of_other, plan.others.outputs[other])
        masses = sum_by(of_other * classes + plan.classes[other], rest, len(rows) * classes)
        masses = masses.reshape(len(rows), classes)
        masses[np.arange(len(rows)), plan.commonest[rows]] += weights.sum(dim=1).double().numpy()
        whole = masses.sum(axis=1) + sum_by(of_legal, wanted, len(rows))
        self.probabilities[legal] = wanted / whole[of_legal]
        self.masses[rows] = masses / whole[:, None]

    def _put_greedy(self, rows: Ints, outputs: Tensor, legal: tuple[Ints, Ints]) -> None:
        """Find where the largest output is a legal action, the first of equal ones."""
        places, owners = legal
        listed = self._plan.legal
        at = (torch.from_numpy(owners), torch.from_numpy(listed.outputs[places]))
        best = np.flatnonzero((outputs[at] == outputs.amax(dim=1)[at[0]]).numpy())[::-1]
        self.greedy[rows] = -1
        self.greedy[rows[owners[best]]] = (places - listed.starts[rows[owners]])[best]

    def readouts(self, samples: int, seed: int) -> Readouts:
        """Return what was put together."""
        plan = self._plan
        n = len(plan)
        legal = sum_by(np.repeat(np.arange(n), plan.legal.counts), self.probabilities, n)
        return Readouts(
            arena=plan.arena.name,
            situations=plan.texts,
            clusters=plan.clusters,
            actions=plan.actions,
            probabilities=self.probabilities,
            illegal=tuple(plan.arena.kinds),
            masses=self.masses,
            undecided=np.zeros(n),
            greedy=self.greedy,
            drawn_legal=drawn_legal(legal, samples, seed),
            samples=0,
            errors=np.zeros_like(self.masses),
            lower_bound=np.zeros(n, np.bool_),
        )


def _taken(weights: Tensor, rows: Ints, outputs: Ints) -> NDArray[np.float64]:
    """Take weights out, leaving zeros, so that what is left adds up without them."""
    at = (torch.from_numpy(rows), torch.from_numpy(outputs))
    found = weights[at].double().numpy()
    weights[at] = 0
    return found
