"""Reading the record of a run; nothing here trains or measures."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml

from takeback.draw.page import Section
from takeback.report.rows import (
    BASE,
    DIRECTIONS,
    ILLEGAL,
    KL,
    LEGAL,
    TAKE_BACK,
    Agency,
    Effect,
    Example,
    Game,
    Moved,
    MovedComponent,
    Reading,
    Row,
    Shift,
)
from takeback.report.terms import REINFORCED, Terms
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.tables import read_table, records

R = TypeVar("R", bound=Row)

ENVIRONMENT = "gym:"
"""What the names of arenas begin with that are environments."""

_ALWAYS = 1e-6
"""Illegal mass that is rounding."""

LOCALISED = ("localise", "explain")
"""The manifests in a run's `localise` folders, in the order they are shown."""

CONTRASTS = ("contrasts",)
"""The manifest of what arms differ in."""
CONJECTURES = ("conjectures",)
"""The manifest of what became of a run's conjectures."""


@dataclass(frozen=True)
class Arm:
    """A way of training: its place gives it a colour and a mark in every figure.

    `start` is what it starts from and is compared with: `base`, or another arm.
    """

    name: str
    place: int
    method: str
    goal: str
    recipe: Mapping[str, Any]
    seeds: tuple[int, ...]
    start: str

    @property
    def ignores_output(self) -> bool:
        """Whether its reward is chance."""
        return bool(self.recipe.get("ignore_output"))

    @property
    def reinforced(self) -> bool:
        """Whether a reward for its goal trained it."""
        return self.method in REINFORCED and not self.ignores_output

    @property
    def aims(self) -> bool:
        """Whether its goal had a part in training; otherwise it is only what the arm is read on."""
        imitated = self.method in ("sft", "rft", "dpo") and not self.recipe.get("shuffled")
        return self.reinforced or imitated

    @property
    def measure(self) -> str:
        """The utility of the arm's own goal; that of legality alone is the mass of legal answers."""
        return LEGAL if self.goal == LEGAL else f"utility {self.goal}"


@dataclass(frozen=True)
class Change:
    """How far the weights of one arm and seed moved."""

    components: tuple[MovedComponent, ...]
    total: Moved


@dataclass(frozen=True)
class Record:
    """All that a report tells of. What a run need not have is None where it has it not.

    `logs`, `changes`, `examples` and `localised` have an entry for an arm and a seed.
    """

    folder: Path
    plan: Mapping[str, Any]
    base: str | Mapping[str, Any]
    manifest: Mapping[str, Any]
    arms: tuple[Arm, ...]
    readings: tuple[Reading, ...]
    shifts: tuple[Shift, ...]
    agency: tuple[Agency, ...]
    games: tuple[Game, ...] | None
    examples: Mapping[tuple[str, int], tuple[Example, ...]] | None
    logs: Mapping[tuple[str, int], tuple[Mapping[str, Any], ...]]
    changes: Mapping[tuple[str, int], Change]
    effects: tuple[Effect, ...]
    localised: Mapping[tuple[str, int], tuple[Section, ...]]
    contrasts: tuple[Section, ...] = ()
    conjectures: tuple[Section, ...] = ()

    @property
    def title(self) -> str:
        """What the run calls itself."""
        return str(self.plan.get("title") or self.plan.get("name") or self.folder.name)

    @property
    def project(self) -> tuple[str, str] | None:
        """The file of the project that it belongs to, and the way there from its folder; None without one."""
        path = self.plan.get("project")
        if not path:
            return None
        return Path(path).name, Path(os.path.relpath(path, self.folder.resolve())).as_posix()

    @cached_property
    def terms(self) -> Terms:
        """What its things are called."""
        kinds = {row.place.kind for row in next(iter(self.changes.values())).components}
        legal = [row.value for rows in (self.readings, self.shifts) for row in rows if row.measure == LEGAL]
        legal += [row.value for row in self.effects if row.measure == LEGAL]
        return Terms(
            environment=str(self.plan.get("arena", "")).startswith(ENVIRONMENT),
            network=bool(kinds & {"U", "OUTPUTS"}),
            legality=not legal or any(value < 1 - _ALWAYS for value in legal),
        )

    @cached_property
    def _effects(self) -> Mapping[tuple[str, str, str], tuple[Effect, ...]]:
        found: dict[tuple[str, str, str], list[Effect]] = defaultdict(list)
        for row in self.effects:
            found[row.arm, row.direction, row.measure].append(row)
        return {key: tuple(sorted(rows, key=lambda row: row.seed)) for key, rows in found.items()}

    def effects_of(self, arm: Arm, direction: str, measure: str) -> tuple[Effect, ...]:
        """Return the effects on a measure, controls included, in the table's order and by seed.

        Raises:
            UnknownName: nothing was measured under this name.
        """
        rows = self._effects.get((arm.name, direction, measure))
        if rows is None:
            known = sorted({key[2] for key in self._effects})
            raise unknown_name(f"measure in the effects of {arm.name!r}", measure, known)
        return rows

    def shifts_of(self, arm: Arm, measure: str) -> tuple[Shift, ...]:
        """Return what training changed in a measure, by seed; empty if that was not measured."""
        rows = [row for row in self.shifts if row.arm == arm.name and row.measure == measure]
        return tuple(sorted(rows, key=lambda row: row.seed))


def read_record(run: Path) -> Record:
    """Read a run folder.

    Raises:
        TakebackError: the folder or a part that no report can do without is missing or can't be read.
    """
    if not run.is_dir():
        raise TakebackError(f"no run folder at {run}; `takeback demo` makes one")
    plan = _plan(run / "plan.yaml")
    seeds = tuple(plan.get("seeds") or (0,))
    arms = tuple(
        _arm(run, name, place, fields, seeds) for place, (name, fields) in enumerate(plan["arms"].items())
    )
    each = [(arm.name, seed) for arm in arms for seed in arm.seeds]
    _all_there(run, each)
    games, agency = (run / "behaviour" / f"{name}.parquet" for name in ("games", "agency"))
    logs: dict[tuple[str, int], tuple[Mapping[str, Any], ...]] = {}
    for arm, seed in each:
        path = run / "arms" / arm / f"seed-{seed}" / "log.parquet"
        logs[arm, seed] = tuple(_table(path)) if path.exists() else ()
    record = Record(
        folder=run,
        plan=plan,
        base=_base(run, plan.get("base", "the base")),
        manifest=_json(run / "manifest.json"),
        arms=arms,
        readings=_rows(run / "behaviour" / "policies.parquet", Reading),
        shifts=_rows(run / "behaviour" / "shifts.parquet", Shift),
        agency=_rows(agency, Agency) if agency.exists() else (),
        games=_rows(games, Game) if games.exists() else None,
        examples=_examples(run / "behaviour" / "examples.json", each),
        logs=logs,
        changes={key: _change(run / "diff" / f"{key[0]}-seed-{key[1]}") for key in each},
        effects=tuple(row for arm in arms for seed in arm.seeds for row in _effects_of(run, arm, seed)),
        localised={key: _sections(run / "localise" / f"{key[0]}-seed-{key[1]}") for key in each},
        contrasts=_sections(run, CONTRASTS),
        conjectures=_sections(run, CONJECTURES),
    )
    check_controls(record)
    return record


def matched(row: Effect, rows: Iterable[Effect]) -> list[Effect]:
    """Return the random sets of the same arm, seed and direction that say they match a set.

    A draw that hit the very set is among them; `takeback.report.view.controls_of` leaves it out.
    """
    return [
        other
        for other in rows
        if other.is_control and other.seed == row.seed and row.set in other.matches.split("; ")
    ]


def check_controls(record: Record) -> None:
    """Refuse a record whose sets of several components have no random sets beside them.

    Single components are controls of each other; every larger set needs its own.

    Raises:
        TakebackError: names the arm, the seed, the direction and the sets that lack controls.
    """
    lacking: dict[str, list[str]] = {}
    for arm in record.arms:
        for direction in DIRECTIONS:
            rows = record.effects_of(arm, direction, arm.measure)
            for seed in arm.seeds:
                ours = [row for row in rows if row.seed == seed]
                where = f"{arm.name}, seed {seed}, {direction}"
                if not any(row.is_control for row in ours):
                    lacking[where] = ["every set"]
                    continue
                names = [
                    r.set for r in ours if not r.is_control and r.n_components > 1 and not matched(r, ours)
                ]
                if names:
                    lacking[where] = names
    if lacking:
        told = "; ".join(f"{where}: {', '.join(names)}" for where, names in lacking.items())
        raise TakebackError(
            f"no report without controls: random sets are missing for {told}; sweep with controls"
        )


def _plan(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        raise TakebackError(f"{path.parent} is no run folder: it has no {path.name}")
    try:
        plan = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TakebackError(f"{path} can't be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(plan, dict) or not isinstance(plan.get("arms"), dict) or not plan["arms"]:
        raise TakebackError(f"{path} names no arms, so there is nothing to report")
    return plan


def _arm(run: Path, name: str, place: int, fields: Mapping[str, Any], seeds: tuple[int, ...]) -> Arm:
    path = run / "arms" / name / f"seed-{seeds[0]}" / "recipe.yaml"
    recipe = {**(yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}), **fields}
    if "goal" not in recipe:
        raise TakebackError(
            f"arm {name!r} of {run / 'plan.yaml'} has no goal, so its effects can't be ordered"
        )
    return Arm(
        name,
        place,
        str(recipe.get("method", "?")),
        str(recipe["goal"]),
        recipe,
        seeds,
        str(fields.get("parent", BASE)),
    )


def _base(run: Path, base: Any) -> str | Mapping[str, Any]:
    """Return the name of the base, or the recipe that made it with every field filled in."""
    if not isinstance(base, dict):
        return str(base)
    path = run / BASE / "recipe.yaml"
    return {**base, **(yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {})}


def _all_there(run: Path, each: Iterable[tuple[str, int]]) -> None:
    needed = ["manifest.json", "behaviour/policies.parquet", "behaviour/shifts.parquet"]
    for arm, seed in each:
        needed += [f"diff/{arm}-seed-{seed}/{name}.parquet" for name in ("components", "total")]
        needed.append(f"effects/{arm}-seed-{seed}.parquet")
    missing = [name for name in needed if not (run / name).exists()]
    if missing:
        raise TakebackError(f"{run} is not finished: it lacks {', '.join(missing)}; run it again, it goes on")


def _change(folder: Path) -> Change:
    total = _rows(folder / "total.parquet", Moved)
    if len(total) != 1:
        raise TakebackError(f"{folder / 'total.parquet'} has {len(total)} rows instead of one; diff again")
    return Change(_rows(folder / "components.parquet", MovedComponent), total[0])


def _examples(
    path: Path, each: Iterable[tuple[str, int]]
) -> Mapping[tuple[str, int], tuple[Example, ...]] | None:
    if not path.exists():
        return None
    found = _json(path)
    return {key: tuple(map(_example, found.get(f"{key[0]}-seed-{key[1]}", ()))) for key in each}


def _example(fields: Mapping[str, Any]) -> Example:
    def mass(value: Any) -> float:
        return float(sum(value.values())) if isinstance(value, dict) else float(value)

    return Example(
        situation=str(fields["situation"]),
        board=fields.get("board") or {},
        distance=float(fields["distance"]),
        before=tuple((str(action), float(p)) for action, p in fields["before"]),
        after=tuple((str(action), float(p)) for action, p in fields["after"]),
        illegal_before=mass(fields["illegal_before"]),
        illegal_after=mass(fields["illegal_after"]),
    )


def _sections(folder: Path, names: Sequence[str] = LOCALISED) -> tuple[Section, ...]:
    """Return what commands found, by default of how a change is made, as they drew it; of none nothing."""
    manifests = [path for name in names if (path := folder / f"{name}.json").exists()]
    return tuple(Section.of(section) for path in manifests for section in _json(path)["sections"])


def _rows(path: Path, kind: type[R]) -> tuple[R, ...]:
    return kind.read(_table(path), path)


def _effects_of(run: Path, arm: Arm, seed: int) -> tuple[Effect, ...]:
    """Read the effects that are drawn, a small part of a table that may have millions."""
    path = run / "effects" / f"{arm.name}-seed-{seed}.parquet"
    table = read_table(path)
    if {"measure", "direction"} <= set(table.columns):
        classes = table["measure"].str.startswith(ILLEGAL) & (table["direction"] == TAKE_BACK)
        table = table[table["measure"].isin([arm.measure, LEGAL, KL]) | classes]
    return Effect.read(records(table), path)


def _table(path: Path) -> list[dict[str, Any]]:
    return records(read_table(path))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TakebackError(f"{path} can't be read as JSON: {error}") from None
