"""The step of a run that probes hybrids: `RUN/probes/ARM-seed-N.parquet`.

`takeback probes RUN` adds it to a run that was made without it.
"""

from __future__ import annotations

from pathlib import Path

from takeback.arenas import Probed, arena
from takeback.checkpoint import open_pair
from takeback.measure.bench import Bench
from takeback.run.identity import identity
from takeback.run.progress import Report
from takeback.run.tables import write_table
from takeback.run.threads import cpu_threads
from takeback.study.claim import settings
from takeback.study.measured import measured_model, read_measured
from takeback.study.plan import Plan, load_plan
from takeback.study.steps import Step, Steps

FOLDER = "probes"


def probed(plan: Plan) -> bool:
    """Tell whether a run of the plan probes: it asks for that, and its arena tells facts."""
    return plan.probes and isinstance(arena(plan.arena), Probed)


def table_of(out: Path, arm: str, seed: int) -> Path:
    """Return where a run keeps the probes of an arm and seed."""
    return out / FOLDER / f"{arm}-seed-{seed}.parquet"


def write_probes(
    bench: Bench, plan: Plan, who: tuple[str, int], out: Path, report: Report | None = None
) -> Path:
    """Probe every single component's hybrid of an arm and seed's measured model; return where the table is.

    It has the columns arm and seed before those of `probe_hybrids`.
    """
    from takeback.findings.sweep.probes import probe_hybrids

    path = table_of(out, *who)
    table = probe_hybrids(bench, seed=plan.situations_seed, report=report)
    table.insert(0, "arm", who[0])
    table.insert(1, "seed", who[1])
    write_table(table, path)
    return path


def add_probes(out: str | Path) -> list[Path]:
    """Probe every arm and seed of a run of which it is decided which model is measured; return the tables.

    Raises:
        TakebackError: the folder holds no plan.
    """
    out = Path(out)
    plan = load_plan(out / "plan.yaml")
    place, found = arena(plan.arena), list[Path]()
    if not isinstance(place, Probed):
        return found
    for seed in plan.seeds:
        for arm in plan.arms:
            known = plan.measure_at == "last" or read_measured(arm, seed, out) is not None
            if known and (model := measured_model(plan, arm, seed, out)).exists():
                found.append(_added(plan, (arm, seed), out, str(model)))
    return found


def _added(plan: Plan, who: tuple[str, int], out: Path, model: str) -> Path:
    """Probe an arm and seed's model as the step of a run does, unless that is done of the same."""
    recipe, path = plan.recipe(*who, out), table_of(out, *who)
    pair, place = open_pair(recipe.parent, model), arena(plan.arena)
    situations = place.situations("held-out", plan.situations, plan.situations_seed)
    with Steps.held(out, f"{who[0]}-seed-{who[1]}") as steps, cpu_threads(plan.threads):
        step = Step("probes", identity(settings(plan, recipe.goal), pair), (path,))
        steps.do(step, lambda: write_probes(Bench(pair, place, situations), plan, who, out))
    return path
