"""Training runs on disk, a study's or a Trainer's own: snapshots by step, and what they started from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from takeback.checkpoint import Checkpoint, open_checkpoint
from takeback.checkpoint.shards import is_adapter
from takeback.checkpoint.stream.folder import Stream, is_stream
from takeback.run.errors import TakebackError
from takeback.run.reading import read_text
from takeback.run.yaml_text import read_yaml
from takeback.weights.runs.fine_tunes import Label, Ref
from takeback.weights.runs.trainer_runs import began_with, saved_checkpoints

_CLAIM = re.compile(r"^# content hash of the parent: ([0-9a-f]{64})$", re.MULTILINE)
_STEP = re.compile(r"step-([0-9]+)")


@dataclass(frozen=True)
class Run:
    """Holds what one run left: who it is, its parent, and its snapshots as (step, folder), the last its end.

    `parent` is what the recipe calls it, `digest` the content hash that it had; `arena` and `goal` are None
    where the recipe names none. Of a run outside of takeback all but the snapshots may be unknown.
    """

    label: Label
    folder: Path
    parent: str | None
    digest: str | None
    snapshots: tuple[tuple[int, Path], ...]
    arena: str | None = None
    goal: str | None = None

    def opened(self, base: Checkpoint) -> dict[int, Checkpoint]:
        """Open the snapshots by step; one that is an adapter is merged into the base that is given.

        Raises:
            TakebackError: one cannot be opened.
        """
        return {
            step: open_checkpoint(f"{base.ref}+{place}" if is_adapter(place) else place)
            for step, place in self.snapshots
        }


def find_runs(folder: str | Path) -> tuple[Run, ...]:
    """Find the run in a folder, or the runs of an arm below it (`seed-0`, `seed-1`, …).

    A run is a folder that `takeback train` left, any with the `checkpoint-N` of a Trainer, or a stream of
    sparse deltas, whose step 0 is what it started from.

    Raises:
        TakebackError: it is no run and holds none, or one has not two snapshots in a growing order of steps.
    """
    folder = Path(folder)
    if is_stream(folder):
        return (_read_stream(folder),)
    places = [folder] if (folder / "recipe.yaml").exists() else _seeds(folder)
    if not places and (saved := saved_checkpoints(folder)):
        return (Run(_label(folder), folder, began_with(folder), None, _in_order(folder, saved)),)
    if not places:
        what = "holds no recipe.yaml, checkpoint-N or seed-N" if folder.is_dir() else "is no folder"
        raise TakebackError(
            f"{folder} {what}; name an arm or a seed of a run (runs/NAME/arms/ARM), or BASE and TUNED"
        )
    return tuple(_read_run(place) for place in places)


def parent_of(runs: tuple[Run, ...], base: Ref | None = None) -> Checkpoint:
    """Open what the runs started from: the parent that their recipes name, or the given base.

    Raises:
        TakebackError: they started from different parents, or the base is not the one that they started from.
    """
    named = {run.parent for run in runs}
    if base is None and None in named:
        raise TakebackError(f"{runs[0].folder} does not say what it started from; name the base (--base)")
    if base is None and len(named) > 1:
        raise TakebackError(f"these runs have different parents: {', '.join(sorted(map(str, named)))}")
    ref = base if base is not None else str(runs[0].parent)
    found = ref if isinstance(ref, Checkpoint) else open_checkpoint(ref)
    for run in runs:
        if run.digest not in (None, found.digest):
            raise TakebackError(
                f"{run.folder} was not trained from {found.ref} as it is now: its recipe has another hash; "
                "name the right base"
            )
    return found


def _seeds(folder: Path) -> list[Path]:
    places = [place for place in folder.glob("seed-*") if re.fullmatch(r"seed-[0-9]+", place.name)]
    return sorted(places, key=lambda place: int(place.name.split("-")[1]))


def _read_run(folder: Path) -> Run:
    path = folder / "recipe.yaml"
    recipe = read_yaml(path, f"{folder} has no recipe.yaml and is no run")
    if not isinstance(recipe, dict) or not isinstance(recipe.get("steps"), int):
        raise TakebackError(f"{path} is no recipe: it does not say how many steps the run has")
    claim = _CLAIM.search(read_text(path))
    return Run(
        _label(folder),
        folder,
        recipe.get("parent"),
        claim and claim[1],
        _snapshots(folder, recipe["steps"]),
        recipe.get("arena"),
        recipe.get("goal"),
    )


def _read_stream(folder: Path) -> Run:
    path = folder / "recipe.yaml"
    recipe = read_yaml(path, "") if path.exists() else {}
    steps = Stream.open(folder).steps
    places = [(step, Path(f"{folder}@step={step}")) for step in steps]
    parent = str(places[0][1]) if not steps[0] else recipe.get("parent")
    snapshots = _in_order(folder, places[1:] if not steps[0] else places)
    return Run(_label(folder), folder, parent, None, snapshots, recipe.get("arena"), recipe.get("goal"))


def _label(folder: Path) -> Label:
    label = Label.of(folder.absolute().as_posix())
    return Label(folder.absolute().name) if label.arm is None else label


def _snapshots(folder: Path, last: int) -> tuple[tuple[int, Path], ...]:
    """Return the snapshots in the order of their steps; without a `final` the run is not over yet."""
    found = [(_step_of(place, last), place) for place in folder.glob("step-*")]
    if not found:
        raise TakebackError(
            f"{folder} has no step-* folders; train it with snapshots in its recipe, such as "
            "snapshots: [10, 20, 40]"
        )
    if (folder / "final").exists():
        found.append((last, folder / "final"))
    return _in_order(folder, found)


def _in_order(folder: Path, found: Iterable[tuple[int, Path]]) -> tuple[tuple[int, Path], ...]:
    found = sorted(found, key=lambda snapshot: snapshot[0])
    for (step, one), (following, other) in pairwise(found):
        if step == following:
            raise TakebackError(f"{folder}: {one.name} and {other.name} are both at step {step}; remove one")
    if len(found) < 2:
        raise TakebackError(
            f"{folder} has one snapshot only, and a path needs two; wait until the run is done"
        )
    return tuple(found)


def _step_of(place: Path, last: int) -> int:
    step = _STEP.fullmatch(place.name)
    if step is None or not 1 <= int(step[1]) <= last:
        raise TakebackError(f"{place} is no snapshot of this run: its steps go from 1 to {last}")
    return int(step[1])
