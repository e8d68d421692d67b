"""One arm and seed: train it, then measure it against the base, on disk and in play."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from takeback.behaviour import Change, MeasureContext, agency, effects, most_changed
from takeback.checkpoint import Pair, open_pair
from takeback.component import ComponentSet
from takeback.diff import diff
from takeback.explain import explain
from takeback.files import atomic_file
from takeback.findings import Findings
from takeback.localise import NoChange, Question, Settings, localise
from takeback.localise.orders import GREEDY
from takeback.localise.shares import TAKE_BACK
from takeback.progress import Report, told_to
from takeback.study.bench import Bench
from takeback.study.plan import BASE, Plan
from takeback.study.probes import write_probes
from takeback.sweep import Sweep, squared_norms, sweep
from takeback.sweep.sets import CONTROLS
from takeback.tables import read_table, records, write_table
from takeback.training import train

EXAMPLES = 10
"""Situations drawn as boards for each arm: those that changed most."""
MOVES_SHOWN = 5
SHORT = Settings(points=12, rounds=6, controls=5, random_orders=4)
"""How an arm is localised within a run: with fewer sets than `takeback localise` takes."""
MANY = 100
"""Components of which no greedy order is tried within a run: each of its rounds reads a hybrid for all."""
LAYERS = "each layer"
"""The family of sets of which the one that matters most is explained."""


def run_base(plan: Plan, out: Path, report: Report) -> None:
    """Measure the base itself: what it does on the held-out situations, and how its games end."""
    base = plan.base_in(out)
    bench, folder = _bench(plan, base), out / "behaviour" / BASE
    if not (folder / "policies.parquet").exists():
        report("reading", 0, 1)
        table = bench.measure(base).assign(arm=BASE, seed=0, step=0, last=True)
        write_table(table, folder / "policies.parquet")
    _play(bench, plan, (BASE, 0), base, folder, report)


def run_arm(plan: Plan, arm: str, seed: int, out: Path, report: Report) -> None:
    """Train one arm from one seed and measure it: weights, learning curve, shift from base, games, sweep."""
    name = f"{arm}-seed-{seed}"
    run = out / "arms" / arm / f"seed-{seed}"
    recipe = plan.recipe(arm, seed, out)
    final = train(recipe, run, lambda done, total: report("training", done, total))
    report("comparing weights", 0, 1)
    pair = open_pair(recipe.parent, str(final))
    moved = diff(pair)
    if not (out / "diff" / name).exists():
        moved.write(out / "diff" / name)
    bench, folder = _bench(plan, plan.base_in(out)), out / "behaviour" / name
    _curve(bench, plan, (arm, seed), run, folder, report)
    _shift(bench, (recipe.parent, str(final)), {"arm": arm, "seed": seed}, plan.parent(arm), (folder, report))
    _play(bench, plan, (arm, seed), str(final), folder, report)
    norms = squared_norms(moved)
    whole = Sweep(
        pair,
        bench.arena,
        bench.situations,
        norms,
        plan.sets,
        plan.controls,
        seed=seed,
        threads=plan.threads,
        readouts=plan.readouts,
    )
    labels = {"arm": arm, "seed": seed}
    swept = out / "effects" / f"{name}.parquet"
    sweep(whole, swept, labels, lambda done, total: report("taking back", done, total))
    write_probes(plan, arm, seed, out, report)
    if plan.localise.get(arm):
        with told_to(report):
            _localise(pair, bench, plan, (arm, seed), (swept, out / "localise" / name))


def _localise(pair: Pair, bench: Bench, plan: Plan, who: tuple[str, int], paths: tuple[Path, Path]) -> None:
    """Tell what the arm's change is made of, and what the layer that it needs most does."""
    (arm, seed), (swept, folder) = who, paths
    recipe = plan.recipe(arm, seed)
    situations = tuple(bench.situations[: plan.localise_situations])
    question = Question(pair, bench.arena, situations, (f"utility {recipe.goal}",), plan.threads)
    settings = replace(SHORT, sets=plan.sets, controls=min(SHORT.controls, plan.controls), seed=seed)
    if len(question.anatomy.universe) > MANY:
        settings = replace(settings, orders=tuple(name for name in settings.orders if name != GREEDY))
    if not (folder / "localise.json").exists():
        try:
            found = localise(question, plan.localise[arm], settings, folder)
        except NoChange as error:
            found = Findings("No change to localise", (str(error),), {}, "localise")
        found.write(folder)
    if not (folder / "explain.json").exists():
        told = explain(question.about("entropy"), _most_needed(question, swept), seed=seed)
        Findings(str(told.change), (), {"explain": told}, "explain").write(folder)


def _most_needed(question: Question, swept: Path) -> ComponentSet:
    """Return the layer, or other set if no layers were swept, whose taking back moves the measure most."""
    rows = [
        row
        for row in records(read_table(swept))
        if row["direction"] == TAKE_BACK and row["measure"] == question.measures[0]
    ]
    layers = [row for row in rows if row["family"] == LAYERS]
    most = max(
        layers or [row for row in rows if row["family"] not in CONTROLS], key=lambda row: abs(row["effect"])
    )
    return question.anatomy.parse(most["components"])


def _bench(plan: Plan, base: str) -> Bench:
    return Bench.prepare(plan.arena, base, plan.situations, plan.situations_seed)


def _curve(bench: Bench, plan: Plan, who: tuple[str, int], run: Path, folder: Path, report: Report) -> None:
    """Measure every snapshot and the final model."""
    path = folder / "policies.parquet"
    if path.exists():
        return
    arm, seed = who
    steps = plan.recipe(arm, seed).steps
    places = {int(step.name.removeprefix("step-")): step for step in run.glob("step-*")} | {
        steps: run / "final"
    }
    tables: list[pd.DataFrame] = []
    for done, step in enumerate(sorted(places)):
        report("reading snapshots", done, len(places))
        table = bench.measure(str(places[step]))
        tables.append(table.assign(arm=arm, seed=seed, step=step, last=step == steps))
    write_table(pd.concat(tables, ignore_index=True), path)


def _shift(
    bench: Bench,
    pair: tuple[str, str],
    labels: Mapping[str, Any],
    parent: str,
    where: tuple[Path, Report],
) -> None:
    """Measure what changed from what the arm started from, and keep the situations that changed most."""
    folder, report = where
    paths = {name: folder / f"{name}.parquet" for name in ("shifts", "agency")}
    examples = folder / "examples.json"
    if examples.exists():
        return
    report("comparing with its parent", 0, 1)
    before, after = (bench.read(side) for side in pair)
    context = MeasureContext.of(after, bench.arena)
    tables = {
        "shifts": effects(before, after, bench.arena, relative_to=parent, context=context),
        "agency": agency(before, after, context).assign(relative_to=parent),
    }
    for name, table in tables.items():
        write_table(table.assign(**labels), paths[name])
    found = [_example(bench, change) for change in most_changed(before, after, EXAMPLES)]
    with atomic_file(examples) as draft:
        draft.write_text(json.dumps(found, indent=1), encoding="utf-8")


def _example(bench: Bench, change: Change) -> dict[str, Any]:
    return {
        "situation": change.situation,
        "board": bench.arena.board(bench.arena.parse(change.situation)),
        "distance": change.distance,
        "before": change.arrows("before", MOVES_SHOWN),
        "after": change.arrows("after", MOVES_SHOWN),
        "illegal_before": 1 - sum(change.before.legal.values()),
        "illegal_after": 1 - sum(change.after.legal.values()),
    }


def _play(bench: Bench, plan: Plan, who: tuple[str, int], model: str, folder: Path, report: Report) -> None:
    path = folder / "games.parquet"
    if plan.games and not path.exists():
        report("playing games", 0, 1)
        games = bench.games(model, plan.games, plan.moves)
        write_table(games.assign(arm=who[0], seed=who[1]), path)
