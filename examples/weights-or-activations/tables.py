"""The tables and single numbers of docs/findings/weights-or-activations.md, from its record.

The record is made by `score.py`, and printed by
`python examples/pages.py --blocks docs/findings/weights-or-activations.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from takeback.draw.markdown import slug, table
from takeback.draw.numbers import number, short, signed
from takeback.run.tables import read_table
from takeback.study.conjectures.markdown import of_conjectures, of_scores

ARMS = ("rl-win", "rft-win", "sft-win", "rl-corner")
LAYERS = ("L0", "L1", "L2", "L3")
PARTS = ("takeback", "patch", "own weights", "inputs", "interaction")
GATHERED = ("EMBED", "L0.H0", "L0.H1", "L0.H2", "L0.H3", "heads", "all", "beyond the sum")
ANSWERED = ("EMBED", *(f"layer {n}" for n in range(4)), "L0.MLP", "L3.MLP", "all", "beyond the sum")
LEVEL = 0.05


def blocks(record: Path) -> dict[str, str]:
    """Return Markdown by key."""
    found, decided = read_table(record / "contrasts.parquet"), read_table(record / "conjectures.parquet")
    brought = ("graft", *PARTS[1:])
    made = {
        "layers": table(("arm", "layer", *PARTS), by_layer(found, "in tuned", PARTS)),
        "grafts": table(("arm", "layer", *brought), by_layer(found, "in base", brought)),
        "places": table(("component", *PARTS), places(found, "rl-win")),
        "transplants": table(
            ("loses, of the own utility", *(f"from `{arm}`" for arm in ARMS), "from base"), moved(found)
        ),
        "standing": table(
            ("arm", "takeback", "patch", "own weights", "inputs", "interaction"), standing(found)
        ),
        "paths-gathered": table(("arm", *GATHERED), paths(found, "L0.MLP", GATHERED)),
        "paths-answered": table(("arm", *ANSWERED), paths(found, "UNEMBED", ANSWERED)),
        "conjectures": of_conjectures(decided),
    }
    return made | {slug(key): text for key, text in numbers(found, decided)}


def points(value: float) -> str:
    """Write a utility in points."""
    return short(100 * value, 2, sign=True)


def told(row: Any) -> str:
    """Write an estimate in points with its interval, in bold where it is told from 0 family-wise."""
    text = f"{points(row['estimate'])} [{short(100 * row['low'], 2)}, {short(100 * row['high'], 2)}]"
    return f"**{text}**" if row["p_family"] < LEVEL else text


def by_layer(found: pd.DataFrame, host: str, asked: Sequence[str]) -> Iterator[Sequence[str]]:
    """Give the mean over the components of each layer."""
    at = found[found["contrast"] == f"layer {host}"].set_index(["arm", "layer", "measure"])
    for arm in ARMS:
        for layer in LAYERS:
            yield (f"`{arm}`", layer, *(told(at.loc[(arm, layer, part)]) for part in asked))


def places(found: pd.DataFrame, arm: str) -> Iterator[Sequence[str]]:
    """Give every component of an arm, what its patch costs most first."""
    rows = found[(found["contrast"] == "in tuned") & (found["arm"] == arm)]
    at = rows.set_index(["component", "measure"])
    order = rows[rows["measure"] == "patch"].sort_values("estimate", ascending=False)["component"]
    for name in order:
        yield (f"`{name}`", *(told(at.loc[(name, part)]) for part in PARTS))


def moved(found: pd.DataFrame) -> Iterator[Sequence[str]]:
    """Give what other arms' weights of a component cost, mean over components, beside base's."""
    at = found.set_index(["contrast", "arm", "measure"])
    for arm in ARMS:
        others = (
            "" if arm == other else told(at.loc[(f"mean transplant from {other}", arm, "loss")])
            for other in ARMS
        )
        yield (f"`{arm}`", *others, told(at.loc[("mean in tuned", arm, "takeback")]))


def paths(found: pd.DataFrame, reader: str, asked: Sequence[str]) -> Iterator[Sequence[str]]:
    """Give what a reader loses by each path in each arm."""
    at = found[found["contrast"] == f"path to {reader}"].set_index(["arm", "component"])
    for arm in ARMS:
        yield (f"`{arm}`", *(told(at.loc[(arm, name)]) for name in asked))


def standing(found: pd.DataFrame) -> Iterator[Sequence[str]]:
    """Give how many of the components are told from 0, and how large the others can be, in points."""
    rows = found[found["contrast"] == "in tuned"]
    for arm in ARMS:
        cells = [f"`{arm}`"]
        for part in PARTS:
            mine = rows[(rows["arm"] == arm) & (rows["measure"] == part)]
            left = mine[mine["p_family"] >= LEVEL]
            most = "" if left.empty else f"; the rest at most {short(100 * left['bound'].max(), 2)}"
            seen = "" if left.empty else f" (could be seen: {short(100 * left['detectable'].max(), 2)})"
            cells.append(f"{len(mine) - len(left)} of {len(mine)}{most}{seen}")
        yield cells


def numbers(found: pd.DataFrame, decided: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Give the numbers of the prose by key."""
    for row in found[found["component"] == ""].to_dict("records"):
        key = f"{row['contrast']} {row['arm']} {row['layer']} {row['measure']}"
        if row["contrast"] == "rank correlation":
            ends = f"[{number(row['low'], 2)}, {number(row['high'], 2)}]"
            yield key, f"{signed(row['estimate'], 2)} {ends}"
        else:
            yield key, told(row)
    for row in found[(found["component"] != "") & (found["arm"] == "rl-win")].to_dict("records"):
        yield f"{row['contrast']} rl-win {row['component']} {row['measure']}", told(row)
    yield "seeds", str(int(found["seeds"].max()))
    yield from of_scores(decided)
