"""What the record of runs says of a project, so that nobody has to remember it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Final

from takeback.draw.numbers import count, listing
from takeback.run.errors import TakebackError
from takeback.run.tables import read_table
from takeback.study.conjectures.lock import CHANGED, REMOVED, is_locked, read_lock, standings
from takeback.study.conjectures.record import read_plan, unfinished
from takeback.study.steps import Done, every_step

LAST: Final = 3
"""So many of the last runs are told of."""

_ANSWER: Final = ("train", "curve", "diff", "shift")
"""The steps between starting an arm and knowing what it changed in behaviour."""

_SMALLEST: Final = "gym:FrozenLake-v1 and gym:CartPole-v1 are among the smallest"


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the record of a run says of how the project works.

    Attributes:
        run: its folder.
        began: when its first step began (UTC), None where no step did.
        finished: whether all of its plan is there.
        answer: seconds of work between starting an arm and knowing what it changed in behaviour, the median
            over arms and seeds; None where no arm's are known.
        arms: so many arms and seeds that is over.
        work: seconds of all steps together, on all workers.
        untold: steps whose seconds are not known, since they were interrupted.
        arena: where its policies act.
        parameters: of its models, None where nothing was compared yet.
        conjectures: names of those that were locked.
        locked: when (UTC), empty where they were not.
        late: whether something had run before the lock.
        edited: how many of them read otherwise now, or are gone.
    """

    run: Path
    began: datetime | None
    finished: bool
    answer: float | None
    arms: int
    work: float
    untold: int
    arena: str
    parameters: int | None
    conjectures: tuple[str, ...]
    locked: str
    late: bool
    edited: int

    def plain(self) -> dict[str, Any]:
        """Return it as values that go into JSON."""
        told = {name: getattr(self, name) for name in self.__slots__}
        began = self.began.isoformat(timespec="seconds") if self.began else None
        return {**told, "run": str(self.run), "began": began, "conjectures": list(self.conjectures)}


def facts_of(run: str | Path) -> RunFacts:
    """Read what the record of a run says of how the project works; no model is loaded.

    Raises:
        TakebackError: there is no run, or its record can't be read.
    """
    run = Path(run)
    plan = read_plan(run)
    if not plan:
        raise TakebackError(f"no run at {run}: it has no plan.yaml")
    steps = every_step(run)
    every = [step for one in steps.values() for step in one.values()]
    answers = [told for one in steps.values() if (told := _answer(one)) is not None]
    known = [float(step.seconds) for step in every if step.seconds is not None]
    lock = read_lock(run) if is_locked(run) else None
    return RunFacts(
        run=run,
        began=datetime.fromtimestamp(min(s.began for s in every), UTC) if every else None,
        finished=not unfinished(run),
        answer=median(answers) if answers else None,
        arms=len(answers),
        work=sum(known),
        untold=len(every) - len(known),
        arena=str(plan.get("arena", "endgames")),
        parameters=_parameters(run),
        conjectures=tuple(one.name for one in lock.conjectures) if lock else (),
        locked=lock.time if lock else "",
        late=lock.late if lock else False,
        edited=sum(one.edit in (CHANGED, REMOVED) for one in standings(run)) if lock else 0,
    )


def last(facts: Iterable[RunFacts]) -> list[RunFacts]:
    """Return the runs that began last, the last one first."""
    begun = sorted((one for one in facts if one.began), key=lambda one: (one.began, str(one.run)))
    return begun[::-1][:LAST]


def told(knows: str, facts: Sequence[RunFacts]) -> tuple[str, ...]:
    """Return sentences with what the record says to a question; `knows` is one of `KNOWS`."""
    if knows == "smaller":
        return _smaller(facts)
    if not last(facts):
        return ("No run of the project is here, so the record says nothing; name runs in the field runs.",)
    return tuple(map({"feedback": _feedback, "conjectures": _success}[knows], last(facts)))


def at_hand() -> Mapping[str, int]:
    """Return the parameter counts of the models that ship, the smallest first."""
    from safetensors import safe_open

    from takeback.checkpoint.shipped import shipped, shipped_names

    sizes: dict[str, int] = {}
    for name in shipped_names():
        with safe_open(shipped(name) / "model.safetensors", framework="numpy") as file:
            shapes = [file.get_slice(key).get_shape() for key in list(file.keys())]
        sizes[name] = sum(_product(shape) for shape in shapes)
    return dict(sorted(sizes.items(), key=lambda item: item[1]))


def duration(seconds: float) -> str:
    """Tell a time in a unit that fits it.

    >>> duration(0.4), duration(94), duration(5400), duration(200_000)
    ('0.4 s', '94 s', '90 min', '55.6 h')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _feedback(one: RunFacts) -> str:
    name, day = one.run.name, f"{one.began:%Y-%m-%d}"
    state = "" if one.finished else ", not finished"
    if one.answer is None:
        return f"{name} ({day}{state}): no arm has an answer whose time is known."
    untold = f", without {count(one.untold, 'interrupted step')}" if one.untold else ""
    return (
        f"{name} ({day}{state}): an arm's change in behaviour was known after {duration(one.answer)} of work "
        f"(median of {one.arms}); all steps together took {duration(one.work)}{untold}."
    )


def _success(one: RunFacts) -> str:
    name = f"{one.run.name} ({one.began:%Y-%m-%d})"
    if not one.conjectures:
        return f"{name}: no; it locked no conjecture."
    number = count(len(one.conjectures), "conjecture")
    if one.late:
        return f"{name}: no; {number} locked at {one.locked}, when something had run already."
    edited = f"; {one.edited} of them read otherwise now" if one.edited else ""
    return f"{name}: yes; {number} locked at {one.locked}, before anything ran{edited}."


def _smaller(facts: Sequence[RunFacts]) -> tuple[str, ...]:
    sizes = at_hand()
    known = [one for one in facts if one.parameters is not None]
    words: list[str] = []
    if known:
        used = [f"{one.parameters:,} parameters in {one.arena} ({one.run.name})" for one in known]
        words.append(f"Used so far: {listing(used)}.")
        least = min(one.parameters or 0 for one in known)
        smaller = [f"{name} ({size:,})" for name, size in sizes.items() if size < least]
        words.append(f"Smaller models that ship: {listing(smaller) if smaller else 'none'}.")
    else:
        words.append(f"Models that ship: {listing([f'{name} ({size:,})' for name, size in sizes.items()])}.")
    words.append(
        "A plan whose base has the method fresh trains a network of any size, down to one hidden unit, in "
        "any arena."
    )
    gym = f"gym:ENV, of which {_SMALLEST}"
    lacking = "" if find_spec("gymnasium") else " (Gymnasium is not installed here)"
    words.append(f"Arenas: endgames, and {gym}{lacking}.")
    return tuple(words)


def _answer(steps: Mapping[str, Done]) -> float | None:
    needed = [steps[name] for name in _ANSWER if name in steps]
    seconds = [one.seconds for one in needed if one.seconds is not None]
    return sum(seconds) if "shift" in steps and len(seconds) == len(needed) else None


def _parameters(run: Path) -> int | None:
    path = next(iter(sorted((run / "diff").glob("[!.]*/total.parquet"))), None)
    return None if path is None else int(read_table(path)["parameters"].iloc[0])


def _product(shape: Iterable[int]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size
