"""Draw the situations where a takeback moves a kind most: illegal moves of that kind before and after.

`python examples/illegal-kinds/boards.py RUN RECORD`, after `score.py`, writes RECORD/board-N.svg.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from squares import Board

from run import HERE, model_of
from takeback import arena, taken_back
from takeback.anatomy import anatomy_of
from takeback.arenas.endgames import Endgames
from takeback.arenas.endgames.geometry import SQUARES
from takeback.arenas.endgames.rules import KINDS
from takeback.draw.board import BEFORE, Arrows, board
from takeback.run.tables import read_table
from takeback.study import load_plan
from takeback.study.measured import measured_model

AFTER = "#0072b2"
MOST = 3


def main() -> None:
    """Draw the first case of each set and kind, as the first seed answers it."""
    run, record = map(Path, sys.argv[1:3])
    plan = load_plan(HERE / "plan.yaml")
    every = Board(arena(plan.arena).situations("held-out", plan.situations, plan.situations_seed))
    base = model_of(plan.base_in(run))
    cases = read_table(record / "cases.parquet")
    for number, case in enumerate(cases.groupby(["arm", "set", "kind"], sort=False).head(1).itertuples()):
        tuned = model_of(measured_model(plan, case.arm, plan.seeds[0], run))
        before = every.read(tuned).moves[case.situation]
        anatomy = anatomy_of(tuned)
        with taken_back(tuned, base, anatomy.parse(f"{case.set}.*"), anatomy):
            after = every.read(tuned).moves[case.situation]
        situation = every.situations[case.situation]
        wanted = every.sort[case.situation] == KINDS.index(case.kind)
        arrows = [
            Arrows(moves(values * wanted, every.own[case.situation]), colour, name, side)
            for values, colour, name, side in (
                (before, BEFORE, "tuned", -1),
                (after, AFTER, f"{case.set} taken back", 1),
            )
        ]
        label = f"{situation}: {case.kind} moves of {case.arm}, with and without {case.set}"
        (record / f"board-{number + 1}.svg").write_text(
            board(Endgames().board(situation), arrows, label), "utf-8"
        )


def moves(values: np.ndarray, own: np.ndarray) -> list[tuple[str, float]]:
    """Return the likeliest of some moves, [2, 64], as text with their probabilities."""
    order = np.argsort(-values, axis=None)[:MOST]
    return [(SQUARES[own[p // 64]] + SQUARES[p % 64], float(values.flat[p])) for p in order.tolist()]


if __name__ == "__main__":
    main()
