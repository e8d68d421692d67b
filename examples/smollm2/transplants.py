"""Put parts of one trained arm into another: `python transplants.py BASE INTO FROM -o FILE`.

Two arms that are alike on the task and differ beside it: which parts bring the difference? Each part of INTO
is taken from FROM in place of its own, and read on the task and on two arenas beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from takeback.anatomy import Anatomy
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.component import ComponentSet
from takeback.measure.bench import Bench
from takeback.measure.read import Ask
from takeback.measure.setup import Setup
from takeback.run.tables import write_table

HERE = Path(__file__).parent
ASKED = {
    "task": ("arena.yaml", "utility right"),
    "first": ("beside/first.yaml", "utility right"),
    "middle": ("beside/middle.yaml", "utility last"),
}
"""Where hybrids are read, and on what."""
SITUATIONS = 48


def parts(anatomy: Anatomy) -> dict[str, ComponentSet]:
    """Return what is put in: kinds, thirds of the layers, and everything."""
    thirds = {f"layers {start} to {start + 9}": range(start, start + 10) for start in (0, 10, 20)}
    named = {name: anatomy.parse(" ".join(f"L{one}.*" for one in some)) for name, some in thirds.items()}
    kinds = anatomy.named_sets("each kind")
    return {**kinds, **named, "everything": anatomy.universe}


def transplants(base: str, into: str, other: str) -> Iterator[dict[str, object]]:
    """Give what each part of another arm changes in one arm, on every arena."""
    pair = open_pair(base, into)
    for name, (file, measure) in ASKED.items():
        place = arena(f"rows:{HERE / file}")
        bench = Bench.held_out(pair, place, [measure], (SITUATIONS, 0), Setup())
        asks = {part: Ask(some, f"checkpoint:{other}") for part, some in parts(bench.anatomy).items()}
        answers = bench.answer([*asks.values(), bench.nothing])
        for part, ask in asks.items():
            found = answers.mean(answers.change(ask, measure, bench.nothing))
            told = {"effect": found.value, "low": found.low, "high": found.high}
            yield {"arena": name, "measure": measure, "part": part, **told}


def main() -> None:
    """Read what was named, and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("base", "into", "other"):
        parser.add_argument(name)
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    table = pd.DataFrame(transplants(given.base, given.into, given.other))
    write_table(table, given.out)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
