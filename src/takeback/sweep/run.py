"""The sweep: take back and graft one set after another, read each hybrid, and keep what was read.

Hybrids are read in parts that the plan fixes. A part is written whole; a killed sweep goes on after its last
part and gives the tables of an unbroken one.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import PreTrainedModel

from takeback.anatomy import Anatomy
from takeback.arenas import Arena
from takeback.behaviour import MeasureContext, ReadoutPlan, Readouts, effects, load_policy, read_plan
from takeback.checkpoint import Pair
from takeback.component import Component
from takeback.diff import Diff
from takeback.errors import TakebackError
from takeback.files import atomic_file
from takeback.hybrid import taken_back
from takeback.sweep.sets import FAMILIES, NamedSet, chosen_sets, random_controls
from takeback.tables import SCHEMA, read_table, write_table

DIRECTIONS = ("take back", "graft")
"""`take back`: tuned with the set from base. `graft`: base with the set from tuned."""

TOLERANCE = 0.05
"""Most illegal mass of a situation that a hybrid's readout leaves unclassified; legal actions are exact."""

MATCHES = "; "
"""What stands between the names of the sets that a control matches."""

PART = 16
"""Hybrids in a part: what a kill can cost."""

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Sweep:
    """What is swept: a pair, the sets, and the situations that every hybrid is read on.

    Attributes:
        pair: base and tuned.
        arena: where they act.
        situations: what they are read on.
        delta: ‖Δ‖² of every component, to match random sets by.
        requests: families of sets, or sets by name.
        controls: random sets of each make-up.
        seed: of the random sets.
    """

    pair: Pair
    arena: Arena[Any]
    situations: Sequence[Any]
    delta: Mapping[Component, float]
    requests: Sequence[str] = FAMILIES
    controls: int = 5
    seed: int = 0

    @cached_property
    def anatomy(self) -> Anatomy:
        """The anatomy of the pair."""
        return self.pair.anatomy()

    @cached_property
    def sets(self) -> tuple[NamedSet, ...]:
        """Every set in the order it is swept: the chosen ones, then their random controls.

        Raises:
            UnknownName: a request is no family and names no component.
            TakebackError: nothing was asked for, or no controls.
        """
        chosen = chosen_sets(self.anatomy, self.requests)
        if not chosen or self.controls < 1:
            raise TakebackError("a sweep needs at least one set and one control of each make-up")
        return (*chosen, *random_controls(self.anatomy, chosen, self.delta, self.controls, self.seed))

    def share(self, named: NamedSet) -> float | None:
        """Return a set's share of the whole ‖Δ‖², None where nothing moved."""
        whole = sum(self.delta.values())
        return sum(self.delta[component] for component in named.components) / whole if whole else None

    @property
    def manifest(self) -> dict[str, Any]:
        """What was swept, for the file beside the tables."""
        return {
            "schema": SCHEMA,
            "key": self.key,
            "base": {"ref": self.pair.base.ref, "digest": self.pair.base.digest},
            "tuned": {"ref": self.pair.tuned.ref, "digest": self.pair.tuned.digest},
            "arena": self.arena.name,
            "situations": len(self.situations),
            "requests": list(self.requests),
            "controls": self.controls,
            "seed": self.seed,
        }

    @cached_property
    def key(self) -> str:
        """A hash of all that the tables depend on: weights, configs, situations, sets, code settings."""
        sides = (self.pair.base, self.pair.tuned)
        parts = {
            "weights": [side.digest for side in sides],
            "configs": [side.config.to_json_string() if side.config else "" for side in sides],
            "sets": [(named.family, named.name, str(named.components)) for named in self.sets],
            "arena": [_said(self.arena, situation) for situation in self.situations],
            "code": [importlib.metadata.version("takeback"), SCHEMA, PART, TOLERANCE],
        }
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def sweep(
    what: Sweep, out: str | Path, labels: Mapping[str, Any] | None = None, report: Report | None = None
) -> Path:
    """Read every hybrid of a sweep and write `out` (effects), beside it `*.readouts.parquet`, `*.sweep.json`.

    A row of the effects is one measure of one hybrid: its value, and its difference from the side it was made
    from (`relative_to`: tuned for a takeback, base for a graft) with an interval over situations. Running it
    again after a kill goes on from the last whole part; a sweep that is done is not done again.

    Args:
        what: the sweep.
        out: the Parquet file to write.
        labels: columns put before every row, such as arm and seed.
        report: told how many hybrids are done of how many.

    Raises:
        TakebackError: `out` holds another sweep, or a model can't be loaded.
    """
    out = Path(out)
    if out.suffix != ".parquet" or out.is_dir():
        raise TakebackError(f"a sweep writes a .parquet file, not {out}; name one")
    parts = out.with_name(f".{out.stem}-{what.key[:16]}.parts")
    if _is_done(what, out, parts):
        shutil.rmtree(parts, ignore_errors=True)
        return out
    hybrids = [(direction, named) for direction in DIRECTIONS for named in what.sets]
    chunks = [hybrids[start : start + PART] for start in range(0, len(hybrids), PART)]
    reader: _Reader | None = None
    for number, chunk in enumerate(chunks):
        paths = [parts / f"{number:04d}.{kind}.parquet" for kind in ("effects", "readouts")]
        if not all(path.exists() for path in paths):
            reader = reader or _Reader(what)
            for path, tables in zip(paths, zip(*map(reader.read, chunk), strict=True), strict=True):
                write_table(pd.concat(tables, ignore_index=True), path)
        if report:
            report(min((number + 1) * PART, len(hybrids)), len(hybrids))
    for kind, path in (("effects", out), ("readouts", out.with_suffix(".readouts.parquet"))):
        whole = pd.concat([read_table(file) for file in sorted(parts.glob(f"*.{kind}.parquet"))])
        for place, (name, value) in enumerate((labels or {}).items()):
            whole.insert(place, name, value)
        write_table(whole.reset_index(drop=True), path)
    with atomic_file(out.with_suffix(".sweep.json")) as draft:
        draft.write_text(json.dumps(what.manifest, indent=1), encoding="utf-8")
    shutil.rmtree(parts)
    return out


def _said(arena: Arena[Any], situation: Any) -> list[Any]:
    """Return what an arena says of a situation, as far as measures depend on it."""
    actions = arena.legal(situation)
    utilities = {goal: arena.utility(goal, situation).round(12).tolist() for goal in arena.goals}
    features = {name: has.tolist() for name, has in arena.features(situation).items()}
    return [arena.name, arena.prompt(situation), str(arena.cluster(situation)), actions, utilities, features]


def _is_done(what: Sweep, out: Path, parts: Path) -> bool:
    """Return whether `out` is this sweep's; what another one wrote is not touched.

    A sweep that was killed while it wrote `out` still has its parts.
    """
    manifest = out.with_suffix(".sweep.json")
    if not manifest.exists():
        if out.exists() and not parts.exists():
            raise TakebackError(f"{out} is there already and no sweep's; choose another file")
        return False
    if json.loads(manifest.read_text(encoding="utf-8"))["key"] != what.key:
        raise TakebackError(f"{out} holds another sweep ({manifest}); choose another file or remove both")
    return out.exists() and out.with_suffix(".readouts.parquet").exists()


def squared_norms(moved: Diff) -> dict[Component, float]:
    """Return ‖Δ‖² of every component from a diff."""
    squares = moved.by_component.delta_square.tolist()
    return dict(zip(moved.tally.parts.components(), squares, strict=True))


class _Reader:
    """Holds both models in memory and reads hybrids of them."""

    def __init__(self, what: Sweep) -> None:
        self._what = what
        policies = {
            "base": load_policy(what.pair.base, what.arena),
            "tuned": load_policy(what.pair.tuned, what.arena),
        }
        tuned = policies["tuned"]
        if tuned.tokenizer.get_vocab() != policies["base"].tokenizer.get_vocab():
            raise TakebackError(f"{what.pair.base.ref} and {what.pair.tuned.ref} have different tokenizers")
        self._models: dict[str, PreTrainedModel] = {side: policy.model for side, policy in policies.items()}
        self._plan = ReadoutPlan.prepare(what.arena, what.situations, tuned.tokenizer, tuned.style)
        self._before = {side: self._read(model) for side, model in self._models.items()}
        self._context = MeasureContext.of(self._before["base"], what.arena)

    def read(self, hybrid: tuple[str, NamedSet]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return one hybrid's effects, a row a measure, and its readouts, a row an outcome."""
        direction, named = hybrid
        side, other = ("tuned", "base") if direction == "take back" else ("base", "tuned")
        with taken_back(
            self._models[side], self._models[other], named.components, self._what.anatomy
        ) as model:
            readouts = self._read(model)
        keys = {"direction": direction, "family": named.family, "set": named.name}
        facts = {
            "components": str(named.components),
            "n_components": len(named.components),
            "parameters": self._what.anatomy.parameters(named.components),
            "delta_share": self._what.share(named),
            "matches": MATCHES.join(named.matches),
        }
        rows = effects(self._before[side], readouts, self._what.arena, side, self._context)
        outcomes = readouts.to_frame()[["situation", "kind", "outcome", "probability"]]
        return _with_columns(rows, {**keys, **facts}), _with_columns(outcomes, keys)

    def _read(self, model: PreTrainedModel) -> Readouts:
        return read_plan(model, self._plan, tolerance=TOLERANCE)


def _with_columns(table: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    for place, (name, value) in enumerate(columns.items()):
        table.insert(place, name, value)
    return table
