"""What was trained and how well it learned: arms, learning curves, rewards, games."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from takeback.draw.curves import Axes, Point, Series, line_plot, moving_average
from takeback.draw.numbers import ABSENT, count, interval, number, percent
from takeback.draw.page import Figure, Table
from takeback.draw.svg import tick_text
from takeback.report.record import Arm, Record
from takeback.report.rows import BASE, Game, Reading
from takeback.report.view import KL, LEGAL, told
from takeback.stats import proportion_interval

SMOOTH = 10
"""Steps over which rewards are averaged."""

METHODS = {"rl": "RL (GRPO)", "sft": "SFT on best actions"}


@dataclass(frozen=True)
class Trained:
    """The first section; `absent` says what the record has not."""

    arms: Table
    curves: tuple[Figure, ...]
    rewards: tuple[Figure, ...]
    games: Table | None
    mates: Figure | None
    absent: tuple[str, ...]


def trained(record: Record) -> Trained:
    """Tell what was trained and how well it learned."""
    absent = [
        f"No training log of {arm.name}, seed {seed}, is in this record."
        for arm in record.arms
        for seed in arm.seeds
        if not record.logs[arm.name, seed]
    ]
    if record.games is None:
        absent.append("No games were played in this run.")
    return Trained(
        arms=_arms(record),
        curves=_curves(record),
        rewards=tuple(figure for arm in record.arms for figure in _rewards(record, arm)),
        games=_games(record, record.games) if record.games else None,
        mates=_mates(record, record.games) if record.games else None,
        absent=tuple(absent),
    )


def goals_of(record: Record) -> list[str]:
    """Return the goals that some arm trains for, in the order of the plan."""
    return list(dict.fromkeys(arm.goal for arm in record.arms))


def base_reading(record: Record, measure: str) -> Reading | None:
    """Return a measure of the base, or None where it was not read."""
    rows = (row for row in record.readings if row.arm == BASE and row.measure == measure)
    return next(rows, None)


def last_readings(record: Record, arm: Arm, measure: str) -> list[Reading]:
    """Return a measure of an arm's final policies, by seed."""
    rows = [r for r in record.readings if r.arm == arm.name and r.measure == measure and r.last]
    return sorted(rows, key=lambda row: row.seed)


def _arms(record: Record) -> Table:
    goals = goals_of(record)
    rows: list[tuple[str, ...]] = [
        ("base", "where all arms start", ABSENT, ABSENT, *_base_cells(record, goals))
    ]
    for arm in record.arms:
        for seed in arm.seeds:
            name = arm.name if len(arm.seeds) == 1 else f"{arm.name}, seed {seed}"
            how = f"{METHODS.get(arm.method, arm.method)}, goal: {arm.goal}"
            shifts = [
                told([row for row in record.shifts_of(arm, measure) if row.seed == seed])
                for measure in (*(f"utility {goal}" for goal in goals), LEGAL)
            ]
            distance = [row for row in record.shifts_of(arm, KL) if row.seed == seed]
            moved = (
                f"{number(distance[0].effect)} {interval(distance[0].low, distance[0].high)}"
                if distance
                else ABSENT
            )
            steps, rate = arm.recipe.get("steps"), arm.recipe.get("learning_rate")
            settings = (str(steps) if steps else ABSENT, f"{rate:g}" if rate else ABSENT)
            rows.append((name, how, *settings, *shifts, moved))
    head = (
        "arm",
        "trained by",
        "steps",
        "learning rate",
        *(f"utility {goal}" for goal in goals),
        "legal mass",
        "KL from base",
    )
    return Table(head, tuple(rows), words=("arm", "trained by"))


def _base_cells(record: Record, goals: Sequence[str]) -> tuple[str, ...]:
    cells: list[str] = []
    for measure in (*(f"utility {goal}" for goal in goals), LEGAL):
        row = base_reading(record, measure)
        cells.append(f"{number(row.value)} {interval(row.low, row.high)}" if row else ABSENT)
    return (*cells, ABSENT)


def _curves(record: Record) -> tuple[Figure, ...]:
    measures = [(f"utility {goal}", f"Utility of {goal}") for goal in goals_of(record)]
    figures: list[Figure] = []
    for measure, title in (*measures, (LEGAL, "Mass on legal moves")):
        start = base_reading(record, measure)
        first = [_reading_point(start, "base")] if start else []
        series = [
            Series(arm.place, (*first, *points))
            for arm in record.arms
            for seed in arm.seeds
            if (points := _learned(record, arm, seed, measure))
        ]
        if series:
            figures.append(
                Figure.of(title, line_plot(series, Axes("training step"), f"{title} over training"))
            )
    return tuple(figures)


def _learned(record: Record, arm: Arm, seed: int, measure: str) -> list[Point]:
    rows = [
        row
        for row in record.readings
        if row.arm == arm.name and row.seed == seed and row.measure == measure and row.step > 0
    ]
    return [_reading_point(row, f"{arm.name}, seed {seed}") for row in sorted(rows, key=lambda row: row.step)]


def _reading_point(row: Reading, name: str) -> Point:
    title = f"{name}, step {row.step}: {number(row.value)} {interval(row.low, row.high)}"
    return Point(row.step, row.value, row.low, row.high, title)


def _rewards(record: Record, arm: Arm) -> list[Figure]:
    quantity = "reward" if any(row.get("reward") is not None for row in _all_logs(record, arm)) else "loss"
    series: list[Series] = []
    for seed in arm.seeds:
        rows = [row for row in record.logs[arm.name, seed] if row.get(quantity) is not None]
        steps, values = [row["step"] for row in rows], [float(row[quantity]) for row in rows]
        if not values:
            continue
        series.append(Series(arm.place, tuple(map(Point, steps, values)), quiet=True, mark_every=0))
        smooth = moving_average(values, SMOOTH)
        series.append(Series(arm.place, tuple(map(Point, steps, smooth)), mark_every=0))
    if not series:
        return []
    title = f"{arm.name}: training {quantity}"
    return [Figure.of(title, line_plot(series, Axes("training step"), title))]


def _all_logs(record: Record, arm: Arm) -> list[dict[str, object]]:
    return [dict(row) for seed in arm.seeds for row in record.logs[arm.name, seed]]


def _policies(record: Record, games: Sequence[Game]) -> list[tuple[str, int, list[Game]]]:
    """Return name, place (−1: base) and games of every policy, base first."""
    found = [("base", -1, [game for game in games if game.arm == BASE])]
    for arm in record.arms:
        for seed in arm.seeds:
            name = arm.name if len(arm.seeds) == 1 else f"{arm.name}, seed {seed}"
            found.append((name, arm.place, [g for g in games if g.arm == arm.name and g.seed == seed]))
    return [policy for policy in found if policy[2]]


def _games(record: Record, games: Sequence[Game]) -> Table:
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
