"""Everything that can be measured of checkpoints in weight space, by the names the command line uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from takeback.checkpoint import Pair
from takeback.checkpoint.pair import told_besides
from takeback.draw.result import Result, Results
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.job import OnRay
from takeback.run.jobs import Workers
from takeback.run.parts import Shard, Work, collect_shard, unfinished
from takeback.run.threads import threads_in_use
from takeback.weights.cost import machine_factor
from takeback.weights.entries import TOLERANCES, Pass, UlpsWork, diff, ulps


@dataclass(frozen=True)
class PairSettings:
    """How a pair is measured: see `diff` for `resolution` and `tolerances`; `seed` is that of every null.

    Matrices are decomposed on `device`, for spectra and published definitions.
    """

    resolution: str = "heads"
    tolerances: tuple[float, ...] = TOLERANCES
    seed: int = 0
    device: str = "cpu"


class TimedWork(Work, Protocol):
    """Work that says about how long an item takes; see `takeback.weights.cost`."""

    def seconds(self, item: str) -> float:
        """Return about how long one item takes, in seconds."""
        ...


@dataclass(frozen=True)
class PairMeasure:
    """What measures a pair: its work, cut into items, and the call that does it and shows what it found."""

    work: TimedWork
    find: Callable[[Path | None, Workers], Result]


def _diff(pair: Pair, chosen: PairSettings) -> PairMeasure:
    find = partial(diff, pair, chosen.resolution, tolerances=chosen.tolerances)
    work = Pass(pair, chosen.resolution, chosen.tolerances)
    return PairMeasure(work, lambda out, workers: find(out=out, workers=workers))


def _ulps(pair: Pair, _: PairSettings) -> PairMeasure:
    return PairMeasure(UlpsWork(pair), partial(ulps, pair))


def _spectra(pair: Pair, chosen: PairSettings) -> PairMeasure:
    from takeback.weights.spectra import Options, SpectraWork, spectra

    options = Options(seed=chosen.seed, device=chosen.device)
    return PairMeasure(SpectraWork(pair, options), partial(spectra, pair, options))


def _circuits(pair: Pair, chosen: PairSettings) -> PairMeasure:
    from takeback.weights.circuits import CircuitsWork, circuits

    work = CircuitsWork(pair, seed=chosen.seed)
    return PairMeasure(work, lambda out, workers: circuits(pair, seed=chosen.seed, out=out, workers=workers))


def _published(pair: Pair, chosen: PairSettings) -> PairMeasure:
    from takeback.weights.published import PublishedWork, published

    find = partial(published, pair, device=chosen.device)
    return PairMeasure(PublishedWork(pair, chosen.device), find)


MEASURES: Mapping[str, Callable[[Pair, PairSettings], PairMeasure]] = {
    "ulps": _ulps,
    "spectra": _spectra,
    "circuits": _circuits,
    "published": _published,
}
"""What can be measured besides the diff, by name."""


def compare(
    pair: Pair,
    measures: Sequence[str] = (),
    settings: PairSettings | None = None,
    out: str | Path | None = None,
    workers: Workers = 1,
) -> Results:
    """Measure a pair: its diff, then each of `measures`, names of `MEASURES`.

    With `out`, finished parts are kept in that folder, so that a killed run goes on; `Results.write` to the
    same folder removes them.

    Raises:
        UnknownName: there is no such measure.
        TakebackError: a measure fails, or several workers have no `out`.
    """
    settings, out = settings or PairSettings(), None if out is None else Path(out)
    chosen = {"diff": _diff, **_named(measures, pair)}
    found = {name: measure(pair, settings).find(out, workers) for name, measure in chosen.items()}
    also = told_besides(pair.differences())
    anatomy = pair.anatomy()
    also += [f"{line[:1].upper()}{line[1:]}." for line in (_left_out(measures, pair), anatomy.note) if line]
    return Results(str(pair), tuple(also), found)


def compare_shard(
    pair: Pair,
    measures: Sequence[str],
    settings: PairSettings,
    out: str | Path,
    shard: Shard,
    workers: Workers = 1,
) -> None:
    """Do one shard of what `compare` with the same arguments does; that call then merges the parts.

    Raises:
        UnknownName: there is no such measure.
        TakebackError: a measure fails.
    """
    for measure in (_diff, *_named(measures, pair).values()):
        collect_shard(measure(pair, settings).work, out, shard, workers)


def expected(
    pair: Pair,
    measures: Sequence[str] = (),
    settings: PairSettings | None = None,
    out: str | Path | None = None,
    workers: Workers = 1,
    shard: Shard | None = None,
) -> dict[str, float]:
    """Return about how many seconds `compare` or `compare_shard` takes by measure, without what is done.

    Decompositions are timed on one small matrix, and only where some are asked for; nothing is written.

    Raises:
        UnknownName: there is no such measure.
        TakebackError: a measure is asked for by name that this pair doesn't have.
    """
    settings, found = settings or PairSettings(), dict[str, float]()
    shared = workers.actors if isinstance(workers, OnRay) else workers
    on = {"spectra": settings.device, "published": settings.device, "circuits": "cpu"}
    chosen = {"diff": _diff, **_named(measures, pair)}
    for name, measure in chosen.items():
        work = measure(pair, settings).work
        left = unfinished(work, out, shard)
        factor = machine_factor(on[name]) if name in on else 1.0
        threads = threads_in_use() if name == "diff" else 1
        found[name] = sum(map(work.seconds, left)) * factor / threads / shared
    return found


def compare_runs(
    base: str, tuned: Sequence[str], seed: int = 0, out: str | Path | None = None, workers: Workers = 1
) -> Results:
    """Compare the changes of several fine-tunes of one base with each other; see `between`.

    Raises:
        TakebackError: they are no fine-tunes of that base, or several workers have no `out`.
    """
    from takeback.weights.runs import between

    found = between(base, tuned, seed=seed, out=out, workers=workers)
    return Results(f"{len(tuned)} fine-tunes of {base}", (), {found.name: found})


def follow(
    folder: str | Path, base: str | None = None, out: str | Path | None = None, workers: Workers = 1
) -> Results:
    """Follow a run, or all seeds of an arm, over its snapshots; see `weight_path`.

    Raises:
        TakebackError: the folder is no run, or several workers have no `out`.
    """
    from takeback.weights.runs import weight_path

    found = weight_path(folder, base, out, workers)
    return Results(found.title, (), {found.name: found})


def _named(names: Sequence[str], pair: Pair) -> dict[str, Callable[[Pair, PairSettings], PairMeasure]]:
    for name in names:
        if name not in MEASURES:
            raise unknown_name("measure", name, (*MEASURES, "all"))
    out = {"circuits"} if _left_out(names, pair) else set[str]()
    return {name: MEASURES[name] for name in MEASURES if name in names and name not in out}


def _left_out(names: Sequence[str], pair: Pair) -> str | None:
    """Say why circuits are left out where all measures are asked for.

    Raises:
        TakebackError: they are asked for by name, and can't be measured.
    """
    if "circuits" not in names:
        return None
    try:
        _circuits(pair, PairSettings()).work.items()
    except TakebackError as error:
        if set(MEASURES) <= set(names):
            return str(error)
        raise
    return None
