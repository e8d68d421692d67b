"""What hybrids of a pair do in the situations of an arena: read where it was not yet, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas import Arena, Asked
from takeback.checkpoint import Pair
from takeback.measure.batches import cut, lacking, read_all
from takeback.measure.layout import Layout
from takeback.measure.measure import TOLERANCE
from takeback.measure.read import LEGAL_ACTIONS, Ask, HybridBatch, Reader
from takeback.measure.setup import Setup
from takeback.measure.store import Key, Part, Store
from takeback.policies.language.ended import IllegalAnswer
from takeback.policies.load import load_policy
from takeback.policies.readout import Readouts
from takeback.run.identity import identity
from takeback.run.parts import Shard
from takeback.run.threads import cpu_threads

AGAIN: Final = "read again"
"""The source, in the store, of tuned read in other batches."""

TIMED: Final = 8
"""Situations in which a hybrid is read to see how long it takes."""

Places = NDArray[np.int64]
Count = Callable[[int, int], None]
"""Told how many hybrids are done of how many."""


class Readings:
    """Readouts of hybrids of a pair; those that are not there yet are read when they are asked for.

    Models are loaded when something has to be read. Which situations are meant is said by their places among
    all, and how finely illegal mass is decided by a tolerance.

    Attributes:
        reader: what reads, with the models.
        setup: how it works, and where what is read is kept.
        situations: all that can be asked.
    """

    def __init__(self, pair: Pair, arena: Arena[Any], situations: Sequence[Any], setup: Setup) -> None:
        self.setup, self.situations = setup, tuple(situations)
        self.reader = Reader(pair, arena, self.situations, setup.load, setup.placement)
        self._layout = Layout(arena, self.situations)

    def __getstate__(self) -> dict[str, Any]:
        """Leave models and readouts here."""
        kept = {name: value for name, value in vars(self).items() if name != "store"}
        return {**kept, "setup": replace(self.setup, load=load_policy)}

    @cached_property
    def store(self) -> Store:
        """What was read."""
        return self.setup.store(lambda: self.identity(np.arange(len(self.situations))))

    def kept_in(self, out: Path) -> Readings:
        """Return the same with a store in an output folder or run."""
        other = type(self).__new__(type(self))
        other.reader, other.situations, other._layout = self.reader, self.situations, self._layout
        other.setup = replace(self.setup, out=out)
        return other

    def identity(self, places: Places) -> str:
        """Return the identity of what hybrids do in some situations."""
        asked = Asked(self._layout.arena, self.situations)
        settings = [TOLERANCE, self.setup.threads, self.reader.placement.dtype]
        return identity(self.reader.pair, asked, places.tolist(), settings)

    def of(self, ask: Ask, places: Places, tolerance: float) -> Readouts:
        """Return what a hybrid does that was read."""
        return self._kept(self.reader.key(ask), places, tolerance)

    def by_part(self, asks: Iterable[Ask], tolerance: float) -> list[Ask]:
        """Return hybrids that were read in the order in which they are kept: each part is opened once."""
        keys: Mapping[Key, Ask] = {self.reader.key(ask): ask for ask in asks}
        return [keys[key] for key in self.store.by_part(keys, tolerance)]

    def unread(self, asks: Iterable[Ask], places: Places, tolerance: float) -> int:
        """Count the hybrids that were not read yet."""
        self._look()
        keys = {self.reader.key(ask) for ask in asks}
        return sum(len(self.store.missing(key, places, tolerance)) > 0 for key in keys)

    def read(
        self,
        asks: Iterable[Ask],
        places: Places,
        tolerance: float,
        shard: Shard | None = None,
        count: Count | None = None,
    ) -> None:
        """Read hybrids that were not read yet, and keep what is read; or one shard's share of them.

        Hybrids are cut into batches in an order that these alone give, and a batch reads those that are
        missing: what is read with a hybrid does not change what is read of it.

        Args:
            asks: the hybrids.
            places: the situations.
            tolerance: how finely illegal mass is decided.
            shard: the share of the batches to read; by default all.
            count: told how many hybrids of how many are done, in place of a progress bar.
        """
        self._look()
        batches = cut(asks, self.reader.key, self._layout.part)
        chosen = range(len(batches)) if shard is None else shard.mine(range(len(batches)))

        def left() -> list[HybridBatch]:
            found = (lacking(batches[one], self.reader.key, self.store, places, tolerance) for one in chosen)
            return [batch for some in found for batch in some]

        if not (lacked := left()):
            return
        self.marks(np.unique(np.concatenate([batch.places for batch in lacked])), tolerance)
        work = [(batch, self.marks(np.array(batch.places), tolerance)) for batch in left()]
        asked = sum(len(batches[place]) for place in chosen)
        found = asked - sum(len(batch.asks) for batch, _ in work)
        read_all(work, self.reader, self.store, self.setup, found, count)

    def marks(self, places: Places, tolerance: float) -> list[Places]:
        """Return what is expanded to decide base and tuned, who are read where that is not known."""
        if tolerance >= LEGAL_ACTIONS:
            return []
        marks, left = self.store.marked(places, tolerance)
        if not len(left):
            return marks
        with cpu_threads(self.setup.threads):
            readouts, found = self.reader.ends(left.tolist(), tolerance)
        self.store.keep_marks(found, left, tolerance)
        universe = self.reader.pair.anatomy().universe
        keys = [self.reader.key(Ask(one)) for one in (universe, universe - universe)]
        self.store.keep(Part.of(keys, readouts, left, tolerance))
        return self.store.marked(places, tolerance)[0]

    def alone(self, ask: Ask, places: Places, tolerance: float) -> Readouts:
        """Return what a hybrid does where each situation is read alone: in other batches than in `of`."""
        key = "", AGAIN
        self.store.look()
        left = self.store.missing(key, places, tolerance)
        if len(left):
            alone = Store()
            with cpu_threads(self.setup.threads):
                for place in left:
                    one = HybridBatch((ask,), (key,), (int(place),), tolerance)
                    alone.keep(self.reader.read(one, self.marks(np.array([place]), tolerance)))
            readouts = self._layout.readouts(alone.rows(key, left, tolerance, self._layout), left)
            self.store.keep(Part.of([key], [readouts], left, tolerance))
        return self._kept(key, places, tolerance)

    def seconds_each(self, situations: int) -> float | None:
        """Return about how long a hybrid takes, by those that were read here; None where none was."""
        if (pace := self.reader.pace) is None:
            return None
        workers = self.setup.workers
        return pace * situations / (workers if isinstance(workers, int) else workers.actors)

    def timed(self, ask: Ask, places: Places, tolerance: float) -> float:
        """Return about how many seconds a hybrid takes; where none was read here, this one is, once more."""
        if self.reader.pace is None:
            some = places[:TIMED]
            one = HybridBatch((ask,), (("", AGAIN),), tuple(some.tolist()), tolerance)
            with cpu_threads(self.setup.threads):
                self.reader.read(one, self.marks(some, tolerance))
        return self.seconds_each(len(places)) or 0.0

    def illegal(self, ask: Ask, places: Places, tolerance: float) -> list[list[IllegalAnswer]]:
        """Return a hybrid's answers in each situation that are no legal action, the likeliest first."""
        marks = self.marks(places, tolerance)
        with cpu_threads(self.setup.threads):
            return self.reader.illegal(ask, places.tolist(), marks)

    def _look(self) -> None:
        """Find out anew what is kept, and what other checkpoints hold."""
        self.store.look()
        self.reader.look()

    def _kept(self, key: Key, places: Places, tolerance: float) -> Readouts:
        rows = self.store.rows(key, places, tolerance, self._layout)
        return self._layout.readouts(rows, places)
