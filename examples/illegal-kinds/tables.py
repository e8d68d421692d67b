"""The tables, single numbers and picture of docs/findings/illegal-kinds.md, from its record.

The record is made by `score.py`, and printed by
`python examples/pages.py --blocks docs/findings/illegal-kinds.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from takeback.draw.grid import grid
from takeback.draw.heatmap import Cell, Ends
from takeback.draw.markdown import slug, table
from takeback.draw.numbers import interval, number, percent, short, signed
from takeback.run.tables import read_table
from takeback.study.conjectures.markdown import of_conjectures, of_scores

KINDS = (
    "geometry",
    "empty-square",
    "own-piece",
    "blocked",
    "in-check",
    "promotion",
    "unparsable",
    "opponent-piece",
)
SHORT = dict(
    zip(KINDS, ("geom.", "empty", "own", "blocked", "check", "letter", "no move", "enemy"), strict=True)
)
"""Headings of the picture."""
ARMS = ("rl-win", "rl-corner", "rft-win", "sft-win", "sft-shuffled")
KIN = ("rl-win", "rft-win", "sft-win")
"""The arms that were trained to win."""
SINGLES = ("each head", "each mlp", "by name")
LEVEL = 0.05
DRAWN = ("rl-win", "sft-win", "sft-shuffled")


def blocks(record: Path) -> dict[str, str]:
    """Return Markdown by key."""
    found, told, levels, decided = (
        read_table(record / f"{name}.parquet") for name in ("effects", "contrasts", "levels", "conjectures")
    )
    made = {
        "levels": table(("points of mass", "base", *(f"`{arm}`" for arm in ARMS)), of_levels(levels)),
        "layers": table(("taken back", "legal", *KINDS[:6]), of_sets(found, ("each layer",))),
        "singles": table(("arm", "set", "kind", "moves it by", "more than its like", "p"), standing(found)),
        "identified": table(("arm", *METHODS.values(), "closer by"), of_identified(told)),
        "crossing": table(("found in, by profiles of", *(f"`{arm}`" for arm in ARMS)), of_crossing(told)),
        "rest": table(
            ("arm", "cells", "from 0", "from its like", "bound of the rest", "could be seen"), rest(found)
        ),
        "conjectures": of_conjectures(decided),
    }
    return made | {slug(key): text for key, text in numbers(found, told, levels, decided)}


def points(value: float, digits: int = 2) -> str:
    """Write a mass in points."""
    return short(100 * value, digits, sign=True)


def between(low: float, high: float, digits: int = 2) -> str:
    """Write an interval in points."""
    return f"[{short(100 * low, digits)}, {short(100 * high, digits)}]"


def estimate(row: Any, digits: int = 2) -> str:
    """Write an effect in points with its interval."""
    return f"{points(row.effect, digits)} {between(row.low, row.high, digits)}"


def of_levels(levels: pd.DataFrame) -> Iterator[Sequence[str]]:
    """Give the mass of each kind in base and in tuned."""
    at = levels.set_index(["arm", "side", "measure"])["value"]
    for measure in ("legal", *KINDS):
        tuned = (short(100 * at[arm, "tuned", measure], 3) for arm in ARMS)
        yield (measure, short(100 * at[ARMS[0], "base", measure], 3), *tuned)


def of_sets(found: pd.DataFrame, families: Sequence[str]) -> Iterator[Sequence[str]]:
    """Give what taking sets of some families back does, by arm."""
    at = found.set_index(["arm", "set", "measure"])
    for arm in ARMS:
        names = found[(found["arm"] == arm) & found["family"].isin(families)]["set"].unique()
        for name in names:
            cells = [marked(at.loc[(arm, name, measure)]) for measure in ("legal", *KINDS[:6])]
            yield (f"`{arm}`: {name}", *cells)


def marked(row: pd.Series) -> str:
    """Write an effect, in bold where it stands out from sets alike."""
    text = f"{points(row['effect'])} {between(row['low'], row['high'])}"
    return f"**{text}**" if row["p_alike"] < LEVEL else text


def standing(found: pd.DataFrame) -> Iterator[Sequence[str]]:
    """Give the single components that move a kind otherwise than their like, largest of each arm first."""
    rows = found[found["family"].isin(SINGLES) & (found["p_alike"] < LEVEL)]
    for arm in ARMS:
        mine = rows[rows["arm"] == arm].sort_values("more", key=abs, ascending=False)
        for row in mine.head(6).itertuples():
            yield (
                f"`{arm}`",
                row.set,
                row.measure,
                estimate(row, 3),
                points(row.more, 3),
                number(row.p_alike),
            )


METHODS = {
    "direction": "direction",
    "total": "total alone",
    "profile": "both",
    "beyond the total": "beyond the total",
    "direction, kinds alike": "direction, kinds weighed alike",
}


def of_identified(told: pd.DataFrame) -> Iterator[Sequence[str]]:
    """Give how often a profile finds its set."""
    at = told.set_index(["contrast", "arm", "measure"])
    for arm in ARMS:
        rows = [at.loc[("identification", arm, name)] for name in METHODS]
        near = at.loc[("closeness", arm, "cosine")]
        shares = [
            f"{percent(one.estimate)} [{percent(one.low)}, {percent(one.high)}] (p {number(one.p)})"
            for one in rows
        ]
        close = (
            f"{signed(near['estimate'], 2)} {interval(near['low'], near['high'], 2)} (p {number(near['p'])})"
        )
        yield (f"`{arm}`", *shares, close)


def of_crossing(told: pd.DataFrame) -> Iterator[Sequence[str]]:
    """Give how often the profiles of one arm find the sets of another."""
    at = told[told["measure"] == "direction"].set_index(["contrast", "arm"])["estimate"]
    for arm in ARMS:
        name = {other: "identification" if other == arm else f"identification from {other}" for other in ARMS}
        yield (f"`{arm}`", *(percent(at[name[other], arm]) for other in ARMS))


def rest(found: pd.DataFrame) -> Iterator[Sequence[str]]:
    """Give how many cells stand out, and how large those that don't can be, in points."""
    rows = found[found["family"].isin(SINGLES) & found["measure"].isin(KINDS)]
    for arm in ARMS:
        mine = rows[rows["arm"] == arm]
        left = mine[mine["p_family"] >= LEVEL]
        from_0, from_like = ((mine[column] < LEVEL).sum() for column in ("p_family", "p_alike"))
        yield (
            f"`{arm}`",
            str(len(mine)),
            str(from_0),
            f"{from_like} of {mine['p_alike'].notna().sum()}",
            number(100 * left["bound"].max(), 3),
            number(100 * left["detectable"].max(), 3),
        )


def numbers(
    found: pd.DataFrame, told: pd.DataFrame, levels: pd.DataFrame, decided: pd.DataFrame
) -> Iterator[tuple[str, str]]:
    """Give the numbers of the prose by key."""
    for row in found[found["set"].isin(["base", "L0", "L1", "L2", "L3"])].itertuples():
        yield (
            f"{row.arm} {row.set} {row.measure}",
            f"{points(row.effect)} {interval(100 * row.low, 100 * row.high, 2)}",
        )
    for row in told.itertuples():
        text = percent(row.estimate) if "closeness" not in row.contrast else signed(row.estimate, 2)
        yield f"{row.contrast} {row.arm} {row.measure}", text
        ends = f"[{percent(row.low)}, {percent(row.high)}]"
        yield f"{row.contrast} {row.arm} {row.measure} interval", ends
    yield "seeds", str(levels["seeds"].max())
    for row in levels.itertuples():
        yield f"level {row.arm} {row.side} {row.measure}", short(100 * row.value, 2)
    likely = found[found["family"].isin(SINGLES) & found["measure"].isin(KINDS)]
    yield "cells", str(len(likely))
    yield "from 0", str((likely["p_family"] < LEVEL).sum())
    yield "from its like", str((likely["p_alike"] < LEVEL).sum())
    yield "tested against its like", str(likely["p_alike"].notna().sum())
    heads = likely[(likely["family"] == "each head") & (likely["arm"] == "rl-win")]
    yield "most a head of rl-win brings", points(heads["effect"].max(), 3)
    yield "most a head of rl-win could bring", points(heads["high"].max(), 3)
    far = told[told["contrast"].str.startswith("identification from")]
    kin = far["arm"].isin(KIN) & far["contrast"].str.removeprefix("identification from ").isin(KIN)
    yield "crossing kin", f"{percent(far[kin]['estimate'].min())} to {percent(far[kin]['estimate'].max())}"
    yield (
        "crossing others",
        f"{percent(far[~kin]['estimate'].min())} to {percent(far[~kin]['estimate'].max())}",
    )
    for method in METHODS:
        own = told[(told["contrast"] == "identification") & (told["measure"] == method)]["estimate"]
        yield f"{method} found", f"{percent(own.min())} to {percent(own.max())}"
    shares = told[told["contrast"] == "explained by the total"]["estimate"]
    yield "total least", percent(shares.min())
    yield "total most", percent(shares.max())
    yield from of_scores(decided)


def picture(found: pd.DataFrame) -> str:
    """Draw what taking single components back does to each kind, by arm, as a share of the arm's largest."""
    groups: dict[str, list[str]] = {}
    cells: dict[tuple[str, str], Cell] = {}
    framed: list[tuple[str, str]] = []
    for arm in DRAWN:
        rows = found[(found["arm"] == arm) & found["family"].isin(SINGLES) & found["measure"].isin(KINDS)]
        largest = rows["effect"].abs().max()
        groups[arm] = [f"{name} {' ' * DRAWN.index(arm)}" for name in rows["set"].unique()]
        for row in rows.itertuples():
            key = (f"{row.set} {' ' * DRAWN.index(arm)}", SHORT[row.measure])
            title = f"{arm}, {row.set} taken back: {row.measure} {estimate(row, 3)} points"
            cells[key] = Cell(row.effect / largest, title)
            if row.p_alike < LEVEL:
                framed.append(key)
    ends = Ends(1.0, "brings", "takes")
    return grid(
        groups,
        list(SHORT.values()),
        cells,
        ends,
        framed,
        "what taking a component back does to kinds of illegal moves",
    )
