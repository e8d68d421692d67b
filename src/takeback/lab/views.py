"""What a lab shows: a pair, or the arms, seeds and snapshots of a run; each view opens a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from takeback.anatomy import Anatomy
from takeback.anatomy.sets import families_of
from takeback.arenas import Arena
from takeback.checkpoint import Pair
from takeback.findings.sweep import squared_norms
from takeback.findings.sweep.sets import NamedSet
from takeback.lab.scene import moved_colourings
from takeback.lab.stage import Stage
from takeback.measure.bench import Bench
from takeback.measure.setup import Setup
from takeback.weights import diff

PAIR: Final = "pair"
"""The key of the only view of a pair."""


@dataclass(frozen=True)
class View:
    """Something to look at.

    Attributes:
        key: what messages call it.
        title: what it is, for people.
        arm: of a run, the arm; its seed; and the training steps of a snapshot, None for the measured model.
        seed: see `arm`.
        step: see `arm`.
        open: makes its stage.
        base: what stands for its base in titles; by default how it was named.
        tuned: the same for tuned.
    """

    key: str
    title: str
    open: Callable[[], Stage] = field(repr=False)
    arm: str | None = None
    seed: int | None = None
    step: int | None = None
    base: str = ""
    tuned: str = ""

    @property
    def told(self) -> dict[str, Any]:
        """What the page knows of it."""
        return {name: getattr(self, name) for name in ("key", "title", "arm", "seed", "step")}

    @property
    def names(self) -> dict[str, str]:
        """What its scene calls the pair, where that is not how it was named."""
        if not self.base:
            return {}
        return {"title": f"{self.tuned} against {self.base}", "base": self.base, "tuned": self.tuned}


def view_of_pair(
    pair: Pair,
    arena: Arena[Any],
    drawn: tuple[int, int],
    measures: Sequence[str] = (),
    setup: Setup | None = None,
) -> View:
    """Return the view of a pair in held-out situations: so many, drawn with a seed.

    Raises:
        TakebackError: when it is opened: a model can't be loaded, or there are no such situations.
    """

    def opened() -> Stage:
        situations = arena.situations("held-out", *drawn)
        bench = Bench.answering(pair, arena, situations, measures, setup or Setup()).about_all()
        found = diff(pair)
        sets = several(bench.anatomy)
        return Stage(bench, squared_norms(found), moved_colourings(found.components), offered(sets))

    return View(PAIR, str(pair), opened)


def several(anatomy: Anatomy) -> list[NamedSet]:
    """Return the sets of every family that have several components."""
    named = [
        NamedSet(family, name, components)
        for family in families_of(anatomy.universe)
        for name, components in anatomy.named_sets(family).items()
    ]
    return [one for one in named if len(one.components) > 1]


def offered(sets: Iterable[NamedSet]) -> list[dict[str, str]]:
    """Return named sets as a scene has them."""
    return [
        {"family": one.family, "name": one.name, "set": str(one.components), "title": one.name, "note": ""}
        for one in sets
    ]
