"""The bench: the held-out situations on which every policy of a run is read, and the games it plays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from takeback.arenas import Arena, arena
from takeback.behaviour import (
    Policy,
    ReadoutPlan,
    Readouts,
    effects,
    load_policy,
    measures,
    player,
    read_plan,
)
from takeback.errors import TakebackError


@dataclass(frozen=True, eq=False)
class Bench:
    """Reads policies on the same situations of one arena; all must share the first one's tokenizer."""

    arena: Arena[Any]
    situations: Sequence[Any]
    plan: ReadoutPlan
    vocabulary: Mapping[str, int]

    @classmethod
    def prepare(cls, arena_name: str, model: str, number: int, seed: int) -> Bench:
        """Draw held-out situations and prepare them for the tokenizer and prompts of `model`.

        Raises:
            UnknownName: there is no such arena.
            TakebackError: the model can't be opened, or there are fewer situations.
        """
        place = arena(arena_name)
        policy = load_policy(model, place)
        situations = place.situations("held-out", number, seed)
        plan = ReadoutPlan.prepare(place, situations, policy.tokenizer, policy.style)
        return cls(place, situations, plan, policy.tokenizer.get_vocab())

    def read(self, model: str) -> Readouts:
        """Read one policy."""
        return read_plan(self._policy(model).model, self.plan)

    def measure(self, model: str) -> pd.DataFrame:
        """Measure one policy: columns measure, value, se, low, high, n."""
        return measures(self.read(model), self.arena)

    def compare(self, before: str, after: str) -> pd.DataFrame:
        """Estimate what changed between two policies, paired by situation; relative to the first."""
        return effects(self.read(before), self.read(after), self.arena, relative_to=before)

    def games(self, model: str, number: int, moves: int, seed: int = 0) -> pd.DataFrame:
        """Let a policy play, sampling its moves, from won held-out situations against the best defender.

        Returns:
            A row a game: situation, result, reason (class of an illegal end), moves (White's), best (what
            perfect play needs).
        """
        starts = self.arena.situations("held-out", number, seed, goal="win")
        played = self.arena.play_out(player(self._policy(model), self.arena, seed), starts, moves)
        return pd.DataFrame(
            [
                {
                    "situation": self.arena.prompt(game.start),
                    "result": game.outcome,
                    "reason": game.reason,
                    "moves": (len(game.moves) + 1) // 2,
                    "best": self.arena.distance(game.start),
                }
                for game in played
            ]
        )

    def _policy(self, model: str) -> Policy:
        policy = load_policy(model, self.arena)
        if policy.tokenizer.get_vocab() != self.vocabulary:
            raise TakebackError(
                f"{model} has another tokenizer than the model it is compared with; read it alone"
            )
        return policy
