"""The sweep: take back and graft many sets, and tabulate the effect of each hybrid on every measure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from takeback.arenas.rows.spec import DRAWN, POOLED
from takeback.component import Component
from takeback.findings.sweep.sets import NamedSet, chosen_sets, random_controls
from takeback.measure.bench import Bench
from takeback.measure.effects import effect_rows, effects_table, with_floor
from takeback.measure.layout import PART
from takeback.measure.read import Ask
from takeback.measure.thin import effective, is_thin
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file, one_writer
from takeback.run.identity import identity
from takeback.run.json_text import read_object
from takeback.run.parts import Shard
from takeback.run.reading import fields_of
from takeback.run.tables import SCHEMA, write_table
from takeback.weights import Diff

DIRECTIONS = ("take back", "graft")
"""`take back`: tuned with the set from base. `graft`: base with the set from tuned."""

MATCHES = "; "
"""What stands between the names of the sets that a control matches."""

Report = Callable[[int, int], None]
"""Told how many hybrids are done of how many."""


@dataclass(frozen=True)
class Sweep:
    """What is swept: families of sets, on a bench.

    Attributes:
        bench: the pair, and the situations that every hybrid is read on. A user's own measures that it is
            asked about are told beside all of the arena's.
        delta: ‖Δ‖² of every component, to match random sets by.
        requests: families of sets, or sets by name; None for all families that the model has.
        controls: random sets of each make-up.
        seed: of the random sets.
        readouts: whether to keep every readout beside the effects; of thousands of hybrids they are large.
        given: the sets themselves, in place of requests.
    """

    bench: Bench
    delta: Mapping[Component, float] = field(repr=False)
    requests: Sequence[str] | None = None
    controls: int = 5
    seed: int = 0
    readouts: bool = True
    given: tuple[NamedSet, ...] | None = None

    @cached_property
    def sets(self) -> tuple[NamedSet, ...]:
        """Every set in the order it is swept: the chosen ones, then their random controls.

        Raises:
            UnknownName: a request is no family and names no component.
            TakebackError: nothing was asked for, or no controls.
        """
        anatomy = self.bench.anatomy
        chosen = list(self.given or chosen_sets(anatomy, self.requests))
        if not chosen or self.controls < 1:
            raise TakebackError("a sweep needs at least one set and one control of each make-up")
        return (*chosen, *random_controls(anatomy, chosen, self.delta, self.controls, self.seed))

    @property
    def hybrids(self) -> list[tuple[str, NamedSet, Ask]]:
        """What is read for each row of the table: direction, set and hybrid."""
        made = dict(zip(DIRECTIONS, (Ask, Ask.graft), strict=True))
        return [(way, named, made[way](named.components)) for way in DIRECTIONS for named in self.sets]

    def unread(self, out: str | Path) -> int:
        """Count the hybrids that have yet to be read for a file: what sweeping into it costs."""
        return _bench(self, sweep_file(out)).unread(ask for *_, ask in self.hybrids)

    def share(self, named: NamedSet) -> float | None:
        """Return a set's share of the whole ‖Δ‖², None where nothing moved."""
        whole = sum(self.delta.values())
        return sum(self.delta[component] for component in named.components) / whole if whole else None

    @property
    def manifest(self) -> dict[str, Any]:
        """What was swept, for the file beside the tables."""
        pair = self.bench.pair
        return {
            "schema": SCHEMA,
            "key": self.key,
            "base": {"ref": pair.base.ref, "digest": pair.base.digest},
            "tuned": {"ref": pair.tuned.ref, "digest": pair.tuned.digest},
            "arena": self.bench.arena.name,
            "situations": len(self.bench.situations),
            "requests": None if self.requests is None else list(self.requests),
            "controls": self.controls,
            "seed": self.seed,
            "threads": self.bench.setup.threads,
        }

    @cached_property
    def key(self) -> str:
        """The identity of the tables."""
        sets = [(named.family, named.name, str(named.components)) for named in self.sets]
        return identity(self.bench.identity, list(self.bench.asked.values()), sets, self.readouts)


def sweep(
    what: Sweep, out: str | Path, labels: Mapping[str, Any] | None = None, report: Report | None = None
) -> Path:
    """Read every hybrid of a sweep and write `out` (effects), beside it `*.readouts.parquet`, `*.sweep.json`.

    A row of the effects is one measure of one hybrid: its value, and its difference from the side it was made
    from (`relative_to`: tuned for a takeback, base for a graft) with an interval over situations. A sweep
    that is done is not done again. What is read is kept in the bench's store, or in one beside `out`, from
    which a killed sweep goes on; without `readouts` one beside `out` is removed at the end.

    Args:
        what: the sweep.
        out: the Parquet file to write.
        labels: columns put before every row, such as arm and seed.
        report: told how many hybrids are done of how many.

    Raises:
        TakebackError: `out` holds another sweep, another process is writing it, or a model can't be loaded.
    """
    out = sweep_file(out)
    if not _is_done(what, out):
        with one_writer(out):
            if not _is_done(what, out):
                _sweep(what, out, labels or {}, report)
    return out


def _sweep(what: Sweep, out: Path, labels: Mapping[str, Any], report: Report | None) -> None:
    bench = _bench(what, out)
    bench.gather((ask for *_, ask in what.hybrids), count=report)
    with atomic_file(out.with_suffix(".sweep.json")) as draft:
        draft.write_text(json.dumps(what.manifest, indent=1), encoding="utf-8")
    tables: dict[str, list[pd.DataFrame]] = {}
    for some in _some(what, bench):
        for name, table in some.items():
            tables.setdefault(name, []).append(table)
    for name, path in reversed(_paths(what, out).items()):  # with the effects it is done
        write_table(_with_columns(pd.concat(tables.pop(name), ignore_index=True), labels), path)
    if not what.readouts and what.bench.setup.out is None:
        bench.forget()


def sweep_shard(what: Sweep, out: str | Path, shard: Shard, report: Report | None = None) -> None:
    """Do one shard's share of a sweep, as one job of an array; `sweep` with the same `out` ends it.

    Raises:
        TakebackError: `out` holds another sweep, or a model can't be loaded.
    """
    out = sweep_file(out)
    if not _is_done(what, out):
        _bench(what, out).gather((ask for *_, ask in what.hybrids), shard, report)


def _bench(what: Sweep, out: Path) -> Bench:
    bench = what.bench.about_all()
    return bench if bench.setup.out is not None else bench.kept_in(out.parent)


def _some(what: Sweep, bench: Bench) -> Iterator[dict[str, pd.DataFrame]]:
    """Yield the tables of some hybrids after the other."""
    hybrids = what.hybrids
    for start in range(0, len(hybrids), PART):
        some = hybrids[start : start + PART]
        told: list[dict[str, Any]] = []
        shown: list[pd.DataFrame] = []
        for (direction, named, ask), readouts in zip(some, bench.read(ask for *_, ask in some), strict=True):
            side = "tuned" if direction == DIRECTIONS[0] else "base"
            keys = {"direction": direction, "family": named.family, "set": named.name}
            about = {**keys, **_facts(what, named)}
            rows = with_floor(effect_rows(bench.ends[side], readouts, bench.context, side), bench.floor)
            told += [{**about, **row} for row in _read_by(bench, ask, side, readouts, rows)]
            if what.readouts:
                outcomes = readouts.to_frame()[["situation", "kind", "outcome", "probability"]]
                shown.append(_with_columns(outcomes, keys))
        kept = {"readouts": pd.concat(shown, ignore_index=True)} if what.readouts else {}
        yield {"effects": effects_table(told), **kept}


def _read_by(
    bench: Bench, ask: Ask, side: str, readouts: Readouts, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Say of rows on a pool how they were read; those that it is too thin for are drawn anew.

    A drawn effect is from what its side draws with the same luck.
    """
    if (share := effective(readouts)) is None:
        return rows
    found = {row["measure"]: {**row, "reading": POOLED, "effective": share} for row in rows}
    if is_thin(bench.arena, readouts):
        other = bench.drawn
        (after,) = other.read([ask])
        anew = effect_rows(other.ends[side], after, other.context, side)
        found |= {
            row["measure"]: {**row, "reading": DRAWN, "effective": share}
            for row in anew
            if row["measure"] in found
        }
    return list(found.values())


def _facts(what: Sweep, named: NamedSet) -> dict[str, Any]:
    return {
        "components": str(named.components),
        "n_components": len(named.components),
        "parameters": what.bench.anatomy.parameters(named.components),
        "delta_share": what.share(named),
        "matches": MATCHES.join(named.matches),
    }


def sweep_file(out: str | Path) -> Path:
    """Return where a sweep is written.

    Raises:
        TakebackError: it is no Parquet file.
    """
    out = Path(out)
    if out.suffix != ".parquet" or out.is_dir():
        raise TakebackError(f"a sweep writes a .parquet file, not {out}; name one")
    return out


def _paths(what: Sweep, out: Path) -> dict[str, Path]:
    """Return where each table goes."""
    beside = {"readouts": out.with_suffix(".readouts.parquet")} if what.readouts else {}
    return {"effects": out, **beside}


def _is_done(what: Sweep, out: Path) -> bool:
    """Return whether `out` is this sweep's; what another one wrote is not touched."""
    manifest = out.with_suffix(".sweep.json")
    if not manifest.exists():
        if out.exists():
            raise TakebackError(f"{out} is there already and no sweep's; choose another file")
        return False
    with fields_of(manifest, "a sweep's manifest", f"choose another file or remove it and {out}"):
        key = read_object(manifest).get("key")
    if key != what.key:
        raise TakebackError(f"{out} holds another sweep ({manifest}); choose another file or remove both")
    return all(path.exists() for path in _paths(what, out).values())


def squared_norms(moved: Diff) -> dict[Component, float]:
    """Return ‖Δ‖² of every component from a diff."""
    squares = moved.by_component.delta_square.tolist()
    return dict(zip(moved.segments.parts.components(), squares, strict=True))


def _with_columns(table: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    for place, (name, value) in enumerate(columns.items()):
        table.insert(place, name, value)
    return table
