"""Read every trained arm as the page tells it: `python readings.py RUNS -o READ`; it goes on where it was.

RL of seed 0 is read by every command of `commands.py`, the others by those on weights and on what is asked
beside the task, some of them away from it; then what RL had after eight steps, what repair made of two runs,
what parts of them do beside the task, transplants between them, and chess: its base, two arms from it, and
what parts of RL's change do.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

HERE = Path(__file__).parent
BASE = "smollm2-base"
STUDIES = ("smollm2", "smollm2-once")
MAIN = "rl-seed-0"
OTHERS = ("diff", "behaviour", "behaviour, first", "behaviour, middle")
"""The commands by which arms are read that are not the main one."""
AWAY = tuple(f"behaviour, {name}" for name in ("asked", "addition", "repeat", "refusals", "text"))
READ_AWAY = ("rl-seed-1", "rl-seed-2", "sft-seed-0")
"""The commands on what is asked away from the task, and who is asked besides the main arm."""
CHESS = ("base", "rl-win", "sft-win")
"""What is trained in chess, in order."""
THIRDS = tuple(" ".join(f"L{layer}.*" for layer in range(first, first + 10)) for first in (0, 10, 20))
BESIDE = ("first", "middle")
"""Where parts of two runs are read beside the task: what they did there differs."""
EARLY = 8
"""The step after which the main arm's answers had just become right."""


def calls(runs: Path, read: Path) -> Iterator[list[str]]:
    """Give every call of a script of this folder or of takeback, in order."""
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
    yield commands(early, place, *OTHERS[:2])
    yield [
        *("-m", "takeback", "sweep", base, str(early), "--arena", str(HERE / "arena.yaml")),
        *("--situations", "32", "--sets", "each kind", "--sets", "each layer", "--controls", "3"),
        *("-o", str(read / place / "task" / "effects.parquet")),
    ]
    yield [
        *("-m", "takeback", "attribute", base, str(early), "--arena", str(HERE / "arena.yaml")),
        *("--situations", "16", "-o", str(read / place / "attribution")),
    ]
    yield commands(read / MAIN / "repaired" / "model", "rl-repaired-seed-0", *OTHERS[1:])
    yield [
        *("-m", "takeback", "repair", base, str(finals["rl-seed-1"])),
        *("--keep", f"utility right@{HERE / 'arena.yaml'}"),
        *("--restore", f"utility right@{HERE / 'beside' / 'first.yaml'}"),
        *("--situations", "64", "--controls", "9", "--among", "8", "--most", "8"),
        *("-o", str(read / "rl-seed-1" / "repaired")),
    ]
    for name in (MAIN, "rl-seed-1"):
        for place in BESIDE:
            yield [
                *("-m", "takeback", "sweep", base, str(finals[name])),
                *("--arena", str(HERE / "beside" / f"{place}.yaml"), "--situations", "32"),
                *("--sets", "each kind", "--sets", "each layer", "--controls", "2"),
                *("-o", str(read / name / "beside" / place / "effects.parquet")),
            ]
    for into, other in ((MAIN, "rl-seed-1"), ("rl-seed-1", MAIN)):
        out = read / into / "transplants.parquet"
        if not out.exists():
            script = str(HERE / "transplants.py")
            yield [script, base, str(finals[into]), str(finals[other]), "-o", str(out)]


def in_chess(runs: Path, read: Path) -> Iterator[list[str]]:
    """Give every call that trains in chess, and reads what was trained."""
    chess, takeback = runs / "smollm2-chess", ["-m", "takeback"]
    if not (moves := chess / "moves.jsonl").exists():
        yield [str(HERE / "chess" / "population.py"), str(moves), "--rows", "12000"]
    for name in CHESS:
        if not (chess / name / "final").exists():
            yield [*takeback, "train", str(HERE / "chess" / f"{name}.yaml"), "-o", str(chess / name)]
    base, *arms = (str(chess / name / "final") for name in CHESS)
    asked = ["--arena", "endgames", "--situations"]
    for name, arm in zip(CHESS[1:], arms, strict=True):
        out = str(read / f"chess-{name}" / "task")
        yield [*takeback, "behaviour", arm, "--against", base, *asked, "64", "-o", out]
    sets = [word for one in ("each kind", *THIRDS) for word in ("--sets", one)]
    out = str(read / "chess-rl-win" / "task" / "effects.parquet")
    yield [*takeback, "sweep", base, arms[0], *asked, "12", *sets, "--controls", "1", "-o", out]


def main() -> None:
    """Do what is not done yet; the first call that fails ends it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, help="the folder of base and the runs")
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    for call in chain(calls(given.runs, given.out), in_chess(given.runs, given.out)):
        subprocess.run([sys.executable, *call], check=True)


if __name__ == "__main__":
    main()
