"""Which models of an arm and seed are measured: the last, or the snapshots on either side of a wanted KL.

What a training run is at that KL lies between the two: numbers of both, weighed by how near each is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file
from takeback.run.json_text import read_object
from takeback.run.reading import fields_of, read_text
from takeback.study.plan import Plan, final_of

FILE = "measured.json"
"""Beside the snapshots of an arm and seed: which of them is measured."""

WITHIN = 1.5
"""A snapshot is matched if its KL and the wanted one differ by this factor at most."""


BESIDE = "beside"
"""The folder of a run that holds, as the run's own folders do, what was measured of the farther snapshots."""


@dataclass(frozen=True)
class Snapshot:
    """A model that a training run left.

    Attributes:
        folder: its folder in the arm's: `final`, or `step-N`.
        step: training steps that it had.
        kl: KL(model || parent) in nats, the mean over the plan's situations.
    """

    folder: str
    step: int
    kl: float


@dataclass(frozen=True)
class Measured(Snapshot):
    """The model of an arm and seed that is diffed, read, played with and swept.

    Attributes:
        matched: whether its KL is within a factor of 1.5 of the wanted one; None where none was wanted.
        beside: the snapshot on the other side of the wanted KL, which is measured too; None where training
            passed it nowhere, or none is wanted.
        share: of this model in numbers at the wanted KL; the rest is `beside`'s.
    """

    matched: bool | None
    beside: Snapshot | None = None
    share: float = 1.0

    @property
    def at(self) -> float:
        """The KL in nats to which the numbers of both belong."""
        return self.kl if self.beside is None else self.share * self.kl + (1 - self.share) * self.beside.kl


def nearest(kl: Mapping[int, float], wanted: float) -> tuple[int, bool]:
    """Return the step whose KL is nearest in its logarithm, the earliest of equals, and whether it matches.

    >>> nearest({10: 0.1, 20: 0.35, 30: 0.9}, 0.4)
    (20, True)
    >>> nearest({10: 0.01, 20: 0.02}, 0.4)
    (20, False)
    """

    def distance(step: int) -> float:
        return abs(math.log(kl[step] / wanted)) if kl[step] > 0 else math.inf

    step = min(sorted(kl), key=distance)
    return step, distance(step) <= math.log(WITHIN) + 1e-12


def between(kl: Mapping[int, float], wanted: float) -> tuple[int, int] | None:
    """Return the steps between which training first passes a KL, of those that follow each other.

    >>> between({10: 0.1, 20: 0.35, 30: 0.9}, 0.4)
    (20, 30)
    >>> between({10: 0.01, 20: 0.02}, 0.4) is None
    True
    """
    pairs = pairwise(sorted(kl))
    return next((pair for pair in pairs if kl[pair[0]] <= wanted <= kl[pair[1]] != kl[pair[0]]), None)


def choose(plan: Plan, arm: str, seed: int, out: Path, kl: Mapping[int, float]) -> Measured:
    """Decide which models are measured, by the KL of every snapshot and the last model, and write that down.

    Args:
        plan: says what is wanted, in `measure_at`.
        arm: the arm.
        seed: its seed.
        out: the run folder.
        kl: KL(snapshot || parent) in nats after each number of steps, the last model's among them.

    Returns:
        What `measured.json` of the arm and seed then holds.
    """
    last = max(kl)

    def snapshot(step: int) -> Snapshot:
        return Snapshot("final" if step == last else f"step-{step}", step, kl[step])

    if plan.measure_at == "last":
        found = Measured(**asdict(snapshot(last)), matched=None)
    elif (ends := between(kl, wanted := plan.measure_at.kl)) is None:
        step, matched = nearest(kl, wanted)
        found = Measured(**asdict(snapshot(step)), matched=matched)
    else:
        step, matched = nearest({end: kl[end] for end in ends}, wanted)
        other = snapshot(ends[0] if step == ends[1] else ends[1])
        share = (wanted - other.kl) / (kl[step] - other.kl)
        found = Measured(**asdict(snapshot(step)), matched=matched, beside=other, share=share)
    path = _path(arm, seed, out)
    text = json.dumps(asdict(found), indent=1)
    if not path.exists() or read_text(path) != text:
        with atomic_file(path) as draft:
            draft.write_text(text, encoding="utf-8")
    return found


def read_measured(arm: str, seed: int, out: Path) -> Measured | None:
    """Return which model of an arm and seed is measured, None where that is not decided yet.

    Raises:
        TakebackError: the file that says it is damaged.
    """
    path = _path(arm, seed, out)
    if not path.exists():
        return None
    with fields_of(path, "a choice of a model", "remove it and run the plan again"):
        told = read_object(path)
        matched = told["matched"] if told["matched"] is None else bool(told["matched"])
        beside = Snapshot(**_told(told["beside"])) if told.get("beside") else None
        return Measured(**_told(told), matched=matched, beside=beside, share=float(told.get("share", 1)))


def measured_model(plan: Plan, arm: str, seed: int, out: Path) -> Path:
    """Return the folder of the model that a run in the folder `out` measures of an arm and seed.

    Raises:
        TakebackError: the plan measures at a KL, and the arm's snapshots have not been read yet.
    """
    if plan.measure_at == "last":
        return final_of(out, arm, seed)
    found = read_measured(arm, seed, out)
    if found is None:
        raise TakebackError(f"{_path(arm, seed, out)} is not there yet; run the plan, it goes on")
    return final_of(out, arm, seed).with_name(found.folder)


def _told(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    folder = Path(snapshot["folder"]).name
    return {"folder": folder, "step": int(snapshot["step"]), "kl": float(snapshot["kl"])}


def _path(arm: str, seed: int, out: Path) -> Path:
    return final_of(out, arm, seed).with_name(FILE)
