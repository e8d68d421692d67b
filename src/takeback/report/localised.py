"""What a change is made of, as the commands that looked into it drew it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from takeback.draw.numbers import interval, signed
from takeback.draw.page import Section
from takeback.report.record import Arm, Record

_INTRO = (
    "How few components carry what an arm gained, which of them stand in for each other, and what happens "
    "between tuned and base. Sets are chosen on one half of the situations and shown on the other."
)


def localised(record: Record) -> Section:
    """Show what was found of each arm's change: of its first seed all, of the others the words."""
    found = tuple(
        _arm(record, arm, seed, sections)
        for arm in record.arms
        for seed in arm.seeds
        if (sections := record.localised[arm.name, seed])
    )
    title = "What the change is made of"
    if not found:
        none = "This run did not look into it: its plan names no arm under localise."
        return Section(title, notes=(none,), name="localised")
    first, *others = found
    inside = (replace(first, closed=False), *others)
    return Section(title, (_INTRO,), inside=inside, name="localised")


def _arm(record: Record, arm: Arm, seed: int, sections: Sequence[Section]) -> Section:
    name = f"{arm.name}, seed {seed}" if record.several_seeds else arm.name
    words = _situations(record, arm, seed)
    if seed == arm.seeds[0]:
        return Section(name, words, inside=tuple(sections), closed=True)
    told = tuple(Section(one.title, one.words) for one in sections)
    where = f"Figures and tables of this seed are in localise/{arm.name}-seed-{seed}/."
    return Section(name, words, notes=(where,), inside=told, closed=True)


def _situations(record: Record, arm: Arm, seed: int) -> tuple[str, ...]:
    """Say on how many situations all of it was read, and why numbers differ from those above."""
    some = record.plan.get("localise_situations")
    every = max((row.n for row in record.shifts), default=0)
    if not some or int(some) >= every:
        return ()
    said = (
        f"All of this was read on {some} of the {every} held-out situations, so its numbers are not "
        "those above."
    )
    changes = record.found[arm.name, seed]
    shifts = {row.measure: row for row in record.shifts if row.arm == arm.name and row.seed == seed}
    for measure in [measure for measure in changes if measure in shifts]:
        here, there = changes[measure], shifts[measure]
        told = f"{signed(here['change'])} {interval(here['low'], here['high'])}"
        said += (
            f" Here {measure} changed by {told}, on all situations by {signed(there.effect)} "
            f"{interval(there.low, there.high)}."
        )
    return (said,)
