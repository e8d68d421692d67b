"""Sets beside the random sets that match them, and effects against the size of the change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from takeback.draw.forest import Dot, ForestRow, Spot, forest, scatter
from takeback.draw.numbers import percent, signed
from takeback.draw.page import Figure
from takeback.report.effects import SINGLES, ArmGain, Drawn, by_set, controls_of, controls_told, mean, tooltip
from takeback.report.record import Arm, Record
from takeback.report.rows import TAKE_BACK, Effect

MANY, LARGEST = 24, 12
"""Of a family of more than so many sets, so many are drawn: those with the largest effects."""

_CUT = (
    f"Of families of more than {MANY} sets the {LARGEST} with the largest effects (mean over seeds, in "
    "magnitude) are drawn; the others are in the tables."
)


def verb(arm: Arm, direction: str) -> str:
    """Say what happened to sets."""
    return "taken back" if direction == TAKE_BACK else f"grafted onto {arm.start}"


def set_forest(record: Record, arm: Arm, direction: str, measure: Drawn, gain: ArmGain | None) -> Figure:
    """Draw the sets of several components of one arm with their random sets, family by family."""
    every = record.effects_of(arm, direction, measure.name)
    rows: list[ForestRow] = []
    note = ""
    for family, sets in _families(every).items():
        shown = _largest(sets) if len(sets) > MANY else sets
        rows.append(ForestRow(family if shown is sets else f"{family}: {len(shown)} of {len(sets)}"))
        rows += [_row(effects, every, gain) for effects in shown.values()]
        if shown is not sets:
            note = _CUT
    relative = "tuned" if direction == TAKE_BACK else arm.start
    sign = -1 if direction == TAKE_BACK else 1
    whole = sign * gain.mean if gain and gain.told else None
    label = f"{arm.name}, {measure.title}, sets {verb(arm, direction)}, with random sets in grey"
    picture = forest(rows, arm.place, f"{measure.axis}, relative to {relative}", whole, label)
    return Figure.of(f"Sets {verb(arm, direction)}: {measure.title}", picture, note)


def _families(every: Sequence[Effect]) -> dict[str, dict[str, tuple[Effect, ...]]]:
    """Return the sets that are drawn one below the other, by family; single components have maps."""
    found: dict[str, dict[str, tuple[Effect, ...]]] = {}
    for (family, name), effects in by_set(every).items():
        if family not in SINGLES and not effects[0].is_control:
            found.setdefault(family, {})[name] = effects
    return found


def _largest(sets: Mapping[str, tuple[Effect, ...]]) -> dict[str, tuple[Effect, ...]]:
    """Return the sets with the largest effects, in the order of the table."""
    ranked = sorted(sets, key=lambda name: -abs(mean(row.effect for row in sets[name])))[:LARGEST]
    return {name: effects for name, effects in sets.items() if name in ranked}


def _row(effects: Sequence[Effect], every: Sequence[Effect], gain: ArmGain | None) -> ForestRow:
    controls = controls_of(effects, every)
    values = tuple(row.effect for row in controls)
    return ForestRow(
        shortened(effects[0].components), _dots(effects, gain), values, controls_told(controls, gain)
    )


def _dots(rows: Sequence[Effect], gain: ArmGain | None) -> tuple[Dot, ...]:
    return tuple(Dot(row.effect, row.low, row.high, tooltip([row], gain)) for row in rows)


def shortened(name: str, most: int = 17) -> str:
    """Cut a name to the room that it has beside a row."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def effect_scatter(record: Record, arm: Arm, direction: str) -> Figure:
    """Draw effects against shares of the change: means over seeds, and every random set on its own."""
    every = record.effects_of(arm, direction, arm.measure)
    spots = [_spot([row], None) for row in every if row.is_control]
    spots += [_spot(rows, _mark(rows[0])) for rows in by_set(every).values() if not rows[0].is_control]
    relative = "tuned" if direction == TAKE_BACK else arm.start
    names = ("share of ‖Δ‖²", f"change in the utility of {arm.goal}, relative to {relative}")
    label = f"{arm.name}: effect against share of the squared change, sets {verb(arm, direction)}"
    picture = scatter([spot for spot in spots if spot is not None], arm.place, names, label)
    return Figure.of(f"Effect against share of the change, {verb(arm, direction)}", picture)


def _mark(row: Effect) -> int:
    return {"each head": 0, "each unit": 0, "each mlp": 1}.get(row.family, 3)


def _spot(rows: Sequence[Effect], mark: int | None) -> Spot | None:
    shares = [row.delta_share for row in rows if row.delta_share is not None]
    if not shares:
        return None
    share = mean(shares)
    effect = mean(row.effect for row in rows)
    return Spot(share, effect, f"{rows[0].title}: {signed(effect)}\n{percent(share)} of ‖Δ‖²", mark)
