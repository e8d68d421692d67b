"""The tables, single numbers and picture of docs/findings/many-moves.md, from its record.

The record is made by `score.py`, and printed by
`python examples/pages.py --blocks docs/findings/many-moves.md`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from takeback.draw.curves import Axes, Point, Series, line_plot
from takeback.draw.markdown import slug, table
from takeback.draw.numbers import ABSENT, at_most, interval, number, percent, signed
from takeback.run.stats import seeds_estimate
from takeback.run.tables import read_table
from takeback.study.conjectures.markdown import of_conjectures, of_scores

ARMS = ("base", "rl-games", "rl-near", "rl-win", "rft-win")
ENDS = ("rl-near, end", "rl-win, end")
MEASURES = {
    "KL from base": "KL from base, nats",
    "mates within 6, perfect": "mates within 6, best defender",
    "mates within 6, random": "mates within 6, random defender",
    "mates as fast as can be, perfect": "mates as fast as can be",
    "ends illegal, perfect": "games ended by an illegal answer",
    "ends draw, perfect": "games in which the win was thrown away",
    "utility win": "utility of winning, single moves",
    "legal": "legal mass",
    "signed pursuit share, if legal": "pursuit share of the change",
    "MEG over 3 moves, if legal": "MEG over 3 moves, nats",
    "paid a move over 3 moves, if legal": "utility paid a move, over 3 moves",
    "adaptation: capture": "adaptation to captures",
    "adaptation: stalemate": "adaptation to stalemates",
    "probe board": "probe: board",
    "probe mate in one": "probe: mate in one",
    "probe better move": "probe: better move",
    "probe mate within 3": "probe: mate within 3",
}
MATES = "mates within 6, perfect"
BEST = "mass on the fastest mates"
ILLEGAL = "ends illegal, perfect"
CUTS = {
    (MATES, "lost by rl-games"): "games won, rl-games",
    (BEST, "lost by rl-games"): "mass on the fastest mates, rl-games",
    (BEST, "lost by rl-win"): "the same, rl-win",
    (BEST, "lost, games"): "difference",
    (ILLEGAL, "lost by rl-games"): "illegal ends, rl-games",
}
"""What the table of takebacks shows: measure and contrast, and the head of the column."""
LEVEL = 0.05


def blocks(record: Path) -> dict[str, str]:
    """Return Markdown by key."""
    measured = read_table(record / "measured.parquet")
    games = read_table(record / "games.parquet")
    found, decided = (read_table(record / f"{name}.parquet") for name in ("contrasts", "conjectures"))
    whole = found[found["component"] == ""]
    made = {
        "arms": table(("measure", *ARMS, *ENDS), arms(measured)),
        "contrasts": table(("measure", *HEADS.values()), contrasts(whole)),
        "farther": table(("moves from mate", *ARMS, *ENDS), by_distance(games)),
        "kinds": table(("games that end by", *ARMS), kinds(measured)),
        "learning": table(("run", *LEARNING), learning(read_table(record / "learning.parquet"))),
        "conjectures": of_conjectures(decided),
    }
    if (found["contrast"] == "lost by rl-games").any():
        made["takebacks"] = table(("taken back", *cuts_of(found).values()), takebacks(found))
    made |= {slug(key): text for key, text in told_of_cuts(found)} if "takebacks" in made else {}
    far = games[(games["measure"] == MATES) & (games["far"] > 3)].groupby("arm")["value"].mean()
    made |= {f"far-{slug(str(arm))}": percent(float(value)) for arm, value in far.items()}
    made |= {slug(key): text for key, text in told_of_runs(read_table(record / "learning.parquet"))}
    told = numbers(measured, whole, decided)
    return made | {slug(key): text for key, text in told}


HEADS = {
    "games": "rl-games − rl-win",
    "starts": "rl-near − rl-win",
    "whole": "rl-games − rl-near",
    "imitation": "rl-win − rft-win",
    "whole at the end": "rl-games − rl-near, end",
}


LEARNING = (
    "starts that teach, first sixth of steps",
    "last sixth",
    "games won in training, first sixth",
    "last sixth",
    "held-out mates before",
    "after",
    "after, 4 to 6 from mate",
)


def of(measured: pd.DataFrame, arm: str, measure: str) -> list[float]:
    """Return an arm's values of a measure, a number for each run."""
    rows = measured[(measured["arm"] == arm) & (measured["measure"] == measure)]
    return rows.sort_values("seed")["value"].tolist()


def mean(values: Sequence[float]) -> str:
    """Write the mean over runs with its interval over them."""
    if not all(math.isfinite(value) for value in values):
        return ABSENT
    found = seeds_estimate(values)
    return number(found.value) + (f" {interval(found.low, found.high)}" if len(values) > 1 else "")


def arms(measured: pd.DataFrame) -> Iterable[Sequence[str]]:
    """Give the mean of every measure over an arm's runs."""
    for measure, words in MEASURES.items():
        yield (words, *(mean(of(measured, arm, measure)) for arm in (*ARMS, *ENDS)))


def contrasts(whole: pd.DataFrame) -> Iterable[Sequence[str]]:
    """Give differences between arms, and of what is not told from 0 how large it can be."""
    at = whole.set_index(["contrast", "measure"])
    for measure, words in MEASURES.items():
        if measure != "KL from base":
            yield (words, *(difference(at.loc[(contrast, measure)]) for contrast in HEADS))


def difference(row: pd.Series) -> str:
    """Write a difference, or the bound on one that is not told from 0."""
    told = f"{signed(row['value'])} {interval(row['low'], row['high'])}"
    if row["p_family"] < LEVEL:
        return f"**{told}**, p {number(row['p_family'])}"
    return f"{told}, {at_most(row['bound'], row['detectable'])}"


def by_distance(games: pd.DataFrame) -> Iterable[Sequence[str]]:
    """Give the share of games won within six moves, by how far from mate they start."""
    won = games[(games["measure"] == MATES)]
    for far in sorted(won["far"].unique()):
        here = won[won["far"] == far]
        yield (
            str(far),
            *(percent(float(here.loc[here["arm"] == arm, "value"].mean())) for arm in (*ARMS, *ENDS)),
        )


def kinds(measured: pd.DataFrame) -> Iterable[Sequence[str]]:
    """Give the share of games that end by each kind of illegal answer; a kind that never came is 0."""
    rows = measured[measured["measure"].str.fullmatch(r"ends by .*, perfect")]
    runs = measured.groupby("arm")["seed"].nunique()
    sums = rows.groupby(["measure", "arm"])["value"].sum()
    order = sums.groupby("measure").sum().sort_values(ascending=False).index
    for measure in order:
        shares = (percent(float(sums.get((measure, arm), 0.0)) / int(runs[arm])) for arm in ARMS)
        yield (measure.removeprefix("ends by ").removesuffix(", perfect"), *shares)


def cuts_of(found: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return the columns of the table of takebacks that there are."""
    there = {*zip(found["measure"], found["contrast"], strict=True)}
    return {key: head for key, head in CUTS.items() if key in there}


def takebacks(found: pd.DataFrame) -> Iterable[Sequence[str]]:
    """Give what taking each set back loses, most of the mass on fastest mates of `rl-games` first."""
    shown = cuts_of(found)
    parts = found[found["component"] != ""].set_index(["measure", "contrast", "component"]).sort_index()
    order = parts.loc[(BEST, "lost by rl-games"), "value"].sort_values(ascending=False).index
    for name in order:
        cells: list[str] = []
        for measure, contrast in shown:
            row = parts.loc[(measure, contrast, name)]
            bold = "**" if row["p_family"] < LEVEL else ""
            cells.append(f"{bold}{signed(row['value'])} {interval(row['low'], row['high'])}{bold}")
        label = {"*": "everything"}.get(name, name if name.startswith("random") else f"`{name}`")
        yield (label, *cells)


def learning(found: pd.DataFrame) -> Iterable[Sequence[str]]:
    """Give of each kind of run on games what its first and last steps earned, and what it wins."""
    for name, rows in found.groupby("run", sort=False):
        cells: list[str] = []
        for measure in ("starts that teach", "games won"):
            steps = rows[(rows["when"] == "training") & (rows["measure"] == measure)].sort_values("step")
            few = len(steps) // 6
            cells += [percent(float(part["value"].mean())) for part in (steps[:few], steps[-few:])]
        won = rows[rows["measure"] == MATES]
        cells += [
            percent(float(won.loc[won["when"] == when, "value"].mean())) for when in ("before", "after")
        ]
        far = won[(won["when"] == "after") & (won["far"] >= 4)]
        yield (str(name), *cells, percent(float(far["value"].mean())))


def numbers(measured: pd.DataFrame, whole: pd.DataFrame, decided: pd.DataFrame) -> Iterable[tuple[str, str]]:
    """Give the numbers of the prose by key."""
    yield "runs", str(len(of(measured, "rl-games", MATES)))
    for arm in (*ARMS, *ENDS):
        for key, measure in {"mates": MATES, "illegal": "ends illegal, perfect"}.items():
            yield f"{key} {arm}", percent(mean_of(of(measured, arm, measure)))
        yield f"kl {arm}", number(mean_of(of(measured, arm, "KL from base")), 2)
    for row in whole.itertuples():
        yield f"{row.contrast}: {row.measure}", f"{signed(row.value)} {interval(row.low, row.high)}"
        yield f"{row.contrast}: {row.measure}: at most", at_most(row.bound, row.detectable)
        yield f"{row.contrast}: {row.measure}: p", number(row.p_family)
    yield "least p", number(whole["p_family"].min())
    yield "probe base", percent(mean_of(of(measured, "base", "probe mate within 3")))
    yield from of_scores(decided)


def told_of_cuts(found: pd.DataFrame) -> Iterable[tuple[str, str]]:
    """Give what single components lose: how many do, which most, and in how many the arms differ."""
    single = found[~found["kind"].isin(["", "all", "random"])]
    for key, measure in {"best": BEST, "mates": MATES, "illegal": ILLEGAL}.items():
        for contrast in ("lost by rl-games", "lost by rl-win", "lost, games"):
            rows = single[(single["measure"] == measure) & (single["contrast"] == contrast)]
            if rows.empty:
                continue
            told, about = rows[rows["p_family"] < LEVEL], f"cut {key} {contrast}"
            most = rows.loc[rows["value"].abs().idxmax()]
            yield f"{about}: told", str(len(told))
            yield f"{about}: of", str(len(rows))
            yield f"{about}: which", f"`{most['component']}`"
            yield f"{about}: most", f"{signed(most['value'])} {interval(most['low'], most['high'])}"
            yield f"{about}: at most", at_most(float(rows["bound"].max()), float(rows["detectable"].max()))
        whole = found[(found["component"] == "*") & (found["measure"] == measure)].set_index("contrast")
        for contrast, row in whole.iterrows():
            yield f"cut {key} {contrast}: everything", signed(row["value"])


def told_of_runs(found: pd.DataFrame) -> Iterable[tuple[str, str]]:
    """Give of each kind of run on games how many starts teach at first, and what it wins before and after."""
    for name, rows in found.groupby("run", sort=False):
        steps = rows[(rows["when"] == "training") & (rows["measure"] == "starts that teach")]
        first = steps.sort_values("step").head(len(steps) // 6)
        yield f"{name}: starts that teach", percent(float(first["value"].mean()))
        won = rows[rows["measure"] == MATES].groupby("when")["value"].mean()
        yield from ((f"{name}: {when}", percent(float(value))) for when, value in won.items())


def mean_of(values: Sequence[float]) -> float:
    """Return a mean."""
    return sum(values) / len(values)


def picture(games: pd.DataFrame) -> str:
    """Draw the share of games that are won by how far from mate they start."""
    won = games[(games["measure"] == MATES)]
    series: list[Series] = []
    for place, arm in enumerate((*ARMS, ENDS[0])):
        points: list[Point] = []
        for far in sorted(won["far"].unique()):
            here = won[(won["far"] == far) & (won["arm"] == arm)].groupby("seed")["value"].mean()
            found = seeds_estimate(here.tolist())
            points.append(Point(float(far), found.value, found.low, found.high, f"{arm}, {far} from mate"))
        series.append(Series(place - 1, tuple(points), dashed=arm in ENDS, name=arm))
    axes = Axes("moves from mate at the start", (0.0,), write_y=percent, x_ticks=tuple(range(1, 7)))
    return line_plot(series, axes, "Games won within six moves against the best defender, by start")
