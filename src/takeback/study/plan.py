"""What a run does: arms and seeds from one base, and what is measured on each; one YAML file."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from takeback.arenas import Playable, arena
from takeback.arenas.rows.spec import ArenaText
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.limits import MOST_THREADS
from takeback.run.yaml_text import read_yaml
from takeback.study.axes import spread
from takeback.study.conjectures.conjecture import (
    Conjecture,
    check_arms,
    check_conjectures,
    check_names,
    read_list,
)
from takeback.study.sums import CarrierArms, Weight, check_carriers, check_contrasts
from takeback.training.recipe import ROLES, Recipe, Seed, Tuned, check_recipe, method_of

Count = Annotated[int, Field(ge=2)]


class MatchedKL(BaseModel):
    """The distance from what an arm started from at which it is measured."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kl: Annotated[float, Field(gt=0)]
    """KL(model || parent) in nats, the mean over the plan's situations."""


class Plan(BaseModel):
    """A plan: every arm is trained once for each seed, then diffed, read and taken back."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    title: str = ""
    base: str | dict[str, Any]
    """A checkpoint; or the recipe that makes it, without the arena: it is trained first, into `base/`."""
    arena: ArenaText = "endgames"
    """Where policies act; rows of your own also as a mapping that describes them."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    arms: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    """A recipe for each arm, without what the plan says for all: arena, seed, and base as parent.

    `parent` and `teacher` may be other arms: the arm then starts from, or imitates, the final model of the
    same seed. It is measured against what it starts from. In a plan's file an arm may have `axes`, fields
    with several values each: it stands for an arm of every combination.
    """
    situations: Count = 192
    """Held-out situations that every policy and hybrid is read on."""
    situations_seed: Seed = 0
    measure_at: Literal["last"] | MatchedKL = "last"
    """Which model of each arm and seed is diffed, read, played with and swept: the last, or, with `kl`, the
    snapshot (or last model) whose KL from what it started from is nearest in its logarithm."""
    games: Annotated[int, Field(ge=0)] = 100
    """Held-out situations that every policy plays games from, if the arena has any; in chess, won ones."""
    moves: Count = 30
    """The policy's moves after which a game counts as unfinished."""
    sets: tuple[str, ...] | None = None
    """Families of sets, or sets by name; without them, all families that the model has."""
    controls: Annotated[int, Field(ge=1)] = 5
    """Random sets of each make-up."""
    measures: tuple[str, ...] = ()
    """Measures beside the arena's, such as `package.module:function`; an arm is localised on them too, where
    training changed them."""
    readouts: bool = True
    """Keep every hybrid's readout beside the effects; of thousands of units they are large."""
    localise: dict[str, tuple[str, ...]] = {}
    """By arm, what is asked of how its change is made: names of `takeback.findings.localise.PARTS`."""
    localise_situations: Count = 64
    """So many of the situations, half of them to select on."""
    contrasts: dict[str, dict[str, Weight]] = {}
    """By name, weighted sums over arms; weights are numbers or fractions such as "-1/3"."""
    probes: bool = False
    """Probe the hidden states of every single component's hybrid, where the arena tells facts."""
    carriers: CarrierArms | None = None
    """The arms that the rule *carries the gain* compares, in pairs of one goal."""
    threads: Annotated[int, Field(gt=0, le=MOST_THREADS)] = 1
    """CPU threads of each worker; fixed, so that a run repeats bit for bit."""
    conjectures: tuple[Conjecture, ...] = ()
    """What is expected, locked when the run starts and decided at its end; in a plan's file, also the name
    of another YAML file, from that plan's folder."""

    project: str | None = None
    """A project's file, which the report links; in a plan's file from that plan's folder."""

    def recipe(self, arm: str, seed: int, out: Path = Path()) -> Tuned:
        """Return the complete recipe of one arm and seed of a run in the folder `out`.

        Raises:
            UnknownName: its parent is no arm.
            TakebackError: the arm's fields are not those of a recipe.
        """
        if not re.fullmatch(r"\w[\w.-]*", arm) or arm == BASE:
            raise TakebackError(f"arm {arm!r}: name it with letters, digits, - and _, and not base")
        own = dict(self.arms[arm])
        whole = {"arena": self.arena, "seed": seed, "threads": self.threads}
        if again := whole.keys() & own.keys():
            raise TakebackError(f"arm {arm}: {', '.join(sorted(again))} is the plan's to say, for all arms")
        if own.get("parent", BASE) not in (BASE, *self.arms):
            raise unknown_name(f"parent of arm {arm}", own["parent"], (BASE, *self.arms))
        for role in ROLES:
            if own.get(role) in self.arms:
                own[role] = str(final_of(out, own[role], seed))
        if own.get("parent", BASE) == BASE:
            own["parent"] = self.base_in(out)
        if not issubclass(method_of(own, f"arm {arm}"), Tuned):
            raise TakebackError(f"arm {arm}: method {own['method']} makes a base; arms start from one")
        recipe = check_recipe({**whole, **own}, f"arm {arm}")
        assert isinstance(recipe, Tuned)
        return recipe

    def base_in(self, out: Path) -> str:
        """Return the checkpoint of the base of a run in the folder `out`."""
        return self.base if isinstance(self.base, str) else str(out / BASE / "final")

    def base_recipe(self) -> Recipe | None:
        """Return the recipe of the base, None where it is a checkpoint that there is."""
        if isinstance(self.base, str):
            return None
        whole: dict[str, Any] = {"arena": self.arena}
        if "threads" in method_of(self.base, BASE).model_fields:
            whole["threads"] = self.threads
        return check_recipe({**whole, **self.base}, BASE)

    def parent(self, arm: str) -> str:
        """Return what an arm starts from: `base`, or the name of another arm."""
        return str(self.arms[arm].get("parent", BASE))

    def needs(self, arm: str) -> list[str]:
        """Return the arms whose models of the same seed an arm starts from or imitates."""
        own = self.arms[arm]
        return [own[role] for role in ROLES if own.get(role) in self.arms]

    def plays(self) -> bool:
        """Tell whether games are played: some are asked for, and the arena has them."""
        return self.games > 0 and isinstance(arena(self.arena), Playable)

    def waves(self) -> list[list[str]]:
        """Return the arms in groups that can be trained at once; each group needs those before it only.

        Raises:
            TakebackError: arms wait for each other.
        """
        waves: list[list[str]] = []
        waiting = {arm: set(self.needs(arm)) for arm in self.arms}
        while waiting:
            free = [arm for arm, needs in waiting.items() if not needs & waiting.keys()]
            if not free:
                told = ", ".join(waiting)
                raise TakebackError(f"arms wait for each other: {told}; one must start from base")
            waves.append(free)
            waiting = {arm: needs for arm, needs in waiting.items() if arm not in free}
        return waves


BASE = "base"


def final_of(out: Path, arm: str, seed: int) -> Path:
    """Return where a run keeps the final model of an arm and seed."""
    return out / "arms" / arm / f"seed-{seed}" / "final"


def load_plan(path: str | Path, **changes: Any) -> Plan:
    """Read a plan from a YAML file; the name of one that ships, such as `demo`, works too.

    Keyword arguments replace its fields.

    Raises:
        TakebackError: the file is missing or can't be read, or a field is unknown, missing or out of range.
    """
    plans = {Path(plan.name).stem: plan for plan in (files("takeback.study") / "plans").iterdir()}
    shipped = ", ".join(sorted(plans))
    missing = f"no plan at {path}; give a YAML file, or the name of one that ships: {shipped}"
    fields = read_yaml(plans.get(str(path), Path(path)), missing)
    if isinstance(fields, dict):
        fields = {**fields, **changes}
        if isinstance(named := fields.get("conjectures"), str):
            fields["conjectures"] = read_list(Path(path).parent / named)
        if isinstance(project := fields.get("project"), str):
            fields["project"] = str((Path(path).parent / project).resolve())
    return check_plan(fields, str(path))


def check_plan(fields: Any, origin: str = "plan") -> Plan:
    """Build a plan from plain fields and check every arm's recipe.

    Raises:
        TakebackError: a field is unknown, missing or out of range.
    """
    if isinstance(fields, dict):
        fields = _of_today(fields)
    if isinstance(fields, dict) and isinstance(listed := fields.get("conjectures"), list):
        fields = {**fields, "conjectures": check_conjectures(listed, origin)}
    if isinstance(fields, dict) and isinstance(fields.get("arms"), dict):
        fields = {**fields, "arms": spread(fields["arms"], origin)}
    try:
        plan = Plan.model_validate(fields)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'plan'}: {e['msg']}" for e in error.errors())
        raise TakebackError(f"{origin}: {told}") from None
    if len(set(plan.seeds)) < len(plan.seeds):
        raise TakebackError(f"{origin}: seeds {list(plan.seeds)} has one twice")
    plan.base_recipe()
    for arm in plan.arms:
        plan.recipe(arm, plan.seeds[0])
    plan.waves()
    check_names(plan.conjectures, origin)
    check_arms(plan.conjectures, plan.arms, plan.seeds)
    check_contrasts(plan.contrasts, plan.arms, origin)
    if plan.carriers is not None:
        check_carriers(plan.carriers, plan.arms, origin)
    return plan


def _of_today(fields: dict[str, Any]) -> dict[str, Any]:
    """Read the arms of the rule that earlier versions had, *carries agency*, as those of the one there is."""
    rest = {name: value for name, value in fields.items() if name != "agency"}
    match fields.get("agency"):
        case {"rl": of, "rft": than}:
            return {"carriers": {"of": of, "than": than}, "probes": True, **rest}
        case None:
            return rest
        case _:
            return fields


def dump_plan(plan: Plan) -> str:
    """Return the plan as YAML with every field filled in; `load_plan` reads it back."""
    return yaml.safe_dump(plan.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
