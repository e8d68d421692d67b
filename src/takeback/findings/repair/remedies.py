"""Remedies: hybrids that may undo a damage, by the way they are made; those that people make today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from takeback.anatomy import Anatomy
from takeback.anatomy.sets import families_of
from takeback.component import ComponentSet
from takeback.draw.numbers import percent
from takeback.findings.localise.strength import at_degree
from takeback.measure.bench import Bench
from takeback.measure.read import BASE, Ask

SETS, INTERPOLATION, LAYERS = "small set", "one strength", "whole layers"
TRUNCATION, TRIMMING, RANDOM = "low rank", "largest entries", "random set"

WAYS: Mapping[str, str] = {
    SETS: "some components taken back, whole or by a degree",
    INTERPOLATION: "all weights taken back by one degree: WiSE-FT (Wortsman et al. 2022, arXiv 2109.01903)",
    LAYERS: "some layers taken back whole",
    TRUNCATION: "of each matrix's change the leading singular directions alone, as if by LoRA; the rest "
    "base's",
    TRIMMING: "of each tensor's change the largest entries alone, as TIES trims (Yadav et al. 2023, arXiv "
    "2306.01708); the rest base's",
    RANDOM: "random components as many of each kind as the best small set or the best layers have, from the "
    "same source",
}
"""The ways to make a remedy, and what each is."""

DEGREES = (0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9)
"""Degrees at which everything is taken back."""

RANKS = (1, 4, 16, 64)
SHARES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7)
"""Leading directions, and shares of the entries, that are kept of the change."""


@dataclass(frozen=True)
class Remedy:
    """A hybrid, the way it was made, and what it is called in tables."""

    way: str
    name: str
    ask: Ask

    @property
    def components(self) -> ComponentSet:
        """What is taken back."""
        return self.ask.take_back


def strengths(anatomy: Anatomy, degrees: Sequence[float] = DEGREES) -> list[Remedy]:
    """Return everything taken back by each degree."""
    return [Remedy(INTERPOLATION, f"{degree:g}", at_degree(anatomy.universe, degree)) for degree in degrees]


def small_set(components: ComponentSet, degree: float = 1.0) -> Remedy:
    """Return a set taken back whole, or by a degree.

    >>> from takeback.component import Component
    >>> every = ComponentSet(map(Component.parse, ["L0.H0", "L0.H1"]))
    >>> one = ComponentSet([Component.parse("L0.H1")], every)
    >>> small_set(one).name, small_set(one, 0.5).ask.source
    ('L0.H1', 'strength:0.5')
    """
    by = "" if degree == 1 else f" by {degree:g}"
    return Remedy(SETS, f"{components}{by}", at_degree(components, degree))


def whole_layers(components: ComponentSet) -> Remedy:
    """Return some layers taken back whole."""
    return Remedy(LAYERS, str(components), Ask(components, BASE))


def layers_of(anatomy: Anatomy) -> dict[str, ComponentSet]:
    """Return the layers of a model by name, none where it has none."""
    known = "each layer" in families_of(anatomy.universe)
    return dict(anatomy.named_sets("each layer")) if known else {}


def of_today(bench: Bench) -> list[Remedy]:
    """Return what people do today but for whole layers, which have to be looked for."""
    whole = bench.anatomy.universe
    truncated = [Remedy(TRUNCATION, f"{rank}", Ask(whole, f"only-top:{rank}")) for rank in RANKS]
    trimmed = [Remedy(TRIMMING, percent(share), Ask(whole, f"largest:{share:g}")) for share in SHARES]
    return [*strengths(bench.anatomy), *truncated, *trimmed]
