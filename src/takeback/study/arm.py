"""One arm and seed: train it, then measure it against the base, on disk and in play."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from shutil import rmtree
from typing import Any

import pandas as pd

from takeback.checkpoint import open_checkpoint
from takeback.component import ComponentSet
from takeback.draw.result import Results
from takeback.findings.explanation import explain
from takeback.findings.localise import LocaliseSettings, NoChange, localise
from takeback.findings.localise.orders import GREEDY
from takeback.findings.localise.shares import TAKE_BACK, changes_of
from takeback.findings.sweep.sets import CONTROLS
from takeback.measure.alone import HeldOut
from takeback.measure.bench import Bench
from takeback.measure.shift import KL
from takeback.measure.standard import utility
from takeback.run.errors import TakebackError
from takeback.run.identity import identity
from takeback.run.json_text import read_json
from takeback.run.progress import Report, told_to
from takeback.run.reading import fields_of
from takeback.run.tables import read_table, records, write_table
from takeback.study.claim import settings
from takeback.study.measured import BESIDE, choose, read_measured
from takeback.study.plan import BASE, Plan, final_of
from takeback.study.side import MeasuredSide, read_alone, stores
from takeback.study.steps import Step, Steps
from takeback.training import train
from takeback.training.claim import named_by
from takeback.training.recipe import ROLES, Tuned

SHORT = LocaliseSettings(points=12, rounds=6, controls=5, random_orders=4)
"""How an arm is localised within a run: with fewer sets than `takeback localise` takes."""
MANY = 100
"""Components of which no greedy order is tried within a run: each of its rounds reads a hybrid for all."""
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
    alone, folder = cache(partial(read_alone, plan, {"base": base}, out)), out / "behaviour" / BASE
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
        alone = cache(partial(read_alone, plan, sides, out))
        common = settings(plan, recipe.goal)
        kl = _follow(alone, (arm, seed), (recipe, final), (common, out), steps, report)
        choose(plan, arm, seed, out, kl)
        _measure(plan, (arm, seed), (common, out), alone, steps, report)
        if not plan.readouts:
            for store in stores(out, arm, seed):
                rmtree(store, ignore_errors=True)


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
    """Measure what was chosen against what it started from: on disk, in play, taken back.

    Of the snapshot beyond the wanted KL there are the same numbers, in folders of their own; games, and what
    the change is made of, are those of the nearer one.
    """
    common, out = where
    chosen = read_measured(*who, out)
    assert chosen is not None
    near = MeasuredSide(plan, who, out, chosen, alone)
    near.measure(common, steps, report)
    if plan.plays():
        step = Step("games", near.inputs(common), (near.behaviour / "games.parquet",))
        steps.do(step, lambda: _play(alone(), plan, who, near.model, near.behaviour, report))
    _explained(near, common, steps, report)
    if chosen.beside is not None:
        MeasuredSide(plan, who, out, chosen.beside, alone, BESIDE).measure(common, steps, report)


def _explained(near: MeasuredSide, common: list[Any], steps: Steps, report: Report) -> None:
    plan, (arm, seed), inputs = near.plan, near.who, near.inputs(common)
    place = near.out / "localise" / near.name
    if not (parts_asked := plan.localise.get(arm)):
        steps.drop_stale(Step("explain", inputs, (place,)))
        return
    with told_to(report):
        asked = cache(lambda: _asked(near.bench, plan, arm))
        step = Step("explain", inputs, (place / "explain.json",))
        steps.do(step, lambda: _explain(asked(), plan, seed, (near.swept, place)))
        told = _written(place / "explain.json")
        others = tuple(path for path in place.glob("*") if path not in told)
        step = Step("localise", [inputs, parts_asked], (place / "localise.json",), others)
        steps.do(step, lambda: _localise(asked(), plan, near.who, place))


def _written(manifest: Path) -> set[Path]:
    """Return a manifest and the files that it names."""
    with fields_of(manifest, "a manifest", "remove it and run the plan again"):
        return {manifest, *(manifest.with_name(name) for name in read_json(manifest)["files"])}


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


def _play(alone: HeldOut, plan: Plan, who: tuple[str, int], model: str, folder: Path, report: Report) -> None:
    report("playing games", 0, 1)
    games = alone.games(model, plan.games, plan.moves)
    write_table(games.assign(arm=who[0], seed=who[1]), folder / "games.parquet")
