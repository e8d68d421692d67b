"""A pair on a stage: what a page can ask of it, as messages that come one by one."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from takeback.component import Component, ComponentSet
from takeback.findings.sweep.sets import CONTROLS, SAME_SIZE, NamedSet, random_controls
from takeback.lab.effects import Effects, changes_of, compared, effects_of
from takeback.lab.estimates import Estimates
from takeback.lab.scene import Colouring, scene_of
from takeback.lab.selection import Selection
from takeback.lab.situations import illegal_of, numbers, readout_of, situation_of, speaks_illegally
from takeback.lab.thoughts import Invariants, Thought
from takeback.measure.bench import Bench
from takeback.measure.read import Ask
from takeback.policies.answers import AnswerReadouts
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError

Message = dict[str, Any]
Places = NDArray[np.int64]

FIRST: Final = 8
"""Situations whose effects are told first; then of twice as many, and so on to all."""

MOMENT: Final = 0.1
"""Seconds that one reading takes, about: as long as that a newer selection waits."""

BESIDE: Final = 5
"""Random sets that a selection is compared with."""

SPELLED: Final = 16
"""Answers of a situation, at most, that are shown token by token."""

KEPT: Final = 4096
"""Tables of effects that are kept, at most."""

HELD: Final = 256
"""Situations that are held ready to be shown."""


@dataclass(eq=False)
class Stage:
    """A pair in its situations.

    Attributes:
        bench: the bench; it is asked about all measures.
        delta: ‖Δ‖² of every component, to match random sets by.
        weights: what the map can be coloured by before anything is read.
        sets: sets that are offered, each with family, name, text, title and note.
        swept: sets that a record has, with their random ones; none of a pair.
        arms: other checkpoints that may stand in base's place, by what they are called.
        live: whether hybrids can be read that nobody read before.
    """

    bench: Bench
    delta: Mapping[Component, float]
    weights: list[Colouring]
    sets: Sequence[Mapping[str, str]] = ()
    swept: Sequence[NamedSet] = ()
    arms: Mapping[str, str] = field(default_factory=dict[str, str])
    live: bool = True

    def __post_init__(self) -> None:
        self.typed: list[Bench] = []
        self._ready: OrderedDict[int, Bench] = OrderedDict()
        self._effects: dict[tuple[Ask, str, int], Message] = {}
        self._benches: dict[int, Bench] = {}
        self._spelled: dict[tuple[int, str], list[Any]] = {}
        self._illegal: dict[tuple[int, str], list[dict[str, Any]]] = {}

    @property
    def count(self) -> int:
        """How many situations are listed; those that were typed come after them."""
        return len(self.bench.situations)

    @property
    def nothing(self) -> Ask:
        """Tuned, as it is."""
        return Ask(self.bench.nothing)

    @property
    def everything(self) -> Ask:
        """Base."""
        return Ask(self.bench.anatomy.universe)

    @cached_property
    def estimates(self) -> Estimates | None:
        """What attribution says of components; nothing of a record or of networks, which are read at once."""
        return Estimates(self.bench) if self.live and not self.bench.of_networks else None

    @cached_property
    def thoughts(self) -> list[Thought]:
        """What is worked out while nobody waits."""
        estimates = [] if self.estimates is None else [self.estimates]
        return [*estimates, Invariants(self.bench.pair)]

    def scene(self) -> Message:
        """Return the scene; what was read of components alone is among the colourings."""
        told = [one for thought in self.thoughts for one in thought.colourings()]
        colourings = [*self.weights, *self.alone(), *told]
        scene = scene_of(self.bench, colourings, self.sets, self.arms)
        return {**scene, "live": self.live, "typed": scene["typed"] if self.live else None}

    def selection(self, message: Mapping[str, Any]) -> Selection:
        """Read what a message selects.

        Raises:
            TakebackError: it selects nothing that there is, or what a record does not hold.
        """
        found = Selection.read(message, self.bench.anatomy, self.arms)
        if found.situation is not None and found.situation >= self.count + len(self.typed):
            raise TakebackError(f"situation {found.situation}: there are {self.count + len(self.typed)}")
        if not self.live and not self.known(found.ask) > (found.situation or 0):
            raise TakebackError(
                f"to {found.direction} {found.components or 'nothing'} from {found.source} is not in this "
                "record; takeback lab RUN --live reads it"
            )
        return found

    def known(self, ask: Ask) -> int:
        """Return in how many of the listed situations, from the first, a hybrid is known, or can be read."""
        if self.live or not self.bench.unread([ask]):
            return self.count
        numbers = range(1, self.count + 1)
        return bisect_left(numbers, True, key=lambda number: self.bench.first(number).unread([ask]) > 0)

    def select(self, message: Mapping[str, Any]) -> Iterator[Message]:
        """Tell what a selection does in the situation shown, then to every measure, then beside chance.

        Raises:
            TakebackError: as `selection` does.
        """
        asked = self.selection(message)
        if asked.situation is not None:
            yield from self._answers(asked.ask, asked.situation)
        if (estimated := self.estimated(asked)) is not None:
            yield estimated
        effects: Effects = []
        for told in self._exact(asked):
            effects = told.get("effects", effects)
            yield told
        yield from self.controls(asked, effects)

    def estimated(self, asked: Selection) -> Message | None:
        """Return the estimated effects of a selection, None where nothing is estimated of it."""
        if self.estimates is None or asked.side != "tuned" or asked.source != "base":
            return None
        effects = self.estimates.effects(asked.components)
        return {"type": "estimated", "effects": effects} if effects else None

    def _answers(self, ask: Ask, place: int) -> Iterator[Message]:
        bench = self.one(place)
        asks = {"base": self.everything, "tuned": self.nothing, "hybrid": ask}
        readouts = dict(zip(asks, bench.read(asks.values()), strict=True))
        sides = {side: readout_of(one, 0) for side, one in readouts.items()}
        told = situation_of(bench.arena, bench.situations[0], place)
        message = {
            "type": "answer",
            "set": str(ask.take_back),
            "situation": told,
            "sides": sides,
        }
        yield message
        if self.live and isinstance(readouts["tuned"], AnswerReadouts) and len(told["actions"]) <= SPELLED:
            yield self._in_tokens(message, bench, asks, place)
        if self.live and told["kind"] == "board" and any(map(speaks_illegally, readouts.values())):
            yield self._with_illegal(message, bench, asks, readouts)

    def _with_illegal(
        self, message: Message, bench: Bench, asks: Mapping[str, Ask], readouts: Mapping[str, Readouts]
    ) -> Message:
        """Return the same answer with each side's likeliest illegal answers."""
        sides = dict(message["sides"])
        for side, ask in asks.items():
            key = message["situation"]["place"], " from ".join(ask.key)
            if key not in self._illegal:
                if len(self._illegal) > HELD:
                    self._illegal.clear()
                spoken = bench.illegal(ask)[0] if speaks_illegally(readouts[side]) else []
                self._illegal[key] = illegal_of(spoken)
            sides[side] = {**sides[side], "illegal": self._illegal[key]}
        return {**message, "sides": sides}

    def _in_tokens(self, message: Message, bench: Bench, asks: Mapping[str, Ask], place: int) -> Message:
        """Return the same answer with the log-probability of each token."""
        texts: list[list[str]] = []
        for side, ask in asks.items():
            key = place, " from ".join(ask.key)
            if key not in self._spelled:
                spelled = bench.by_token(ask, bench.arena, bench.situations)
                if len(self._spelled) > HELD:
                    self._spelled.clear()
                logprobs = [numbers(one, 4) for one in spelled.logprobs]
                self._spelled[key] = [[list(one) for one in spelled.texts], logprobs]
            texts, message["sides"][side]["tokens"] = self._spelled[key]
        return {**message, "situation": {**message["situation"], "tokens": texts}}

    def _exact(self, asked: Selection) -> Iterator[Message]:
        """Tell effects and changes on more and more situations."""
        done = 0
        for size in self._sizes(asked.ask):
            yield from self._gathered([asked.ask], (done, size), "reading it")
            bench, done = self.on_first(size), size
            yield {"type": "changes", "read": size, **changes_of(bench, asked.ask)}
            told = self.effects(asked.ask, asked.side, size)
            yield {"type": "effects", "read": size, "of": self.count, **told}

    def _sizes(self, ask: Ask) -> list[int]:
        """Return on how many situations effects are told."""
        if not self.live:
            return [self.known(ask)]
        sizes = [FIRST << power for power in range(self.count.bit_length()) if FIRST << power < self.count]
        return [*sizes, self.count]

    def controls(self, asked: Selection, effects: Effects) -> Iterator[Message]:
        """Tell where a selection stands among random sets of its make-up."""
        sets, size = self._random(asked), self.known(asked.ask)
        read: list[Effects] = []
        for number, one in enumerate(sets):
            other = Selection(one.components, asked.direction, asked.source, None)
            yield from self._gathered([other.ask], (0, size), f"random set {number + 1}")
            read.append(self.effects(other.ask, other.side, size)["effects"])
            told = [
                {"name": some.name, "set": str(some.components), "family": some.family}
                for some in sets[: number + 1]
            ]
            yield {
                "type": "controls", "done": number + 1, "of": len(sets), "sets": told,
                **compared(effects, read),
            }  # fmt: skip

    def _random(self, asked: Selection) -> list[NamedSet]:
        """Return random sets to compare a selection with: a record's own, or new ones."""
        mine = asked.components
        if not mine or len(mine) == len(mine.universe):
            return []
        names = {one.name for one in self.swept if one.components == mine and one.family not in CONTROLS}
        found = [one for one in self.swept if one.family in CONTROLS and names & set(one.matches)]
        if len(mine) == 1 and not self.live:
            (alone,) = mine
            alike = [one for one in mine.universe if one.alike == alone.alike]
            found = [NamedSet(SAME_SIZE, str(one), self.alone_set(one)) for one in alike]
        asks = {one: Selection(one.components, asked.direction, asked.source, None).ask for one in found}
        known = self.known(asked.ask)
        found = [one for one in found if one.components != mine and self.known(asks[one]) >= known]
        if found or not self.live:
            return found
        named = NamedSet("selection", "selection", mine)
        return random_controls(self.bench.anatomy, [named], self.delta, BESIDE, 0)

    def effects(self, ask: Ask, side: str, size: int) -> Message:
        """Return the effects of a hybrid in the first few situations, which are worked out once."""
        key = ask, side, size
        if key not in self._effects:
            if len(self._effects) >= KEPT:
                self._effects.clear()
            self._effects[key] = effects_of(self.on_first(size), ask, side)
        return self._effects[key]

    def sweep(self, measures: Sequence[str] = ()) -> Iterator[Message]:
        """Read every component taken back alone, and colour the map by what that does.

        Raises:
            TakebackError: it is a record.
        """
        if not self.live:
            raise TakebackError("a record reads nothing; its colourings are what was swept")
        every = list(self.bench.anatomy.universe)
        for number, one in enumerate(every):
            ask = Ask(self.alone_set(one))
            for _ in self._gathered([ask], (0, self.count), str(one)):
                yield {"type": "progress", "doing": f"taking back {one}", "done": number, "of": len(every)}
        for colouring in self.alone(measures):
            yield {"type": "colouring", "colouring": colouring.told(self.bench.anatomy)}

    def alone(self, measures: Sequence[str] = ()) -> list[Colouring]:
        """Return the exact effects of components that were read alone in all situations, by measure."""
        bench = self.on_first(self.count)
        asks = {str(one): Ask(self.alone_set(one)) for one in bench.anatomy.universe}
        read = {name: ask for name, ask in asks.items() if not bench.unread([ask])}
        rows = {name: self.effects(ask, "tuned", self.count)["effects"] for name, ask in read.items()}
        told = {name: {row["measure"]: row for row in some} for name, some in rows.items()}
        names = dict.fromkeys(row["measure"] for some in rows.values() for row in some)
        return [
            Colouring(
                f"effects {measure}", "effects", measure, "effect of taking it back alone", "diverging",
                *({name: some[measure][of] for name, some in told.items() if measure in some}
                  for of in ("effect", "low", "high")),
            )
            for measure in names if not measures or measure in measures
        ]  # fmt: skip

    def alone_set(self, component: Component) -> ComponentSet:
        """Return a component as a set."""
        return ComponentSet([component], self.bench.anatomy.universe)

    def _gathered(self, asks: Sequence[Ask], span: tuple[int, int], doing: str) -> Iterator[Message]:
        """Read hybrids in a stretch of the situations, a moment's worth at a time; tell how far it is."""
        start, end = span
        if not self.bench.some(np.arange(start, end)).unread(asks):
            return
        while start < end:
            stop = min(end, start + self._moment(len(asks)))
            self.bench.some(np.arange(start, stop)).gather(asks, count=lambda *_: None)
            start = stop
            yield {"type": "progress", "doing": doing, "done": start, "of": end}

    def _moment(self, hybrids: int) -> int:
        """Return how many situations are read in a moment."""
        each = self.bench.seconds_each
        pace = 0.0 if each is None else each * hybrids / self.count
        return max(1, int(MOMENT / pace)) if pace else FIRST

    def one(self, place: int) -> Bench:
        """Return a bench on one situation: listed, or typed."""
        if place >= self.count:
            return self.typed[place - self.count]
        if place not in self._ready:
            if len(self._ready) >= HELD:
                self._ready.popitem(last=False)
            self._ready[place] = self.bench.some(np.array([place]))
        return self._ready[place]

    def on_first(self, number: int) -> Bench:
        """Return the bench on the first few situations, which is made once."""
        if number == self.count:
            return self.bench
        if number not in self._benches:
            self._benches[number] = self.bench.first(number)
        return self._benches[number]
