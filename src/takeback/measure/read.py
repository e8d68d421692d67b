"""Reading hybrids: one or both models in memory, readouts of many hybrids on the same batches.

What is read of a hybrid depends on the situations that are read together, in its last bits, and not on the
hybrids that are read with it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from takeback.arenas import Arena
from takeback.checkpoint import Pair, Placement, Weights
from takeback.checkpoint.placement import CPU, HERE, MAP, ONE
from takeback.component import ComponentSet
from takeback.hybrid.live import Source, tensors_in
from takeback.hybrid.placed import Placed
from takeback.hybrid.sources import source_of
from takeback.hybrid.walk import path_of
from takeback.measure.sides import Load, Sides
from takeback.measure.store import Key, Part
from takeback.policies.language.answers import AnswerPlan, pieces, token_logprobs
from takeback.policies.language.ended import IllegalAnswer, illegal_answers
from takeback.policies.language.plan import ReadoutPlan
from takeback.policies.language.policy import LanguagePolicy
from takeback.policies.language.scores import Apart
from takeback.policies.load import load_policy
from takeback.policies.policy import Policy, View
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError
from takeback.run.progress import Report

LEGAL_ACTIONS: Final = 1.0
"""The tolerance with which no illegal mass is classified."""

SIDES: Final = ("base", "tuned")
BASE: Final = "base"
"""The source of an ordinary takeback."""

PLANS: Final = 4
"""Most lists of situations that are held ready to be read."""

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Ask:
    """A hybrid: tuned with a set of components from a source, base unless said otherwise."""

    take_back: ComponentSet
    source: str = BASE

    @classmethod
    def of(cls, ask: Ask | ComponentSet) -> Ask:
        """Return a hybrid as it is, or that with a set from base."""
        return ask if isinstance(ask, Ask) else cls(ask)

    @classmethod
    def graft(cls, components: ComponentSet) -> Ask:
        """Return base with a set from tuned, which is tuned with all else from base."""
        return cls(~components)

    @property
    def key(self) -> Key:
        """What it is called in tables: the set and the source; nothing has no source."""
        return str(self.take_back), self.source if self.take_back else BASE

    @property
    def built(self) -> tuple[str, ComponentSet]:
        """How it is made in memory: the side it starts from and what is exchanged there, never most of it."""
        if self.source == BASE and 2 * len(self.take_back) > len(self.take_back.universe):
            return "base", ~self.take_back
        return "tuned", self.take_back


@dataclass(frozen=True, eq=False)
class SpelledAnswers:
    """Answers token by token: the text of each token, and its log-probability in nats."""

    texts: tuple[tuple[str, ...], ...]
    logprobs: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True)
class HybridBatch:
    """Hybrids of one side and source that are read together, in the same situations."""

    asks: tuple[Ask, ...]
    keys: tuple[Key, ...]
    places: tuple[int, ...]
    tolerance: float


class Reader:
    """Holds one or both policies of a pair, loaded when first needed; it is sent elsewhere without them.

    Where one is held, slices of the other are read from its files when they are asked for, and asking for
    the other side's hybrids lets it take the place of the first.

    Every readout is decided on the prefixes that are heavy for base or for tuned, so that an effect does not
    depend on what one side alone left undecided.

    Attributes:
        pair: base and tuned.
        arena: where they act.
        situations: all that can be asked; what is read together is said by places among them.
        asked: where models run, as asked for; see `placement`.
        token: tells it from others in one process.
    """

    def __init__(
        self,
        pair: Pair,
        arena: Arena[Any],
        situations: Sequence[Any],
        load: Load = load_policy,
        asked: Placement = HERE,
    ) -> None:
        self.pair, self.arena, self.situations, self._load = pair, arena, tuple(situations), load
        self.asked, self.token = asked, uuid.uuid4().hex
        self._hybrids: dict[str, Any] = {}
        self._plans: dict[tuple[int, ...], Any] = {}
        self._other: tuple[str, Any] | None = None
        self._digests: dict[str, str] = {}
        self._spent, self._readings = 0.0, 0

    def __reduce__(self) -> tuple[Any, ...]:
        return Reader, (self.pair, self.arena, self.situations, load_policy, self.asked)

    @cached_property
    def placement(self) -> Placement:
        """Where models run here, settled."""
        return self.asked.settled(self.pair.base, self.pair.tuned)

    @cached_property
    def _sides(self) -> Sides:
        models = {side: getattr(self.pair, side) for side in SIDES}
        return Sides(models, self.arena, self._load, self.placement)

    def policy(self, side: str) -> Policy:
        """Return the policy of base or tuned; where one is held, the other goes unless the caller has it.

        Raises:
            TakebackError: a model can't be loaded, or the two are not alike.
        """
        if not self._sides.holds(side):
            self._hybrids, self._other = {}, None
        return self._sides.policy(side)

    def weights(self, side: str) -> Source:
        """Return what gives a side's slices: its model if both are held, else its files."""
        if self.placement.hold == ONE:
            return self._placed(getattr(self.pair, side))
        return tensors_in(self.policy(side).model)

    def hybrids(self, side: str, source: str = BASE) -> Any:
        """Return hybrids of one side with sets from the other, or of tuned with sets from a source.

        A source's tensors are held until another one is asked for.

        Raises:
            TakebackError: the source does not fit the pair.
        """
        one = self.placement.hold == ONE
        if source == BASE:
            policy = self.policy(side)
            if side not in self._hybrids:
                other = next(name for name in SIDES if name != side)
                given = self._placed(getattr(self.pair, other)) if one else self.policy(other)
                self._hybrids[side] = policy.hybrids(given)
            return self._hybrids[side]
        policy = self.policy("tuned")
        if self._other is None or self._other[0] != source:
            self._other = None
            given = source_of(source, self.pair)
            dtype = self.placement.torch_dtype
            held = self._placed(given) if one else tensors_in(given, dtype)
            self._other = source, policy.hybrids(held)
        return self._other[1]

    def look(self) -> None:
        """Find out anew what other checkpoints hold, which may have changed since."""
        self._digests.clear()

    def release(self) -> None:
        """Let go of the tensors of the last source."""
        self._other = None

    def key(self, ask: Ask) -> Key:
        """Return what a hybrid is called where it is kept: another checkpoint goes by its weights.

        Raises:
            TakebackError: the source does not fit the pair.
        """
        taken, source = ask.key
        if source.startswith("checkpoint:"):
            if source not in self._digests:
                self._digests[source] = f"checkpoint:{source_of(source, self.pair).digest}"
            source = self._digests[source]
        return taken, source

    def view(self, ask: Ask) -> View:
        """Return a hybrid as policies take it: what holds it, and what is taken back at each stage."""
        side, components = ask.built
        return self.hybrids(side, ask.source), path_of(components)

    def plan(self, places: Sequence[int]) -> Any:
        """Return some of the situations made ready to be read; the last few lists are held."""
        key = tuple(places)
        if key not in self._plans:
            while len(self._plans) >= PLANS:
                del self._plans[next(iter(self._plans))]
            chosen = [self.situations[place] for place in key]
            self._plans[key] = self._sides.any.prepare(self.arena, chosen)
        return self._plans[key]

    def ends(self, places: Sequence[int], tolerance: float) -> tuple[list[Readouts], list[Places]]:
        """Read base and tuned, and say what has to be expanded to decide both; see `Policy.marks`."""
        plan, universe = self.plan(places), self.pair.anatomy().universe
        nothing = universe - universe
        if self.placement.hold == ONE:
            whole = {"base": universe, "tuned": nothing}
            if not getattr(plan, "exact", False):
                return [self._own(side, plan, tolerance) for side in SIDES], []
            views = [(self.hybrids("tuned"), path_of(whole[side])) for side in SIDES]
        else:
            views = [(self.hybrids(side), path_of(nothing)) for side in SIDES]
        readouts, steps = self._timed(plan, views, len(places), tolerance)
        return readouts, self._sides.any.marks(steps)

    def read(self, batch: HybridBatch, marks: Sequence[Places]) -> Part:
        """Read hybrids that expand what is marked; one that is not decided by that goes on alone.

        Raises:
            TakebackError: the source does not fit the pair.
        """
        plan, views = self.plan(batch.places), [self.view(ask) for ask in batch.asks]
        steps = self._sides.any.steps(plan, marks)
        readouts, _ = self._timed(plan, views, len(batch.places), batch.tolerance, steps)
        return Part.of(batch.keys, readouts, np.array(batch.places), batch.tolerance)

    @property
    def pace(self) -> float | None:
        """Seconds that one hybrid took in one situation, None where none was read here."""
        return self._spent / self._readings if self._readings else None

    def _timed(
        self, plan: Any, views: Sequence[Any], situations: int, *how: Any
    ) -> tuple[list[Readouts], Any]:
        began = time.monotonic()
        found = self._sides.any.read_hybrids(plan, views, *how)
        self._spent += time.monotonic() - began
        self._readings += len(views) * situations
        return found

    def steps(self, plan: Any, marks: Sequence[Places]) -> Any:
        """Return the steps that marks stand for; no model is asked."""
        return self._sides.any.steps(plan, marks)

    def by_token(self, ask: Ask, arena: Any, situations: Sequence[Any]) -> SpelledAnswers:
        """Return listed answers token by token with what a hybrid gives each; nothing is kept.

        Raises:
            TakebackError: the source does not fit, or the pair are no language models.
        """
        policy = self._sides.any
        if not isinstance(policy, LanguagePolicy):
            raise TakebackError("only language models write answers in tokens")
        plan = policy.prepare(arena, situations)
        assert isinstance(plan, AnswerPlan)
        numbers = token_logprobs(self.view(ask), plan)
        texts = [tuple(pieces(policy.tokenizer, one.tokens)) for one in plan.spelled]
        return SpelledAnswers(tuple(texts), tuple(numbers))

    def illegal(self, ask: Ask, places: Sequence[int], marks: Sequence[Places]) -> list[list[IllegalAnswer]]:
        """Return a hybrid's answers that are no legal action, as far as marks decide them; nothing is kept.

        There are none where kinds of answers are not enumerated.
        """
        plan = self.plan(places)
        if not isinstance(plan, ReadoutPlan) or not plan.exact:
            return [[] for _ in places]
        with torch.no_grad():
            return illegal_answers(Apart.of([self.view(ask)]), plan, self.steps(plan, marks))

    def _own(self, side: str, plan: Any, tolerance: float) -> Readouts:
        """Read a side alone."""
        nothing = path_of(self.pair.anatomy().universe - self.pair.anatomy().universe)
        hybrids = self.hybrids(side)
        return self.policy(side).read_hybrids(plan, [(hybrids, nothing)], tolerance)[0][0]

    def _placed(self, weights: Weights) -> Placed:
        device = CPU if self.placement.device == MAP else self.placement.device
        return Placed(weights, self.placement.torch_dtype, torch.device(device))


_HELD: dict[str, Reader] = {}
"""The reader that this process, a worker, used last, with its models."""


def read_in_worker(
    token: str, reader: Reader, batch: HybridBatch, marks: Sequence[Places], _: Report
) -> Part:
    """Read a batch in a process that reads several: each job sends the reader anew, and the first is kept."""
    if token not in _HELD:
        _HELD.clear()
        _HELD[token] = reader
    return _HELD[token].read(batch, marks)
