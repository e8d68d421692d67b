"""The anatomy of a model that no family describes: every tensor is a component."""

from __future__ import annotations

from collections.abc import Mapping

from takeback.anatomy.anatomy import Anatomy, Cut
from takeback.component import INDEXED_KINDS, LAYER_KINDS, MODEL_KINDS, TENSOR, layer_in

TENSORS = "tensors"
"""The family of models of which no family is known, and their resolution."""


def tensor_anatomy(shapes: Mapping[str, tuple[int, ...]], reason: str) -> Anatomy:
    """Make every tensor a component, in the layer that its name tells; the `reason` goes into error messages.

    >>> anatomy = tensor_anatomy({"wte.weight": (5, 2), "h.0.D": (2,), "h.1.D": (2,)}, "it is of a new type")
    >>> print(*anatomy.universe, sep=", ")
    T:h.0.D, T:h.1.D, T:wte.weight
    >>> print(anatomy.parse("T:h.#.D"))
    T:h.#.D
    """
    layers = {layer for name in shapes if (layer := layer_in(name)) is not None}
    kinds = {*LAYER_KINDS, *MODEL_KINDS, *INDEXED_KINDS}
    return Anatomy(
        family=TENSORS,
        resolution=TENSORS,
        layers=len(layers),
        heads=0,
        groups=0,
        shapes=dict(shapes),
        cuts={name: (Cut(name, TENSOR, layer_in(name)),) for name in shapes},
        absent=dict.fromkeys(sorted(kinds), reason),
        stored={},
    )
