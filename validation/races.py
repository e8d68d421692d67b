"""Starts two of the same command on one output at once, many times over, and prints Markdown.

`python -m validation.races --pairs 20` tells for each command that writes how its pairs ended: with one whole
result, the one that an undisturbed command gives, and either both content or one refused in one line. It
forks processes that have loaded everything, so that the two meet in the work itself and not while starting.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

NOISE = 0.02
"""The standard deviation of what is added to each weight of the shipped base."""

ENDGAMES: Final = ("--arena", "endgames", "--situations", "8")
RECIPE = """\
method: sft
parent: endgame-base
goal: win
steps: 2
batch: 4
learning_rate: 0.001
snapshots: [1]
threads: 1
"""
PLAN = """\
name: tiny
base: endgame-base
arms: {sft-win: {method: sft, goal: win, steps: 2, batch: 4, learning_rate: 0.001, snapshots: [1]}}
seeds: [0]
situations: 8
games: 0
controls: 5
contrasts: {gain: {sft-win: 1}}
"""
TREE = "---\nauthor: {}\ndate: 2026-11-20\nstage: before-reading\n---\n- no idea\n  - {}\n"


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        words: what is typed.
        needs: folders and files of the workshop that lie beside it.
        told: ends of names of files that hold times or places, and so differ from run to run.
    """

    words: str
    needs: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


PAIR = ("base", "tuned")
COMMANDS: Final = {
    "hybrid": Command("hybrid base tuned --take-back L0.H0 -o out", PAIR),
    "hybrid --overwrite": Command("hybrid base tuned --take-back L0.H0 -o made --overwrite", (*PAIR, "made")),
    "align": Command("align base tuned -o out", PAIR),
    "diff": Command("diff base tuned --with spectra -o out", PAIR, (".html", ".json")),
    "sweep": Command("sweep base tuned --sets L0.H0 --controls 1 {} -o out.parquet", PAIR),
    "localise": Command(
        "localise base tuned {} --measure legal --with shares --sets L0.H0 --controls 1 -o out",
        PAIR,
        (".html", ".json"),
    ),
    "attribute": Command("attribute base tuned --measure legal {} -o out", PAIR, (".html", ".json")),
    "explain": Command("explain base tuned --take-back L0.H0 {} -o out", PAIR, (".html", ".json")),
    "behaviour": Command("behaviour tuned --against base {} -o out", PAIR),
    "retarget": Command("retarget base tuned other {} --out out", (*PAIR, "other"), (".html", ".json")),
    "train": Command("train recipe.yaml -o out", ("recipe.yaml",), ("training_args.bin",)),
    "study run": Command("study run plan.yaml -o out", ("plan.yaml",), (".html", ".json", ".steps")),
    "report": Command("report run", ("run",), (".html",)),
    "contrasts": Command("contrasts run", ("run",), (".html", ".json")),
    "compare": Command("compare run again -o out", ("run", "again"), (".html", ".json")),
    "course": Command("course endgame-base run/arms/sft-win/seed-0 {} -o out", ("run",), (".html", ".json")),
    "conjecture add": Command(
        "conjecture add plan.yaml --sentence wins --rule count(games)>3 --probability 0.5 --author Ada",
        ("plan.yaml",),
    ),
    "plan merge": Command("plan merge ada.md bob.md -o out.md", ("ada.md", "bob.md")),
    "plan extend": Command("plan extend merged.md --author Cy --date 2026-11-20 -o out.md", ("merged.md",)),
    "plan draw": Command("plan draw merged.md -o out.html -o out.svg", ("merged.md",)),
    "plan predict": Command(
        "plan predict out.yaml --statement s --probability 0.5 --about Bob --by Ada --date 2026-11-20"
    ),
}


class Workshop:
    """Makes what commands need, once, and runs them in folders of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0

    def fill(self) -> None:
        """Make models, a recipe, a plan and its run, and trees."""
        (self.folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
        (self.folder / "plan.yaml").write_text(PLAN, encoding="utf-8")
        for author, words in (("ada", "no names"), ("bob", "no name")):
            (self.folder / f"{author}.md").write_text(TREE.format(author, words), encoding="utf-8")
        for number, name in enumerate((*PAIR, "other")):
            self.run(lambda number=number, name=name: _save(self.folder / name, number))
        for words in (
            "study run plan.yaml -o run",
            "plan merge ada.md bob.md -o merged.md",
            "hybrid base tuned --take-back L0.H0 -o made",
        ):
            code = self.run(lambda words=words: _command(words, self.folder))
            assert code == 0, f"{words} ended with {code}"
        shutil.copytree(self.folder / "run", self.folder / "again")
        plan = self.folder / "again" / "plan.yaml"
        plan.write_text(plan.read_text(encoding="utf-8").replace("tiny", "again", 1), encoding="utf-8")

    def run(self, call: Callable[[], object]) -> int:
        """Call it in a process of its own and return how that ended."""
        return os.waitstatus_to_exitcode(os.waitpid(_fork(call), 0)[1])

    def place(self, command: Command) -> Path:
        """Return a new folder with what a command needs."""
        self._count += 1
        place = self.folder / f"try-{self._count}"
        place.mkdir()
        for name in command.needs:
            source = self.folder / name
            (shutil.copytree if source.is_dir() else shutil.copyfile)(source, place / name)
        return place


def _save(folder: Path, seed: int) -> None:
    import torch

    from takeback.arenas import arena
    from takeback.policies.load import load_policy

    policy: Any = load_policy("endgame-base", arena("endgames"))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(NOISE * torch.randn(parameter.shape, generator=generator))
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)


def _fork(call: Callable[[], object]) -> int:
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        call()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stderr.flush()
        os._exit(code)


def _command(words: str, place: Path, wait: float = 0.0) -> None:
    from takeback.cli import main

    os.chdir(place)
    log = os.open(f".{os.getpid()}.log", os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    time.sleep(wait)
    sys.argv = ["takeback", *words.format(" ".join(ENDGAMES)).split()]
    main()


def _contents(place: Path, told: Sequence[str]) -> Mapping[str, str]:
    """Return the digest of each file that a command left, and only that it is there where it tells times."""
    return {
        path.relative_to(place).as_posix(): ""
        if path.name.endswith(tuple(told))
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(place.rglob("*"))
        if path.is_file() and not (path.parent == place and path.suffix == ".log")
    }


def _pair(shop: Workshop, command: Command, longest: float, whole: Mapping[str, str], seed: str) -> str:
    """Start two of a command and return in a word how they ended."""
    place = shop.place(command)
    wait = random.Random(seed).uniform(0, longest)
    processes = [
        _fork(lambda wait=wait: _command(command.words, place, wait)) for wait in sorted((0.0, wait))
    ]
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    lines = [(place / f".{one}.log").read_text(encoding="utf-8").splitlines()[-1:] for one in processes]
    refused = [line[0] if line else "" for line, code in zip(lines, codes, strict=True) if code == 2]
    found = _contents(place, command.told)
    shutil.rmtree(place)
    if set(codes) - {0, 2} or not all(line.startswith("takeback: ") for line in refused):
        return f"broken ({codes}, {lines})"
    if 0 not in codes:
        return "both refused"
    if found != whole:
        return f"other files ({sorted(set(found.items()) ^ set(whole.items()))[:4]})"
    return "both content" if codes == [0, 0] else "one refused"


def _row(shop: Workshop, name: str, command: Command, pairs: int) -> str:
    alone = shop.place(command)
    began = time.monotonic()
    code = shop.run(lambda: _command(command.words, alone))
    longest = time.monotonic() - began
    assert code == 0, [path.read_text(encoding="utf-8")[-2000:] for path in alone.glob(".*.log")]
    whole = _contents(alone, command.told)
    ends = Counter(_pair(shop, command, longest, whole, f"{name} {n}") for n in range(pairs))
    good = {"one refused", "both content"}
    rest = "; ".join(f"{count} {end}" for end, count in ends.items() if end not in good)
    return f"| {name} | {longest:.1f} | {ends['one refused']} | {ends['both content']} | {rest or 'none'} |"


def main() -> None:
    """Print the table of all commands, or of some."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--commands", nargs="*", choices=COMMANDS, default=[*COMMANDS])
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for module in ("measure.bench", "policies.load", "training.run"):
        import_module(f"takeback.{module}")  # so that forks need not

    with tempfile.TemporaryDirectory() as folder:
        os.environ["TAKEBACK_CACHE"] = str(Path(folder) / "cache")
        shop = Workshop(Path(folder))
        shop.fill()
        print("| command | seconds alone | one refused | both content | anything else |")
        print("| --- | ---: | ---: | ---: | --- |")
        for name in asked.commands:
            print(_row(shop, name, COMMANDS[name], asked.pairs), flush=True)


if __name__ == "__main__":
    main()
