"""The steps of each arm and seed: what each was made from, so that it is skipped as long as that is the same.

`steps/ARM-seed-N.json` in a run folder holds, for each step that began, its key, and when it is done the
seconds that it took. A result without its key counts as not there.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from takeback.run.files import atomic_file, in_turn, is_held
from takeback.run.identity import identity
from takeback.run.jobs import Workers
from takeback.run.json_text import read_object
from takeback.run.reading import fields_of

_WORKERS = ".workers.json"
ALL = "steps.json"
"""In a kept record, the steps of all arms and seeds."""


@dataclass(frozen=True)
class Step:
    """Something that is made of inputs and leaves results.

    Attributes:
        name: what it is called.
        inputs: all that the results depend on.
        results: files that are there when it is done.
        stale: what is removed before it is made of other inputs; without it, the results.
    """

    name: str
    inputs: Any
    results: tuple[Path, ...]
    stale: tuple[Path, ...] | None = None

    @cached_property
    def key(self) -> str:
        """The identity of the inputs."""
        return identity(self.inputs)


@dataclass(frozen=True)
class Done:
    """What is known of a step that began.

    Attributes:
        key: the hash of what it is made from.
        began: when, in seconds of the epoch.
        done: whether it ended.
        seconds: how long it took; None where it was interrupted, or there before.
    """

    key: str
    began: float
    done: bool = False
    seconds: float | None = None


class Steps:
    """The steps of one arm and seed; one process at a time holds them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = read_steps(path)

    @classmethod
    @contextmanager
    def held(cls, run: Path, name: str) -> Generator[Steps]:
        """Hold the steps of an arm and seed of a run, named `ARM-seed-N`; others see that they are held.

        >>> import tempfile
        >>> run = Path(tempfile.mkdtemp())
        >>> with Steps.held(run, "rl-seed-0") as steps:
        ...     steps.do(Step("greet", ["hello"], (run / "a",)), (run / "a").touch)
        ...     steps.do(Step("greet", ["hello"], (run / "a",)), lambda: print("not called"))
        """
        path = path_of(run, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with in_turn(path):
            yield cls(path)

    def do(self, step: Step, make: Callable[[], object]) -> None:
        """Make a step's results unless they are there, made from the same; `make` may find a killed run's."""
        known, key = self._known.get(step.name), step.key
        if known is not None and known.key == key:
            if known.done and _there(step):
                return
            whole = known.done
        else:
            if known is not None:
                self._remove(step)
            whole = not _there(step)
        self._note(step.name, Done(key, time.time()))
        began = time.monotonic()
        make()
        seconds = round(time.monotonic() - began, 3) if whole else None
        self._note(step.name, Done(key, self._known[step.name].began, True, seconds))

    def drop_stale(self, step: Step) -> None:
        """Remove what a step that is not asked for any more left, unless its inputs are the same."""
        known = self._known.get(step.name)
        if known is None or known.key != step.key:
            self._remove(step)

    def _remove(self, step: Step) -> None:
        for path in step.results if step.stale is None else step.stale:
            _remove(path)

    def _note(self, name: str, done: Done) -> None:
        self._known[name] = done
        with atomic_file(self._path) as draft:
            told = {name: asdict(one) for name, one in self._known.items()}
            draft.write_text(json.dumps(told, indent=1), encoding="utf-8")


def note_workers(run: Path, workers: Workers) -> None:
    """Keep on how many workers a run is, for whoever asks how long the rest takes."""
    count = workers if isinstance(workers, int) else workers.actors
    with atomic_file(run / "steps" / _WORKERS) as draft:
        draft.write_text(json.dumps({"workers": count}), encoding="utf-8")


def workers_of(run: Path) -> int:
    """Return on how many workers a run was started last, 1 where that is not known."""
    path = run / "steps" / _WORKERS
    if not path.exists():
        return 1
    with fields_of(path, "a count of workers", "remove it"):
        return int(read_object(path)["workers"])


def path_of(run: Path, name: str) -> Path:
    """Return where a run keeps the steps of an arm and seed, named `ARM-seed-N`."""
    return run / "steps" / f"{name}.json"


def read_steps(path: Path) -> dict[str, Done]:
    """Return what is known of the steps that began, by name.

    Raises:
        TakebackError: the file is damaged.
    """
    if not path.exists():
        return {}
    with fields_of(path, "a run's steps", "remove it and run the plan again"):
        told = read_object(path)
        return {name: _done(**one) for name, one in told.items()}


def every_step(run: Path) -> dict[str, dict[str, Done]]:
    """Return what is known of the steps of a run, by `ARM-seed-N` and step; of a kept record from one file.

    Raises:
        TakebackError: a file is damaged.
    """
    if (kept := run / ALL).exists():
        with fields_of(kept, "a run's steps", "keep the record again"):
            whole = read_object(kept)
            return {of: {name: _done(**one) for name, one in told.items()} for of, told in whole.items()}
    return {path.stem: read_steps(path) for path in sorted((run / "steps").glob("[!.]*.json"))}


def _done(key: str, began: float, done: bool = False, seconds: float | None = None) -> Done:
    if not (0 <= float(began) < 1e11 and 0 <= float(seconds or 0) < 1e11):
        raise ValueError(f"{began} or {seconds} is no time")
    return Done(str(key), float(began), bool(done), None if seconds is None else float(seconds))


def running(path: Path) -> bool:
    """Return whether a process of this machine holds the steps kept at a path."""
    return is_held(path)


def _there(step: Step) -> bool:
    return all(path.exists() for path in step.results)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
