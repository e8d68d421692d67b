"""The sweep: take back and graft many sets, read each hybrid, and keep what was read.

Hybrids are read in parts that the plan fixes, and a part's rows depend on it alone: a killed sweep goes on
with the parts that are missing, and several workers or shards give the tables of a single process.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from takeback.anatomy import Anatomy
from takeback.arenas import Arena, Asked
from takeback.checkpoint import Pair
from takeback.component import Component
from takeback.findings.sweep.sets import NamedSet, chosen_sets, random_controls
from takeback.hybrid.walk import path_of
from takeback.measure.effects import effect_rows, effects_table
from takeback.measure.measure import TOLERANCE
from takeback.measure.read import Reader, Sides
from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file
from takeback.run.identity import identity
from takeback.run.jobs import Workers
from takeback.run.parts import Shard, collect_shard_of_tables, collect_tables
from takeback.run.tables import SCHEMA, write_table
from takeback.weights import Diff

DIRECTIONS = ("take back", "graft")
"""`take back`: tuned with the set from base. `graft`: base with the set from tuned."""

MATCHES = "; "
"""What stands between the names of the sets that a control matches."""

PART = 32
"""Hybrids that are read together: what a kill can cost, and among what work is shared."""

Report = Callable[[int, int], None]
"""Told how many hybrids are done of how many."""


@dataclass(frozen=True)
class Sweep:
    """What is swept: a pair, the sets, and the situations that every hybrid is read on.

    Attributes:
        pair: base and tuned.
        arena: where they act.
        situations: what they are read on.
        delta: ‖Δ‖² of every component, to match random sets by.
        requests: families of sets, or sets by name; None for all families that the model has.
        controls: random sets of each make-up.
        seed: of the random sets.
        threads: CPU threads for each hybrid; results depend on the number in their last bits.
        readouts: whether to keep every readout beside the effects; of thousands of hybrids they are large.
    """

    pair: Pair
    arena: Arena[Any]
    situations: Sequence[Any]
    delta: Mapping[Component, float]
    requests: Sequence[str] | None = None
    controls: int = 5
    seed: int = 0
    threads: int = 1
    readouts: bool = True

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
            "requests": None if self.requests is None else list(self.requests),
            "controls": self.controls,
            "seed": self.seed,
            "threads": self.threads,
        }

    @cached_property
    def key(self) -> str:
        """The identity of the tables."""
        sets = [(named.family, named.name, str(named.components)) for named in self.sets]
        settings = [PART, TOLERANCE, self.threads, self.readouts]
        return identity(self.pair, Asked(self.arena, self.situations), sets, settings)


def sweep(
    what: Sweep,
    out: str | Path,
    labels: Mapping[str, Any] | None = None,
    report: Report | None = None,
    workers: Workers = 1,
) -> Path:
    """Read every hybrid of a sweep and write `out` (effects), beside it `*.readouts.parquet`, `*.sweep.json`.

    A row of the effects is one measure of one hybrid: its value, and its difference from the side it was made
    from (`relative_to`: tuned for a takeback, base for a graft) with an interval over situations. Running it
    again after a kill goes on from the parts that are done; a sweep that is done is not done again. The
    tables are the same whatever the number of workers.

    Args:
        what: the sweep.
        out: the Parquet file to write.
        labels: columns put before every row, such as arm and seed.
        report: told how many hybrids are done of how many.
        workers: local processes; each holds both models.

    Raises:
        TakebackError: `out` holds another sweep, or a model can't be loaded.
    """
    out = Path(out)
    parts = _parts_of(what, out)
    if _is_done(what, out, parts):
        shutil.rmtree(parts, ignore_errors=True)
        return out
    tables = collect_tables(_Hybrids(what, what.key), parts, workers, what.threads, _counted(what, report))
    for name, path in _paths(what, out).items():
        whole = tables[name].sort_values("place", kind="stable", ignore_index=True).drop(columns="place")
        write_table(_with_columns(whole, labels or {}), path)
    with atomic_file(out.with_suffix(".sweep.json")) as draft:
        draft.write_text(json.dumps(what.manifest, indent=1), encoding="utf-8")
    shutil.rmtree(parts)
    return out


def sweep_shard(
    what: Sweep, out: str | Path, shard: Shard, report: Report | None = None, workers: Workers = 1
) -> None:
    """Do one shard's share of a sweep, as one job of an array; `sweep` with the same `out` ends it.

    Raises:
        TakebackError: `out` holds another sweep, or a model can't be loaded.
    """
    out = Path(out)
    parts = _parts_of(what, out)
    if not _is_done(what, out, parts):
        count = _counted(what, report)
        collect_shard_of_tables(_Hybrids(what, what.key), parts, shard, workers, what.threads, count)


@dataclass(frozen=True)
class _Hybrids:
    """The hybrids of a sweep as work: an item is some of one direction, those with like paths together."""

    what: Sweep
    identity: str
    name: str = "sweep"

    @property
    def table_names(self) -> tuple[str, ...]:
        return tuple(_paths(self.what, Path("effects.parquet")))

    def items(self) -> list[str]:
        return list(self._groups)

    def tables(self, item: str) -> dict[str, pd.DataFrame]:
        direction, members = self._groups[item]
        side = "tuned" if direction == "take back" else "base"
        sets = [self.what.sets[member] for member in members]
        read = self._reader.read(side, [named.components for named in sets])
        told: list[dict[str, Any]] = []
        shown: list[pd.DataFrame] = []
        for member, named, readouts in zip(members, sets, read, strict=True):
            place = DIRECTIONS.index(direction) * len(self.what.sets) + member
            keys = {"place": place, "direction": direction, "family": named.family, "set": named.name}
            before = self._reader.before[side]
            rows = effect_rows(before, readouts, self._reader.context, side)
            about = {**keys, **self._facts(named)}
            told += [{**about, **row} for row in rows]
            if self.what.readouts:
                outcomes = readouts.to_frame()[["situation", "kind", "outcome", "probability"]]
                shown.append(_with_columns(outcomes, keys))
        readouts_table = {"readouts": pd.concat(shown, ignore_index=True)} if self.what.readouts else {}
        return {"effects": effects_table(told), **readouts_table}

    @cached_property
    def _groups(self) -> dict[str, tuple[str, list[int]]]:
        """Each item's direction and the places of its sets; neighbours share the start of their paths."""
        paths = [[str(part) for part in path_of(named.components)] for named in self.what.sets]
        order = sorted(range(len(paths)), key=paths.__getitem__)
        starts = range(0, len(order), PART)
        return {
            f"{direction} {start}": (direction, order[start : start + PART])
            for direction in DIRECTIONS
            for start in starts
        }

    @cached_property
    def _reader(self) -> Reader:
        return Reader(Sides(self.what.pair, self.what.arena), self.what.situations)

    def _facts(self, named: NamedSet) -> dict[str, Any]:
        return {
            "components": str(named.components),
            "n_components": len(named.components),
            "parameters": self.what.anatomy.parameters(named.components),
            "delta_share": self.what.share(named),
            "matches": MATCHES.join(named.matches),
        }


def _counted(what: Sweep, report: Report | None) -> Report:
    """Turn a report on hybrids into one on parts."""
    hybrids = len(DIRECTIONS) * len(what.sets)

    def count(done: int, parts: int) -> None:
        if report is not None:
            report(hybrids * done // parts, hybrids)

    return count


def _parts_of(what: Sweep, out: Path) -> Path:
    if out.suffix != ".parquet" or out.is_dir():
        raise TakebackError(f"a sweep writes a .parquet file, not {out}; name one")
    return out.with_name(f".{out.stem}-{what.key[:16]}.parts")


def _paths(what: Sweep, out: Path) -> dict[str, Path]:
    """Return where each table goes."""
    beside = {"readouts": out.with_suffix(".readouts.parquet")} if what.readouts else {}
    return {"effects": out, **beside}


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
    return all(path.exists() for path in _paths(what, out).values())


def squared_norms(moved: Diff) -> dict[Component, float]:
    """Return ‖Δ‖² of every component from a diff."""
    squares = moved.by_component.delta_square.tolist()
    return dict(zip(moved.tally.parts.components(), squares, strict=True))


def _with_columns(table: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    for place, (name, value) in enumerate(columns.items()):
        table.insert(place, name, value)
    return table
