"""What each takeback does: heat maps of single components, the extremes, illegal answers, tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from takeback.component import Component
from takeback.draw.heatmap import Cell, Ends, heat_map, limit_of
from takeback.draw.numbers import ABSENT, count, interval, number, percent, short
from takeback.draw.page import Figure, Table
from takeback.report.forests import effect_scatter, set_forest, verb
from takeback.report.record import Arm, Record
from takeback.report.rows import DIRECTIONS, ILLEGAL, KL, TAKE_BACK, Effect
from takeback.report.trained import base_reading, measured_readings
from takeback.report.view import MANY, SINGLES, Gain, by_set, gain_of, main_measures, mean, told, tooltip

MOST = 5
"""Components in each half of the table of extremes."""

MOST_SETS = 160
"""Sets that the table lists: those with the largest effect."""

_LEAST_RISE = 0.00005
"""What is written as at least 0.01 points."""

Sets = dict[tuple[str, str], tuple[Effect, ...]]


@dataclass(frozen=True)
class ArmTakebacks:
    """What takebacks of one arm do; `maps` has a row of figures for each direction."""

    arm: Arm
    maps: tuple[tuple[Figure, ...], ...]
    forests: tuple[Figure, ...]
    more_forests: tuple[Figure, ...]
    scatters: tuple[Figure, ...]
    harmful: Table | None
    freeing: Table | None
    chance: str
    illegal: Table | None
    sets: Table


def takebacks(record: Record) -> tuple[ArmTakebacks, ...]:
    """Tell for every arm what taking back and grafting does."""
    return tuple(_arm(record, arm) for arm in record.arms)


def singles_of(record: Record, arm: Arm, direction: str, measure: str) -> Sets:
    """Return the effects of single heads, MLPs or units."""
    rows = by_set(record.effects_of(arm, direction, measure))
    return {key: effects for key, effects in rows.items() if key[0] in SINGLES}


def _arm(record: Record, arm: Arm) -> ArmTakebacks:
    gain = gain_of(record, arm)
    own, *others = main_measures(record, arm)
    singles = singles_of(record, arm, TAKE_BACK, arm.measure)
    ranked = sorted(singles.values(), key=lambda rows: mean(row.effect for row in rows))
    down = [rows for rows in ranked if mean(row.effect for row in rows) < 0][:MOST]
    up = [rows for rows in reversed(ranked) if mean(row.effect for row in rows) > 0][:MOST]
    return ArmTakebacks(
        arm=arm,
        maps=tuple(_maps(record, arm, direction, gain) for direction in DIRECTIONS) if singles else (),
        forests=tuple(set_forest(record, arm, direction, own, gain) for direction in DIRECTIONS),
        more_forests=tuple(
            set_forest(record, arm, direction, measure, None)
            for measure in others
            for direction in DIRECTIONS
        ),
        scatters=tuple(effect_scatter(record, arm, direction) for direction in DIRECTIONS),
        harmful=_extremes(down, gain) if down else None,
        freeing=_extremes(up, gain) if up else None,
        chance=_chance(record, list(singles.values())),
        illegal=_illegal(record, arm) if record.terms.legality else None,
        sets=_sets(record, arm, gain),
    )


def _maps(record: Record, arm: Arm, direction: str, gain: Gain) -> tuple[Figure, ...]:
    figures: list[Figure] = []
    for measure in main_measures(record, arm):
        both = [singles_of(record, arm, each, measure.name) for each in DIRECTIONS]
        limit = limit_of(mean(row.effect for row in rows) for sets in both for rows in sets.values())
        shown_gain = gain if measure.name == arm.measure else None
        cells = {
            _place(rows[0]): Cell(
                value := mean(row.effect for row in rows),
                tooltip(rows, shown_gain, brief=len(both[0]) > MANY),
                short(measure.factor * value, measure.digits, sign=measure.diverging),
            )
            for rows in both[DIRECTIONS.index(direction)].values()
        }
        most = short(measure.factor * limit, measure.digits, sign=measure.diverging)
        ends = Ends(limit, most, f"−{most[1:]}" if measure.diverging and limit else "0")
        scale = "diverging" if measure.diverging else "sequential"
        picture = heat_map(
            cells, ends, scale, f"{arm.name}, {measure.title}, single components {verb(arm, direction)}"
        )
        figures.append(Figure.of(f"{measure.title[0].upper()}{measure.title[1:]}", picture))
    return tuple(figures)


def _place(row: Effect) -> Component:
    """Return the square of a single component; an MLP of several components (experts) has the MLP's."""
    first = Component.parse(row.components.split()[0].replace("*", "0"))
    return first if row.n_components == 1 else Component("MLP", first.layer)


def _extremes(ranked: Sequence[Sequence[Effect]], gain: Gain) -> Table:
    rows: list[tuple[str, ...]] = []
    for effects in ranked:
        clear = sum(row.excludes_zero for row in effects)
        verdict = ("yes" if clear else "no") if len(effects) == 1 else f"{clear} of {len(effects)} seeds"
        share = effects[0].delta_share
        rows.append((effects[0].set, told(effects), verdict, percent(gain.share(effects)), percent(share)))
    head = (
        "component",
        "effect [95% interval]",
        "excludes 0",
        "share of the gain taken back",
        "share of ‖Δ‖²",
    )
    return Table(head, tuple(rows), words=("component", "excludes 0"))


def _chance(record: Record, singles: Sequence[Sequence[Effect]]) -> str:
    """Say how many intervals exclude 0, and how many would if nothing did anything."""
    flat = [row for rows in singles for row in rows]
    if not flat:
        return f"No single {record.terms.parts} were taken back in this run."
    clear = sum(row.excludes_zero for row in flat)
    by_chance = number(0.05 * len(flat), 0 if len(flat) >= 10 else 1)
    return (
        f"Of {count(len(flat), 'single takeback')}, {clear} {'has' if clear == 1 else 'have'} an interval "
        f"that excludes 0; about {by_chance} would by chance alone if none had any effect. "
        "The extremes of many are partly luck: read them as candidates."
    )


def _illegal(record: Record, arm: Arm) -> Table:
    """Tell for every class of illegal answers where takebacks raise its mass most."""
    classes = dict.fromkeys(row.measure for row in record.effects if row.measure.startswith(ILLEGAL))
    rows: list[tuple[str, ...]] = []
    for measure in classes:
        every = record.effects_of(arm, TAKE_BACK, measure)
        sets = by_set(every)
        real = [effects for effects in sets.values() if not effects[0].is_control]
        top = max(real, key=lambda effects: mean(row.effect for row in effects))
        control = max(row.effect for row in every if row.is_control)
        base, tuned = base_reading(record, measure), measured_readings(record, arm, measure)
        rises = mean(row.effect for row in top) >= _LEAST_RISE
        rows.append(
            (
                measure.removeprefix(ILLEGAL),
                percent(base.value, 2) if base else ABSENT,
                percent(mean(row.value for row in tuned), 2) if tuned else ABSENT,
                top[0].set if rises else "none raises it",
                _points(top) if rises else ABSENT,
                short(100 * control, 2, sign=True) if control >= _LEAST_RISE else "none",
            )
        )
    head = (
        "class",
        "base",
        "tuned",
        "raised most by taking back",
        "by, in points [95% interval]",
        "largest rise by a random set",
    )
    return Table(head, tuple(rows), words=("class", "raised most by taking back"))


def _points(rows: Sequence[Effect]) -> str:
    """Write a change of a probability in percentage points."""
    values = [100 * row.effect for row in rows]
    middle = short(mean(values), 2, sign=True)
    if len(rows) > 1:
        return f"{middle} (seeds {short(min(values), 2, sign=True)} to {short(max(values), 2, sign=True)})"
    if rows[0].low is None or rows[0].high is None:
        return f"{middle} {interval(None, None)}"
    return f"{middle} [{short(100 * rows[0].low, 2)}, {short(100 * rows[0].high, 2)}]"


def _sets(record: Record, arm: Arm, gain: Gain) -> Table:
    back, forth = (by_set(record.effects_of(arm, direction, arm.measure)) for direction in DIRECTIONS)
    far = by_set(record.effects_of(arm, TAKE_BACK, KL))
    rows: list[tuple[str, ...]] = []
    largest = sorted(back, key=lambda key: -max(abs(row.effect) for row in back[key]))[:MOST_SETS]
    shown = [key for key in back if key in set(largest)]
    for key in shown:
        effects = back[key]
        grafted = forth.get(key, ())
        rows.append(
            (
                key[1],
                key[0],
                number(effects[0].parameters, 0),
                percent(effects[0].delta_share),
                told(effects),
                percent(gain.share(effects)),
                told(grafted),
                percent(gain.share(grafted)),
                number(mean(row.effect for row in far[key])) if key in far else ABSENT,
            )
        )
    head = (
        "set", "family", "parameters", "of ‖Δ‖²", "taken back [95% interval]", "share of the gain taken back",
        "grafted [95% interval]", "share of the gain brought", "KL when taken back",
    )  # fmt: skip
    return Table(head, tuple(rows), words=("set", "family"))
