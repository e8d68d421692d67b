"""From a family's data and a config to an anatomy: every tensor claimed, every length checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from typing import Any

from takeback.anatomy.anatomy import Anatomy, Cut
from takeback.anatomy.families import Block, Claim, Family, Match
from takeback.anatomy.region import RESOLUTIONS
from takeback.run.errors import TakebackError, unknown_name

COMMON_ROWS = "common_vocabulary"
"""The key of a config under which a side of a pair says how many rows the other's vocabulary has too."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Holds what says how axes are split: numbers of a config, and whether the embeddings are tied."""

    layers: int
    heads: int
    groups: int
    head_width: int
    neurons: int | None
    experts: int | None
    tied: bool

    def cut(self, kind: str) -> tuple[int, int]:
        """Return how many members a kind has in a layer, and how wide one is.

        Raises:
            TakebackError: the config does not say.
        """
        count = {"H": self.heads, "KV": self.groups, "N": self.neurons, "E": self.experts}.get(kind)
        if count is None:
            raise TakebackError(f"the config does not say how many {kind} a layer has; complete it")
        return count, self.head_width if kind in ("H", "KV") else 1


def read_sizes(family: Family, config: Any, tied: bool, layer: int | None = None) -> Sizes:
    """Read the sizes from a config (an object or a mapping) by the keys that the family names.

    Where a config has a value for each layer, those of `layer` are read; of the first, if none is named. A
    family whose block names no heads has none.

    Raises:
        TakebackError: the config lacks a size.
    """
    keys, settings = family.config, _of_layer(config, layer or 0)

    def read(size: str) -> int | None:
        values = (value_of(settings, key) for key in keys.get(size, ()))
        found = next((value for value in values if value is not None), None)
        value = found
        if isinstance(found, list | tuple):
            value = found[layer or 0] if len(found) > (layer or 0) else None
        if value is not None and (not isinstance(value, int) or not 0 <= value < 2**40):
            told = f"its {size} ({keys[size][0]}) is {str(value)[:40]!r}, no number of them"
            raise TakebackError(f"the config of this {family.name} model makes no sense: {told}")
        return value

    def needed(size: str) -> int:
        value = read(size)
        if value is None:
            raise TakebackError(
                f"the config of this {family.name} model has no {keys[size][0]!r}; complete it"
            )
        return value

    heads, hidden, neurons = needed("heads") if "heads" in keys else 0, needed("hidden"), read("neurons")
    if neurons is None and family.hidden_times is not None:
        neurons = family.hidden_times * hidden
    groups, width = read("groups") or heads, read("head_width") or hidden // max(heads, 1)
    return Sizes(needed("layers"), heads, groups, width, neurons, read("experts"), tied)


def _of_layer(config: Any, layer: int) -> Any:
    """Return the settings of one layer, where a config has some that differ from layer to layer."""
    if isinstance(config, Mapping):
        own = config.get("per_layer_config") or {}
        return {**config, **own.get(str(layer), {})}
    if getattr(config, "is_heterogeneous", False):
        return config.per_layer_config[layer] if layer < len(config.per_layer_config) else config
    return config


def value_of(config: Any, key: str) -> Any:
    """Return a value of a config that may be a mapping or an object, None where it has none."""
    return config.get(key) if isinstance(config, Mapping) else getattr(config, key, None)


def decoder_anatomy(
    family: Family, config: Any, shapes: Mapping[str, tuple[int, ...]], resolution: str = "heads"
) -> Anatomy:
    """Partition the tensors of a decoder, given by canonical name, among its components.

    Where the shapes hold no unembedding, the embeddings are tied.

    Raises:
        UnknownName: there is no such resolution.
        TakebackError: a tensor that nothing claims, a length that does not fit the config, or missing layers.
    """
    if resolution not in RESOLUTIONS:
        raise unknown_name("resolution", resolution, RESOLUTIONS)
    tied = family.unembedding not in shapes
    sizes = _grouped(family, shapes, read_sizes(family, config, tied))

    @cache
    def sizes_of(layer: int | None) -> Sizes:
        if layer is None or layer >= sizes.layers:
            return sizes
        return _grouped(family, shapes, read_sizes(family, config, tied, layer))

    common = value_of(config, COMMON_ROWS)
    rows = {} if common is None else dict.fromkeys(family.vocabulary, common)
    cuts: dict[str, tuple[Cut, ...]] = {}
    stored: dict[str, tuple[tuple[str, ...], ...]] = {}
    for name, shape in shapes.items():
        match = family.match(name)
        if match is None:
            raise TakebackError(
                f"tensor {name!r} is unknown to the family {family.name}: no component owns it"
            )
        _check_index(family, name, match, sizes)
        owned = _cuts(name, shape, match, sizes_of(match.layer), resolution)
        cuts[name] = _by_rows(owned, shape, rows.get(name))
        if match.claim.stored:
            stored[name] = tuple(match.parts(index) for index in range(shape[0]))
    _check_layers(family, sizes, (cut for owned in cuts.values() for cut in owned))
    return Anatomy(
        family=family.name,
        resolution=resolution,
        layers=sizes.layers,
        heads=sizes.heads,
        groups=sizes.groups,
        shapes=dict(shapes),
        cuts=cuts,
        absent=_absent(sizes, resolution, {cut.kind for owned in cuts.values() for cut in owned})
        | _absent_outside(family, config, shapes),
        stored=stored,
    )


def _grouped(family: Family, shapes: Mapping[str, tuple[int, ...]], sizes: Sizes) -> Sizes:
    """Count key/value groups by a tensor that joins each with its queries, which no config key need tell.

    Raises:
        TakebackError: the tensor is not as long as some number of groups makes it.
    """
    for name, shape in shapes.items():
        match = family.match(name)
        if match is None or match.claim.rounds != "KV":
            continue
        rest = shape[match.claim.axis or 0] - sizes.heads * sizes.head_width
        groups = rest // (2 * sizes.head_width)
        if rest <= 0 or rest % (2 * sizes.head_width) or sizes.heads % groups:
            raise TakebackError(
                f"tensor {name!r} has shape {tuple(shape)}, which no number of key/value groups of width "
                f"{sizes.head_width} beside {sizes.heads} heads makes; config and tensors are of other models"
            )
        return replace(sizes, groups=groups)
    return sizes


def _cuts(name: str, shape: tuple[int, ...], match: Match, sizes: Sizes, resolution: str) -> tuple[Cut, ...]:
    claim, layer = match.claim, match.layer
    kinds = [_owner(block.kind, sizes, resolution) for block in claim.blocks]
    if claim.axis is not None and not claim.even:
        _check_length(name, shape, claim.axis, claim.blocks, sizes)
    if claim.axis is None or set(kinds) == {"MLP"}:
        return (Cut(name, kinds[0], layer, match.index),)
    if claim.even:
        count, width = _even(name, shape, claim, sizes)
        return (Cut(name, kinds[0], layer, 0, claim.axis, 0, width, count),)
    cuts: list[Cut] = []
    start, rounds = 0, sizes.groups if claim.rounds == "KV" else int(claim.rounds)
    for turn in range(rounds):
        for block, kind in zip(claim.blocks, kinds, strict=True):
            count, width = sizes.cut(block.kind)
            members, wide = count // rounds, width * block.times
            cuts.append(Cut(name, kind, layer, turn * members, claim.axis, start, wide, members))
            start += members * wide
    return tuple(cuts)


def _by_rows(cuts: tuple[Cut, ...], shape: tuple[int, ...], common: int | None) -> tuple[Cut, ...]:
    """Give the rows that two vocabularies have in common to the owner of a tensor, the others to its `+`."""
    if common is None or common >= shape[0]:
        return cuts
    (whole,) = cuts
    first = replace(whole, axis=0, start=0, width=common)
    return first, replace(first, kind=f"{whole.kind}+", start=common, width=shape[0] - common)


def _owner(kind: str, sizes: Sizes, resolution: str) -> str:
    """Return the kind of component that owns a block of `kind` in this model at this resolution."""
    if kind == "KV" and sizes.groups == sizes.heads:
        return "H"
    if kind in ("N", "MLPB") and resolution == "heads":
        return "MLP"
    if kind == "UNEMBED" and sizes.tied:
        return "EMBED"
    return kind


def _even(name: str, shape: tuple[int, ...], claim: Claim, sizes: Sizes) -> tuple[int, int]:
    """Return how many members an axis is cut evenly among, and how wide each is (a neuron: one entry)."""
    (block,), axis = claim.blocks, claim.axis or 0
    length = shape[axis] if axis < len(shape) else 0
    count = length if block.kind == "N" else sizes.cut(block.kind)[0]
    if not count or length % count:
        raise TakebackError(
            f"tensor {name!r} has shape {tuple(shape)}, of which axis {axis} can't be cut evenly among "
            f"{count} {block.kind}; config and tensors are of different models"
        )
    return count, length // count


def _check_length(
    name: str, shape: tuple[int, ...], axis: int, blocks: Iterable[Block], sizes: Sizes
) -> None:
    terms = [(block, *sizes.cut(block.kind)) for block in blocks]
    expected = sum(count * width * block.times for block, count, width in terms)
    if axis >= len(shape) or shape[axis] != expected:
        sum_of = " + ".join(f"{count} {block.kind} of {width * block.times}" for block, count, width in terms)
        raise TakebackError(
            f"tensor {name!r} has shape {tuple(shape)}, but by the config its axis {axis} is {expected} long "
            f"({sum_of}); config and tensors are of different models"
        )


def _check_index(family: Family, name: str, match: Match, sizes: Sizes) -> None:
    if match.index is None:
        return
    count, _ = sizes.cut(match.claim.blocks[0].kind)
    if match.index >= count:
        raise TakebackError(
            f"tensor {name!r} is of expert {match.index}, but the config of this {family.name} model gives "
            f"{count}; config and tensors are of different models"
        )


def _check_layers(family: Family, sizes: Sizes, cuts: Iterable[Cut]) -> None:
    there = {cut.layer for cut in cuts if cut.layer is not None}
    missing = list(islice((layer for layer in range(sizes.layers) if layer not in there), 9))
    odd = missing or sorted(layer for layer in there if layer >= sizes.layers)
    if odd:
        raise TakebackError(
            f"the config of this {family.name} model gives {sizes.layers} layers, but the tensors of layer "
            f"{', '.join(map(str, odd))} are {'missing' if odd[0] < sizes.layers else 'there too'}; "
            "config and tensors are of different models"
        )


def _absent(sizes: Sizes, resolution: str, there: Set[str]) -> dict[str, str]:
    """Tell, for the kinds that this anatomy lacks on purpose, where their parameters are."""
    absent: dict[str, str] = {}
    if sizes.groups == sizes.heads and "KV" not in there:
        absent["KV"] = "every head has its own key and value rows; name the head (H)"
    if not sizes.heads:
        absent["H"] = absent["KV"] = "it has no attention; its layers are mixers (MIXER)"
    if resolution == "heads":
        absent["N"] = absent["MLPB"] = "neurons are components at the resolution 'neurons'; name the MLP"
    else:
        absent["MLP"] = "at the resolution 'neurons' an MLP is its neurons; name them (N*)"
    if "E" in there:
        absent["MLP"] = "where a layer has experts they are its MLP; name them (E*) and the ROUTER"
    return absent


def _absent_outside(family: Family, config: Any, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Tell the same of the kinds outside the layers."""
    absent: dict[str, str] = {}
    if family.unembedding not in shapes:
        absent["UNEMBED"] = absent["UNEMBED+"] = (
            "its embeddings are tied, so that UNEMBED is the same tensor as EMBED; name EMBED"
            if says_tied(family, config)
            else "it is a decoder without output embeddings"
        )
    if value_of(config, COMMON_ROWS) is None:
        absent["EMBED+"] = absent["UNEMBED+"] = "base and tuned have vocabularies of one size"
    absent["HEAD"] = "it has no value, reward or classification head"
    return absent


def says_tied(family: Family, config: Any) -> bool:
    """Return whether a config, or else the family's default, ties the embeddings."""
    tied = value_of(config, "tie_word_embeddings")
    return family.tied if tied is None else bool(tied)
