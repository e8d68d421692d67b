"""The store of readouts: of which hybrids, in which situations and how finely they were read.

It lies in a folder, or in memory only. A part holds some hybrids that were read together and is written
whole, under a name that its contents give: a killed run leaves whole parts, and two processes at once write
the same ones. What is read of one pair in one arena, on one list of situations, has a folder of its own.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.measure.layout import Layout
from takeback.policies.readout import Readouts
from takeback.run.files import atomic_file
from takeback.run.json_text import read_json
from takeback.run.reading import fields_of
from takeback.run.tables import read_table, write_table

FOLDER: Final = "readouts"
"""Where an output folder or a run keeps its stores."""

HELD = 2**28
"""Bytes of parts that lie in a folder and are held in memory too, so that they need not be opened again."""

_ABOUT: Final = ("set", "source", "tolerance", "samples", "situations")
"""The columns of a part's table that are no numbers of a readout."""

Places = NDArray[np.int64]
Key: TypeAlias = tuple[str, str]
"""A hybrid: what is taken back from tuned, as text, and the source it is taken from."""


@dataclass(frozen=True, eq=False)
class Part:
    """Readouts of some hybrids on the same situations, decided to the same tolerance.

    Attributes:
        keys: the hybrids.
        places: the situations' places, ascending.
        tolerance: most illegal mass of a situation that is left undecided.
        samples: draws behind sampled class masses; 0 if they are exact.
        numbers: each of the readouts' `NUMBERS`, laid end to end, shape (hybrids, …).
    """

    keys: tuple[Key, ...]
    places: Places
    tolerance: float
    samples: int
    numbers: Mapping[str, NDArray[Any]]

    @classmethod
    def of(cls, keys: Sequence[Key], readouts: Sequence[Readouts], places: Places, tolerance: float) -> Part:
        """Pack readouts."""
        names = readouts[0].NUMBERS
        numbers = {name: np.stack([getattr(one, name).ravel() for one in readouts]) for name in names}
        return cls(tuple(keys), places, tolerance, readouts[0].samples, numbers)

    @property
    def name(self) -> str:
        """What it is called, after all that it holds but the numbers."""
        told = json.dumps([self.keys, self.places.tolist(), self.tolerance])
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    @property
    def bytes(self) -> int:
        """The memory that its numbers take."""
        return sum(array.nbytes for array in self.numbers.values())

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each hybrid; arrays are lists in cells."""
        taken, sources = zip(*self.keys, strict=True)
        rows = {name: list(array) for name, array in self.numbers.items()}
        about = {"set": taken, "source": sources, "tolerance": self.tolerance, "samples": self.samples}
        return pd.DataFrame({**about, "situations": [self.places] * len(self.keys), **rows})

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Part:
        """Read the table that `to_frame` made."""
        keys = tuple(zip(frame["set"], frame["source"], strict=True))
        numbers = {name: np.stack(list(frame[name])) for name in map(str, frame) if name not in _ABOUT}
        tolerance, samples = float(frame["tolerance"].iloc[0]), int(frame["samples"].iloc[0])
        return cls(keys, frame["situations"].iloc[0], tolerance, samples, numbers)


@dataclass(frozen=True, eq=False)
class _Entry:
    """Where a hybrid was read: a row of a part, and which situations it holds how finely."""

    part: str
    row: int
    places: Places
    tolerance: float


class Store:
    """Readouts by hybrid and situation.

    Attributes:
        folder: where parts lie; None keeps them in memory.
        reads: what this process was given to keep: each hybrid with its situations and tolerance.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.reads: list[tuple[Key, Places, float]] = []
        self._entries: dict[Key, list[_Entry]] = {}
        self._known: set[str] = set()
        self._held: OrderedDict[str, Part] = OrderedDict()
        self._marks: dict[str, tuple[float, Places, list[Places]]] = {}

    def look(self) -> None:
        """Find what other processes, or earlier runs, wrote into the folder."""
        if self.folder is None or not self.folder.exists():
            return
        for path in sorted(self.folder.glob("[!.]*.parquet")):
            if path.stem not in self._known:
                rows = read_table(path, ["set", "source", "tolerance", "situations"])
                keys = zip(rows["set"], rows["source"], strict=True)
                self._note(path.stem, keys, rows["situations"].iloc[0], float(rows["tolerance"].iloc[0]))
        for path in sorted(self.folder.glob("[!.]*.steps.json")):
            if path.name not in self._marks:
                with fields_of(path, "marks of a walk", "remove it"):
                    told = read_json(path)
                    marks = [np.array(one, np.int64).reshape(-1, 2) for one in told["marks"]]
                    places = np.array(told["situations"], np.int64)
                    self._marks[path.name] = float(told["tolerance"]), places, marks

    def missing(self, key: Key, places: Places, tolerance: float) -> Places:
        """Return the situations in which a hybrid was not read as finely."""
        for entry in self._fine(key, tolerance):
            places = np.setdiff1d(places, entry.places, assume_unique=True)
        return places

    def keep(self, part: Part) -> None:
        """Keep a part, in the folder if there is one."""
        if part.name in self._known:
            return
        if self.folder is not None:
            write_table(part.to_frame(), self.folder / f"{part.name}.parquet")
        self._hold(part)
        self._note(part.name, part.keys, part.places, part.tolerance)
        self.reads += [(key, part.places, part.tolerance) for key in part.keys]

    def keep_marks(self, marks: Sequence[Places], places: Places, tolerance: float) -> None:
        """Keep which prefixes are expanded in some situations; see `Policy.marks`."""
        placed = [np.column_stack([places[one[:, 0]], one[:, 1]]) for one in marks]
        told = {
            "tolerance": tolerance,
            "situations": places.tolist(),
            "marks": [one.tolist() for one in placed],
        }
        text = json.dumps(told)
        name = f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.steps.json"
        if self.folder is not None:
            with atomic_file(self.folder / name) as draft:
                draft.write_text(text, encoding="utf-8")
        self._marks[name] = tolerance, places, placed

    def marked(self, places: Places, tolerance: float) -> tuple[list[Places], Places]:
        """Return the marks of some situations, which are numbered by their order here, and those without."""
        rounds: list[list[Places]] = []
        left = places
        for fineness, there, marks in self._marks.values():
            mine = np.intersect1d(left, there) if fineness == tolerance else left[:0]
            left = np.setdiff1d(left, mine, assume_unique=True)
            for number, one in enumerate(marks if len(mine) else ()):
                chosen = one[np.isin(one[:, 0], mine)]
                rounds += [[]] if number == len(rounds) else []
                rounds[number].append(np.column_stack([np.searchsorted(places, chosen[:, 0]), chosen[:, 1]]))
        return [np.concatenate(some) for some in rounds], left

    def rows(self, key: Key, places: Places, tolerance: float, layout: Layout) -> Mapping[str, Any]:
        """Return what a readout of a hybrid in some situations holds, as arguments of `Readouts`.

        Args:
            key: the hybrid, which was read there.
            places: the situations.
            tolerance: how finely at least.
            layout: how numbers of readouts lie.
        """
        left = places
        pieces: list[tuple[Part, int, Places]] = []
        for entry in self._fine(key, tolerance):
            mine = np.intersect1d(left, entry.places, assume_unique=True)
            if len(mine):
                pieces.append((self._part(entry.part), entry.row, mine))
                left = np.setdiff1d(left, mine, assume_unique=True)
        found = {name: _joined(pieces, name, layout) for name in layout.readouts_class.NUMBERS}
        return {**found, "samples": pieces[0][0].samples}

    def by_part(self, keys: Iterable[Key], tolerance: float) -> list[Key]:
        """Return hybrids that were read, those of one part together."""
        return sorted(keys, key=lambda key: next((one.part for one in self._fine(key, tolerance)), ""))

    def forget(self) -> None:
        """Remove all that was kept."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):
                self.folder.parent.rmdir()
        for known in (self._entries, self._known, self._held, self._marks):
            known.clear()

    def _fine(self, key: Key, tolerance: float) -> list[_Entry]:
        return [entry for entry in self._entries.get(key, ()) if entry.tolerance <= tolerance]

    def _note(self, part: str, keys: Iterable[Key], places: Places, tolerance: float) -> None:
        """Know where hybrids were read; what is found first does not depend on when it was noted."""
        self._known.add(part)
        for row, key in enumerate(keys):
            entries = self._entries.setdefault(key, [])
            entries.append(_Entry(part, row, places, tolerance))
            entries.sort(key=lambda one: (-len(one.places), one.tolerance, one.part))

    def _part(self, name: str) -> Part:
        if name not in self._held:
            assert self.folder is not None
            self._hold(Part.from_frame(read_table(self.folder / f"{name}.parquet")))
        self._held.move_to_end(name)
        return self._held[name]

    def _hold(self, part: Part) -> None:
        self._held[part.name] = part
        while self.folder is not None and len(self._held) > 1 and self._bytes > HELD:
            self._held.popitem(last=False)

    @property
    def _bytes(self) -> int:
        return sum(part.bytes for part in self._held.values())


def _joined(pieces: Sequence[tuple[Part, int, Places]], name: str, layout: Layout) -> NDArray[Any]:
    """Put together what parts hold of a hybrid, in the order of the situations."""
    part, row, mine = pieces[0]
    if len(pieces) == 1 and len(mine) == len(part.places):
        return part.numbers[name][row]
    each: dict[int, NDArray[Any]] = {}
    for part, row, mine in pieces:
        numbers = part.numbers[name][row]
        flat = [numbers.size // len(part.places)]
        by_action = name in layout.readouts_class.OF_ACTIONS
        widths = np.broadcast_to(layout.counts[part.places] if by_action else flat, len(part.places))
        ends = np.cumsum(widths)
        for at, place in zip(np.searchsorted(part.places, mine), mine.tolist(), strict=True):
            each[place] = numbers[ends[at] - widths[at] : ends[at]]
    return np.concatenate([each[place] for place in sorted(each)])
