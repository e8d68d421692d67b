"""Policies read alone, each on the same held-out situations: how a model does, and how a run develops."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from takeback.arenas import Arena, Asked, Playable, able
from takeback.checkpoint import Checkpoint, Placement, open_checkpoint
from takeback.checkpoint.placement import BOTH
from takeback.measure.agency.agency import agency
from takeback.measure.effects import effects, noise_floor
from takeback.measure.flips import flipped_items, flips
from takeback.measure.layout import Layout
from takeback.measure.measure import Measure, MeasureContext, Numbers
from takeback.measure.measures import estimate_row, find_measures, measures, measures_of, typed
from takeback.measure.pool import with_answers
from takeback.measure.said import said
from takeback.measure.setup import Setup
from takeback.measure.shift import KL, shift
from takeback.measure.store import Part, Store
from takeback.policies.answers import AnswerReadouts
from takeback.policies.load import load_policy
from takeback.policies.play import player
from takeback.policies.policy import Policy
from takeback.policies.readout import TOLERANCE, Readouts
from takeback.run.errors import TakebackError
from takeback.run.identity import identity
from takeback.run.stats import mean_estimate


class HeldOut:
    """Reads policies alone in situations of one arena, none twice; all must be like the first.

    The first policy and the last other one are held in memory; `changes` holds one after the other.

    Attributes:
        arena: where they act.
        situations: what they are read on.
        setup: where what is read is kept.
        own: what is measured beside the arena's measures.
    """

    def __init__(
        self,
        arena: Arena[Any],
        situations: Sequence[Any],
        first: str,
        setup: Setup | None = None,
        measures: Iterable[str | Numbers | Measure] = (),
    ) -> None:
        self.own = find_measures(measures, arena)
        self.arena, self.situations = arena, tuple(situations)
        self.setup, self._first = setup or Setup(), open_checkpoint(first)
        self._layout, self._held = Layout(arena, self.situations), dict[tuple[str, str, str], Policy]()

    @classmethod
    def draw(
        cls,
        place: Arena[Any],
        first: str,
        drawn: tuple[int, int],
        setup: Setup | None = None,
        measures: Iterable[str | Numbers | Measure] = (),
        sides: Mapping[str, str] | None = None,
    ) -> HeldOut:
        """Draw held-out situations: so many, with this seed.

        Of an open arena the sides answer first, by default the first model alone: what they said is the pool
        that every policy is read on.

        Raises:
            UnknownName: there is no such measure.
            TakebackError: a model can't be opened, there are fewer situations, or a pool can't be drawn.
        """
        find_measures(measures, place)
        models = {side: open_checkpoint(ref) for side, ref in (sides or {"tuned": first}).items()}
        asked = place.situations("held-out", *drawn)
        place, known = with_answers(place, asked, models, setup or Setup())
        return cls(place, known, first, setup, measures)

    def load(
        self, model: Checkpoint, arena: Arena[Any] | None = None, *, placement: Placement | None = None
    ) -> Policy:
        """Return the policy of a checkpoint, which is held until another one is asked for."""
        here = self._placement(model) if placement is None else placement
        key = (model.digest, here.device, here.dtype)
        if key not in self._held:
            kept = {self._first.digest} if here.hold == BOTH else set[str]()
            self._held = {held: one for held, one in self._held.items() if held[0] in kept - {model.digest}}
            self._held[key] = load_policy(model, self.arena if arena is None else arena, placement=here)
        return self._held[key]

    def read(self, model: str, beside: str | None = None) -> Readouts:
        """Read one policy, or find it read.

        Args:
            model: its checkpoint.
            beside: the checkpoint it is compared with, where that is not the first: both are read in an
                element type that holds them.

        Raises:
            TakebackError: it can't be opened, or it is not like the first.
        """
        checkpoint, every = open_checkpoint(model), np.arange(len(self.situations))
        here = self._placement(checkpoint, *(() if beside is None else (open_checkpoint(beside),)))
        key = f"{checkpoint.digest} {checkpoint.runs_as}", f"alone {here.dtype}"
        self.store.look()
        if len(self.store.missing(key, every, TOLERANCE)):
            readouts = self._policy(checkpoint, here).read(self._plan)
            self.store.keep(Part.of([key], [readouts], every, TOLERANCE))
        return self._layout.readouts(self.store.rows(key, every, TOLERANCE, self._layout), every)

    def measure(self, model: str) -> pd.DataFrame:
        """Measure one policy: columns measure, value, se, low, high, n."""
        readouts = self.read(model)
        return measures(readouts, self.arena, self.context(readouts))

    def follow(self, before: Readouts, model: str) -> pd.DataFrame:
        """Measure one policy as `measure` does, and its KL from another one, in nats."""
        after = self.read(model)
        context = self.context(after)
        moved = mean_estimate(shift(before, after)[KL.name], context.clusters)
        row = pd.DataFrame([{"measure": KL.name, **estimate_row(moved)}])
        row = typed(row, ("value", "se", "low", "high"))
        return pd.concat([measures(after, self.arena, context), row], ignore_index=True)

    def compare(self, before: str, after: str) -> pd.DataFrame:
        """Estimate what changed between two policies, paired by situation; relative to the first."""
        old, new = self.read(before, after), self.read(after, before)
        context = self.context(new)
        return effects(old, new, self.arena, before, context, self._floor(after, before, context))

    def _floor(self, model: str, beside: str, context: MeasureContext) -> Mapping[str, float] | None:
        """Return how large an effect is that rounding alone makes, None in fp32; see `noise_floor`."""
        here = self._placement(open_checkpoint(model), open_checkpoint(beside))
        if not here.reduced:
            return None
        checkpoint, every = open_checkpoint(model), np.arange(len(self.situations))
        key = f"{checkpoint.digest} {checkpoint.runs_as}", f"again {here.dtype}"
        if len(self.store.missing(key, every, TOLERANCE)):
            alone, policy = Store(), self._policy(checkpoint, here)
            for place, one in enumerate(self.situations):
                readouts = policy.read(policy.prepare(self.arena, [one]))
                alone.keep(Part.of([key], [readouts], every[[place]], TOLERANCE))
            rows = alone.rows(key, every, TOLERANCE, self._layout)
            self.store.keep(Part.of([key], [self._layout.readouts(rows, every)], every, TOLERANCE))
        again = self._layout.readouts(self.store.rows(key, every, TOLERANCE, self._layout), every)
        return noise_floor(self.read(model, beside), again, context)

    def changes(self, before: str, after: str) -> dict[str, pd.DataFrame]:
        """Return all that is told of a change, as tables by name: `measures` (as of `compare`) and `said`.

        Where answers are listed also `flips`, `items` and `agency`: what became of each item, and how much of
        the change is pursuit of what answers are worth.
        """
        new = self.read(after, before)
        self._held.clear()
        gc.collect()
        old = self.read(before, after)
        told = {"measures": self.compare(before, after), "said": said(old, new)}
        if not isinstance(old, AnswerReadouts) or not isinstance(new, AnswerReadouts):
            return told
        context = self.context(new)
        told |= {"flips": flips(old, new, context), "items": flipped_items(old, new, context)}
        return {**told, "agency": agency(old, new, context)} if context.utilities else told

    @property
    def known(self) -> tuple[Measure, ...]:
        """All that is measured here: what the arena has, and its own."""
        return (*measures_of(self.arena), *self.own)

    def context(self, readouts: Readouts) -> MeasureContext:
        """Return what measures of these readouts need of the arena."""
        return MeasureContext.of(readouts, self.arena, self.own, self.situations)

    def games(self, model: str, number: int, moves: int, seed: int = 0) -> pd.DataFrame:
        """Let a policy play, sampling its moves, from won held-out situations against the best defender.

        Returns:
            A row a game: situation, result, reason (class of an illegal end), moves (the policy's), score,
            best (what perfect play needs).

        Raises:
            TakebackError: the arena has no games.
        """
        place = able(self.arena, Playable)
        starts = self.arena.situations("held-out", number, seed, goal=next(iter(self.arena.goals)))
        policy = self._policy(open_checkpoint(model))
        played = place.play_out(player(policy, self.arena, seed), starts, moves)
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

    @cached_property
    def store(self) -> Store:
        """What was read."""
        asked = Asked(self.arena, self.situations)
        return self.setup.store(lambda: identity(asked, ["alone", TOLERANCE, self.setup.threads]))

    @cached_property
    def _plan(self) -> Any:
        return self._like.prepare(self.arena, self.situations)

    def _placement(self, *models: Checkpoint) -> Placement:
        """Return where models run that are compared with the first, settled."""
        return self.setup.placement.settled(self._first, *models)

    @cached_property
    def _like(self) -> Policy:
        """The first policy without its weights."""
        return self.load(self._first).emptied()

    def _policy(self, model: Checkpoint, placement: Placement | None = None) -> Policy:
        like = self._like
        policy = self.load(model, placement=placement)
        if why := policy.unlike(like):
            raise TakebackError(f"{model.ref} has {why} than the model it is compared with; read it alone")
        return policy
