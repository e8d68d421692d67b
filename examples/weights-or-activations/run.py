"""Read takebacks, grafts and activation patches of every component, and transplants between arms.

`python examples/weights-or-activations/run.py RUN OUT`, where RUN is of `examples/illegal-kinds/run.py`: its
arms are read. A killed run goes on. OUT gets for each arm and seed `read/ARM-seed-N.npz`: `cells`,
[components, hosts, cells, measures, situations], `ends` of tuned and base, and `transplants`, [sources,
components, measures, situations]. Then paths: what one reader alone loses when it reads some components as
base writes them. Two readers stand where steps decide: the MLP of layer 0, which gathers, and the
unembedding, which answers. OUT/paths gets `read/ARM-seed-N.npz`: `cells`, [paths, measures, situations], and
their `names`, reader and set of components.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

HERE = Path(__file__).parent
KINDS = HERE.parent / "illegal-kinds"
sys.path.insert(0, str(KINDS))

from squares import GOALS, Board  # noqa: E402

from run import model_of  # noqa: E402
from takeback import ComponentSet, arena, taken_back  # noqa: E402
from takeback.anatomy import anatomy_of  # noqa: E402
from takeback.findings.activations import with_activations, with_paths  # noqa: E402
from takeback.run.files import atomic_file  # noqa: E402
from takeback.study import Plan, load_plan  # noqa: E402
from takeback.study.conjectures import load_conjectures, lock  # noqa: E402
from takeback.study.measured import measured_model, read_measured  # noqa: E402

ARMS = ("rl-win", "rft-win", "sft-win", "rl-corner")
HOSTS = ("tuned", "base")
CELLS = ("other weights", "other activation", "own weights at the other's inputs")
MEASURES = ("legal", *(f"utility {goal}" for goal in GOALS), "KL from base")
SITUATIONS = 512, 40
GROUPS = {
    "L0.MLP": {"heads": "L0.H*", "all": "EMBED L0.H*"},
    "UNEMBED": {**{f"layer {n}": f"L{n}.H* L{n}.MLP" for n in range(4)}, "all": "EMBED *.H* *.MLP"},
}
"""Sets that are read together, beside each of the components of the last one, by reader."""
PLACES = {"L0.MLP": "model.layers.0.post_attention_layernorm", "UNEMBED": "model.norm"}
Floats = NDArray[np.float64]


def main() -> None:
    """Lock the conjectures, then read, one seed of every arm after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="*")
    parser.add_argument("--situations", type=int, default=SITUATIONS[0])
    given = parser.parse_args()
    plan = load_plan(KINDS / "plan.yaml")
    for name, out in {"conjectures": given.out, "paths": given.out / "paths"}.items():
        out.mkdir(parents=True, exist_ok=True)
        lock(load_conjectures(HERE / f"{name}.yaml"), out)
    torch.set_num_threads(plan.threads)
    board = Board(arena(plan.arena).situations("held-out", given.situations, SITUATIONS[1]))
    whole = (
        seed
        for seed in given.seeds or plan.seeds
        if all(read_measured(arm, seed, given.run) is not None for arm in ARMS)
    )
    for who in ((arm, seed) for seed in whole for arm in ARMS):
        read(plan, who, given.run, given.out, board)
        read_paths(plan, who, given.run, given.out / "paths", board)
        print("{} seed {}".format(*who), flush=True)


def read(plan: Plan, who: tuple[str, int], run: Path, out: Path, board: Board) -> None:
    """Read one arm and seed."""
    arm, seed = who
    path = out / "read" / f"{arm}-seed-{seed}.npz"
    if path.exists():
        return
    base = model_of(plan.base_in(run))
    tuned, *others = (
        model_of(measured_model(plan, one, seed, run)) for one in (arm, *(o for o in ARMS if o != arm))
    )
    anatomy, numbers = anatomy_of(tuned), reading(board, base)
    parts = [
        ComponentSet([one], anatomy.universe)
        for one in anatomy.universe
        if one.kind in ("H", "MLP", "EMBED", "UNEMBED")
    ]
    ends = np.stack([numbers(tuned), numbers(base)])
    cells = np.stack([[list(_cells(*pair, part, numbers)) for pair in _both(tuned, base)] for part in parts])
    moved: list[list[Floats]] = []
    for other in others:
        moved.append([])
        for part in parts:
            with taken_back(tuned, other, part, anatomy):
                moved[-1].append(numbers(tuned))
    path.parent.mkdir(parents=True, exist_ok=True)
    places, goals = arena(plan.arena), board.situations
    with atomic_file(path) as draft, draft.open("wb") as file:
        np.savez_compressed(
            file,
            cells=cells.astype(np.float32),
            ends=ends.astype(np.float32),
            transplants=np.array(moved, np.float32),
            components=np.array([str(part) for part in parts]),
            sources=np.array([one for one in ARMS if one != arm]),
            applies=np.stack([places.goals[goal].applies(goals) for goal in GOALS]),
            clusters=np.array([places.cluster(one) for one in goals]),
        )


def read_paths(plan: Plan, who: tuple[str, int], run: Path, out: Path, board: Board) -> None:
    """Read the paths of one arm and seed."""
    path = out / "read" / f"{who[0]}-seed-{who[1]}.npz"
    if path.exists():
        return
    base, tuned = model_of(plan.base_in(run)), model_of(measured_model(plan, *who, run))
    anatomy, numbers = anatomy_of(tuned), reading(board, base)
    names, cells = [], []
    for reader, place in PLACES.items():
        named = GROUPS[reader]
        single = {str(one): str(one) for one in anatomy.parse(named["all"])}
        for name, text in {**single, **named}.items():
            with with_paths(tuned, base, anatomy.parse(text), place, anatomy):
                cells.append(numbers(tuned))
            names.append((reader, name))
    assert cells[0].shape[0] == len(MEASURES)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, cells=np.array(cells, np.float32), names=np.array(names))


def reading(board: Board, base: Any) -> Callable[[Any], Floats]:
    """Return what gives the `MEASURES` of a model in each situation."""
    start = board.read(base)

    def numbers(model: Any) -> Floats:
        found = board.read(model)
        return np.stack([found.legal, *found.utility, found.kl(start)])

    return numbers


def _both(tuned: Any, base: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Return host and other, with tuned and then base as host."""
    return (tuned, base), (base, tuned)


def _cells(host: Any, other: Any, part: ComponentSet, numbers: Any) -> Iterator[Floats]:
    """Give what `CELLS` names of one component in one host."""
    with taken_back(host, other, part):
        yield numbers(host)
    with with_activations(host, other, part):
        yield numbers(host)
    with ExitStack() as stack:
        # the other model with the host's weights of this component: they meet the other's inputs
        stack.enter_context(taken_back(other, host, part))
        stack.enter_context(with_activations(host, other, part))
        yield numbers(host)


if __name__ == "__main__":
    main()
