"""Time to effects of a given precision: swapping one by one, the sweep engine, and attribution beside it.

    python benchmarks/precision.py [--tuned REF] [--situations 1024] [--precision 0.02 0.01]

prints a Markdown table. Every component of the endgame base is taken back alone, from a fine-tuned version
or, without one, from a copy with noise. All ways end with the same promise (every interval as narrow as
asked, all together, at whatever look it stops), but for the first, whose 95% intervals are for one component
at a time. What swapping needs is known to it beforehand. Seconds are of CPU, with both models in memory.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch
import transformers

from sweep import changed
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.findings.attribution.precise import MEASURE_ONLY, Aim, Precise, estimate
from takeback.hybrid import taken_back
from takeback.measure.bench import Bench
from takeback.policies.language.plan import ReadoutPlan
from takeback.policies.language.read import read_plan
from takeback.policies.load import load_policy

BASE, MEASURE = "endgame-base", "utility win"


def noisy(folder: Path) -> str:
    """Write the shipped base with noise on its weights, and return where."""
    policy = load_policy(BASE, arena("endgames"))
    changed(policy.model).save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    return str(folder)


def swapped(bench: Bench, situations: Mapping[str, int]) -> float:
    """Swap each component, run the module on as many situations as it needs, and return the seconds."""
    policy = bench.policy("tuned")
    tuned, base = (bench.policy(side).model for side in ("tuned", "base"))
    started = time.process_time()
    plans = {
        n: ReadoutPlan.prepare(bench.arena, bench.situations[:n], policy.tokenizer, policy.style)
        for n in set(situations.values())
    }
    read_plan(tuned, plans[max(plans)], tolerance=1.0)
    for name, n in situations.items():
        with taken_back(tuned, base, bench.anatomy.parse(name), bench.anatomy) as model:
            read_plan(model, plans[n], tolerance=1.0)
    return time.process_time() - started


def plainly_needed(found: Precise) -> dict[str, int]:
    """Return how many situations a 95% interval of one component alone needs, from its spread."""
    rows = found.table.set_index("set")
    z = NormalDist().inv_cdf(0.975)
    deviation = rows["se"].astype(float) * rows["n"].astype(float) ** 0.5
    needed = np.maximum(2, np.ceil((z * deviation / found.aim.precision) ** 2)).astype(int)
    return dict(zip(map(str, rows.index), needed.tolist(), strict=True))


def timed(bench: Bench, aim: Aim) -> tuple[Precise, float]:
    """Return precise effects and the seconds they took, with nothing read before."""
    bench.forget()
    started = time.process_time()
    found = estimate(bench, aim)
    return found, time.process_time() - started


def ways(bench: Bench, aim: Aim) -> Iterator[tuple[str, int, float, str]]:
    """Yield each way with its exact situations over all components, its seconds, and how many are precise."""
    exact, exact_seconds = timed(bench, replace(aim, method=MEASURE_ONLY))
    powered, powered_seconds = timed(bench, aim)
    plain, needed = plainly_needed(exact), dict(zip(exact.table["set"], exact.table["n"], strict=True))
    yield (
        "swap and run, a plain interval each",
        sum(plain.values()),
        swapped(bench, plain),
        "all, one by one",
    )
    yield "swap and run", sum(needed.values()), swapped(bench, needed), reached(exact)
    yield "sweep engine", int(exact.table["n"].sum()), exact_seconds, reached(exact)
    share = powered.seconds["attribution"] / sum(powered.seconds.values())
    yield (
        "attribution and sweep engine",
        int(powered.table["n"].sum()),
        powered_seconds,
        (f"{reached(powered)}; attribution took {share:.0%}"),
    )


def reached(found: Precise) -> str:
    """Say how many intervals are as narrow as asked."""
    return f"{int(found.table['reached'].sum())} of {len(found.table)}"


def main() -> None:
    """Time every way at every precision."""
    parser = argparse.ArgumentParser(description="Time to effects of a given precision.")
    parser.add_argument("--tuned", help="a fine-tuned endgame base; otherwise noise is added to it")
    parser.add_argument("--situations", type=int, default=1024)
    parser.add_argument("--precision", type=float, nargs="+", default=[0.02, 0.01])
    parser.add_argument("--method", default=Aim().method, help="of attribution")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        pair = open_pair(BASE, chosen.tuned or noisy(Path(folder)))
        bench = Bench.held_out(pair, arena("endgames"), (MEASURE,), (chosen.situations, 0))
        estimate(bench.some(np.arange(8)), Aim(precision=10.0, first=4))
        print(f"{platform.machine()}, torch {torch.__version__}, 1 thread, {chosen.situations} situations\n")
        print("| half-width | way | exact situations, all components | CPU s | times faster | reached |")
        print("| --- | --- | --- | --- | --- | --- |")
        for precision in chosen.precision:
            rows = list(ways(bench, Aim(precision, method=chosen.method)))
            for name, n, seconds, what in rows:
                ratio = rows[1][2] / seconds
                print(
                    f"| {precision:g} | {name} | {n:,} | {seconds:.1f} | {ratio:.2f} | {what} |", flush=True
                )


if __name__ == "__main__":
    main()
