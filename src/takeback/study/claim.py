"""Whose folder a run is: a plan may grow in it, and may not change what is there already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from takeback.arenas import Asked, arena
from takeback.checkpoint import open_checkpoint
from takeback.measure.measures import find_measures
from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file
from takeback.run.reading import read_text
from takeback.study.plan import Plan, dump_plan, load_plan

FREE: Final = frozenset(
    (
        "name",
        "title",
        "seeds",
        "arms",
        "measure_at",
        "localise",
        "contrasts",
        "carriers",
        "probes",
        "conjectures",
        "project",
    )
)
"""Fields that may differ in a run that goes on: no step that is done becomes another by them.

Recipes of arms are compared on their own; steps that do depend on `measure_at` and `localise` say so in their
keys.
"""

_HASH = "# content hash of the base: "


def claim_plan(plan: Plan, out: Path) -> None:
    """Write `plan.yaml`, or, where a run is there, check that the plan goes on with it and take its place.

    The plan that was there is kept as `plans/N.yaml`.

    Raises:
        TakebackError: results that are there depend on something that this plan says otherwise.
    """
    text = dump_plan(plan)
    if isinstance(plan.base, str):
        text += f"{_HASH}{open_checkpoint(plan.base).digest}\n"
    path = out / "plan.yaml"
    if path.exists() and (old := read_text(path)) != text:
        if told := "; ".join(_differences(load_plan(path), plan, old, text)):
            raise TakebackError(
                f"{out} holds a run of another plan: {told}. Put that back, give a changed arm another name, "
                "or choose another folder"
            )
        _keep(old, out / "plans")
    elif path.exists():
        return
    with atomic_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def settings(plan: Plan, *goals: str) -> list[Any]:
    """Return what every measurement of a run depends on besides models, of arms toward these goals."""
    own = plan.model_dump(mode="json", exclude_defaults=True, exclude={*FREE, "base"})
    place = arena(plan.arena)
    situations = place.situations("held-out", plan.situations, plan.situations_seed)
    return [own, Asked(place, situations, goals), find_measures(plan.measures, place)]


def told_out(plan: Plan, out: Path) -> list[str]:
    """Return the arms and seeds, as `ARM seed N`, that a run folder has and the plan does not name."""
    named = {(arm, f"seed-{seed}") for arm in plan.arms for seed in plan.seeds}
    there = {(path.parent.name, path.name) for path in (out / "arms").glob("*/seed-*")}
    return [f"{arm} {seed.replace('-', ' ')}" for arm, seed in sorted(there - named)]


def _differences(before: Plan, plan: Plan, old: str, new: str) -> Iterator[str]:
    if before.base_recipe() != plan.base_recipe() or _hash(old) != _hash(new):
        yield "another base"
    for name in Plan.model_fields:
        if name not in FREE and name != "base":
            yield from _difference(name, getattr(before, name), getattr(plan, name))
    for arm in plan.arms:
        if arm in before.arms:
            was, says = (_recipe(one, arm) for one in (before, plan))
            for name in was | says:
                yield from _difference(f"arm {arm}: {name}", was.get(name), says.get(name))


def _difference(name: str, was: Any, says: Any) -> Iterator[str]:
    if was != says:
        yield f"{name} was {was!r} and is {says!r}"


def _recipe(plan: Plan, arm: str) -> dict[str, Any]:
    """Return an arm's recipe without the seed, its parent as the plan calls it."""
    return {**plan.recipe(arm, 0).model_dump(exclude={"seed"}), "parent": plan.parent(arm)}


def _hash(text: str) -> str | None:
    return next((line for line in text.splitlines() if line.startswith(_HASH)), None)


def _keep(text: str, folder: Path) -> None:
    """Keep a plan unless it is the last that was kept: a kill may have come before the new one's writing."""
    kept = sorted(folder.glob("*.yaml"), key=lambda path: int(path.stem))
    if kept and read_text(kept[-1]) == text:
        return
    with atomic_file(folder / f"{len(kept) + 1}.yaml") as draft:
        draft.write_text(text, encoding="utf-8")
