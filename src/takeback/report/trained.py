"""What was trained and how well it learned: arms, learning curves, rewards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from takeback.draw.curves import Axes, Point, Series, line_plot, moving_average
from takeback.draw.numbers import ABSENT, interval, listing, number, signed
from takeback.draw.page import Figure, Section, Table, named
from takeback.measure.shift import KL
from takeback.measure.standard import LEGAL, utility
from takeback.report.agency import agency
from takeback.report.effects import EACH_SEED
from takeback.report.games import games, games_words
from takeback.report.legend import legend
from takeback.report.record import Arm, Record
from takeback.report.rows import BASE, Reading, Shift
from takeback.report.words import change
from takeback.run.stats import seeds_estimate

SMOOTH = 10
"""Steps over which rewards are averaged."""

APART = 4
"""Arms whose numbers of steps differ by more than this factor are drawn over their share of training."""


def trained(record: Record) -> Section:
    """Tell what was trained and how well it learned."""
    late = [arm for arm in record.arms if arm.start != BASE]
    told = [(arm.name, _legality(record, arm), games_words(record, arm)) for arm in record.arms]
    arms = Section(
        "The arms",
        tuple(named(name, " ".join(filter(None, words))) for name, *words in told if any(words)),
        tables=(_arms(record),),
    )
    parts = (arms, _learning(record), _training(record), games(record), agency(record))
    return Section(
        "What was trained, and how well it learned",
        (_intro(record, late),),
        notes=(*(_relative(arm) for arm in late), *_absent(record)),
        inside=tuple(filter(None, parts)),
        name="trained",
    )


def _intro(record: Record, late: Sequence[Arm]) -> Markup:
    illegal = ", with illegal answers counted as 0" if record.legality else ""
    start = "what the arm started from" if late else "base"
    return Markup(
        "An <em>arm</em> is one way of training from the same base. The utility of a goal lies between 0 "
        "and 1, a reward where its function puts it; each is the mean over held-out situations{}. In the row "
        "of the base are values, in the others the change from {}, paired by situation, with its 95% "
        "interval; of more than three seeds the mean, with its interval over training runs."
    ).format(illegal, start)


def _relative(arm: Arm) -> str:
    return (
        f"{arm.name} starts from the final model of {arm.start} with the same seed. All of its effects, and "
        f"Δ, are relative to that: what is called its base weights are those of {arm.start}."
    )


def _absent(record: Record) -> list[str]:
    """Say what the record has not."""
    absent = [
        f"No training log of {arm.name}, seed {seed}, is in this record."
        for arm in record.arms
        for seed in arm.seeds
        if not record.logs[arm.name, seed]
    ]
    if record.games is None:
        absent.append(f"No {record.words.game}s were played in this run.")
    return absent


def _legality(record: Record, arm: Arm) -> str:
    shifts = record.shifts_of(arm, LEGAL.name) if record.legality else ()
    return f"the mass on legal {record.words.action}s went {change(shifts)}." if shifts else ""


def _learning(record: Record) -> Section:
    """Draw what held-out situations say at each snapshot."""
    curves = _curves(record)
    if not curves:
        note = "The record has no readings after base, so there are no learning curves."
        return Section("Learning", notes=(note,))
    each = "; each seed is a curve of its own" if record.several_seeds else ""
    note = (
        "Held-out situations, read at the start (step 0), at each snapshot and after the last step. Whiskers "
        f"are 95% intervals over situations{each}."
    )
    return Section("Learning", (legend(record),), curves, notes=(note, *_notes(record)))


def _training(record: Record) -> Section | None:
    """Draw what trainers logged."""
    figures = tuple(figure for arm in record.arms for figure in _rewards(record, arm))
    if not figures:
        return None
    logs: dict[str, list[str]] = {}
    for arm in record.arms:
        logs.setdefault(arm.logs, []).append(arm.name)
    told = [f"{listing(arms)}: {what}." for what, arms in logs.items()]
    illegal = ["An illegal answer’s reward is 0."] if record.legality else []
    drawn = f"Faint: every entry. Strong: the mean of the last {SMOOTH}."
    return Section("What the trainers logged", (*told, *illegal), figures, notes=(drawn,))


def _measures(record: Record) -> dict[str, str]:
    """Return the measures of policies that are told, and how they are called."""
    told = {name: name for name in (utility(goal).name for goal in record.goals)}
    return {**told, LEGAL.name: "legal mass"} if record.legality else told


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
            moved = _shifted([row for row in record.shifts_of(arm, KL.name) if row.seed in seeds], number)
            rows.append((name, arm.trained_by, *settings, *shifts, moved))
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
        row = record.base_reading(measure)
        cells.append(f"{number(row.value)} {interval(row.low, row.high)}" if row else ABSENT)
    return (*cells, ABSENT)


def _curves(record: Record) -> tuple[Figure, ...]:
    axis = "share of the arm's training" if _apart(record) else "training step"
    figures: list[Figure] = []
    titles = {utility(goal).name: f"Utility of {goal}" for goal in record.goals}
    for measure in _measures(record):
        title = titles.get(measure, f"Mass on legal {record.words.action}s")
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
        row = record.base_reading(measure)
    else:
        parent = next(other for other in record.arms if other.name == arm.start)
        row = next((row for row in record.last_readings(parent, measure) if row.seed == seed), None)
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
        told = ", ".join(f"{arm.name} {_steps(record, arm):,} {arm.steps}" for arm in record.arms)
        notes.append(f"Arms have very different numbers of steps: {told}.")
    if late := [arm for arm in record.arms if arm.start != BASE]:
        told = ", ".join(f"{arm.name} at the end of {arm.start}" for arm in late)
        notes.append(f"Curves begin at base, but for {told}.")
    return tuple(notes)


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
