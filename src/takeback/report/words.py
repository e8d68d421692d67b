"""Sentences made from the numbers; nulls and noise are said as plainly as gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from takeback.draw.numbers import count, interval, listing, number, percent, signed
from takeback.report.effects import (
    ArmGain,
    as_telling,
    controls_of,
    gain_of,
    mean,
    most_telling,
    most_telling_single,
    singles_of,
    told,
)
from takeback.report.record import Arm, Record
from takeback.report.rows import DIRECTIONS, GRAFT, TAKE_BACK, Effect, Shift, excludes_zero

MANY_CONTRASTS = 8
"""Sentences about contrasts that the summary repeats."""

MANY_ARMS = 6
"""Arms of more than so many are not told one by one in the summary: the first table has them."""


def summary(record: Record) -> tuple[str, ...]:
    """Say in a paragraph what was done and what came out, and in another what contrasts come to."""
    arms = [f"{arm.name} ({arm.described})" for arm in record.arms]
    seeds = len(record.arms[0].seeds)
    n = max((row.n for row in record.shifts), default=0)
    opening = (
        f"From one base, {record.base}, {count(len(arms), 'arm')} "
        f"{'was' if len(arms) == 1 else 'were'} trained with {count(seeds, 'seed')} each: {listing(arms)}. "
        f"Every policy and every takeback was read on the same {count(n, 'held-out situation')}; brackets "
        f"are 95% intervals over situations, not over training runs.{_matched(record)}"
    )
    each = [
        Markup("<strong>{}</strong> {}").format(arm.name, _learned(record, arm) + _undone(record, arm))
        for arm in record.arms
    ]
    return Markup(" ").join([opening, *(each if len(each) <= MANY_ARMS else [])]), *_whose(record)


def _matched(record: Record) -> str:
    """Say where arms were measured, if not at their last step."""
    wanted = record.plan.get("measure_at")
    if not isinstance(wanted, Mapping):
        return ""
    return (
        f" Each arm is shown at the snapshot that is nearest to {wanted['kl']:g} nats (KL) from what it "
        "started from, not at its last step; contrasts are of numbers at that distance, between the two "
        "snapshots on either side of it."
    )


def _whose(record: Record) -> list[str]:
    """Say what contrasts between arms come to, where there are any."""
    if not record.contrasts:
        return []
    section = record.contrasts[0]
    return [*section.words[:MANY_CONTRASTS], f"More of it stands under “{section.title}”."]


def change(rows: Sequence[Shift]) -> str:
    """Say how training changed a measure, and where that can't be told from noise.

    >>> change([Shift("a", 0, "utility win", 0.5, 0.2, 0.1, 0.3, 9)])
    'from 0.300 to 0.500 (+0.200 [0.100, 0.300])'
    >>> change([Shift("a", 0, "utility win", 0.3, 0.0, -0.1, 0.1, 9)])
    'from 0.300 to 0.300 (0.000 [−0.100, 0.100], an interval that includes 0)'
    """
    after, effect = mean(row.value for row in rows), mean(row.effect for row in rows)
    unclear = sum(not excludes_zero(row.low, row.high) for row in rows)
    if len(rows) == 1:
        caveat = ", an interval that includes 0" if unclear else ""
        return f"from {number(after - effect)} to {number(after)} ({told(rows)}{caveat})"
    return f"from {number(after - effect)} to {number(after)}, {told(rows)}"


def takeback_words(record: Record, arm: Arm) -> tuple[str, ...]:
    """Say what taking back and grafting parts of one arm does."""
    sentences = [_single(record, arm), *(_largest(record, arm, direction) for direction in DIRECTIONS)]
    return tuple(sentence for sentence in sentences if sentence)


def _learned(record: Record, arm: Arm) -> str:
    shifts = record.shifts_of(arm, arm.measure)
    if not shifts:
        return "has no measured gain on its own goal"
    if not gain_of(record, arm).told:
        return f"did not measurably change the utility of {arm.goal}, which went {change(shifts)}"
    verb = "raised" if mean(row.effect for row in shifts) > 0 else "lowered"
    return f"{verb} the utility of {arm.goal} {change(shifts)}"


def _undone(record: Record, arm: Arm) -> str:
    """Say which layer undoes most of the gain, beside its random sets, and what the best single part does."""
    gain = gain_of(record, arm)
    best, brought = (most_telling(record, arm, direction) for direction in DIRECTIONS)
    share = gain.share(best)
    if share is None:
        return "."
    beside = _beside(record, arm, best, gain)
    words = f"; taking back {best[0].components} undoes {percent(share)} of that, {beside}"
    single = gain.share(most_telling_single(record, arm))
    if single is not None:
        words += f", while no single {record.part} undoes more than {percent(max(single, 0.0))}"
    if brought:
        part = percent(gain.share(brought))
        words += f", and {brought[0].components} grafted alone onto {arm.start} brings {part}"
    return f"{words}."


def _single(record: Record, arm: Arm) -> str:
    sets = list(singles_of(record, arm, TAKE_BACK, arm.measure).values())
    if not sets:
        return ""
    lowest = min(sets, key=lambda rows: mean(row.effect for row in rows))
    highest = max(sets, key=lambda rows: mean(row.effect for row in rows))
    unclear = sum(not row.excludes_zero for rows in sets for row in rows)
    total = sum(map(len, sets))
    parts: list[str] = []
    if mean(row.effect for row in lowest) < 0:
        parts.append(f"costs most for {lowest[0].components}: {_judged(lowest)}")
    if mean(row.effect for row in highest) > 0:
        parts.append(f"helps most for {highest[0].components}: {_judged(highest)}")
    extremes = "; it ".join(parts) or "changes nothing"
    return (
        f"Taking back one {record.part} {extremes}. "
        f"{unclear} of {count(total, 'single takeback')} {'has' if unclear == 1 else 'have'} an interval "
        "that includes 0."
    )


def _largest(record: Record, arm: Arm, direction: str) -> str:
    gain = gain_of(record, arm)
    best = most_telling(record, arm, direction)
    if not best:
        return ""
    verb = "Taking back" if direction == TAKE_BACK else "Grafting"
    share = gain.share(best)
    worth = "" if share is None else f", {percent(share)} of the gain"
    onto = f" onto {arm.start}" if direction == GRAFT else ""
    return (
        f"{verb} {best[0].components}{onto} changes the utility of {arm.goal} by {_judged(best)}{worth}: "
        f"{_beside(record, arm, best, gain)}."
    )


def _beside(record: Record, arm: Arm, rows: Sequence[Effect], gain: ArmGain) -> str:
    """Say how a set stands beside the random sets that match it."""
    controls = controls_of(rows, record.effects_of(arm, rows[0].direction, arm.measure))
    if not controls:
        return "no other set is like it, so it has no control"
    as_much = as_telling(rows, controls)
    shares = [gain.share([control]) for control in controls]
    if all(share is not None for share in shares):
        low, high = (percent(end(share for share in shares if share is not None)) for end in (min, max))
    else:
        low, high = (signed(end(control.effect for control in controls)) for end in (min, max))
    span = f"from {low} to {high}" if len(controls) > 1 else low
    them = count(len(controls), "matched random set")
    if as_much == 0:
        return f"more than each of its {them} ({span})"
    verb = "does" if as_much == 1 else "do"
    return f"not beyond chance: {as_much} of its {them} {verb} as much ({span})"


def _judged(rows: Sequence[Effect]) -> str:
    if len(rows) > 1 or rows[0].excludes_zero:
        return told(rows)
    return f"{signed(rows[0].effect)} {interval(rows[0].low, rows[0].high)}, which includes 0"
