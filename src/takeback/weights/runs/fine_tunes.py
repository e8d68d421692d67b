"""Several tuned checkpoints of one base, read together: a few rows of one tensor at a time."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import torch
from numpy.typing import NDArray

from takeback.anatomy import Anatomy, Region
from takeback.checkpoint import Checkpoint, Pair, open_checkpoint, open_pair
from takeback.checkpoint.pair import in_common
from takeback.checkpoint.weights import all_finite
from takeback.run.errors import TakebackError
from takeback.run.identity import identity

BLOCK = 1 << 18
"""Entries of a tensor that are read at a time, from every fine-tune."""

Ref = str | Path | Checkpoint

_OF_A_RUN = re.compile(r".*(?:^|/)arms/(?P<arm>[^/]+)/seed-(?P<seed>[0-9]+)(?:/(?P<folder>[^/]+))?/?")


@dataclass(frozen=True, slots=True)
class Label:
    """Names a tuned checkpoint, and says by which arm and from which seed it was trained, where known."""

    name: str
    arm: str | None = None
    seed: int | None = None

    @classmethod
    def of(cls, ref: str) -> Label:
        """Read the label from a path in a run folder; any other reference is its own name.

        >>> Label.of("runs/demo/arms/rl-win/seed-2/final")
        Label(name='rl-win 2', arm='rl-win', seed=2)
        >>> Label.of("runs/demo/arms/rl-win/seed-2/step-40").name
        'rl-win 2 step-40'
        >>> Label.of("org/model@main")
        Label(name='org/model@main', arm=None, seed=None)
        """
        found = _OF_A_RUN.fullmatch(PurePath(ref).as_posix())
        if found is None:
            return cls(ref)
        step = f" {found['folder']}" if found["folder"] not in (None, "final") else ""
        return cls(f"{found['arm']} {found['seed']}{step}", found["arm"], int(found["seed"]))

    def relation(self, other: Label) -> str:
        """Say how two runs are related, `pair` where an arm or a seed is unknown.

        >>> Label("a", "rl", 0).relation(Label("b", "rl", 1))
        'same arm, other seed'
        """
        if None in (self.arm, other.arm, self.seed, other.seed):
            return "pair"
        arm, seed = ("same" if same else "other" for same in (self.arm == other.arm, self.seed == other.seed))
        return f"{arm} arm, {seed} seed"


@dataclass(frozen=True, eq=False)
class Piece:
    """Holds some rows of one tensor, or what a component owns of them, in base and in every fine-tune.

    All sides have one shape; `start` is the first row's place in the tensor, `column` where a cut on another
    axis begins.
    """

    base: torch.Tensor
    tuned: tuple[torch.Tensor, ...]
    start: int = 0
    column: int = 0

    def cut(self, region: Region) -> Piece | None:
        """Return the part of these rows that lies in a region of the tensor, None where there is none."""
        if region.axis is None:
            return self
        if region.axis > 0:
            sides = tuple(side[region.index] for side in (self.base, *self.tuned))
            return Piece(sides[0], sides[1:], self.start, region.start)
        size = len(self.base)
        first = max(region.start - self.start, 0)
        last = size if region.stop is None else min(region.stop - self.start, size)
        if first >= last:
            return None
        return Piece(
            self.base[first:last], tuple(side[first:last] for side in self.tuned), self.start + first
        )

    @property
    def weights(self) -> NDArray[np.float64]:
        """The entries of base, (entries,)."""
        return _flat(self.base)

    @property
    def deltas(self) -> NDArray[np.float64]:
        """What each fine-tune changed, (fine-tunes, entries), exact before the subtraction."""
        return np.stack([_flat(side) for side in self.tuned]) - self.weights

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Whether an entry differs after both sides are rounded to bfloat16, (fine-tunes, entries)."""
        before = self.base.bfloat16()
        return np.stack([(side.bfloat16() != before).reshape(-1).numpy() for side in self.tuned])


@dataclass(frozen=True, eq=False)
class FineTunes:
    """Holds one base and checkpoints that were tuned from it, each a pair with the base."""

    pairs: tuple[Pair, ...]
    labels: tuple[Label, ...]

    @property
    def base(self) -> Checkpoint:
        """What all of them were tuned from."""
        return self.pairs[0].base

    @property
    def anatomy(self) -> Anatomy:
        """Which entries belong to which component."""
        return self.base.anatomy()

    @property
    def identity(self) -> str:
        """What tells these checkpoints from others without reading them."""
        stamps = [pair.tuned.stamp for pair in self.pairs]
        labels = [(label.name, label.arm, label.seed) for label in self.labels]
        return identity(self.base.stamp, stamps, labels)

    def only(self, place: int) -> FineTunes:
        """Return one of them alone."""
        return FineTunes(self.pairs[place : place + 1], self.labels[place : place + 1])

    def blocks(self, tensor: str) -> Iterator[Piece]:
        """Read a tensor of all fine-tunes, some rows at a time: about `BLOCK` entries of each.

        Raises:
            TakebackError: a value is not finite, or a file cannot be read any more.
        """
        shape = self.base.shapes[tensor]
        rows = max(1, BLOCK // max(1, math.prod(shape[1:])))
        whole = not shape or rows >= shape[0]
        starts = range(1) if whole else range(0, shape[0], rows)
        for start in starts if math.prod(shape) else ():
            region = Region(tensor) if whole else Region(tensor, 0, start, min(start + rows, shape[0]))
            sides = [_read(side, region) for side in (self.base, *(pair.tuned for pair in self.pairs))]
            yield Piece(sides[0], tuple(sides[1:]), start)


def open_fine_tunes(base: Ref, tuned: Sequence[Ref] | Mapping[Label, Ref]) -> FineTunes:
    """Open checkpoints that were tuned from one base.

    The keys of a mapping are their labels; without one the labels come from the paths of a run folder
    (`…/arms/ARM/seed-N/final`), and other checkpoints are named by the end of their path.

    Raises:
        PairMismatch: one of them is no pair with the base.
        TakebackError: there is none, one cannot be opened, or two have the same name.
    """
    refs = list(tuned.values()) if isinstance(tuned, Mapping) else list(tuned)
    if not refs:
        raise TakebackError("no tuned checkpoints were named; name at least one")
    before = base if isinstance(base, Checkpoint) else open_checkpoint(base)
    pairs = in_common([open_pair(before, ref) for ref in refs])
    given = tuple(tuned) if isinstance(tuned, Mapping) else _labels([pair.tuned.ref for pair in pairs])
    names = [label.name for label in given]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise TakebackError(f"two checkpoints are called {twice!r}; name each checkpoint once")
    return FineTunes(pairs, given)


def _labels(refs: Sequence[str]) -> tuple[Label, ...]:
    """Label checkpoints by their paths; names that are paths, or not unique, become the ends of paths."""
    labels = [Label.of(ref) for ref in refs]
    paths = [PurePath(ref).parts for ref in refs]
    depth = next(
        (
            depth
            for depth in range(1, max(map(len, paths)))
            if len({path[-depth:] for path in paths}) == len(refs)
        ),
        max(map(len, paths)),
    )
    known = [label.arm is not None for label in labels]
    if all(known) and len({label.name for label in labels}) == len(refs):
        return tuple(labels)
    ends = ("/".join(path[-depth:]).replace("//", "/") for path in paths)
    return tuple(Label(end, label.arm, label.seed) for end, label in zip(ends, labels, strict=True))


def _read(side: Checkpoint, region: Region) -> torch.Tensor:
    tensor = side.read_region(region)
    if not all_finite(tensor):
        kind = "NaN" if bool(torch.isnan(tensor).any()) else "an infinite value"
        raise TakebackError(f"tensor {region.tensor} cannot be compared: {side.ref} holds {kind}")
    return tensor.reshape(1) if tensor.ndim == 0 else tensor


def _flat(side: torch.Tensor) -> NDArray[np.float64]:
    return side.double().reshape(-1).numpy()
