"""One arm and seed: train it, then measure it against the base, on disk and in play."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from shutil import rmtree
from typing import Any

import pandas as pd

from takeback.arenas import Board, arena
from takeback.checkpoint import Pair, open_checkpoint, open_pair
from takeback.component import Component, ComponentSet
from takeback.draw.result import Results
from takeback.findings.explanation import explain
from takeback.findings.localise import LocaliseSettings, NoChange, localise
from takeback.findings.localise.orders import GREEDY
from takeback.findings.localise.shares import TAKE_BACK, changes_of
from takeback.findings.sweep import Sweep, squared_norms, sweep
from takeback.findings.sweep.sets import CONTROLS
from takeback.measure.agency.agency import agency
from takeback.measure.alone import HeldOut
from takeback.measure.bench import Bench
from takeback.measure.effects import Change, effects, most_changed
from takeback.measure.setup import Setup
from takeback.measure.shift import KL
from takeback.measure.standard import utility
from takeback.measure.store import FOLDER
from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file
from takeback.run.identity import identity
from takeback.run.json_text import read_json
from takeback.run.progress import Report, told_to
from takeback.run.reading import fields_of
from takeback.run.tables import read_table, records, write_table, write_tables
from takeback.study.claim import settings
from takeback.study.measured import Measured, choose, measured_model, read_measured
from takeback.study.plan import BASE, Plan, final_of
from takeback.study.probes import probed, table_of, write_probes
from takeback.study.pursuit import contrasted, write_losses
from takeback.study.steps import Step, Steps
from takeback.training import train
from takeback.training.claim import named_by
from takeback.training.recipe import ROLES, Tuned
from takeback.weights import diff

EXAMPLES = 10
"""Situations drawn as boards for each arm: those that changed most."""
MOVES_SHOWN = 5
SHORT = LocaliseSettings(points=12, rounds=6, controls=5, random_orders=4)
"""How an arm is localised within a run: with fewer sets than `takeback localise` takes."""
MANY = 100
"""Components of which no greedy order is tried within a run: each of its rounds reads a hybrid for all."""
POLICIES = "policies"
"""Where a run keeps what policies do that are read alone, of all arms and seeds."""
LAYERS = "each layer"
"""The family of sets of which the one that matters most is explained."""


def make_base(plan: Plan, out: Path) -> None:
    """Train the base where the plan has a recipe for it."""
    if (recipe := plan.base_recipe()) is None:
        return
    with Steps.held(out, BASE) as steps:
        run = out / BASE
        inputs = [recipe.model_dump(mode="json", exclude_defaults=True), named_by(recipe)]
        step = Step("train", inputs, (run / "final",), ())
        steps.do(step, lambda: train(recipe, run))


def run_base(plan: Plan, out: Path, report: Report) -> None:
    """Measure the base itself: what it does on the held-out situations, and how its games end."""
    base = plan.base_in(out)
    alone, folder = cache(partial(_alone, plan, {"base": base}, out)), out / "behaviour" / BASE
    inputs = identity(settings(plan), open_checkpoint(base))

    def read() -> None:
        report("reading", 0, 1)
        table = alone().measure(base).assign(arm=BASE, seed=0, step=0, last=True)
        write_table(table, folder / "policies.parquet")

    with Steps.held(out, BASE) as steps:
        steps.do(Step("curve", inputs, (folder / "policies.parquet",)), read)
        if plan.plays():
            step = Step("games", inputs, (folder / "games.parquet",))
            steps.do(step, lambda: _play(alone(), plan, (BASE, 0), base, folder, report))


def run_arm(plan: Plan, arm: str, seed: int, out: Path, report: Report) -> None:
    """Train one arm from one seed and measure it: learning curve, weights, shift from base, games, sweep."""
    with Steps.held(out, f"{arm}-seed-{seed}") as steps:
        recipe = plan.recipe(arm, seed, out)
        final = _train(recipe, final_of(out, arm, seed).parent, steps, report)
        sides = {"base": str(recipe.parent), "tuned": str(final)}
        alone = cache(partial(_alone, plan, sides, out))
        common = settings(plan, recipe.goal)
        kl = _follow(alone, (arm, seed), (recipe, final), (common, out), steps, report)
        choose(plan, arm, seed, out, kl)
        _measure(plan, (arm, seed), (common, out), alone, steps, report)
        if not plan.readouts:
            rmtree(out / FOLDER / f"{arm}-seed-{seed}", ignore_errors=True)


def _train(recipe: Tuned, run: Path, steps: Steps, report: Report) -> Path:
    own = recipe.model_dump(mode="json", exclude_defaults=True, exclude=set(ROLES))
    step = Step("train", [own, named_by(recipe)], (run / "final",), stale=())
    steps.do(step, lambda: train(recipe, run, lambda *done: report("training", *done)))
    return run / "final"


def _follow(
    alone: Callable[[], HeldOut],
    who: tuple[str, int],
    trained: tuple[Tuned, Path],
    where: tuple[list[Any], Path],
    steps: Steps,
    report: Report,
) -> dict[int, float]:
    """Read every snapshot and the final model; return the KL of each from the parent, by step."""
    (arm, seed), (recipe, final), (common, out) = who, trained, where
    places = {int(step.name.removeprefix("step-")): step for step in final.parent.glob("step-*")}
    places = {**places, recipe.steps: final}
    path = out / "behaviour" / f"{arm}-seed-{seed}" / "policies.parquet"
    models = {step: open_checkpoint(place) for step, place in places.items()}
    inputs = [common, open_checkpoint(recipe.parent), models]
    steps.do(
        Step("curve", inputs, (path,)),
        lambda: _curve(alone(), who, recipe.parent, places, (path, report)),
    )
    return {row["step"]: row["value"] for row in records(read_table(path)) if row["measure"] == KL.name}


def _measure(
    plan: Plan,
    who: tuple[str, int],
    where: tuple[list[Any], Path],
    alone: Callable[[], HeldOut],
    steps: Steps,
    report: Report,
) -> None:
    """Measure the model that was chosen against what it started from: on disk, in play, taken back."""
    (arm, seed), name, (common, out) = who, f"{who[0]}-seed-{who[1]}", where
    parent, model = plan.recipe(arm, seed, out).parent, str(measured_model(plan, arm, seed, out))
    pair = open_pair(parent, model)
    inputs = identity(common, pair)
    moved = cache(lambda: diff(pair))
    bench = cache(lambda: _bench(pair, alone(), plan, name))
    swept = out / "effects" / f"{name}.parquet"
    whole = cache(lambda: _sweep(bench(), plan, seed, squared_norms(moved())))
    folder, differ = out / "behaviour" / name, out / "diff" / name

    report("comparing weights", 0, 1)
    total = (differ / "total.parquet", differ / "components.parquet")
    steps.do(Step("diff", inputs, total, (differ,)), lambda: write_tables(moved().tables, differ))
    shifts = tuple(folder / file for file in ("shifts.parquet", "agency.parquet", "examples.json"))
    steps.do(
        Step("shift", [inputs, asdict(_chosen(arm, seed, out))], shifts),
        lambda: _shift(alone(), (parent, model), _labels(plan, who, out), plan.parent(arm), (folder, report)),
    )
    if plan.plays():
        step = Step("games", inputs, (folder / "games.parquet",))
        steps.do(step, lambda: _play(alone(), plan, who, model, folder, report))
    files = [swept, *(swept.with_suffix(end) for end in (".sweep.json", ".readouts.parquet"))]
    kept = (out / FOLDER / name, *swept.parent.glob(f".{name}-*.parts"))
    steps.do(
        Step("sweep", inputs, tuple(files[: 3 if plan.readouts else 2]), (*files, *kept)),
        lambda: sweep(whole(), swept, {"arm": arm, "seed": seed}, partial(report, "taking back")),
    )
    if contrasted(plan):
        step = Step("pursuit", inputs, (out / "pursuit" / f"{name}.parquet",))
        steps.do(step, lambda: write_losses(whole(), plan.arms[arm].get("goal"), step.results[0]))
    if probed(plan):
        step = Step("probes", inputs, (table_of(out, arm, seed),))
        steps.do(step, lambda: write_probes(bench(), plan, who, out, report))
    place = out / "localise" / name
    if parts_asked := plan.localise.get(arm):
        with told_to(report):
            asked = cache(lambda: _asked(bench(), plan, arm))
            step = Step("explain", inputs, (place / "explain.json",))
            steps.do(step, lambda: _explain(asked(), plan, seed, (swept, place)))
            told = _written(place / "explain.json")
            others = tuple(path for path in place.glob("*") if path not in told)
            step = Step("localise", [inputs, parts_asked], (place / "localise.json",), others)
            steps.do(step, lambda: _localise(asked(), plan, who, place))
    else:
        steps.drop_stale(Step("explain", inputs, (place,)))


def _written(manifest: Path) -> set[Path]:
    """Return a manifest and the files that it names."""
    with fields_of(manifest, "a manifest", "remove it and run the plan again"):
        return {manifest, *(manifest.with_name(name) for name in read_json(manifest)["files"])}


def _chosen(arm: str, seed: int, out: Path) -> Measured:
    found = read_measured(arm, seed, out)
    assert found is not None
    return found


def _labels(plan: Plan, who: tuple[str, int], out: Path) -> dict[str, Any]:
    """Return the columns that say of which policy the rows of a table are."""
    found = _chosen(*who, out)
    return {"arm": who[0], "seed": who[1], "step": found.step, "kl": found.kl, "matched": found.matched}


def _bench(pair: Pair, alone: HeldOut, plan: Plan, name: str) -> Bench:
    """Return the bench on which all of an arm and seed is measured; the policies it holds are `alone`'s."""
    setup = replace(alone.setup, name=name, load=alone.load)
    return Bench(pair, alone.arena, alone.situations, plan.measures, setup)


def _sweep(bench: Bench, plan: Plan, seed: int, norms: Mapping[Component, float]) -> Sweep:
    return Sweep(bench, norms, plan.sets, plan.controls, seed, plan.readouts)


def _asked(bench: Bench, plan: Plan, arm: str) -> Bench:
    """Ask about the arm's goal in those situations in which its change is localised."""
    goal = plan.recipe(arm, plan.seeds[0]).goal
    some = bench.first(plan.localise_situations)
    own = (name for name in bench.measures if _tells(some.about(name), plan.seeds))
    return some.about(*dict.fromkeys((utility(goal).name, *own)))


def _tells(bench: Bench, seeds: Sequence[int]) -> bool:
    """Tell whether a measure's change is told from 0 in either half of the situations, however it is cut."""
    try:
        for places in (half for seed in seeds for half in bench.halves(seed)):
            changes_of(bench.some(places))
    except TakebackError:
        return False
    return True


def _localise(bench: Bench, plan: Plan, who: tuple[str, int], folder: Path) -> None:
    """Tell what the arm's change is made of."""
    arm, seed = who
    short = replace(SHORT, sets=plan.sets, controls=min(SHORT.controls, plan.controls), seed=seed)
    if len(bench.anatomy.universe) > MANY:
        short = replace(short, orders=tuple(name for name in short.orders if name != GREEDY))
    try:
        found = localise(bench, plan.localise[arm], short)
    except NoChange as error:
        found = Results("No change to localise", (str(error),), {}, "localise")
    found.write(folder)


def _explain(bench: Bench, plan: Plan, seed: int, paths: tuple[Path, Path]) -> None:
    """Tell what the layer that the arm needs most does."""
    swept, folder = paths
    told = explain(bench.about(*plan.measures), _most_needed(bench, swept), seed=seed)
    Results(str(told.change), (), {"explain": told}, "explain").write(folder)


def _most_needed(bench: Bench, swept: Path) -> ComponentSet:
    """Return the layer, or other set if no layers were swept, whose taking back moves the measure most."""
    rows = [
        row
        for row in records(read_table(swept))
        if row["direction"] == TAKE_BACK and row["measure"] == bench.measures[0]
    ]
    layers = [row for row in rows if row["family"] == LAYERS]
    most = max(
        layers or [row for row in rows if row["family"] not in CONTROLS], key=lambda row: abs(row["effect"])
    )
    return bench.anatomy.parse(most["components"])


def _alone(plan: Plan, sides: Mapping[str, str], out: Path) -> HeldOut:
    """Return what reads policies alone; in an open arena, on what these sides answer."""
    setup = Setup(out, POLICIES, threads=plan.threads)
    drawn = plan.situations, plan.situations_seed
    return HeldOut.draw(arena(plan.arena), sides["base"], drawn, setup, plan.measures, sides)


def _curve(
    alone: HeldOut,
    who: tuple[str, int],
    parent: str,
    places: Mapping[int, Path],
    where: tuple[Path, Report],
) -> None:
    """Measure every snapshot and the final model, and how far each is from the parent."""
    path, report = where
    before = alone.read(parent)
    tables: list[pd.DataFrame] = []
    for done, step in enumerate(sorted(places)):
        report("reading snapshots", done, len(places))
        table = alone.follow(before, str(places[step]))
        tables.append(table.assign(arm=who[0], seed=who[1], step=step, last=step == max(places)))
    write_table(pd.concat(tables, ignore_index=True), path)


def _shift(
    alone: HeldOut,
    pair: tuple[str, str],
    labels: Mapping[str, Any],
    parent: str,
    where: tuple[Path, Report],
) -> None:
    """Measure what changed from what the arm started from, and keep the situations that changed most."""
    folder, report = where
    report("comparing with its parent", 0, 1)
    before, after = (alone.read(side) for side in pair)
    context = alone.context(after)
    tables = {
        "shifts": effects(before, after, alone.arena, relative_to=parent, context=context),
        "agency": agency(before, after, context).assign(relative_to=parent),
    }
    for name, table in tables.items():
        write_table(table.assign(**labels).astype({"matched": "boolean"}), folder / f"{name}.parquet")
    places = dict(zip(before.situations, alone.situations, strict=True))
    most = most_changed(before, after, EXAMPLES)
    found = [_example(alone, change, places[change.situation]) for change in most]
    with atomic_file(folder / "examples.json") as draft:
        draft.write_text(json.dumps(found, indent=1), encoding="utf-8")


def _example(alone: HeldOut, change: Change, situation: Any) -> dict[str, Any]:
    return {
        "situation": change.situation,
        "board": alone.arena.board(situation) if isinstance(alone.arena, Board) else {},
        "distance": change.distance,
        "before": change.arrows("before", MOVES_SHOWN),
        "after": change.arrows("after", MOVES_SHOWN),
        "illegal_before": 1 - sum(change.before.legal.values()),
        "illegal_after": 1 - sum(change.after.legal.values()),
    }


def _play(alone: HeldOut, plan: Plan, who: tuple[str, int], model: str, folder: Path, report: Report) -> None:
    report("playing games", 0, 1)
    games = alone.games(model, plan.games, plan.moves)
    write_table(games.assign(arm=who[0], seed=who[1]), folder / "games.parquet")
