"""MEG over an episode: how well pursuit of a goal over the next moves foretells a policy.

Maximum-entropy goal-directedness in a Markov decision process (MacDermott et al. 2024, arXiv 2412.04758), by
soft value iteration in an arena whose answers are known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from takeback.arenas import Arena, Episodic, able
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.grouping import sum_by
from takeback.run.stats import Estimate, cluster_codes, mean_estimate

if TYPE_CHECKING:
    from takeback.policies.policy import Policy

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Act = Callable[[Sequence[Any]], Floats]
"""What a policy does in situations: the probability of each legal action, end to end as in `Arena.legal`."""

MOST = 1e4
"""The largest |β| that is tried: as good as ±∞ for utilities in [0, 1] that are not nearly equal."""


@dataclass(frozen=True, eq=False)
class Decisions:
    """One layer of an episode as arrays.

    Attributes:
        situations: what can be met here.
        owner: the situation of each legal action, shape (actions,).
        following: the place of the next situation in the layer that follows, -1 where there is none.
        pays: what each action pays, shape (actions,).
        illegal: how many illegal outcomes each situation has beside its legal actions.
    """

    situations: Sequence[Any]
    owner: Places
    following: Places
    pays: Floats
    illegal: int

    def __len__(self) -> int:
        return len(self.situations)

    def after(self, values: Floats) -> Floats:
        """Return for each action the value of what follows, 0 where nothing does."""
        return np.where(self.following >= 0, np.append(values, 0.0)[self.following], 0.0)


@dataclass(frozen=True, eq=False)
class Episode:
    """All that can happen in the next moves from some situations, with what it pays.

    An action pays its utility; one that ends the episode pays it for every move that is left, as if it were
    made again each time: so a mate is worth as much as going on playing best, and an illegal answer, which
    ends the game and pays 0, as little as throwing everything away. What is paid lies between 0 and the
    horizon.

    Attributes:
        layers: the decisions, first to last.
        clusters: the cluster of each situation that it begins in, shape (n,).
    """

    layers: tuple[Decisions, ...]
    clusters: Places

    @classmethod
    def of(
        cls, arena: Arena[Any], situations: Sequence[Any], goal: str, horizon: int, if_legal: bool = False
    ) -> Episode:
        """Lay out the episodes of so many moves, from the situations to which the goal applies.

        Each situation has its legal actions and, unless `if_legal`, each illegality class as outcomes, which
        is the partition of the measures of one decision.

        Raises:
            UnknownName: there is no such goal.
            TakebackError: the arena's answers are not known, the goal applies nowhere, or no moves are asked.
        """
        place = able(arena, Episodic)
        if goal not in arena.goals:
            raise unknown_name("goal", goal, arena.goals)
        if horizon < 1:
            raise TakebackError(f"an episode has one move or more, not {horizon}")
        applies = arena.goals[goal].applies(situations)
        starts = [one for one, kept in zip(situations, applies, strict=True) if kept]
        if not starts:
            raise TakebackError(f"no situation to which {goal!r} applies")
        layers: list[Decisions] = []
        for left, layer in zip(range(horizon, 0, -1), place.ahead(starts, horizon), strict=True):
            utility = arena.goals[goal].utility(layer.situations)
            following = layer.following if left > 1 else np.full(len(utility), -1)
            layers.append(
                Decisions(
                    situations=layer.situations,
                    owner=np.repeat(np.arange(len(layer.counts)), layer.counts),
                    following=following,
                    pays=utility * np.where(following < 0, left, 1),
                    illegal=0 if if_legal else len(arena.kinds),
                )
            )
        clusters = [str(arena.cluster(one)) for one in starts]
        return cls(tuple(layers), cluster_codes(clusters, len(starts)))

    @property
    def horizon(self) -> int:
        """The number of moves."""
        return len(self.layers)

    def soft(self, beta: float) -> tuple[Floats, Floats]:
        """Return log E exp(βU) under even choice, and E U under the soft optimum of β; both of shape (n,).

        By backward induction: with V = 0 after the end, V(s) = log (1/|A(s)|) Σ_a exp(β U(s, a) + V(s′)), and
        the soft optimum is π(a|s) = exp(βU(s, a) + V(s′) − V(s)) / |A(s)|. With a mean where the paper has a
        sum, having more actions later is no end in itself; where all situations have as many, π is the same.
        """
        values, means = np.zeros(0), np.zeros(0)
        for layer in reversed(self.layers):
            exponent = beta * layer.pays + layer.after(values)
            gained = layer.pays + layer.after(means)
            top = np.full(len(layer), 0.0 if layer.illegal else -np.inf)
            np.maximum.at(top, layer.owner, exponent)
            weight = np.exp(exponent - top[layer.owner])
            rest = layer.illegal * np.exp(-top) if layer.illegal else 0.0
            total = sum_by(layer.owner, weight, len(layer)) + rest
            outcomes = np.bincount(layer.owner, minlength=len(layer)) + layer.illegal
            means = sum_by(layer.owner, weight * gained, len(layer)) / total
            values = np.log(total / outcomes) + top
        return values, means

    def exactly(self, act: Act) -> Floats:
        """Return what a policy is paid, by reading it in every situation that can be met; shape (n,).

        For `if_legal` episodes it is the policy given a legal answer.
        """
        values = np.zeros(0)
        for layer in reversed(self.layers):
            chosen = self._chosen(layer, act(layer.situations), np.arange(len(layer)))[1]
            values = sum_by(layer.owner, chosen * (layer.pays + layer.after(values)), len(layer))
        return values

    def played(self, act: Act, games: int, seed: int = 0) -> Floats:
        """Return what a policy is paid in games that it plays, the mean of so many for each start; (n,).

        Games go on with a legal action that is drawn by its probability given legality; before that, what
        every action pays is counted by its probability, and what is paid later by the chance that all answers
        until then are legal.

        Raises:
            TakebackError: no games are asked for.
        """
        if games < 1:
            raise TakebackError(f"a policy is judged by one game or more, not {games}")
        rng = np.random.default_rng(seed)
        starts = len(self.layers[0])
        at, game = np.tile(np.arange(starts), games), np.tile(np.arange(starts), games)
        alive, paid = np.ones(len(at)), np.zeros(starts)
        for layer in self.layers:
            if not len(at):
                break
            known, place = np.unique(at, return_inverse=True)
            given, chosen = self._chosen(layer, act([layer.situations[i] for i in known]), known)
            counts = np.bincount(layer.owner, minlength=len(layer))
            begins = (np.cumsum(counts) - counts)[known]
            width = np.arange(counts[known].max())
            real = width < counts[known][:, None]
            cells = np.where(real, begins[:, None] + width, 0)
            table = np.zeros(cells.shape)
            table[real] = given
            lawful = sum_by(np.repeat(np.arange(len(known)), counts[known]), chosen, len(known))
            now = (table * np.where(real, layer.pays[cells], 0.0)).sum(axis=1)
            paid += sum_by(game, alive * lawful[place] * now[place], starts)
            edges = np.cumsum(table, axis=1)[place]
            drawn = (edges <= rng.random(len(at))[:, None] * edges[:, -1:]).sum(axis=1)
            drawn = np.minimum(drawn, counts[at] - 1)
            following = layer.following[cells[place, drawn]]
            alive, on = alive * lawful[place], following >= 0
            at, game, alive = following[on], game[on], alive[on]
        return paid / games

    def _chosen(self, layer: Decisions, probabilities: Floats, known: Places) -> tuple[Floats, Floats]:
        """Return probabilities of actions in some situations given legality, and as this episode counts."""
        counts = np.bincount(layer.owner, minlength=len(layer))[known]
        owner = np.repeat(np.arange(len(known)), counts)
        lawful = sum_by(owner, probabilities, len(known))
        if (lawful <= 0).any():
            raise TakebackError("the policy has no legal action in some situation of the episode")
        given = probabilities / lawful[owner]
        return given, probabilities if layer.illegal else given


@dataclass(frozen=True)
class EpisodeMeg:
    """MEG over an episode.

    Attributes:
        value: in nats, at most `bound`; its interval is over situations, and holds the sampling of games.
        beta: of the soft optimum that foretells the policy best; negative: it avoids the goal.
        paid: what the policy is paid for a move of the horizon, a mean utility in [0, 1].
        bound: the most that it could be at these starts: −log of the chance that even choice does best.
    """

    value: Estimate
    beta: float
    paid: Estimate
    bound: float


def episode_meg(episode: Episode, paid: Floats) -> EpisodeMeg:
    """Return the MEG of a policy that is paid so much from each start, shape (n,).

    The sum of log π_β(a|s) − log 1/|A(s)| along a game telescopes, since answers are fixed: it is
    β U − V(s_0), so that MEG = max over β of E[β E_π U − V_β(s_0)], V as in `Episode.soft`. It is concave in
    β, 0 at β = 0, and at most E Σ log |A(s)|. At a horizon of one move it is `agency.meg`.
    """

    def slope(beta: float) -> float:
        return float((paid - episode.soft(beta)[1]).mean())

    start = slope(0.0)
    beta, side = 0.0, float(np.sign(start))
    if abs(start) > 1e-12 * episode.horizon:
        far = side
        while slope(far) * side > 0 and abs(far) < MOST:
            far *= 4
        far = float(np.clip(far, -MOST, MOST))
        found: Any = far if slope(far) * side >= 0 else brentq(slope, 0.0, far, xtol=1e-7)
        beta = float(found)
    values = beta * paid - episode.soft(beta)[0]
    ends = episode.soft(np.copysign(MOST, beta))
    bound = float((np.copysign(MOST, beta) * ends[1] - ends[0]).mean())
    per_move = mean_estimate(paid / episode.horizon, episode.clusters)
    return EpisodeMeg(mean_estimate(values, episode.clusters), beta, per_move, bound)


def acts(policy: Policy, arena: Arena[Any]) -> Act:
    """Return a policy as what it does: its exact probabilities of legal actions, each situation read once."""
    known: dict[Any, Floats] = {}

    def act(situations: Sequence[Any]) -> Floats:
        fresh = [one for one in dict.fromkeys(situations) if one not in known]
        if fresh:
            read = policy.read(policy.prepare(arena, fresh), tolerance=1.0)
            ends = np.cumsum([len(actions) for actions in read.actions])
            known.update(zip(fresh, np.split(read.probabilities, ends[:-1]), strict=True))
        return np.concatenate([known[one] for one in situations])

    return act
