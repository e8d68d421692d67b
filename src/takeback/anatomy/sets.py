"""Families of component sets by readable name: what a sweep takes back one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain

from takeback.component import TENSOR, Component, ComponentSet
from takeback.run.errors import TakebackError, UnknownName, unknown_name

_HEADS = frozenset({"H", "KV"})
_MLPS = frozenset({"MLP", "N", "MLPB", "ROUTER", "E", "SHARED"})
_MIXERS = frozenset({"DELTA", "MIXER"})
_KINDS = {
    "all heads": _HEADS,
    "all mlps": _MLPS,
    "all norms": frozenset({"LN1", "LN2", "LN3", "LN4", "NORM"}),
    "embeddings": frozenset({"EMBED", "EMBED+", "UNEMBED", "UNEMBED+"}),
    "attention rest": frozenset({"ATTN"}),
    "all latents": frozenset({"LATENT"}),
    "all mixers": _MIXERS,
    "residual rest": frozenset({"ALTUP", "LAUREL", "PLE", "SCALE"}),
    "all units": frozenset({"U"}),
    "outputs": frozenset({"OUTPUTS", "HEAD"}),
}

Rule = Callable[[Component], str | None]

SET_FAMILIES: dict[str, Rule] = {
    "each head": lambda c: str(c) if c.kind == "H" else None,
    "each mlp": lambda c: f"L{c.layer} mlp" if c.kind in _MLPS else None,
    "each mixer": lambda c: str(c) if c.kind in _MIXERS else None,
    "heads of each layer": lambda c: f"L{c.layer} heads" if c.kind in _HEADS else None,
    "each unit": lambda c: str(c) if c.kind == "U" else None,
    "each layer": lambda c: None if c.layer is None else f"L{c.layer}",
    "each tensor": lambda c: str(c) if c.kind == TENSOR else None,
    "each kind": lambda c: next(
        (name for name, kinds in _KINDS.items() if c.kind in kinds), c.alike if c.kind == TENSOR else None
    ),
}
"""Each family of sets, as the rule that says to which set of it a component belongs (None: to no one).

Heads of a layer take their key/value groups with them; an MLP is all of it, neurons and experts included,
shared ones too.
"""


def named_sets(universe: ComponentSet, family: str) -> dict[str, ComponentSet]:
    """Return the sets of a family by name, in canonical order of their first components.

    >>> universe = ComponentSet(map(Component.parse, ["EMBED", "L0.H0", "L0.KV0", "L0.MLP", "NORM"]))
    >>> {name: str(components) for name, components in named_sets(universe, "heads of each layer").items()}
    {'L0 heads': 'L0.H0 L0.KV0'}

    Raises:
        UnknownName: there is no family of sets of this name.
        TakebackError: the model has nothing of the kind.
    """
    if family not in SET_FAMILIES:
        raise unknown_name("family of sets", family, SET_FAMILIES)
    groups = _grouped(universe, SET_FAMILIES[family])
    if not groups:
        others = ", ".join(families_of(universe)) or "none"
        raise TakebackError(f"{family!r} is empty in this model; choose one of {others}")
    return {name: ComponentSet(members, universe) for name, members in groups.items()}


def parse_set(text: str, universe: ComponentSet) -> ComponentSet:
    """Read a set from its text form, or from names that families give their sets, joined by ` + `.

    So whatever a table calls a set can be taken back under that name.

    >>> universe = ComponentSet(map(Component.parse, ["EMBED", "L0.H0", "L0.H1", "L0.MLP", "NORM"]))
    >>> print(parse_set("L0 heads + all norms", universe))
    *.H* NORM

    Raises:
        UnknownName: a name or wildcard matches nothing.
    """
    try:
        return ComponentSet.parse(text, universe)
    except UnknownName:
        families = (named_sets(universe, family) for family in families_of(universe))
        named = {name: components for sets in families for name, components in sets.items()}
        parts = text.split(" + ")
        if not all(part in named for part in parts):
            raise
        return ComponentSet(chain(*(named[part] for part in parts)), universe)


def families_of(universe: ComponentSet) -> tuple[str, ...]:
    """Return the families that a model has sets of, in their order.

    >>> families_of(ComponentSet(map(Component.parse, ["L0.U0", "L0.U1", "L1.U0"])))
    ('each unit', 'each layer', 'each kind')
    """
    return tuple(name for name, rule in SET_FAMILIES.items() if any(map(rule, universe)))


def _grouped(
    components: Iterable[Component], rule: Callable[[Component], str | None]
) -> dict[str, list[Component]]:
    groups: dict[str, list[Component]] = {}
    for component in components:
        name = rule(component)
        if name is not None:
            groups.setdefault(name, []).append(component)
    return groups
