"""Run the project's commands on base and an arm, each as a process of its own, and keep what it cost.

`python commands.py BASE TUNED -o FOLDER` writes for each command its output, `NAME.json` with CPU seconds,
seconds and peak memory, and all of them as `costs.parquet`. Memory is told twice: all that is resident, pages
of mapped files among it, which the system takes back when it needs them, and the process's own. What was done
before is not done again; `--quick` reads fewer problems, and `--only` some commands. With `--times 3` each
runs in a control group whose memory, pages of files among it, is three times the model's size (Linux, root).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import pandas as pd

from takeback.run.files import atomic_file
from takeback.run.json_text import read_json
from takeback.run.tables import write_table

HERE = Path(__file__).parent
ARENA = str(HERE / "arena.yaml")
BESIDE = HERE / "beside"
HELD_OUT = ("first", "middle", "asked", "larger", "addition", "repeat", "refusals", "text")
LISTED = ("first", "middle", "larger")
"""Those whose answers are listed, so that reading them costs little."""
FAMILIES = ("each kind", "each layer", "each mlp", "each head")
TAKEN = "L*.MLP"
ONE = ", one held"
"""How commands end that hold one model at a time, which QUICK leaves out."""
GROUPS = Path("/sys/fs/cgroup")
"""Where Linux has its control groups."""
MOMENT = 0.02
"""Seconds between two looks at a process's memory."""


def commands(base: str, tuned: str, out: Path, quick: bool, workers: int = 1) -> dict[str, list[str]]:
    """Return the commands by name, in the order in which they are run."""
    few, many = ("8", "8") if quick else ("32", "128")
    skill, damage = f"utility right@{ARENA}", f"-utility last@{BESIDE / 'middle.yaml'}"
    asked, pooled = ["--arena", ARENA, "--situations", few], ["-o", str(out / "task")]
    families = [word for family in FAMILIES[: 1 if quick else None] for word in ("--sets", family)]
    found = {
        "components": ["components", base],
        "diff": ["diff", base, tuned, "-o", str(out / "diff")],
        "hybrid": ["hybrid", base, tuned, "--take-back", TAKEN, "--overwrite", "-o", str(out / "hybrid")],
        "behaviour": ["behaviour", tuned, "--against", base, "--arena", ARENA, "--situations", many, *pooled],
    }
    for name in HELD_OUT[: 2 if quick else None]:
        some = "64" if name in LISTED and not quick else "24"
        found[f"behaviour, {name}"] = [
            *("behaviour", tuned, "--against", base, "--arena", str(BESIDE / f"{name}.yaml")),
            *("--situations", some, "-o", str(out / "beside" / name)),
        ]

    def one(name: str) -> list[str]:
        return ["--hold", "one", "-o", str(out / "one" / name)]

    attribute = ["attribute", base, tuned, "--no-exact", *asked]
    explain = ["explain", base, tuned, "--take-back", TAKEN, "--controls", "2", *asked]
    found |= {
        "attribute": [*attribute, *pooled],
        f"attribute{ONE}": [*attribute, *one("attribute")],
        "sweep": [
            *("sweep", base, tuned, *asked, *families, "--controls", "2"),
            *("-o", str(out / "task" / "effects.parquet")),
        ],
        f"sweep of kinds{ONE}": [
            *("sweep", base, tuned, *asked, "--sets", FAMILIES[0], "--controls", "2"),
            *one("effects.parquet"),
        ],
        "explain": [*explain, *pooled],
        f"explain{ONE}": [*explain, *one("explain")],
        "repair": [
            *("repair", base, tuned, "--keep", skill, "--restore", damage),
            *("--situations", "24" if quick else "64", "--controls", "2" if quick else "9"),
            *("--among", "3" if quick else "8", "--most", "2" if quick else "8"),
            *("--workers", str(workers)),
            *("-o", str(out / "repaired")),
        ],
        "localise": [
            *("localise", base, tuned, "--with", "strength", "--sets", FAMILIES[0], "--controls", "2"),
            *(*asked, *pooled),
        ],
        "diff --with all": ["diff", base, tuned, "--with", "all", "-o", str(out / "diff-all")],
    }
    return {name: command for name, command in found.items() if not quick or not name.endswith(ONE)}


def cost_of(command: list[str], log: Path, group: Path | None = None) -> Mapping[str, float]:
    """Run a command to its end, in a control group if given, and return what it cost; a file has its output.

    Raises:
        SystemExit: it failed.
    """
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "takeback", *command], stdout=stream, stderr=subprocess.STDOUT
        )
        if group is not None:
            (group / "cgroup.procs").write_text(str(process.pid), encoding="utf-8")
        own = Own(process.pid)
        own.start()
        _, status, used = os.wait4(process.pid, 0)
        own.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"takeback {' '.join(command)} ended with {process.returncode}; see {log}")
    return {
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "seconds": round(time.monotonic() - began, 1),
        "peak_mib": round(used.ru_maxrss / 1024),
        "own_mib": round(own.peak / 1024),
    }


@contextmanager
def limited(mebibytes: int) -> Iterator[Path]:
    """Make a control group with so much memory, and remove it at the end.

    Raises:
        SystemExit: this system lets nobody make one, or not this user.
    """
    first = GROUPS / "memory"
    root, file = (first, "memory.limit_in_bytes") if first.is_dir() else (GROUPS, "memory.max")
    group = root / f"takeback-{os.getpid()}"
    try:
        try:
            group.mkdir()
            (group / file).write_text(str(mebibytes * 2**20), encoding="utf-8")
        except OSError as error:
            raise SystemExit(f"a control group for memory cannot be made: {error}") from error
        yield group
    finally:
        with suppress(OSError):  # it was not made, or what runs in it does not end
            group.rmdir()


def forget(*folders: Path) -> None:
    """Let the system drop what it holds of files, so that whoever maps them next pays for their pages."""
    for file in (file for folder in folders for file in folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Own(threading.Thread):
    """Finds the most memory that a process holds itself, in KiB, without pages of mapped files; on Linux."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self._status, self.peak = Path(f"/proc/{process}/status"), 0

    def run(self) -> None:
        """Look until the process is gone."""
        try:
            while held := re.search(r"^RssAnon:\s+(\d+)", self._status.read_text(), re.MULTILINE):
                self.peak = max(self.peak, int(held[1]))
                time.sleep(MOMENT)
        except OSError:
            return


def main() -> None:
    """Run what has not run yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path, help="a folder")
    parser.add_argument("tuned")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="fewer problems, fewer hybrids")
    parser.add_argument("--only", nargs="*", metavar="COMMAND")
    parser.add_argument("--times", type=float, help="a limit of memory, in sizes of the model")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    size = sum(file.stat().st_size for file in given.base.glob("*.safetensors")) / 2**20
    rows: list[dict[str, object]] = []
    workers = 2 if given.quick and given.times is None else 1  # each holds models of its own
    asked = commands(str(given.base), given.tuned, given.out, given.quick, workers)
    with nullcontext() if given.times is None else limited(round(given.times * size)) as group:
        for name, command in asked.items():
            told = given.out / f"{name}.json"
            if not told.exists() and (given.only is None or name in given.only):
                if group is not None:
                    forget(given.base, Path(given.tuned))
                cost = {**cost_of(command, told.with_suffix(".log"), group), "times": given.times}
                with atomic_file(told) as draft:
                    draft.write_text(json.dumps(cost), encoding="utf-8")
            if told.exists():
                rows.append({"command": name, "times": None, **read_json(told), "model_mib": round(size)})
                if rows[-1]["times"] != given.times:
                    raise SystemExit(f"{told} is of another limit of memory; choose another folder")
    write_table(pd.DataFrame(rows), given.out / "costs.parquet")
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
