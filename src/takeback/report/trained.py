"""What was trained and how well it learned: arms, learning curves, rewards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from takeback.draw.curves import Axes, Point, Series, line_plot, moving_average
from takeback.draw.numbers import ABSENT, interval, number, signed
from takeback.draw.page import Figure, Table
from takeback.report.record import Arm, Record
from takeback.report.rows import BASE, KL, LEGAL, Reading, Shift
from takeback.report.terms import trained_by
from takeback.report.view import EACH_SEED
from takeback.run.stats import seeds_estimate

SMOOTH = 10
"""Steps over which rewards are averaged."""

APART = 4
"""Arms whose numbers of steps differ by more than this factor are drawn over their share of training."""


@dataclass(frozen=True)
class Trained:
    """The first section; `absent` says what the record has not."""

    arms: Table
    curves: tuple[Figure, ...]
    rewards: tuple[Figure, ...]
    notes: tuple[str, ...]
    logged: str
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
        notes=_notes(record),
        logged=" ".join(_logged(record)),
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
    return _readings(record, arm, measure, lambda row: row.last)


def measured_readings(record: Record, arm: Arm, measure: str) -> list[Reading]:
    """Return a measure of the policies that were taken apart, by seed; the final ones, or a snapshot each."""
    return _readings(record, arm, measure, lambda row: row.last if row.measured is None else row.measured)


def _readings(record: Record, arm: Arm, measure: str, wanted: Callable[[Reading], bool]) -> list[Reading]:
    rows = [r for r in record.readings if r.arm == arm.name and r.measure == measure and wanted(r)]
    return sorted(rows, key=lambda row: row.seed)


def _measures(record: Record) -> dict[str, str]:
    """Return the measures of policies that are told, and how they are called."""
    told = {f"utility {goal}": f"utility {goal}" for goal in goals_of(record)}
    return {**told, LEGAL: "legal mass"} if record.terms.legality else told


def _arms(record: Record) -> Table:
    measures = _measures(record)
    rows: list[tuple[str, ...]] = [
        ("base", "where all arms start", ABSENT, ABSENT, *_base_cells(record, list(measures)))
    ]
    for arm in record.arms:
        steps, rate = arm.recipe.get("steps"), arm.recipe.get("learning_rate")
        settings = (str(steps) if steps else ABSENT, f"{rate:g}" if rate else ABSENT)
        for name, seeds in _named_seeds(arm):
            shifts = (
                _shifted([row for row in record.shifts_of(arm, measure) if row.seed in seeds], signed)
                for measure in measures
            )
            moved = _shifted([row for row in record.shifts_of(arm, KL) if row.seed in seeds], number)
            rows.append((name, trained_by(arm), *settings, *shifts, moved))
    head = (
        "arm",
        "trained by",
        "steps",
        "learning rate",
        *measures.values(),
        "KL from base" if all(arm.start == BASE for arm in record.arms) else "KL from its start",
    )
    return Table(head, tuple(rows), words=("arm", "trained by"))


def _named_seeds(arm: Arm) -> list[tuple[str, tuple[int, ...]]]:
    """Return the rows that an arm has: one for each of a few seeds, one for all of many."""
    if len(arm.seeds) > EACH_SEED:
        return [(f"{arm.name}, mean of {len(arm.seeds)} seeds", arm.seeds)]
    if len(arm.seeds) == 1:
        return [(arm.name, arm.seeds)]
    return [(f"{arm.name}, seed {seed}", (seed,)) for seed in arm.seeds]


def _shifted(rows: Sequence[Shift], write: Callable[[float], str]) -> str:
    """Write a change with its interval: over situations of one run, over training runs of several."""
    if not rows:
        return ABSENT
    if len(rows) == 1:
        return f"{write(rows[0].effect)} {interval(rows[0].low, rows[0].high)}"
    mean = seeds_estimate([row.effect for row in rows])
    return f"{write(mean.value)} {interval(mean.low, mean.high)}"


def _base_cells(record: Record, measures: Sequence[str]) -> tuple[str, ...]:
    cells: list[str] = []
    for measure in measures:
        row = base_reading(record, measure)
        cells.append(f"{number(row.value)} {interval(row.low, row.high)}" if row else ABSENT)
    return (*cells, ABSENT)


def _curves(record: Record) -> tuple[Figure, ...]:
    axis = "share of the arm's training" if _apart(record) else "training step"
    figures: list[Figure] = []
    for measure in _measures(record):
        title = f"U{measure[1:]}" if measure != LEGAL else f"Mass on legal {record.terms.action}s"
        title = title.replace("Utility ", "Utility of ")
        series = [
            Series(arm.place, (*_start(record, arm, seed, measure), *points))
            for arm in record.arms
            for seed in arm.seeds
            if (points := _learned(record, arm, seed, measure))
        ]
        if series:
            figures.append(Figure.of(title, line_plot(series, Axes(axis), f"{title} over training")))
    return tuple(figures)


def _apart(record: Record) -> bool:
    """Tell whether arms count so different steps, as actions and batches, that one axis can't hold them."""
    steps = [_steps(record, arm) for arm in record.arms]
    return max(steps) > APART * min(steps)


def _steps(record: Record, arm: Arm) -> int:
    return max((row.step for row in record.readings if row.arm == arm.name), default=0) or 1


def _start(record: Record, arm: Arm, seed: int, measure: str) -> list[Point]:
    """Return where a curve begins: at base, or at the end of the arm that it starts from."""
    if arm.start == BASE:
        row = base_reading(record, measure)
    else:
        parent = next(other for other in record.arms if other.name == arm.start)
        row = next((row for row in last_readings(record, parent, measure) if row.seed == seed), None)
    return [_point(row, 0, arm.start)] if row else []


def _learned(record: Record, arm: Arm, seed: int, measure: str) -> list[Point]:
    rows = [
        row
        for row in record.readings
        if row.arm == arm.name and row.seed == seed and row.measure == measure and row.step > 0
    ]
    whole = _steps(record, arm) if _apart(record) else 1
    return [
        _point(row, row.step / whole, f"{arm.name}, seed {seed}")
        for row in sorted(rows, key=lambda row: row.step)
    ]


def _point(row: Reading, at: float, name: str) -> Point:
    title = f"{name}, step {row.step}: {number(row.value)} {interval(row.low, row.high)}"
    return Point(at, row.value, row.low, row.high, title)


def _notes(record: Record) -> tuple[str, ...]:
    """Say what a reader of the curves has to know."""
    notes: list[str] = []
    if _apart(record):
        told = ", ".join(f"{arm.name} {_steps(record, arm):,}" for arm in record.arms)
        agents = " An agent’s steps are actions in the environment, others’ are batches."
        mixed = len({arm.method == "agent" for arm in record.arms}) > 1
        notes.append(f"Arms have very different numbers of steps: {told}.{agents if mixed else ''}")
    if late := [arm for arm in record.arms if arm.start != BASE]:
        told = ", ".join(f"{arm.name} at the end of {arm.start}" for arm in late)
        notes.append(f"Curves begin at base, but for {told}.")
    return tuple(notes)


def _logged(record: Record) -> list[str]:
    """Say what trainers log, for the methods of this record."""
    methods = {arm.method for arm in record.arms}
    said: list[str] = []
    if methods & {"rl", "rft"}:
        rule = (
            "0 for an illegal answer, 0.2 + 0.8 · utility for a legal one"
            if record.terms.legality
            else "0.2 + 0.8 · utility"
        )
        by_chance = [arm.name for arm in record.arms if arm.method == "rl" and arm.ignores_output]
        chance = f"; for {', '.join(by_chance)} a random number" if by_chance else ""
        games = [arm.name for arm in record.arms if arm.recipe.get("horizon")]
        whole = f"; for {', '.join(games)} what a whole game is worth" if games else ""
        own = "RL and fine-tuning on own answers" if "rft" in methods else "RL"
        said.append(f"{own}: the reward ({rule}{chance}{whole}).")
    if "agent" in methods:
        said.append(
            "Agents: the mean return of recent episodes, where the trainer logged it; otherwise the "
            "algorithm’s loss, which need not fall as the agent learns."
        )
    if methods - {"rl", "rft", "agent"}:
        said.append("Other arms: the loss.")
    return said


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
