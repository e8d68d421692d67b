"""What can be grasped in ten seconds: a picture for each arm and three plain sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from markupsafe import Markup

from takeback.draw.colour import arm_colour
from takeback.draw.forest import Dot
from takeback.draw.heatmap import Cell
from takeback.draw.numbers import count, listing, number, percent, short, signed
from takeback.draw.page import Figure, Section
from takeback.draw.undone import Undone, undone_map
from takeback.report.effects import (
    ArmGain,
    as_telling,
    by_set,
    controls_of,
    controls_told,
    gain_of,
    mean,
    most_telling,
    most_telling_single,
    singles_of,
    tooltip,
)
from takeback.report.record import Arm, Record
from takeback.report.rows import GRAFT, TAKE_BACK, Effect
from takeback.report.words import summary

MANY_ARMS = 6
"""Arms that are drawn; of more, those that gained most."""

LAYERS = "each layer"
"""The family of sets that hold a layer each."""


def opening(record: Record) -> Section:
    """Draw each arm's gain and what takes it away, and say it in three sentences."""
    arms = record.arms
    note = (
        f"Taking back puts base weights into tuned. Squares are single {record.parts}, bars whole layers, "
        "grey lines random sets that match a layer; all are shares of the gain. Names can be given to "
        "--take-back."
    )
    if len(arms) > MANY_ARMS:
        arms = tuple(sorted(arms, key=lambda arm: -abs(_gained(record, arm)))[:MANY_ARMS])
        note += f" Of {len(record.arms)} arms those {MANY_ARMS} are drawn whose measure changed most."
    whole = Section("The whole summary", summary(record), name="summary", closed=True)
    return Section(
        "",
        tuple(_marked(record, told) for told in (_learned(record), _undone(record), _alone(record)) if told),
        tuple(figure for arm in arms if (figure := _figure(record, arm))),
        notes=(note,),
        inside=(whole,),
    )


def _gained(record: Record, arm: Arm) -> float:
    gain = gain_of(record, arm)
    return gain.mean if gain.by_seed else 0.0


def _figure(record: Record, arm: Arm) -> Figure | None:
    """Draw an arm's gain and what takebacks undo of it: shares where the gain is clear, else changes."""
    shifts = record.shifts_of(arm, arm.measure)
    if not shifts:
        return None
    gain = gain_of(record, arm)
    after = mean(row.value for row in shifts)
    ends = (
        Dot(after - gain.mean, None, None, f"{arm.start} {number(after - gain.mean)}"),
        Dot(after, None, None, f"{arm.name} {number(after)}, {signed(gain.mean)}"),
    )
    layers = _layers(record, arm, gain)
    heading = "whole layer, of the gain" if gain.told else "whole layer, change"
    label = f"{arm.name}: gain in the utility of {arm.goal}, and what taking back undoes of it"
    title = Markup("{}, {}: utility of {}").format(_name(arm), arm.sentence, arm.goal)
    unclear = "" if gain.told else "The change can’t be told from 0, so there is no share of it."
    return Figure.of(title, undone_map(ends, layers, arm.place, heading, label), unclear)


def _layers(record: Record, arm: Arm, gain: ArmGain) -> list[Undone]:
    every = record.effects_of(arm, TAKE_BACK, arm.measure)
    cells: dict[int, dict[str, Cell]] = {}
    for rows in singles_of(record, arm, TAKE_BACK, arm.measure).values():
        place = record.square(rows[0])
        if place.layer is not None:
            value = mean(_undoes(rows, gain))
            name = place.within
            lost = -value if gain.told else value
            cells.setdefault(place.layer, {})[name] = Cell(lost, tooltip(rows, gain), _written(value, gain))
    wholes = {
        record.square(rows[0]).layer: rows for (family, _), rows in by_set(every).items() if family == LAYERS
    }
    found = {layer for layer in (*cells, *wholes) if layer is not None}
    return [
        _layer(layer, cells.get(layer, {}), wholes.get(layer, ()), (every, gain)) for layer in sorted(found)
    ]


def _layer(
    layer: int, cells: dict[str, Cell], rows: Sequence[Effect], about: tuple[Sequence[Effect], ArmGain]
) -> Undone:
    """Draw a layer: its squares, and beside its random sets what all of it does."""
    every, gain = about
    if not rows:
        return Undone(f"L{layer}", cells)
    controls = controls_of(rows, every)
    values = _undoes(rows, gain)
    if len(rows) > 1:
        low, high = min(values), max(values)
    else:
        low, high = _interval(rows[0], gain)
    whole = Dot(mean(values), low, high, tooltip(rows, gain))
    told = controls_told(controls, gain)
    return Undone(
        rows[0].components, cells, whole, _written(whole.value, gain), tuple(_undoes(controls, gain)), told
    )


def _undoes(rows: Iterable[Effect], gain: ArmGain) -> list[float]:
    """Return what takebacks undo of a clear gain; without one by how much they change the measure."""
    return [-row.effect / gain.by_seed[row.seed] if gain.told else row.effect for row in rows]


def _interval(row: Effect, gain: ArmGain) -> tuple[float | None, float | None]:
    if row.low is None or row.high is None:
        return None, None
    if not gain.told:
        return row.low, row.high
    ends = sorted((-row.low / gain.by_seed[row.seed], -row.high / gain.by_seed[row.seed]))
    return ends[0], ends[1]


def _written(value: float, gain: ArmGain) -> str:
    return percent(value) if gain.told else short(value, 3, sign=True)


def _learned(record: Record) -> str:
    """Say by how much each goal's utility rose, in which arm."""
    parts: list[str] = []
    for goal in dict.fromkeys(arm.goal for arm in record.arms):
        arms = [arm for arm in record.arms if arm.goal == goal and gain_of(record, arm).by_seed]
        for verb, sign in (("rose", 1), ("fell", -1)):
            moved = [(arm, sign * gain_of(record, arm).mean) for arm in arms if gain_of(record, arm).told]
            some = [(arm, size) for arm, size in moved if size > 0]
            if some:
                parts.append(f"the utility of {goal} {verb} by {_each(record, some, number)}")
        unclear = [arm.name for arm in arms if not gain_of(record, arm).told]
        if unclear:
            parts.append(f"{listing(unclear)} did not measurably change that of {goal}")
    told = "; ".join(parts)
    return f"{told[0].upper()}{told[1:]}." if told else ""


def _undone(record: Record) -> str:
    """Say which layer or set undoes most of what each arm gained, and whether random sets do as much."""
    best = _best(record, TAKE_BACK)
    if not best:
        return ""
    beyond = [arm.name for arm, rows, _ in best if _beyond(record, arm, rows)]
    if len(beyond) == len(best):
        beside = "more than any random set that matches it"
    elif beyond:
        beside = f"more than any random set that matches it in {listing(beyond)}, but not in the others"
    else:
        beside = "no more than some random set that matches it"
    return f"Taking back {_by_set(record, best, 'undoes', ' of the gain')}: {beside}."


def _alone(record: Record) -> str:
    """Say how little any single component undoes, and what one set alone brings."""
    shares = [gain_of(record, arm).share(most_telling_single(record, arm)) for arm in record.arms]
    singles = [share for share in shares if share is not None]
    best = _best(record, GRAFT)
    said = [f"no single {record.part} undoes more than {percent(max(0.0, *singles))}"] if singles else []
    if best:
        said.append(f"grafted onto what the arm started from, {_by_set(record, best, 'alone brings')}")
    told = "; ".join(said)
    return f"{told[0].upper()}{told[1:]}." if told else ""


def _best(record: Record, direction: str) -> list[tuple[Arm, tuple[Effect, ...], float]]:
    """Return, of each arm with a clear gain, the set that undoes or brings most, and its share."""
    found = [(arm, most_telling(record, arm, direction)) for arm in record.arms]
    shares = [(arm, rows, gain_of(record, arm).share(rows)) for arm, rows in found]
    return [(arm, rows, share) for arm, rows, share in shares if share is not None]


def _beyond(record: Record, arm: Arm, rows: Sequence[Effect]) -> bool:
    controls = controls_of(rows, record.effects_of(arm, TAKE_BACK, arm.measure))
    return bool(controls) and as_telling(rows, controls) == 0


def _by_set(
    record: Record, best: Sequence[tuple[Arm, Sequence[Effect], float]], verb: str, of: str = ""
) -> str:
    """Say what share each set has in which arm; arms with the same set stand together."""
    groups: dict[str, list[tuple[Arm, float]]] = {}
    for arm, rows, share in best:
        groups.setdefault(rows[0].components, []).append((arm, share))
    ofs = [of, *("" for _ in groups)]
    return listing(
        [
            f"{name} {verb} {_each(record, some, percent, of)}"
            for (name, some), of in zip(groups.items(), ofs, strict=False)
        ]
    )


def _each(
    record: Record, values: Sequence[tuple[Arm, float]], write: Callable[[float], str], of: str = ""
) -> str:
    """Say a value of each arm, the first with what it is `of`; of many arms the least and the most."""
    if len(record.arms) == 1:
        return f"{write(values[0][1])}{of}"
    if len(values) > MANY_ARMS:
        least, most = (write(pick(value for _, value in values)) for pick in (min, max))
        return f"{least} to {most}{of} in {count(len(values), 'arm')}"
    first, *others = values
    told = [f"{write(first[1])}{of} in {first[0].name}"]
    return listing([*told, *(f"{write(value)} in {arm.name}" for arm, value in others)])


def _marked(record: Record, sentence: str) -> Markup:
    """Write the names of arms in their colours; a goal may have the name of an arm and is left as it is."""
    arms = {arm.name: arm for arm in record.arms}
    either = "|".join(map(re.escape, sorted(arms, key=len, reverse=True)))
    parts = re.split(rf"(?<!utility of )(?<!that of )(?<![\w-])({either})(?![\w-])", sentence)
    return Markup("").join(_name(arms[part]) if part in arms else part for part in parts)


def _name(arm: Arm) -> Markup:
    return Markup('<strong style="color:{}">{}</strong>').format(arm_colour(arm.place), arm.name)
