"""What each takeback does: heat maps of single components, the extremes, illegal answers, tables."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from takeback.draw.columns import Column, table_of
from takeback.draw.heatmap import Cell, Ends, heat_map, limit_of
from takeback.draw.numbers import ABSENT, at_most, count, interval, listing, number, percent, short
from takeback.draw.page import Figure, Section, Table
from takeback.measure.shift import KL
from takeback.report.effects import (
    MANY,
    ArmGain,
    Drawn,
    by_set,
    gain_of,
    main_measures,
    mean,
    singles_of,
    told,
    tooltip,
)
from takeback.report.forests import effect_scatter, set_forest, verb
from takeback.report.legend import swatch
from takeback.report.record import Arm, Record
from takeback.report.rows import DIRECTIONS, TAKE_BACK, Effect
from takeback.report.words import takeback_words

MOST = 5
"""Components in each half of the table of extremes."""

MOST_SETS = 160
"""Sets that the table lists: those with the largest effect."""

_LEAST_RISE = 0.00005
"""What is written as at least 0.01 points."""

_INTRO = Markup(
    "<em>Taking back</em> a set puts its base weights into tuned: the effect is relative to tuned and "
    "tells what tuned loses (or gains) without that part of training. <em>Grafting</em> puts its tuned "
    "weights into base: the effect is relative to base and tells what this part brings alone. Random sets "
    "go through the same door; they are drawn in grey wherever sets are compared. Every set is called by "
    "its components, as <code>--take-back</code> reads them."
)


def takebacks(record: Record) -> Section:
    """Tell for every arm what taking back and grafting does."""
    arms = tuple(_arm(record, arm) for arm in record.arms)
    return Section("What each takeback does", (_INTRO,), inside=arms, name="takebacks")


def _arm(record: Record, arm: Arm) -> Section:
    gain = gain_of(record, arm)
    singles = singles_of(record, arm, TAKE_BACK, arm.measure)
    parts = [
        *(_maps(record, arm, direction, gain) for direction in DIRECTIONS if singles),
        _forests(record, arm, gain),
        _scatters(record, arm),
        _ranked(record, arm, gain),
        _illegal(record, arm) if record.legality else None,
        _sets(record, arm, gain),
    ]
    return Section(
        Markup("{} {}").format(swatch(arm.place), arm.name),
        takeback_words(record, arm),
        inside=tuple(filter(None, parts)),
        name=f"takebacks-{arm.place + 1}",
    )


def _forests(record: Record, arm: Arm, gain: ArmGain) -> Section:
    """Draw sets of several components beside random sets."""
    own, *others = main_measures(record, arm)
    each = ", one for each seed" if record.several_seeds else ""
    note = (
        f"Points are sets with 95% intervals{each}. Grey lines are the random sets that match the set by "
        "size or by ‖Δ‖, and the grey band is their range: a point inside the band does no more than a "
        "random set of its kind. A set without grey is a single component, or no other choice of "
        "components has its size."
    )
    more = tuple(
        set_forest(record, arm, direction, measure, None) for measure in others for direction in DIRECTIONS
    )
    names = ["legality"] if record.legality else []
    names += [one.name for one in others if one.own]
    names.append("KL divergence")
    kl = (
        "KL(hybrid ‖ side it was made from), in nats. It can’t be negative, so its intervals never include 0."
    )
    return Section(
        "Sets beside random sets",
        figures=tuple(set_forest(record, arm, direction, own, gain) for direction in DIRECTIONS),
        notes=(note,),
        inside=(Section(f"The same sets on {listing(names)}", (), more, notes=(kl,), closed=True),),
    )


def _scatters(record: Record, arm: Arm) -> Section:
    """Draw effects against the size of the change."""
    marks = "Circles: units." if record.network else "Circles: heads. Squares: MLPs."
    each = " Coloured marks are means over seeds; each random set is of one seed." * record.several_seeds
    note = (
        f"{marks} Diamonds: larger sets. Hollow grey: random sets.{each} If the effect followed the size of "
        "the change alone, all would lie on one curve."
    )
    return Section(
        "Effect against the size of the change",
        figures=tuple(effect_scatter(record, arm, direction) for direction in DIRECTIONS),
        notes=(note,),
    )


def _ranked(record: Record, arm: Arm, gain: ArmGain) -> Section:
    """List the single components whose takeback harms and frees most."""
    singles = singles_of(record, arm, TAKE_BACK, arm.measure)
    ranked = sorted(singles.values(), key=lambda rows: mean(row.effect for row in rows))
    down = [rows for rows in ranked if mean(row.effect for row in rows) < 0][:MOST]
    up = [rows for rows in reversed(ranked) if mean(row.effect for row in rows) > 0][:MOST]
    tables = [_extremes(name, rows, gain) for name, rows in (("harmful", down), ("freeing", up)) if rows]
    none = [
        f"No single takeback {verb} the utility of {arm.goal}."
        for verb, rows in (("lowers", down), ("raises", up))
        if not rows
    ]
    words = (*none, _chance(record, list(singles.values())))
    return Section("Most harmful and most freeing to take back", words, tables=tuple(tables))


def _maps(record: Record, arm: Arm, direction: str, gain: ArmGain) -> Section:
    means = " Squares show the mean over seeds." * record.several_seeds
    note = (
        "Orange: the measure falls. Blue: it rises. A measure has the same scale whether parts are taken "
        f"back or grafted. Hover over a square for its number.{means}"
    )
    done = "taken back from tuned" if direction == TAKE_BACK else f"grafted onto {arm.start}"
    figures = tuple(_map(record, arm, direction, measure, gain) for measure in main_measures(record, arm))
    notes = (note,) if direction == TAKE_BACK else ()
    return Section(f"Single {record.parts}, {done}", figures=figures, notes=notes)


def _map(record: Record, arm: Arm, direction: str, measure: Drawn, gain: ArmGain) -> Figure:
    both = [singles_of(record, arm, each, measure.name) for each in DIRECTIONS]
    limit = limit_of(mean(row.effect for row in rows) for sets in both for rows in sets.values())
    shown_gain = gain if measure.name == arm.measure else None
    cells = {
        record.square(rows[0]): Cell(
            value := mean(row.effect for row in rows),
            tooltip(rows, shown_gain, brief=len(both[0]) > MANY),
            short(measure.factor * value, measure.digits, sign=measure.diverging),
        )
        for rows in both[DIRECTIONS.index(direction)].values()
    }
    most = short(measure.factor * limit, measure.digits, sign=measure.diverging)
    ends = Ends(limit, most, f"−{most[1:]}" if measure.diverging and limit else "0")
    scale = "diverging" if measure.diverging else "sequential"
    label = f"{arm.name}, {measure.title}, single components {verb(arm, direction)}"
    title = f"{measure.title[0].upper()}{measure.title[1:]}"
    return Figure.of(title, heat_map(cells, ends, scale, label))


def _extremes(name: str, ranked: Sequence[Sequence[Effect]], gain: ArmGain) -> Table:
    return table_of(
        [{"effects": effects, "first": effects[0]} for effects in ranked],
        Column(f"most {name}", lambda row: row.components, "first", words=True),
        Column("effect [95% interval]", told, "effects"),
        Column("excludes 0", _clear, "effects", words=True),
        Column("share of the gain taken back", lambda rows: percent(gain.share(rows)), "effects"),
        Column("share of ‖Δ‖²", lambda row: percent(row.delta_share), "first"),
    )


def _clear(effects: Sequence[Effect]) -> str:
    clear = sum(row.excludes_zero for row in effects)
    return ("yes" if clear else "no") if len(effects) == 1 else f"{clear} of {len(effects)} seeds"


def _chance(record: Record, singles: Sequence[Sequence[Effect]]) -> str:
    """Say how many intervals exclude 0, and how many would if nothing did anything."""
    flat = [row for rows in singles for row in rows]
    if not flat:
        return f"No single {record.parts} were taken back in this run."
    clear = sum(row.excludes_zero for row in flat)
    by_chance = number(0.05 * len(flat), 0 if len(flat) >= 10 else 1)
    ends = [
        abs(end) for row in flat if not row.excludes_zero for end in (row.low, row.high) if end is not None
    ]
    others = f" The others are {at_most(max(ends))}." if ends else ""
    return (
        f"Of {count(len(flat), 'single takeback')}, {clear} {'has' if clear == 1 else 'have'} an interval "
        f"that excludes 0; about {by_chance} would by chance alone if none had any effect.{others} "
        "The extremes of many are partly luck: read them as candidates."
    )


def _illegal(record: Record, arm: Arm) -> Section:
    """Tell for every class of illegal answers where takebacks raise its mass most."""
    measured = {row.measure for row in record.effects}
    classes = {
        one.name: str(one.kind) for one in record.measures.values() if one.is_of_kind and one.name in measured
    }
    rows: list[tuple[str, ...]] = []
    for measure, kind in classes.items():
        every = record.effects_of(arm, TAKE_BACK, measure)
        sets = by_set(every)
        real = [effects for effects in sets.values() if not effects[0].is_control]
        top = max(real, key=lambda effects: mean(row.effect for row in effects))
        control = max(row.effect for row in every if row.is_control)
        base, tuned = record.base_reading(measure), record.measured_readings(arm, measure)
        rises = mean(row.effect for row in top) >= _LEAST_RISE
        rows.append(
            (
                kind,
                percent(base.value, 2) if base else ABSENT,
                percent(mean(row.value for row in tuned), 2) if tuned else ABSENT,
                top[0].components if rises else "none raises it",
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
    title = "Illegal answers that appear when things are taken back"
    if not rows:
        return Section(title, ("The record has no classes of illegal answers.",))
    note = (
        "Mass of each class of illegal answers, and the set whose takeback raises it most; the random sets "
        "stand beside it."
    )
    return Section(
        title, (note,), tables=(Table(head, tuple(rows), ("class", "raised most by taking back")),)
    )


def _points(rows: Sequence[Effect]) -> str:
    """Write a change of a probability in percentage points."""
    values = [100 * row.effect for row in rows]
    middle = short(mean(values), 2, sign=True)
    if len(rows) > 1:
        return f"{middle} (seeds {short(min(values), 2, sign=True)} to {short(max(values), 2, sign=True)})"
    if rows[0].low is None or rows[0].high is None:
        return f"{middle} {interval(None, None)}"
    return f"{middle} [{short(100 * rows[0].low, 2)}, {short(100 * rows[0].high, 2)}]"


def _sets(record: Record, arm: Arm, gain: ArmGain) -> Section:
    back, forth = (by_set(record.effects_of(arm, direction, arm.measure)) for direction in DIRECTIONS)
    far = by_set(record.effects_of(arm, TAKE_BACK, KL.name))
    largest = set(sorted(back, key=lambda key: -max(abs(row.effect) for row in back[key]))[:MOST_SETS])
    rows = [
        {"first": back[key][0], "back": back[key], "forth": forth.get(key, ()), "far": far.get(key, ())}
        for key in back
        if key in largest
    ]
    table = table_of(
        rows,
        Column("set", lambda row: row.title, "first", words=True),
        Column("family", lambda row: row.family, "first", words=True),
        Column("parameters", lambda row: number(row.parameters, 0), "first"),
        Column("of ‖Δ‖²", lambda row: percent(row.delta_share), "first"),
        Column("taken back [95% interval]", told, "back"),
        Column("share of the gain taken back", lambda rows: percent(gain.share(rows)), "back"),
        Column("grafted [95% interval]", told, "forth"),
        Column("share of the gain brought", lambda rows: percent(gain.share(rows)), "forth"),
        Column("KL when taken back", _average, "far"),
    )
    cut = f"The {MOST_SETS} sets with the largest effects; the others are in effects/."
    words = (cut,) if len(back) > MOST_SETS else ()
    return Section("Set by set, taken back and grafted", words, tables=(table,), closed=True)


def _average(rows: Sequence[Effect]) -> str:
    return number(mean(row.effect for row in rows)) if rows else ABSENT
