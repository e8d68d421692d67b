"""Wiring as data: which tensor plays which role in a family's attention and MLP, and what stands between."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from takeback.anatomy.own import Stamp, own_blocks, own_files
from takeback.anatomy.partition import value_of
from takeback.anatomy.tensors import TENSORS
from takeback.run.errors import TakebackError

Roles = Mapping[str, str]
"""The name of each role's tensors without `.weight` and `.bias`, with `{l}` and `{i}`."""


@dataclass(frozen=True, slots=True, eq=False)
class Wiring:
    """Holds one block of `circuits.toml`, which explains each field."""

    norms: Literal["rms", "rms of 1 + gain", "layer"]
    rope: Literal["none", "halves"]
    activation: str
    attention: Roles
    mlp: Roles
    experts: Roles = field(default_factory=dict[str, str])
    norm_first: str = ""
    rotary: str = ""
    qk_norms: Literal["none", "head", "layer"] = "none"
    fused: Literal["none", "blocks", "heads"] = "none"
    transposed: bool = False
    refuses: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def check(self, config: Any) -> None:
        """Refuse a config under which the weights have another gauge than this wiring tells.

        Raises:
            TakebackError: the config has such a setting.
        """
        for key, value in self.refuses.items():
            if value_of(config, key) == value:
                raise TakebackError(f"circuits are not measured for models with {key} = {value}")

    def norms_first(self, config: Any) -> bool:
        """Return whether norms stand before attention and MLP, so that they fold into what reads them."""
        return not self.norm_first or value_of(config, self.norm_first) is not False

    def pairs(self, config: Any, width: int) -> int:
        """Return how many pairs of a head's `width` dimensions are rotated.

        >>> wiring_of("gpt_neox").pairs({"rope_parameters": {"partial_rotary_factor": 0.25}}, 64)
        8
        """
        if self.rope == "none":
            return 0
        share = (value_of(config, "rope_parameters") or {}).get(self.rotary, 1.0) if self.rotary else 1.0
        return (int(width * share) + 1) // 2

    def gauge(self, config: Any) -> tuple[bool, int, bool]:
        """Return what in a config decides the gauge: equal for configs under which circuits compare."""
        return self.norms_first(config), self.pairs(config, 1024), self.homogeneous(config)

    def homogeneous(self, config: Any) -> bool:
        """Return whether the MLP's activation commutes with positive factors, as ReLU does."""
        return value_of(config, self.activation) == "relu"


def wiring_of(family: str) -> Wiring:
    """Return the wiring of a family, named as in `families.toml`.

    >>> wiring_of("qwen3").qk_norms
    'head'

    Raises:
        TakebackError: it has none, so that its circuits are not known.
    """
    wiring = known_wiring(family)
    if wiring is None:
        raise TakebackError(no_circuits(family))
    return wiring


def known_wiring(family: str) -> Wiring | None:
    """Return the wiring of a family, None where it has none."""
    return _wirings(own_files()).get(family)


def no_circuits(family: str) -> str:
    """Say in one line that a family's circuits are not known, and how to add them."""
    whose = (
        "this model, of which no family is known" if family == TENSORS else f"models of the family {family}"
    )
    return (
        f"circuits are not known for {whose}; leave them out, or say in its block which tensor is the query, "
        "key, value … (docs/families.md)"
    )


@cache
def _wirings(stamp: Stamp) -> Mapping[str, Wiring]:
    packaged = tomllib.loads(files("takeback.anatomy").joinpath("circuits.toml").read_text("utf-8"))
    own = {name: block["circuits"] for name, block in own_blocks(stamp).items() if "circuits" in block}
    blocks, found = {**packaged, **own}, dict[str, Wiring]()
    for name in blocks:
        try:
            found[name] = Wiring(**_inherited(blocks, name))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            why = " ".join(f"{type(error).__name__} {error}".split())[:120]
            raise TakebackError(
                f"the circuits of the family {name} are none: {why}; docs/families.md says what they have"
            ) from error
    return found


def _inherited(blocks: Mapping[str, Any], name: str) -> dict[str, Any]:
    block = dict(blocks[name])
    parent = _inherited(blocks, block.pop("like")) if "like" in block else {}
    for key, value in block.items():
        parent[key] = {**parent.get(key, {}), **value} if isinstance(value, dict) else value
    return parent
