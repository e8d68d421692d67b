"""The step of a run that probes hybrids: `RUN/probes/ARM-seed-N.parquet`.

`takeback probes RUN` adds it to a run that was made without it.
"""

from __future__ import annotations

from pathlib import Path

from takeback.arenas import Probed, arena
from takeback.run.progress import Report
from takeback.run.tables import write_table
from takeback.run.threads import cpu_threads
from takeback.study.measured import measured_model, read_measured
from takeback.study.plan import Plan, load_plan

FOLDER = "probes"


def probed(plan: Plan) -> bool:
    """Tell whether a run of the plan probes: it has contrasts, and its arena tells facts to probe for."""
    return bool(plan.contrasts) and isinstance(arena(plan.arena), Probed)


def table_of(out: Path, arm: str, seed: int) -> Path:
    """Return where a run keeps the probes of an arm and seed."""
    return out / FOLDER / f"{arm}-seed-{seed}.parquet"


def write_probes(plan: Plan, arm: str, seed: int, out: Path, report: Report | None = None) -> Path | None:
    """Probe every single component's hybrid of an arm and seed's measured model; return where the table is.

    It is written once, with the columns arm and seed before those of `probe_hybrids`. None where the arena
    tells no facts to probe for.

    Raises:
        TakebackError: the arm's model is not there, or it is not decided yet which one is measured.
    """
    from takeback.checkpoint import open_pair
    from takeback.findings.sweep.probes import probe_hybrids

    place, path = arena(plan.arena), table_of(out, arm, seed)
    if not isinstance(place, Probed):
        return None
    if not path.exists():
        parent = plan.recipe(arm, seed, out).parent
        pair = open_pair(parent, str(measured_model(plan, arm, seed, out)))
        situations = place.situations("held-out", plan.situations, plan.situations_seed)
        table = probe_hybrids(pair, place, situations, seed=plan.situations_seed, report=report)
        table.insert(0, "arm", arm)
        table.insert(1, "seed", seed)
        write_table(table, path)
    return path


def add_probes(out: str | Path) -> list[Path]:
    """Probe every arm and seed of a run of which it is decided which model is measured; return the tables.

    Raises:
        TakebackError: the folder holds no plan.
    """
    out = Path(out)
    plan = load_plan(out / "plan.yaml")
    found: list[Path] = []
    for seed in plan.seeds:
        for arm in plan.arms:
            known = plan.measure_at == "last" or read_measured(arm, seed, out) is not None
            if known and measured_model(plan, arm, seed, out).exists():
                with cpu_threads(plan.threads):
                    path = write_probes(plan, arm, seed, out)
                found += [] if path is None else [path]
    return found
