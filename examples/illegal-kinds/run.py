"""Train the arms of a plan and read what taking sets back does to every kind of illegal move.

`python examples/illegal-kinds/run.py OUT [--seeds 100] [--arms rl-win]`. A killed run goes on. OUT gets, for
each arm and seed, `kinds/ARM-seed-N.npz`: `values`, [sets, measures, situations], with the names of both; the
first sets are tuned (nothing taken back) and base (everything).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from squares import GOALS, Board

from takeback import Anatomy, ComponentSet, arena, open_checkpoint, taken_back
from takeback.anatomy import anatomy_of
from takeback.arenas.endgames.rules import KINDS
from takeback.checkpoint import load_model
from takeback.findings.sweep.sets import SAME_SIZE, NamedSet, chosen_sets, random_controls
from takeback.run.files import atomic_file
from takeback.study import Plan, load_plan
from takeback.study.conjectures import load_conjectures, lock
from takeback.study.measured import Measured, choose, measured_model
from takeback.training import train

HERE = Path(__file__).parent
TUNED, BASE = "tuned", "base"
MEASURES = ("legal", *KINDS, *(f"utility {goal}" for goal in GOALS), "KL from base")


def main() -> None:
    """Lock the conjectures, then train and read, one seed of every arm after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="*")
    parser.add_argument("--arms", nargs="*")
    parser.add_argument("--situations", type=int)
    given = parser.parse_args()
    changes = {name: value for name in ("seeds", "situations") if (value := getattr(given, name))}
    plan = load_plan(HERE / "plan.yaml", **changes)
    given.out.mkdir(parents=True, exist_ok=True)
    lock(load_conjectures(HERE / "conjectures.yaml"), given.out)
    torch.set_num_threads(plan.threads)
    board = Board(arena(plan.arena).situations("held-out", plan.situations, plan.situations_seed))
    for seed in plan.seeds:
        for arm in given.arms or plan.arms:
            measured = trained(plan, arm, seed, given.out, board)
            read(plan, arm, seed, given.out, board)
            print(f"{arm} seed {seed}: step {measured.step}, {measured.kl:.3f} nats", flush=True)


def trained(plan: Plan, arm: str, seed: int, out: Path, board: Board) -> Measured:
    """Train an arm and say which of its snapshots is read: the one nearest to the plan's distance."""
    recipe = plan.recipe(arm, seed, out)
    final = train(recipe, out / "arms" / arm / f"seed-{seed}", lambda *_: None)
    before = board.read(model_of(recipe.parent))
    places = {int(step.name.removeprefix("step-")): step for step in final.parent.glob("step-*")}
    every = {**places, recipe.steps: final}
    kl = {step: float(board.read(model_of(place)).kl(before).mean()) for step, place in every.items()}
    return choose(plan, arm, seed, out, kl)


def model_of(ref: str | Path) -> Any:
    """Load a checkpoint."""
    return load_model(open_checkpoint(str(ref)))


def read(plan: Plan, arm: str, seed: int, out: Path, board: Board) -> None:
    """Read tuned, base and every set taken back, on every situation."""
    path = out / "kinds" / f"{arm}-seed-{seed}.npz"
    if path.exists():
        return
    base, tuned = model_of(plan.base_in(out)), model_of(measured_model(plan, arm, seed, out))
    anatomy = anatomy_of(tuned)
    sets = taken(anatomy, plan)
    ends = {TUNED: anatomy.universe - anatomy.universe, BASE: anatomy.universe}
    asked: dict[str, ComponentSet] = {**ends, **{named.name: named.components for named in sets}}
    before, values = board.read(base), []
    for components in asked.values():
        with taken_back(tuned, base, components, anatomy):
            found = board.read(tuned)
        values.append(np.stack([found.legal, *found.kinds.T, *found.utility, found.kl(before)]))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as draft, draft.open("wb") as file:
        np.savez_compressed(
            file,
            values=np.array(values, np.float32),
            measures=np.array(MEASURES),
            sets=np.array(list(asked)),
            families=np.array(["whole", "whole", *(named.family for named in sets)]),
            components=np.array([str(one) for one in asked.values()]),
            clusters=np.array([arena(plan.arena).cluster(one) for one in board.situations]),
        )


def taken(anatomy: Anatomy, plan: Plan) -> list[NamedSet]:
    """Return the sets, and random ones of a layer's make-up, the same in every arm and seed."""
    chosen = chosen_sets(anatomy, plan.sets)
    alike = dict.fromkeys(anatomy.universe, 1.0)
    drawn = random_controls(anatomy, chosen, alike, plan.controls, plan.situations_seed)
    return [*chosen, *(named for named in drawn if named.family == SAME_SIZE)]


if __name__ == "__main__":
    main()
