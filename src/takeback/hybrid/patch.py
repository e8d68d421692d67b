"""A hybrid as a sparse patch of one of its sides: what a serving engine that has the side must be told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from takeback.checkpoint import Checkpoint
from takeback.checkpoint.flat import Flat, Held
from takeback.checkpoint.stream.change import BitChange, write_change
from takeback.hybrid.disk import check_output
from takeback.hybrid.hybrid import Hybrid
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.files import atomic_file, one_writer

SIDES = ("tuned", "base")
"""What a patch may be of."""


@dataclass(frozen=True)
class WrittenPatch:
    """Says what a patch holds: how many entries it sets, of how many, and its bytes beside a model's."""

    file: Path
    changed: int
    entries: int
    nbytes: int
    whole: int

    def __str__(self) -> str:
        return (
            f"{self.file}: sets {self.changed:,} of {self.entries:,} entries, {self.nbytes:,} bytes where "
            f"the model has {self.whole:,}"
        )


def write_patch(made: Hybrid, out: str | Path, of: str = "tuned", *, overwrite: bool = False) -> WrittenPatch:
    """Write what turns one side into a hybrid, as `NAME.indices` and `NAME.values` under tuned's names.

    Indices are flat and grow, values are what stands there in the hybrid: nothing is added, so the patched
    side is the hybrid bit for bit. The metadata name the side's content hash and the hybrid's, and the shape
    of each tensor. A patch of tuned takes back, one of base grafts.

    Raises:
        UnknownName: a hybrid has no such side.
        TakebackError: the sides store a tensor in two element types; the output exists (unless `overwrite`
            and a patch or hybrid written here), or is a parent; or the disk refuses.
    """
    if of not in SIDES:
        raise unknown_name("side", of, SIDES)
    out = Path(out)
    side: Checkpoint = getattr(made.pair, of)
    _check_types(made, side, of)
    check_output(made, out, overwrite, one_file="a patch")
    with one_writer(out):
        check_output(made, out, overwrite, one_file="a patch")  # the one before may have made it meanwhile
        change = BitChange(side, _Read(made), made.pair.tuned.stored, sparse=True)
        told = {"takeback": f"a patch of {of}: {made.ref}", "relative_to": of}
        with atomic_file(out, replace=overwrite) as draft:
            write_change(draft, change, told)
    whole = sum(math.prod(shape) * made.dtypes[name].itemsize for name, shape in made.shapes.items())
    return WrittenPatch(out, change.changed, change.entries, out.stat().st_size, whole)


def _check_types(made: Hybrid, side: Checkpoint, of: str) -> None:
    for name, dtype in made.dtypes.items():
        if side.dtypes[name] != dtype:
            raise TakebackError(
                f"the hybrid has {name} in {_said(dtype)} and {of} in {_said(side.dtypes[name])}, which a "
                "patch can't say; write it as a folder (without --as-patch)"
            )


def _said(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@dataclass(frozen=True, eq=False)
class _Read:
    """Gives the tensors of a hybrid entry by entry."""

    made: Hybrid

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self.made.shapes

    @property
    def elements(self) -> Mapping[str, str]:
        return {name: _said(dtype) for name, dtype in self.made.dtypes.items()}

    @property
    def digest(self) -> str:
        return self.made.digest

    def read(self, name: str) -> torch.Tensor:
        return self.made.read(name)

    def flat(self, name: str) -> Flat:
        return Held(self.made.read(name))
