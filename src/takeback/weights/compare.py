"""Everything that can be measured of checkpoints in weight space, by the names the command line uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from takeback.checkpoint import Pair
from takeback.checkpoint.pair import summaries
from takeback.draw.findings import Finding, Findings
from takeback.run.errors import unknown_name
from takeback.run.jobs import Workers
from takeback.run.parts import Shard, Work, collect_shard
from takeback.weights.circuits import CircuitsWork, circuits
from takeback.weights.entries import TOLERANCES, Pass, UlpsWork, diff, ulps
from takeback.weights.published import PublishedWork, published
from takeback.weights.runs import between, course
from takeback.weights.spectra import Options, SpectraWork, spectra


@dataclass(frozen=True)
class Settings:
    """How a pair is measured: see `diff` for `resolution` and `tolerances`; `seed` is that of every null."""

    resolution: str = "heads"
    tolerances: tuple[float, ...] = TOLERANCES
    seed: int = 0


@dataclass(frozen=True)
class Measure:
    """A measure of a pair: its work, cut into items, and the call that does it and shows what it found."""

    work: Callable[[Pair, Settings], Work]
    find: Callable[[Pair, Settings, Path | None, Workers], Finding]


DIFF = Measure(
    lambda pair, chosen: Pass(pair, chosen.resolution, chosen.tolerances),
    lambda pair, chosen, out, workers: diff(
        pair, chosen.resolution, tolerances=chosen.tolerances, out=out, workers=workers
    ),
)
"""What every comparison begins with."""

MEASURES: Mapping[str, Measure] = {
    "ulps": Measure(
        lambda pair, _: UlpsWork(pair),
        lambda pair, _, out, workers: ulps(pair, out=out, workers=workers),
    ),
    "spectra": Measure(
        lambda pair, chosen: SpectraWork(pair, Options(seed=chosen.seed)),
        lambda pair, chosen, out, workers: spectra(pair, Options(seed=chosen.seed), out, workers),
    ),
    "circuits": Measure(
        lambda pair, chosen: CircuitsWork(pair, seed=chosen.seed),
        lambda pair, chosen, out, workers: circuits(pair, seed=chosen.seed, out=out, workers=workers),
    ),
    "published": Measure(
        lambda pair, _: PublishedWork(pair),
        lambda pair, _, out, workers: published(pair, out, workers),
    ),
}
"""What can be measured besides, by name."""


def compare(
    pair: Pair,
    measures: Sequence[str] = (),
    settings: Settings | None = None,
    out: str | Path | None = None,
    workers: Workers = 1,
) -> Findings:
    """Measure a pair: its diff, then each of `measures`, names of `MEASURES`.

    With `out`, finished parts are kept in that folder, so that a killed run goes on; `Findings.write` to the
    same folder removes them.

    Raises:
        UnknownName: there is no such measure.
        TakebackError: a measure fails, or several workers have no `out`.
    """
    settings, out = settings or Settings(), None if out is None else Path(out)
    chosen = {"diff": DIFF, **_named(measures)}
    found = {name: measure.find(pair, settings, out, workers) for name, measure in chosen.items()}
    also = [f"Besides values they differ in: {line}" for line in summaries(pair.differences())]
    return Findings(str(pair), tuple(also), found)


def compare_shard(
    pair: Pair,
    measures: Sequence[str],
    settings: Settings,
    out: str | Path,
    shard: Shard,
    workers: Workers = 1,
) -> None:
    """Do one shard of what `compare` with the same arguments does; that call then merges the parts.

    Raises:
        UnknownName: there is no such measure.
        TakebackError: a measure fails.
    """
    for measure in (DIFF, *_named(measures).values()):
        collect_shard(measure.work(pair, settings), out, shard, workers)


def compare_runs(
    base: str, tuned: Sequence[str], seed: int = 0, out: str | Path | None = None, workers: Workers = 1
) -> Findings:
    """Compare the changes of several fine-tunes of one base with each other; see `between`.

    Raises:
        TakebackError: they are no fine-tunes of that base, or several workers have no `out`.
    """
    found = between(base, tuned, seed=seed, out=out, workers=workers)
    return Findings(f"{len(tuned)} fine-tunes of {base}", (), {"between": found})


def follow(folder: str | Path, out: str | Path | None = None, workers: Workers = 1) -> Findings:
    """Follow a run, or all seeds of an arm, over its snapshots; see `course`.

    Raises:
        TakebackError: the folder is no run, or several workers have no `out`.
    """
    return Findings(f"The course of {folder}", (), {"course": course(folder, out=out, workers=workers)})


def _named(names: Sequence[str]) -> dict[str, Measure]:
    for name in names:
        if name not in MEASURES:
            raise unknown_name("measure", name, (*MEASURES, "all"))
    return {name: MEASURES[name] for name in MEASURES if name in names}
