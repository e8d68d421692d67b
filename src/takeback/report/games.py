"""How the games ended: mates in chess, returns in an environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from takeback.draw.curves import Axes, Point, Series, line_plot
from takeback.draw.numbers import ABSENT, count, interval, number, percent, short
from takeback.draw.page import Figure, Table
from takeback.draw.svg import tick_text
from takeback.report.record import Arm, Record
from takeback.report.rows import BASE, Game
from takeback.run.stats import Estimate, mean_estimate, proportion_interval

CHESS = ("mate", "draw", "illegal", "unfinished")
EPISODES = ("ended", "truncated", "illegal", "unfinished")
"""How a game ends in chess, and an episode in an environment."""


@dataclass(frozen=True)
class Games:
    """The games of all policies; `mates` is there where one mated."""

    title: str
    table: Table
    mates: Figure | None
    notes: tuple[str, ...]


def games(record: Record) -> Games | None:
    """Tell how games ended, None where none were played."""
    if not record.games:
        return None
    if record.terms.environment:
        return Games("Episodes", _episodes(record, record.games), None, _episode_notes(record))
    mates = _mates(record, record.games)
    note = (
        "Each game starts from a won position. “In the fewest moves”: mated as fast as the position allows. "
        "Mates have Wilson’s 95% interval over games."
    )
    none = () if mates else ("No policy mated in any game, so there is no curve of mates.",)
    return Games("Games against the best defender", _chess(record, record.games), mates, (*none, note))


def games_words(record: Record, arm: Arm) -> str:
    """Say in a sentence how an arm's games ended, beside those of its start; empty where none were played."""
    start, ours = ([g for g in record.games or () if g.arm == name] for name in (arm.start, arm.name))
    if not start or not ours:
        return ""
    if record.terms.environment:
        return (
            f"It has {_played(ours, 'a mean return of ', 'episodes end by themselves')}, with "
            f"{number(_length(ours), 1)} actions on average ({arm.start}: {_played(start)}, "
            f"{number(_length(start), 1)} actions)."
        )
    mates, before = (f"{percent(_share(g, 'mate'))} of {count(len(g), 'game')}" for g in (ours, start))
    return f"Against the best defender it mates in {mates}; {arm.start} in {before}."


def _played(games: Sequence[Game], worth: str = "", ending: str = "end") -> str:
    mean = _return(games)
    told = f"{worth}{_estimated(mean)}; " if mean else ""
    return f"{told}{percent(_share(games, 'ended'))} of its {len(games)} {ending}"


def _share(played: Sequence[Game], result: str) -> float:
    return sum(game.result == result for game in played) / len(played)


def _length(played: Sequence[Game]) -> float:
    return sum(game.moves for game in played) / len(played)


def _return(played: Sequence[Game]) -> Estimate | None:
    """Return the mean of the returns, None where a run did not keep them."""
    scores = [game.score for game in played if game.score is not None]
    return mean_estimate(scores) if len(scores) == len(played) else None


def _estimated(mean: Estimate) -> str:
    if mean.low is None or mean.high is None:
        return f"{number(mean.value)} {interval(None, None)}"
    return f"{number(mean.value)} [{short(mean.low, 3)}, {short(mean.high, 3)}]"


def _episodes(record: Record, games: Sequence[Game]) -> Table:
    results = [r for r in EPISODES if r != "illegal" or any(game.result == r for game in games)]
    rows: list[tuple[str, ...]] = []
    for name, _, played in _policies(record, games):
        mean = _return(played)
        rows.append(
            (
                name,
                str(len(played)),
                _estimated(mean) if mean else ABSENT,
                number(_length(played), 1),
                *(percent(_share(played, result)) for result in results),
            )
        )
    return Table(
        ("policy", "episodes", "mean return [95% interval]", "mean length", *results),
        tuple(rows),
        ("policy",),
    )


def _episode_notes(record: Record) -> tuple[str, ...]:
    most = record.plan.get("moves")
    limit = f"after {count(int(most), 'action')}" if most else "at the run's limit"
    kept = (
        ""
        if any(game.score is not None for game in record.games or ())
        else ("This run did not keep the returns.",)
    )
    return (
        "Each episode goes on from a held-out situation, with actions drawn from the policy. The return is "
        "the environment’s own reward from there on, whatever an arm’s goal; its interval is Student’s, over "
        f"episodes. Ended: by the environment. Truncated: by its time limit. Unfinished: stopped {limit}.",
        *kept,
    )


def _policies(record: Record, games: Sequence[Game]) -> list[tuple[str, int, list[Game]]]:
    """Return name, place (−1: base) and games of every policy, base first."""
    found = [("base", -1, [game for game in games if game.arm == BASE])]
    for arm in record.arms:
        for seed in arm.seeds:
            name = arm.name if len(arm.seeds) == 1 else f"{arm.name}, seed {seed}"
            found.append((name, arm.place, [g for g in games if g.arm == arm.name and g.seed == seed]))
    return [policy for policy in found if policy[2]]


def _chess(record: Record, games: Sequence[Game]) -> Table:
    rows: list[tuple[str, ...]] = []
    for name, _, played in _policies(record, games):
        results = [
            sum(game.result == result for game in played)
            for result in ("mate", "draw", "illegal", "unfinished")
        ]
        low, high = proportion_interval(results[0], len(played))
        late = [g.moves - g.best for g in played if g.result == "mate" and g.best is not None]
        rows.append(
            (
                name,
                str(len(played)),
                f"{percent(results[0] / len(played))} [{percent(low)}, {percent(high)}]",
                percent(sum(extra <= 0 for extra in late) / len(played))
                if late or not results[0]
                else ABSENT,
                number(sum(late) / len(late), 1) if late else ABSENT,
                *(percent(result / len(played)) for result in results[1:]),
            )
        )
    head = (
        "policy",
        "games",
        "mates",
        "in the fewest moves",
        "moves lost per mate",
        "draws",
        "illegal",
        "unfinished",
    )
    return Table(head, tuple(rows), words=("policy",))


def _mates(record: Record, games: Sequence[Game]) -> Figure | None:
    if not any(game.result == "mate" for game in games):
        return None
    most = int(record.plan.get("moves") or max(game.moves for game in games))
    series: list[Series] = []
    for name, place, played in _policies(record, games):
        points: list[Point] = []
        for n in range(most + 1):
            mated = sum(game.result == "mate" and game.moves <= n for game in played)
            low, high = proportion_interval(mated, len(played))
            share = f"{percent(mated / len(played))} [{percent(low)}, {percent(high)}]"
            title = f"{name}: {share} of {count(len(played), 'game')} mated within {count(n, 'move')}"
            points.append(Point(n, mated / len(played), title=title))
        series.append(Series(place, tuple(points), mark_every=5))
    axes = Axes(
        "White's moves", (0.0,), write_y=lambda value: percent(value, 0) if value <= 1 else tick_text(value)
    )
    return Figure.of(
        "Games mated within N moves", line_plot(series, axes, "Share of games mated within N moves")
    )
