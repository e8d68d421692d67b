"""Read every trained arm as the page tells it: `python readings.py RUNS -o READ`; it goes on where it was.

RL of seed 0 is read by every command of `commands.py`, the others by those on weights and on what is asked
beside the task; then what RL had after eight steps, what repair made of it, and transplants between two runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
BASE = "smollm2-base"
MAIN = "rl-seed-0"
OTHERS = ("diff", "behaviour", "behaviour, first", "behaviour, middle")
"""The commands by which arms are read that are not the main one."""
EARLY = 8
"""The step after which the main arm's answers had just become right."""


def calls(runs: Path, read: Path) -> Iterator[list[str]]:
    """Give every call of a script of this folder or of takeback, in order."""
    base = str(runs / BASE)
    finals = {
        f"{final.parts[-3]}-{final.parts[-2]}": final for final in sorted(runs.glob("*/arms/*/seed-*/final"))
    }
    main = finals[MAIN]

    def commands(model: Path, name: str, *only: str) -> list[str]:
        chosen = ["--only", *only] if only else []
        return [str(HERE / "commands.py"), base, str(model), "-o", str(read / name), *chosen]

    yield commands(main, MAIN)
    for name, final in finals.items():
        if name != MAIN:
            yield commands(final, name, *OTHERS)
    early, place = main.parent / f"step-{EARLY}", f"rl-step-{EARLY}-seed-0"
    yield commands(early, place, *OTHERS[:2])
    yield [
        *("-m", "takeback", "sweep", base, str(early), "--arena", str(HERE / "arena.yaml")),
        *("--situations", "32", "--sets", "each kind", "--sets", "each layer", "--controls", "3"),
        *("-o", str(read / place / "task" / "effects.parquet")),
    ]
    yield [
        *("-m", "takeback", "attribute", base, str(early), "--arena", str(HERE / "arena.yaml")),
        *("--situations", "32", "-o", str(read / place / "attribution")),
    ]
    yield commands(read / MAIN / "repaired" / "model", "rl-repaired-seed-0", *OTHERS[1:])
    for into, other in ((MAIN, "rl-seed-1"), ("rl-seed-1", MAIN)):
        out = read / into / "transplants.parquet"
        if not out.exists():
            script = str(HERE / "transplants.py")
            yield [script, base, str(finals[into]), str(finals[other]), "-o", str(out)]


def main() -> None:
    """Do what is not done yet; the first call that fails ends it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, help="the folder of base and the runs")
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    for call in calls(given.runs, given.out):
        subprocess.run([sys.executable, *call], check=True)


if __name__ == "__main__":
    main()
