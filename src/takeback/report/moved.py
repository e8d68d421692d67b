"""Where the weights moved: heat maps and sparsity of every arm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from takeback.component import Component
from takeback.draw.heatmap import Cell, Ends, heat_map, limit_of
from takeback.draw.numbers import ABSENT, number, percent
from takeback.draw.page import Figure, Table
from takeback.report.record import Arm, Record
from takeback.report.rows import MovedComponent
from takeback.report.view import mean

KINDS = {
    "H": "heads",
    "KV": "heads",
    "ATTN": "attention rest",
    "EMBED": "embeddings",
    "UNEMBED": "embeddings",
    "OUTPUTS": "outputs",
}
MOST = 80
"""Components that the table lists: those with the largest share in some arm."""

_MLPS = ("MLP", "N", "MLPB", "ROUTER", "E")


@dataclass(frozen=True)
class ArmMoved:
    """Where one arm's weights moved."""

    arm: Arm
    share: Figure
    relative: Figure


@dataclass(frozen=True)
class MovedSection:
    """The second section."""

    arms: tuple[ArmMoved, ...]
    kinds: Table
    sparsity: Table
    components: Table


def moved(record: Record) -> MovedSection:
    """Tell where the weights moved."""
    shares = {arm.name: shares_of(record, arm) for arm in record.arms}
    ratios = {arm.name: _means(record, arm, "relative") for arm in record.arms}
    ends = _ends(ratios.values())
    return MovedSection(
        arms=tuple(
            ArmMoved(arm, _share_map(arm, shares[arm.name]), _ratio_map(arm, ratios[arm.name], ends))
            for arm in record.arms
        ),
        kinds=_kinds(record, shares),
        sparsity=_sparsity(record),
        components=_components(record),
    )


def shares_of(record: Record, arm: Arm) -> dict[Component, float | None]:
    """Return every component's share of ‖Δ‖², the mean over seeds."""
    return _means(record, arm, "share")


def kind_of(component: Component) -> str:
    """Return the kind in the words of a table; units are told apart by layer.

    >>> kind_of(Component.parse("L0.LN1")), kind_of(Component.parse("L0.H1"))
    ('norms', 'heads')
    >>> kind_of(Component.parse("L1.U7")), kind_of(Component.parse("OUTPUTS"))
    ('units of L1', 'outputs')
    """
    if component.kind == "U":
        return f"units of L{component.layer}"
    return "MLPs" if component.kind in _MLPS else KINDS.get(component.kind, "norms")


def _means(record: Record, arm: Arm, column: str) -> dict[Component, float | None]:
    found: dict[Component, list[float | None]] = defaultdict(list)
    for seed in arm.seeds:
        for row in record.changes[arm.name, seed].components:
            found[row.place].append(getattr(row, column))
    return {
        place: mean(v for v in values if v is not None) if any(v is not None for v in values) else None
        for place, values in found.items()
    }


def _share_map(arm: Arm, shares: Mapping[Component, float | None]) -> Figure:
    cells = {
        place: Cell(share, f"{place}: {percent(share)} of ‖Δ‖²", percent(share))
        for place, share in shares.items()
    }
    label = f"share of the squared change, {arm.name}"
    return Figure.of(f"{arm.name}: share of ‖Δ‖²", heat_map(cells, _ends([shares]), label=label))


def _ratio_map(arm: Arm, ratios: Mapping[Component, float | None], ends: Ends) -> Figure:
    cells = {
        place: Cell(ratio, f"{place}: ‖Δ‖/‖W‖ = {number(ratio, 4)}", percent(ratio))
        for place, ratio in ratios.items()
    }
    picture = heat_map(cells, ends, label=f"relative change, {arm.name}")
    return Figure.of(f"{arm.name}: relative change ‖Δ‖/‖W‖", picture)


def _ends(maps: Iterable[Mapping[Component, float | None]]) -> Ends:
    """Return a scale for all components; beside units the outputs, much larger, do not stretch it."""
    values = [(place.kind == "OUTPUTS", value) for each in maps for place, value in each.items()]
    most = limit_of(value for outputs, value in values if not outputs)
    beyond = most < limit_of(value for _, value in values)
    return Ends(most, f"{percent(most)} or more" if beyond else percent(most))


def _kinds(record: Record, shares: Mapping[str, Mapping[Component, float | None]]) -> Table:
    first = next(iter(record.changes.values())).components
    sizes: dict[str, int] = defaultdict(int)
    for row in first:
        sizes[kind_of(row.place)] += row.parameters
    total = sum(sizes.values())
    rows: list[tuple[str, ...]] = []
    for kind, size in sizes.items():
        per_arm = [
            percent(sum(v or 0.0 for place, v in shares[arm.name].items() if kind_of(place) == kind))
            for arm in record.arms
        ]
        rows.append((kind, percent(size / total), *per_arm))
    head = ("kind", "of all parameters", *(f"of ‖Δ‖², {arm.name}" for arm in record.arms))
    return Table(head, tuple(rows), words=("kind",))


def _sparsity(record: Record) -> Table:
    rows: list[tuple[str, ...]] = []
    for arm in record.arms:
        for seed in arm.seeds:
            total = record.changes[arm.name, seed].total
            name = arm.name if len(arm.seeds) == 1 else f"{arm.name}, seed {seed}"
            rows.append(
                (
                    name,
                    number(total.delta_norm),
                    percent(total.relative),
                    percent(total.changed_bitwise),
                    percent(total.changed_bf16),
                    percent(total.changed_1e5),
                    number(total.max_abs),
                    number(total.cosine, 5) if total.cosine is not None else ABSENT,
                )
            )
    head = (
        "arm", "‖Δ‖", "‖Δ‖/‖W‖", "changed bitwise", "changed after a bf16 cast", "changed by more than 1e-5",
        "largest |Δ|", "cosine of W and W+Δ",
    )  # fmt: skip
    return Table(head, tuple(rows), words=("arm",))


def _components(record: Record) -> Table:
    each: dict[str, list[tuple[Arm, int, MovedComponent]]] = defaultdict(list)
    for arm in record.arms:
        for seed in arm.seeds[:1]:
            for row in record.changes[arm.name, seed].components:
                each[row.component].append((arm, seed, row))
    largest = sorted(each, key=lambda name: -max(row.share or 0.0 for _, _, row in each[name]))[:MOST]
    rows = [
        (
            name,
            number(found[0][2].parameters, 0),
            *(cell for _, _, row in found for cell in (percent(row.share), percent(row.changed_bf16))),
        )
        for name, found in each.items()
        if name in set(largest)
    ]
    pairs = [(f"of ‖Δ‖², {arm.name}", f"changed in bf16, {arm.name}") for arm in record.arms]
    return Table(
        ("component", "parameters", *(name for pair in pairs for name in pair)), tuple(rows), ("component",)
    )
