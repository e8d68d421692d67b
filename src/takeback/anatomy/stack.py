"""The anatomy of a plain stack of linear layers: units are the components."""

from __future__ import annotations

from collections.abc import Mapping

from takeback.anatomy.anatomy import Anatomy, Cut
from takeback.anatomy.region import RESOLUTIONS
from takeback.component import natural
from takeback.run.errors import TakebackError, unknown_name

WIDE = 64
"""Most outputs that are units of their own where nothing else is asked for."""


def stack_anatomy(shapes: Mapping[str, tuple[int, ...]], resolution: str = "heads") -> Anatomy:
    """Partition a stack of linear layers into units: a row of the weight with its entry of the bias each.

    Layers are numbered in the natural order of their names (`2.weight` before `10.weight`), since files lose
    the order of definition. The units of the last layer are the outputs; more than `WIDE` of them are one
    component, `OUTPUTS`, but at the resolution "neurons".

    >>> anatomy = stack_anatomy({"0.weight": (3, 2), "0.bias": (3,), "2.weight": (1, 3)})
    >>> print(anatomy.universe.picture())
        U
    L0  ■■■
    L1  ■
    4 of 4 components

    >>> stack_anatomy({"0.weight": (3, 2), "1.weight": (4184, 3)}).universe
    ComponentSet('*', 4 of 4)

    Raises:
        UnknownName: there is no such resolution.
        TakebackError: a tensor is neither the weight nor the bias of a linear layer.
    """
    if resolution not in RESOLUTIONS:
        raise unknown_name("resolution", resolution, RESOLUTIONS)
    layers: dict[str, list[str]] = {}
    for name in shapes:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    cuts: dict[str, tuple[Cut, ...]] = {}
    for layer, stem in enumerate(sorted(layers, key=natural)):
        weight = f"{stem}.weight".removeprefix(".")
        rows = shapes[weight][0] if len(shapes.get(weight, ())) == 2 else None
        for name in layers[stem]:
            is_bias = name.rpartition(".")[2] == "bias" and shapes[name] == (rows,)
            if rows is None or not (name == weight or is_bias):
                raise TakebackError(
                    f"tensor {name!r} of shape {tuple(shapes[name])} is no part of a stack of linear layers; "
                    "other models need a config with a known model_type"
                )
            together = layer == len(layers) - 1 and rows > WIDE and resolution != "neurons"
            units = Cut(name, "U", layer, index=0, axis=0, width=1, count=rows)
            cuts[name] = (Cut(name, "OUTPUTS", None) if together else units,)
    reason = "it is a plain stack of linear layers; its components are units (U)"
    return Anatomy(
        family="mlp",
        resolution="units",
        layers=len(layers),
        heads=0,
        groups=0,
        shapes=dict(shapes),
        cuts={name: cuts[name] for name in shapes},
        absent={kind: reason for kind in ("H", "KV", "MLP", "N")},
        stored={},
    )
