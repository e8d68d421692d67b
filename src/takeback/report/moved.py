"""Where the weights moved: heat maps and sparsity of every arm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from markupsafe import Markup

from takeback.component import Component
from takeback.draw.heatmap import ACROSS, Cell, Ends, heat_map, limit_of
from takeback.draw.numbers import ABSENT, listing, number, percent
from takeback.draw.page import Figure, Section, Table, named
from takeback.report.effects import mean
from takeback.report.record import Arm, Record
from takeback.report.rows import MovedComponent

KINDS = {
    "H": "heads",
    "KV": "heads",
    "ATTN": "attention rest",
    "LATENT": "latents",
    "DELTA": "mixers",
    "MIXER": "mixers",
    **dict.fromkeys(("ALTUP", "LAUREL", "PLE", "SCALE"), "residual rest"),
    "EMBED": "embeddings",
    "UNEMBED": "embeddings",
    "EMBED+": "embeddings",
    "UNEMBED+": "embeddings",
    "HEAD": "outputs",
    "OUTPUTS": "outputs",
}
MOST = 80
"""Components that the table lists: those with the largest share in some arm."""

_MLPS = ("MLP", "N", "MLPB", "ROUTER", "E", "SHARED")


def moved(record: Record) -> Section:
    """Tell where the weights moved."""
    shares = {arm.name: shares_of(record, arm) for arm in record.arms}
    ratios = {arm.name: _means(record, arm, "relative") for arm in record.arms}
    ends = _ends(ratios.values())
    means = " Squares show the mean over seeds." * record.several_seeds
    if record.network:
        squares = (
            "Here that is a unit: its incoming weights and its bias. A block is a layer, the first on top, "
            f"with {ACROSS} units to a row, in the order of their numbers."
        )
        names = "Hover over a square for its name and value."
    else:
        squares = "A row is a layer, the first on top; H are heads, LN are norms."
        names = "Left to right in a row: heads, MLP, norms."
    intro = Markup(
        "Δ is the difference of tuned and base. Each square is a <em>component</em>: the smallest part "
        "that can be taken back. {}{}"
    ).format(squares, means)
    size = (
        f"{names} A share depends on size: a component with more parameters has more of ‖Δ‖² even if every "
        "parameter moved alike. Relative changes set that aside."
    )
    share_maps = tuple(_share_map(arm, shares[arm.name]) for arm in record.arms)
    ratio_maps = tuple(_ratio_map(arm, ratios[arm.name], ends) for arm in record.arms)
    relative = "‖Δ‖ of a component divided by ‖W‖ of its base, all arms on one scale."
    where = tuple(named(arm.name, words) for arm in record.arms if (words := _where(record, arm)))
    return Section(
        "Where the weights moved",
        (intro,),
        inside=(
            Section("Shares of the change", where, share_maps, (_kinds(record, shares),), notes=(size,)),
            Section("Relative changes", (relative,), ratio_maps),
            Section("How sparse is the change?", (_COUNTED,), tables=(_sparsity(record),)),
            Section("Component by component", _listed(record), tables=(_components(record),), closed=True),
        ),
        name="moved",
    )


_COUNTED = Markup(
    "The share of parameters that changed depends on how one counts. <em>Bitwise</em> counts every "
    "parameter that is not the same in the stored precision. <em>After a bf16 cast</em> counts those that "
    "still differ when both sides are rounded to bfloat16, in which most language models are stored: small "
    "updates vanish in the rounding, so a change that touches everything can look sparse. <em>By more than "
    "1e-5</em> is the tolerance of Mukherjee et al. (2025, arXiv 2505.11711); it treats small weights and "
    "large ones alike. A low share after the cast says that updates were small beside the weights, not "
    "that training left those parameters alone."
)


def _listed(record: Record) -> tuple[str, ...]:
    """Say which components the table lists."""
    every = len(next(iter(record.changes.values())).components)
    most = (
        [f"The {MOST} components with the largest shares; the others are in diff/."] if every > MOST else []
    )
    return (*most, *(["The first seed of each arm."] if record.several_seeds else []))


def _where(record: Record, arm: Arm) -> str:
    """Say where an arm's weights moved."""
    shares = {place: share for place, share in shares_of(record, arm).items() if share is not None}
    if not shares:
        return ""
    most = max(shares, key=lambda place: shares[place])
    kinds: dict[str, float] = {}
    for place, share in shares.items():
        kinds[kind_of(place)] = kinds.get(kind_of(place), 0.0) + share
    held = sorted(kinds.items(), key=lambda pair: -pair[1])
    parts = listing([f"{percent(share)} in {kind}" for kind, share in held])
    bf16 = mean(record.changes[arm.name, seed].total.changed_bf16 for seed in arm.seeds)
    exact = mean(record.changes[arm.name, seed].total.changed_bitwise for seed in arm.seeds)
    return (
        f"of ‖Δ‖², {parts}; the largest part of one component is {percent(shares[most])}, in {most}. "
        f"{percent(exact)} of the parameters changed; after a cast to bf16, {percent(bf16)} still differ."
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
