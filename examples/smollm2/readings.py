"""Read every trained arm as the page tells it: `python readings.py RUNS -o READ`; it goes on where it was.

RL of seed 0 is read by every command of `commands.py`, the others by those on weights and on what is asked
beside the task, some of them away from it; then what RL had after eight steps, what repair made of two runs,
what parts of them do beside the task, transplants between them, the task that was tried first, and chess: its
base, two arms from it, and what parts of RL's change do. Where control groups can be made (root on Linux),
the main arm is read once more in little, with a limit of memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

HERE = Path(__file__).parent
BASE = "smollm2-base"
STUDIES = ("smollm2", "smollm2-once")
TASK = str(HERE / "arena.yaml")
MAIN, SECOND = "rl-seed-0", "rl-seed-1"
OTHERS = ("diff", "behaviour", "behaviour, first", "behaviour, middle")
"""The commands by which arms are read that are not the main one."""
AWAY = tuple(f"behaviour, {name}" for name in ("asked", "addition", "repeat", "refusals", "text"))
READ_AWAY = (SECOND, "rl-seed-2", "sft-seed-0")
"""The commands on what is asked away from the task, and who is asked besides the main arm."""
CHESS = ("base", "rl-win", "sft-win")
"""What is trained in chess, in order."""
FIRST = ("rl", "sft")
"""What was trained on the task that was tried first."""
TAKEBACK = ("-m", "takeback")
GROUPS = "/sys/fs/cgroup"
"""Where Linux has its control groups."""
THIRDS = tuple(" ".join(f"L{layer}.*" for layer in range(first, first + 10)) for first in (0, 10, 20))
DAMAGE = {MAIN: f"-utility last@{HERE}/beside/middle.yaml", SECOND: f"utility right@{HERE}/beside/first.yaml"}
"""What each of two runs lost, which repair gives back."""
FEWER = "rl-three-seed-0"
"""The main arm once more, repaired by sets of at most three."""
BESIDE = ("first", "middle")
"""Where parts of two runs are read beside the task: what they did there differs."""
EARLY = 8
"""The step after which the main arm's answers had just become right."""


def of_arms(runs: Path, read: Path) -> Iterator[list[str]]:
    """Give every call that reads what both studies trained, in order: of a script here or of takeback."""
    base = str(runs / BASE)
    found = [final for study in STUDIES for final in sorted((runs / study).glob("arms/*/seed-*/final"))]
    finals = {f"{final.parts[-3]}-{final.parts[-2]}": final for final in found}
    main = finals[MAIN]

    def commands(model: Path, name: str, *only: str) -> list[str]:
        chosen = ["--only", *only] if only else []
        return [str(HERE / "commands.py"), base, str(model), "-o", str(read / name), *chosen]

    yield commands(main, MAIN)
    for name, final in finals.items():
        if name != MAIN:
            yield commands(final, name, *OTHERS, *(AWAY if name in READ_AWAY else ()))
    early, place = main.parent / f"step-{EARLY}", f"rl-step-{EARLY}-seed-0"
    asked = ["--arena", TASK, "--situations"]
    yield commands(early, place, *OTHERS[:2])
    yield [
        *(*TAKEBACK, "sweep", base, str(early), *asked, "32", "--sets", "each kind", "--sets", "each layer"),
        *("--controls", "3", "-o", str(read / place / "task" / "effects.parquet")),
    ]
    yield [*TAKEBACK, "attribute", base, str(early), *asked, "16", "-o", str(read / place / "attribution")]
    yield repair(base, main, DAMAGE[MAIN], read / FEWER, among=6, most=3)
    yield commands(read / MAIN / "repaired" / "model", "rl-repaired-seed-0", *OTHERS[1:])
    yield repair(base, finals[SECOND], DAMAGE[SECOND], read / SECOND)
    for name in (MAIN, SECOND):
        for beside in BESIDE:
            yield [
                *(*TAKEBACK, "sweep", base, str(finals[name])),
                *("--arena", str(HERE / "beside" / f"{beside}.yaml"), "--situations", "32"),
                *("--sets", "each kind", "--sets", "each layer", "--controls", "2"),
                *("-o", str(read / name / "beside" / beside / "effects.parquet")),
            ]
    for into, other in ((MAIN, SECOND), (SECOND, MAIN)):
        out = read / into / "transplants.parquet"
        if not out.exists():
            script = str(HERE / "transplants.py")
            yield [script, base, str(finals[into]), str(finals[other]), "-o", str(out)]


def repair(base: str, tuned: Path, damage: str, out: Path, among: int = 8, most: int = 8) -> list[str]:
    """Return the call that looks for a hybrid which keeps the skill and has not the damage."""
    return [
        *(*TAKEBACK, "repair", base, str(tuned), "--keep", f"utility right@{TASK}", "--restore", damage),
        *("--situations", "64", "--controls", "9", "--among", str(among), "--most", str(most)),
        *("-o", str(out / "repaired")),
    ]


def of_first_task(runs: Path, read: Path) -> Iterator[list[str]]:
    """Give every call that trains on the task that was tried first, and reads what was trained."""
    place = runs / "smollm2-larger"
    if not (place / "larger.jsonl").exists():
        yield [str(HERE / "tasks.py"), "larger", "-o", str(place)]
    yield from trained(HERE / "collapse", FIRST, place)
    for name in FIRST:
        yield [
            *(*TAKEBACK, "behaviour", str(place / name / "final"), "--against", str(runs / BASE)),
            *("--arena", str(HERE / "beside" / "larger.yaml"), "--situations", "64"),
            *("-o", str(read / f"larger-{name}-seed-0" / "task")),
        ]


def in_chess(runs: Path, read: Path) -> Iterator[list[str]]:
    """Give every call that trains in chess, and reads what was trained."""
    chess = runs / "smollm2-chess"
    if not (moves := chess / "moves.jsonl").exists():
        yield [str(HERE / "chess" / "population.py"), str(moves), "--rows", "12000"]
    yield from trained(HERE / "chess", CHESS, chess)
    base, *arms = (str(chess / name / "final") for name in CHESS)
    asked = ["--arena", "endgames", "--situations"]
    for name, arm in zip(CHESS[1:], arms, strict=True):
        out = str(read / f"chess-{name}" / "task")
        yield [*TAKEBACK, "behaviour", arm, "--against", base, *asked, "64", "-o", out]
    sets = [word for one in ("each kind", *THIRDS) for word in ("--sets", one)]
    out = str(read / "chess-rl-win" / "task" / "effects.parquet")
    yield [*TAKEBACK, "sweep", base, arms[0], *asked, "12", *sets, "--controls", "1", "-o", out]


def trained(recipes: Path, names: Sequence[str], place: Path) -> Iterator[list[str]]:
    """Give the calls that train what is not there yet."""
    for name in names:
        if not (place / name / "final").exists():
            yield [*TAKEBACK, "train", str(recipes / f"{name}.yaml"), "-o", str(place / name)]


def within_a_limit(runs: Path, read: Path) -> Iterator[list[str]]:
    """Give the call that reads the main arm in little within three times the model, where that can be set."""
    if sys.platform == "linux" and os.access(GROUPS, os.W_OK):
        main = runs / STUDIES[0] / "arms" / MAIN.partition("-")[0] / MAIN.partition("-")[2] / "final"
        asked = [str(runs / BASE), str(main), "-o", str(read / "within")]
        yield [str(HERE / "commands.py"), *asked, "--quick", "--times", "3"]


PARTS = (of_arms, of_first_task, in_chess, within_a_limit)
"""What is read, in order."""


def main() -> None:
    """Do what is not done yet; the first call that fails ends it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, help="the folder of base and the runs")
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    for call in chain(*(part(given.runs, given.out) for part in PARTS)):
        subprocess.run([sys.executable, *call], check=True)


if __name__ == "__main__":
    main()
