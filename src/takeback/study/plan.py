"""What a run does: arms and seeds from one base, and what is measured on each; one YAML file."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from takeback.errors import TakebackError
from takeback.training.recipe import Recipe, check_recipe, read_yaml

Count = Annotated[int, Field(ge=2)]


class Plan(BaseModel):
    """A plan: every arm is trained once for each seed, then diffed, read and taken back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str = ""
    base: str
    arena: str = "endgames"
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    arms: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    """A recipe for each arm, without what the plan says for all: parent, arena and seed."""
    situations: Count = 192
    """Held-out situations that every policy and hybrid is read on."""
    situations_seed: int = 0
    games: Count = 100
    """Won held-out situations from which every policy plays against the best defender."""
    moves: Count = 30
    """White moves after which a game counts as unfinished."""
    sets: tuple[str, ...] | None = None
    """Families of sets, or sets by name; without them, all families that the model has."""
    controls: Annotated[int, Field(ge=1)] = 5
    """Random sets of each make-up."""
    localise: dict[str, tuple[str, ...]] = {}
    """By arm, what is asked of how its change is made: names of `takeback.localise.PARTS`."""
    localise_situations: Count = 64
    """So many of the situations, half of them to select on."""
    threads: Annotated[int, Field(gt=0)] = 1
    """CPU threads of each worker; fixed, so that a run repeats bit for bit."""

    def recipe(self, arm: str, seed: int) -> Recipe:
        """Return the complete recipe of one arm and seed.

        Raises:
            TakebackError: the arm's fields are not those of a recipe.
        """
        if not re.fullmatch(r"\w[\w.-]*", arm) or arm == "base":
            raise TakebackError(f"arm {arm!r}: name it with letters, digits, - and _, and not base")
        whole = {"arena": self.arena, "parent": self.base, "seed": seed, "threads": self.threads}
        if again := whole.keys() & self.arms[arm].keys():
            raise TakebackError(f"arm {arm}: {', '.join(sorted(again))} is the plan's to say, for all arms")
        return check_recipe({**whole, **self.arms[arm]}, f"arm {arm}")


def load_plan(path: str | Path) -> Plan:
    """Read a plan from a YAML file; the name of one that ships, such as `demo`, works too.

    Raises:
        TakebackError: the file is missing or can't be read, or a field is unknown, missing or out of range.
    """
    plans = {Path(plan.name).stem: plan for plan in (files("takeback.study") / "plans").iterdir()}
    shipped = ", ".join(sorted(plans))
    missing = f"no plan at {path}; give a YAML file, or the name of one that ships: {shipped}"
    return check_plan(read_yaml(plans.get(str(path), Path(path)), missing), str(path))


def check_plan(fields: Any, origin: str = "plan") -> Plan:
    """Build a plan from plain fields and check every arm's recipe.

    Raises:
        TakebackError: a field is unknown, missing or out of range.
    """
    try:
        plan = Plan.model_validate(fields)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'plan'}: {e['msg']}" for e in error.errors())
        raise TakebackError(f"{origin}: {told}") from None
    if len(set(plan.seeds)) < len(plan.seeds):
        raise TakebackError(f"{origin}: seeds {list(plan.seeds)} has one twice")
    for arm in plan.arms:
        plan.recipe(arm, plan.seeds[0])
    return plan


def dump_plan(plan: Plan) -> str:
    """Return the plan as YAML with every field filled in; `load_plan` reads it back."""
    return yaml.safe_dump(plan.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
