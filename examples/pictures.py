"""Draw the pictures of the guides from runs: `python examples/pictures.py RUN REPAIRED`.

RUN is a run of `takeback demo`, REPAIRED what `takeback repair` left of its arm rl-win. Every picture is one
that the report or a command draws; `make pictures` makes the runs first.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from takeback.draw.bars import Bar, Bars, bar_plot
from takeback.draw.page import Figure, Section
from takeback.report.html import sections_of
from takeback.report.read import read_record
from takeback.run.json_text import read_json

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
FROM_REPORT = {
    "gain": "reinforcement learning",
    "moved": "rl-win: relative change",
    "parts": "Sets taken back: utility of its goal",
    "curve": "utility win: what remains as components are taken back",
    "pursuit": "Signed pursuit share",
    "board": "w K",
}
"""The first figure of the report whose heading holds these words, by the name of its picture."""


def main(run: Path, repaired: Path) -> None:
    """Write every picture."""
    PICTURES.mkdir(exist_ok=True)
    report = list(_figures(sections_of(read_record(run))))
    for name, words in FROM_REPORT.items():
        found = next((one for one in report if words in str(one.title)), None)
        if found is None:
            raise SystemExit(f"{run}: no figure of the report is called '{words}'")
        _write(name, found.picture)
    told = [Section.of(one) for one in read_json(repaired / "repair.json")["sections"]]
    _write("frontier", next(_figures(told)).picture)
    _write("steps", _steps(run))
    _write("memory", _memory())


def _figures(sections: list[Section] | tuple[Section, ...]) -> Iterator[Figure]:
    for section in sections:
        yield from section.figures
        yield from _figures(section.inside)


def _steps(run: Path) -> str:
    """Draw what share of a run's work each step is."""
    seconds: dict[str, float] = {}
    for path in sorted((run / "steps").glob("*-seed-*.json")):
        for name, step in json.loads(path.read_text(encoding="utf-8")).items():
            seconds[name] = seconds.get(name, 0.0) + step["seconds"]
    whole = sum(seconds.values())
    rows = [
        Bars(name, (Bar(one / whole, None, None, f"{one:.0f} s"),))
        for name, one in sorted(seconds.items(), key=lambda item: -item[1])
    ]
    return bar_plot(rows, ["share of the work"], "share of all seconds", "What each step of the demo takes")


def _memory() -> str:
    """Draw what a pair of 7.6 billion parameters needs of a card of 24 GiB, as in docs/devices.md."""
    card = 24 * 2**30
    model = 2 * 7_615_616_512
    slices = 22.1e9 - model
    rows = [
        Bars("--hold both", (Bar((2 * model + slices) / card, None, None, "both models"),)),
        Bars("--hold one", (Bar((model + slices) / card, None, None, "one model and slices"),)),
    ]
    return bar_plot(
        rows, ["bf16, a pair of 7.6 B"], "share of a card of 24 GiB", "Memory of a pair on a card"
    )


def _write(name: str, picture: str) -> None:
    (PICTURES / f"{name}.svg").write_text(picture + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
