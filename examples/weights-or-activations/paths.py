"""Read paths: what one reader alone loses when it reads some components as base writes them.

`python examples/weights-or-activations/paths.py RUN OUT`, with RUN and OUT of `run.py` here. Two readers stand
where steps decide: the MLP of layer 0, which gathers, and the unembedding, which answers. A killed run goes on.
OUT/paths gets for each arm and seed `read/ARM-seed-N.npz`: `cells`, [paths, measures, situations], and their
`names`, reader and set of components.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from run import ARMS, HERE, KINDS, MEASURES, SITUATIONS, Board, model_of

from takeback import arena
from takeback.anatomy import anatomy_of
from takeback.findings.activations import with_paths
from takeback.run.files import atomic_file
from takeback.study import Plan, load_plan
from takeback.study.conjectures import load_conjectures, lock
from takeback.study.measured import measured_model, read_measured

GROUPS = {
    "L0.MLP": {"heads": "L0.H*", "all": "EMBED L0.H*"},
    "UNEMBED": {**{f"layer {n}": f"L{n}.H* L{n}.MLP" for n in range(4)}, "all": "EMBED *.H* *.MLP"},
}
"""Sets that are read together, beside each of the components of the last one, by reader."""
PLACES = {"L0.MLP": "model.layers.0.post_attention_layernorm", "UNEMBED": "model.norm"}


def main() -> None:
    """Lock the conjectures, then read, one seed of every arm after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    plan, out = load_plan(KINDS / "plan.yaml"), given.out / "paths"
    out.mkdir(parents=True, exist_ok=True)
    lock(load_conjectures(HERE / "paths.yaml"), out)
    torch.set_num_threads(plan.threads)
    board = Board(arena(plan.arena).situations("held-out", *SITUATIONS))
    for seed in plan.seeds:
        for arm in ARMS:
            if read_measured(arm, seed, given.run) is not None:
                read(plan, (arm, seed), given.run, out, board)
                print(f"{arm} seed {seed}", flush=True)


def read(plan: Plan, who: tuple[str, int], run: Path, out: Path, board: Board) -> None:
    """Read the paths of one arm and seed."""
    path = out / "read" / f"{who[0]}-seed-{who[1]}.npz"
    if path.exists():
        return
    base, tuned = model_of(plan.base_in(run)), model_of(measured_model(plan, *who, run))
    anatomy, start = anatomy_of(tuned), board.read(base)

    def numbers(model: Any) -> np.ndarray:
        found = board.read(model)
        return np.stack([found.legal, *found.utility, found.kl(start)])

    names, cells = [], []
    for reader, place in PLACES.items():
        named = GROUPS[reader]
        single = {str(one): str(one) for one in anatomy.parse(named["all"])}
        for name, text in {**single, **named}.items():
            with with_paths(tuned, base, anatomy.parse(text), place, anatomy):
                cells.append(numbers(tuned))
            names.append((reader, name))
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cells[0].shape[0] == len(MEASURES)
    with atomic_file(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, cells=np.array(cells, np.float32), names=np.array(names))


if __name__ == "__main__":
    main()
