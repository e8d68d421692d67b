"""Locking conjectures when a run starts, so that one changed later shows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from takeback.run.errors import TakebackError
from takeback.run.files import claim
from takeback.run.json_text import read_object
from takeback.run.reading import fields_of
from takeback.run.tables import SCHEMA
from takeback.study.conjectures.conjecture import (
    Conjecture,
    check_conjectures,
    check_names,
    digest_of,
    load_conjectures,
)
from takeback.study.conjectures.record import read_plan

LOCK: Final = "conjectures.lock.json"
ADDED: Final = "conjectures.yaml"
"""Conjectures in a run folder besides those of its plan."""

_STARTED: Final = ("base", "arms", "behaviour", "diff", "effects")
"""What a run folder has once something ran in it."""

AS_LOCKED, CHANGED, REMOVED, NEW, LATE = "as locked", "changed", "removed", "added after", "locked late"
OPEN: Final = "not locked"


@dataclass(frozen=True, slots=True)
class Lock:
    """What was locked: the conjectures, when (UTC), their SHA-256, and whether the run had begun before."""

    conjectures: tuple[Conjecture, ...]
    time: str
    sha256: str
    late: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """A conjecture, what became of it since the lock, and its present text where that differs."""

    conjecture: Conjecture
    edit: str
    now: str = ""

    @property
    def counts(self) -> bool:
        """Whether it is scored: it was locked before the run began."""
        return self.edit not in (NEW, LATE, OPEN)


def lock(conjectures: Iterable[Conjecture], out: str | Path) -> Path:
    """Lock a plan's conjectures, and those added in the run folder, once; return the lock's path.

    A lock that is there stays as it is. One made when something has run already says so, and its conjectures
    are not scored.

    Raises:
        TakebackError: two conjectures have one name, or the disk refuses.

    Examples:
        >>> import tempfile
        >>> told = {"sentence": "RL wins.", "rule": "count(games) > 3", "probability": 0.8, "author": "Ada"}
        >>> folder = tempfile.mkdtemp()
        >>> path = lock([Conjecture.model_validate(told)], folder)
        >>> [one.name for one in read_lock(folder).conjectures]
        ['rl-wins']
    """
    out = Path(out)
    path = out / LOCK
    if path.exists():
        return path
    whole = (*conjectures, *_added(out))
    check_names(whole, str(out))
    locked = {
        "schema": SCHEMA,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "sha256": digest_of(whole),
        "late": any((out / name).exists() for name in _STARTED),
        "conjectures": [one.model_dump(mode="json") for one in whole],
    }
    claim(path, json.dumps(locked, indent=1, ensure_ascii=False))
    return path


def is_locked(run: str | Path) -> bool:
    """Return whether a run has locked its conjectures."""
    return (Path(run) / LOCK).exists()


def read_lock(run: str | Path) -> Lock:
    """Read the lock of a run.

    Raises:
        TakebackError: there is none, or it is not what the run wrote: its hash does not fit.
    """
    path = Path(run) / LOCK
    if not is_locked(run):
        raise TakebackError(f"{run} has no {LOCK}; conjectures are locked when a run starts")
    with fields_of(path, "a lock"):
        told = read_object(path)
        conjectures = check_conjectures(told["conjectures"], str(path))
        found = Lock(conjectures, str(told["time"]), str(told["sha256"]), bool(told["late"]))
    if digest_of(conjectures) != found.sha256:
        raise TakebackError(
            f"{path} was edited: its conjectures don't have the hash {found.sha256[:12]}…; restore it"
        )
    return found


def present(run: str | Path) -> tuple[Conjecture, ...]:
    """Return the conjectures that a run folder holds now: those of its plan, and the added ones.

    Raises:
        TakebackError: a file can't be read or a conjecture in it is wrong.
    """
    run = Path(run)
    planned = check_conjectures(read_plan(run).get("conjectures") or [], str(run / "plan.yaml"))
    whole = (*planned, *_added(run))
    check_names(whole, str(run))
    return whole


def standings(run: str | Path) -> list[Standing]:
    """Return every conjecture of a run as it was locked, then those that were added after.

    Before the lock they are told as they are.

    Raises:
        TakebackError: there is no such folder, the lock was edited, or a file can't be read.
    """
    if not Path(run).is_dir():
        raise TakebackError(f"no run folder at {run}; a run or `takeback conjecture add` makes one")
    if not is_locked(run):
        return [Standing(one, OPEN) for one in present(run)]
    locked = read_lock(run)
    now = {one.name: one for one in present(run)}
    found: list[Standing] = []
    for one in locked.conjectures:
        other = now.pop(one.name, None)
        edit = REMOVED if other is None else CHANGED if other != one else AS_LOCKED
        text = other.canonical() if other is not None and edit == CHANGED else ""
        found.append(Standing(one, LATE if locked.late else edit, text))
    return found + [Standing(one, NEW, one.canonical()) for one in now.values()]


def _added(run: Path) -> tuple[Conjecture, ...]:
    path = run / ADDED
    return load_conjectures(path) if path.exists() else ()
