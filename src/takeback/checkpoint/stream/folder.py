"""The folder of a stream: which steps it has, and where the tensors of one of them lie."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from takeback.checkpoint.shards import Entry
from takeback.checkpoint.stream.file import BASE_DIGEST, DIGEST, StreamFile, read_anchor, read_delta
from takeback.checkpoint.stream.patched import Patch, Patched
from takeback.run.errors import TakebackError
from takeback.run.reading import own_path

ANCHORS, DELTAS, BESIDE = "anchors", "deltas", "beside"
"""Folders of a stream: whole models, changes, and config and tokenizer from a step on that changed them."""

_FILE = re.compile(r"step_([0-9]{1,18})\.safetensors")
_BESIDE = re.compile(r"step_([0-9]{1,18})")
_STEP = re.compile(r"(.+)@step=([0-9]{1,18}|last)", re.DOTALL)


def split_step(ref: str) -> tuple[str, str | None]:
    """Split `RUN@step=N` or `RUN@step=last`; anything else, and what exists as it stands, comes back whole.

    >>> split_step("runs/packed@step=137")
    ('runs/packed', '137')
    >>> split_step("org/model@main")
    ('org/model@main', None)

    Raises:
        TakebackError: no file can have that name, or it is in the folder of a user who is not there.
    """
    found = _STEP.fullmatch(ref)
    if found is None or own_path(ref).exists():
        return ref, None
    return found[1], found[2]


def is_stream(folder: Path) -> bool:
    """Return whether a folder holds a stream: anchors by step."""
    return any(_steps(folder / ANCHORS))


def step_file(step: int) -> str:
    """Return the name of a step's file in the folder of its kind.

    >>> step_file(137)
    'step_000137.safetensors'
    """
    return f"step_{step:06}.safetensors"


@dataclass(frozen=True, eq=False)
class Stream:
    """Knows the files of a stream by step; none is read before a step is asked for."""

    folder: Path
    anchors: Mapping[int, Path]
    deltas: Mapping[int, Path]

    @classmethod
    def open(cls, folder: Path) -> Stream:
        """Look which steps a folder has.

        Raises:
            TakebackError: it holds no stream, or a step twice.
        """
        anchors, deltas = (_by_step(folder / kind) for kind in (ANCHORS, DELTAS))
        if not anchors:
            raise TakebackError(
                f"{folder} is no stream of deltas: it has no {ANCHORS}/step_N.safetensors; takeback pack "
                "makes one of a run's checkpoints"
            )
        return cls(folder, anchors, deltas)

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that have a file, from the first anchor on."""
        first = min(self.anchors)
        return tuple(sorted(step for step in {*self.anchors, *self.deltas} if step >= first))

    def step(self, text: str) -> int:
        """Return the step that a user names, `last` too.

        Raises:
            TakebackError: the stream has no such step; the message names those next to it.
        """
        steps = self.steps
        step = steps[-1] if text == "last" else int(text)
        if step in steps:
            return step
        near = sorted(sorted(steps, key=lambda other: abs(other - step))[:2])
        raise TakebackError(
            f"{self.folder} has no step {step}: it has {len(steps)} steps from {steps[0]} to {steps[-1]}, "
            f"the nearest {' and '.join(map(str, near))}"
        )

    def entries(self, step: int) -> dict[str, Entry]:
        """Return where the tensors of a step lie, by stored name.

        Raises:
            TakebackError: a file between the anchor and the step is missing, damaged or of another run.
        """
        anchor, *deltas = self.chain(step)
        base, patches = dict(anchor.whole), dict[str, list[Patch]]()
        for delta in deltas:
            for name in delta.removed:
                base.pop(name, None)
                patches.pop(name, None)
            for name, entry in delta.whole.items():
                base[name] = entry
                patches.pop(name, None)
            for name, patch in delta.patches.items():
                _check_fits(delta, name, base.get(name), patch)
                patches.setdefault(name, []).append(patch)
        return {name: _patched(entry, tuple(patches.get(name, ()))) for name, entry in base.items()}

    def chain(self, step: int) -> list[StreamFile]:
        """Return the files that make a step: its anchor, then each delta in order.

        Raises:
            TakebackError: one is missing, damaged or of another run.
        """
        start = max(anchor for anchor in self.anchors if anchor <= step)
        found = [read_anchor(self.anchors[start], start)]
        for number in [number for number in self.steps if start < number <= step]:
            delta = read_delta(self.deltas[number], number)
            self._check_follows(found[-1], delta)
            found.append(delta)
        return found

    def beside(self, step: int) -> Path:
        """Return the folder that holds config and tokenizer of a step."""
        place = self.folder / BESIDE
        named = ((_BESIDE.fullmatch(one), one) for one in (os.listdir(place) if place.is_dir() else ()))
        since = [(int(found[1]), one) for found, one in named if found and int(found[1]) <= step]
        return place / max(since)[1] if since else self.folder

    def _check_follows(self, before: StreamFile, delta: StreamFile) -> None:
        """Raise if a delta does not follow on the file before it."""
        stride = min(other - one for one, other in pairwise(self.steps))
        base = delta.step - stride if delta.base is None else delta.base
        if base > before.step:
            after = [anchor for anchor in self.anchors if anchor > delta.step]
            later = f", or one from step {min(after)} on" if after else ""
            raise TakebackError(
                f"{self.folder} lacks {DELTAS}/{step_file(base)}, on which step {delta.step} follows; fetch "
                f"or pack it again, or take step {before.step} or an earlier one{later}"
            )
        made_on, there = delta.metadata.get(BASE_DIGEST), before.metadata.get(DIGEST)
        if base < before.step or (made_on and there and made_on != there):
            raise TakebackError(
                f"{delta.path} does not follow on step {before.step} of this stream, but on "
                f"{f'step {base}' if base < before.step else 'other weights'}: they are of two runs; fetch "
                "or pack both again"
            )


def _patched(entry: Entry, patches: tuple[Patch, ...]) -> Entry:
    if not patches:
        return entry
    return Patched(
        entry.file,
        entry.stored,
        entry.element,
        entry.shape,
        entry.offset,
        patches=patches,
        whole=entry.offset,
        size=math.prod(entry.shape),
    )


def _check_fits(delta: StreamFile, name: str, entry: Entry | None, patch: Patch) -> None:
    if entry is None:
        raise TakebackError(
            f"{delta.path} changes {name}, which the steps before it do not hold; they are of two runs: "
            "fetch or pack both again"
        )
    if entry.element != patch.values.element:
        raise TakebackError(
            f"{delta.path} has {name} in {patch.values.element}, its anchor in {entry.element}; values "
            "of another type are not exact there: publish both in one"
        )


def _by_step(folder: Path) -> dict[int, Path]:
    """Return the file of each step.

    Raises:
        TakebackError: two files are of one step, as `step_3` and `step_000003` are.
    """
    found: dict[int, Path] = {}
    for step, file in sorted(_steps(folder)):
        if step in found:
            raise TakebackError(
                f"{folder} has step {step} in {found[step].name} and in {file.name}; remove one"
            )
        found[step] = file
    return found


def _steps(folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield step and path of each file of a folder that is named by its step."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        if (found := _FILE.fullmatch(name)) and (folder / name).is_file():
            yield int(found[1]), folder / name
