"""Which model of an arm and seed is measured: the last, or the snapshot at a wanted KL from its parent."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file
from takeback.run.json_text import read_object
from takeback.run.reading import fields_of, read_text
from takeback.study.plan import Plan, final_of

FILE = "measured.json"
"""Beside the snapshots of an arm and seed: which of them is measured."""

WITHIN = 1.5
"""A snapshot is matched if its KL and the wanted one differ by this factor at most."""


@dataclass(frozen=True)
class Measured:
    """The model of an arm and seed that is diffed, read, played with and swept.

    Attributes:
        folder: its folder in the arm's: `final`, or `step-N`.
        step: training steps that it had.
        kl: KL(model || parent) in nats, the mean over the plan's situations.
        matched: whether that is within a factor of 1.5 of the wanted one; None where none was wanted.
    """

    folder: str
    step: int
    kl: float
    matched: bool | None


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


def choose(plan: Plan, arm: str, seed: int, out: Path, kl: Mapping[int, float]) -> Measured:
    """Decide which model is measured, by the KL of every snapshot and the last model, and write that down.

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
    step, matched = (last, None) if plan.measure_at == "last" else nearest(kl, plan.measure_at.kl)
    found = Measured("final" if step == last else f"step-{step}", step, kl[step], matched)
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
        return Measured(Path(told["folder"]).name, int(told["step"]), float(told["kl"]), matched)


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


def _path(arm: str, seed: int, out: Path) -> Path:
    return final_of(out, arm, seed).with_name(FILE)
