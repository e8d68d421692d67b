"""The bench: the held-out situations on which every policy of a run is read, and the games it plays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from takeback.arenas import Arena, Playable, able, arena
from takeback.measure.effects import effects
from takeback.measure.measure import MeasureContext
from takeback.measure.measures import estimate_row, measures, typed
from takeback.measure.shift import KL, shift
from takeback.policies.load import load_policy
from takeback.policies.play import player
from takeback.policies.policy import Policy
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError
from takeback.run.stats import mean_estimate


@dataclass(frozen=True, eq=False)
class Bench:
    """Reads policies on the same situations of one arena; all must be like the first."""

    arena: Arena[Any]
    situations: Sequence[Any]
    first: Policy
    plan: Any

    @classmethod
    def prepare(cls, arena_name: str, model: str, number: int, seed: int) -> Bench:
        """Draw held-out situations and prepare them for policies like `model`.

        Raises:
            UnknownName: there is no such arena.
            TakebackError: the model can't be opened, or there are fewer situations.
        """
        place = arena(arena_name)
        policy = load_policy(model, place)
        situations = place.situations("held-out", number, seed)
        return cls(place, situations, policy, policy.prepare(place, situations))

    def read(self, model: str) -> Readouts:
        """Read one policy."""
        return self._policy(model).read(self.plan)

    def measure(self, model: str) -> pd.DataFrame:
        """Measure one policy: columns measure, value, se, low, high, n."""
        readouts = self.read(model)
        return measures(readouts, self.arena, self._context(readouts))

    def follow(self, before: Readouts, model: str) -> pd.DataFrame:
        """Measure one policy as `measure` does, and its KL from another one, in nats."""
        after = self.read(model)
        context = self._context(after)
        moved = mean_estimate(shift(before, after)[KL.name], context.clusters)
        row = pd.DataFrame([{"measure": KL.name, **estimate_row(moved)}])
        row = typed(row, ("value", "se", "low", "high"))
        return pd.concat([measures(after, self.arena, context), row], ignore_index=True)

    def compare(self, before: str, after: str) -> pd.DataFrame:
        """Estimate what changed between two policies, paired by situation; relative to the first."""
        after_it = self.read(after)
        return effects(self.read(before), after_it, self.arena, before, self._context(after_it))

    def games(self, model: str, number: int, moves: int, seed: int = 0) -> pd.DataFrame:
        """Let a policy play, sampling its moves, from won held-out situations against the best defender.

        Returns:
            A row a game: situation, result, reason (class of an illegal end), moves (the policy's), score,
            best (what perfect play needs).
        """
        place = able(self.arena, Playable)
        starts = self.arena.situations("held-out", number, seed, goal=next(iter(self.arena.goals)))
        played = place.play_out(player(self._policy(model), self.arena, seed), starts, moves)
        return pd.DataFrame(
            [
                {
                    "situation": self.arena.prompt(game.start),
                    "result": game.outcome,
                    "reason": game.reason,
                    "moves": game.turns,
                    "score": game.score,
                    "best": place.distance(game.start),
                }
                for game in played
            ]
        )

    def _context(self, readouts: Readouts) -> MeasureContext:
        return MeasureContext.of(readouts, self.arena, situations=self.situations)

    def _policy(self, model: str) -> Policy:
        policy = load_policy(model, self.arena)
        if why := policy.unlike(self.first):
            raise TakebackError(f"{model} has {why} than the model it is compared with; read it alone")
        return policy
