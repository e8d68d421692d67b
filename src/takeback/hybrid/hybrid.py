"""Hybrids: models that read lazily like a checkpoint, with some components from base, others from tuned."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from takeback.anatomy import Anatomy, Region
from takeback.checkpoint.pair import Difference, Pair, summary
from takeback.checkpoint.weights import Weights, narrowest_dtype, weights_digest
from takeback.component import NEW_ROWS, ComponentSet
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True, eq=False)
class Hybrid:
    """Is the model with the components of `take_back` from `source` (base) and all others from tuned.

    It reads like a checkpoint: slices are copied as tensors are asked for, so nothing is held in memory.
    Config and tokenizer are tuned's whatever is taken back: see `differences`.
    """

    pair: Pair
    take_back: ComponentSet
    source: Weights
    cuts: Mapping[str, tuple[Region, ...]] = field(repr=False)

    @property
    def ref(self) -> str:
        """What it is made of, in words."""
        return f"{self.pair.tuned.ref} with {str(self.take_back) or 'nothing'!r} from {self.source.ref}"

    @property
    def differences(self) -> tuple[Difference, ...]:
        """In what base differs besides values: config, tokenizer, element types; the hybrid has tuned's."""
        return self.pair.differences()

    @property
    def caveat(self) -> str | None:
        """What a user has to know, in one line, if anything.

        These are the settings that base ran with and the hybrid has not, and that no family knows the model.
        """
        settings = [one for one in self.differences if one.kind in ("config", "tokenizer")]
        other = f"the hybrid has tuned's settings, base has others: {summary(settings)}" if settings else None
        return "; ".join(line for line in (other, self.pair.anatomy().note) if line) or None

    @property
    def config(self) -> PreTrainedConfig | None:
        """Tuned's settings, with the element type to load the hybrid in, and the rows that it reads as."""
        config = copy.deepcopy(self.pair.tuned.config)
        if config is not None and self.loading_dtype is not None:
            config.dtype = self.loading_dtype
        return config

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each tensor by canonical name."""
        return self.pair.tuned.shapes

    @property
    def dtypes(self) -> Mapping[str, torch.dtype]:
        """The element type of each tensor, the narrowest that holds both where two are mixed."""
        return self._dtypes

    @property
    def rows(self) -> int | None:
        """The rows of its vocabulary, None where base's and tuned's have one size.

        Those that only the larger side has go with `EMBED+` and `UNEMBED+`: they are there if the side that
        gives these has them. Until it is written, a hybrid reads as if it had the rows of the larger one.

        Raises:
            TakebackError: one of the two is taken back and the other is not, so that it has two vocabularies.
        """
        return self._rows

    @property
    def digest(self) -> str:
        """The content hash of the weights."""
        return self._digest

    @property
    def loading_dtype(self) -> torch.dtype | None:
        """The element type to load it in without loss, None where tuned's config serves as it is."""
        tuned = self.pair.tuned
        if not tuned.adapted and self.dtypes == tuned.dtypes:
            return None
        return narrowest_dtype(*self.dtypes.values())

    def read(self, name: str) -> torch.Tensor:
        """Read one tensor; it must not be written to.

        Raises:
            UnknownName: there is no such tensor.
            TakebackError: a file cannot be read any more.
        """
        regions = self.cuts.get(name, ())
        if not regions:
            return self.pair.tuned.read(name)
        given = self.source.read(name)
        if regions[0].axis is None:
            return given
        mixed = self.pair.tuned.read(name).to(self.dtypes[name], copy=True)
        for region in regions:
            mixed[region.index] = given[region.index]
        return mixed

    def read_region(self, region: Region) -> torch.Tensor:
        """Read one stretch of a tensor.

        Raises:
            UnknownName: there is no such tensor.
            TakebackError: a file cannot be read any more.
        """
        return self.read(region.tensor)[region.index]

    def anatomy(self, resolution: str = "heads") -> Anatomy:
        """Return which entries belong to which component, at the resolution "heads" or "neurons"."""
        return self.pair.anatomy(resolution)

    @cached_property
    def _dtypes(self) -> dict[str, torch.dtype]:
        tuned, given = self.pair.tuned.dtypes, self.source.dtypes
        mixed = dict(tuned)
        for name, regions in self.cuts.items():
            whole = regions[0].axis is None
            mixed[name] = given[name] if whole else narrowest_dtype(tuned[name], given[name])
        return mixed

    @cached_property
    def _rows(self) -> int | None:
        shared = self.pair.tuned.vocabulary
        if shared is None:
            return None
        new = {one.kind: one in self.take_back for one in self.take_back.universe if one.kind in NEW_ROWS}
        if len(set(new.values())) > 1:
            taken = next(kind for kind, is_taken in new.items() if is_taken)
            raise TakebackError(
                f"{taken} is taken back alone, so that input and output embeddings would have unequal "
                f"numbers of rows; take back both of {' and '.join(new)}, or neither"
            )
        if not any(new.values()):
            return shared.own
        given = getattr(self.source, "vocabulary", None)
        return shared.rows if given is None else given.own

    @cached_property
    def _digest(self) -> str:
        return weights_digest(self)


def hybrid(pair: Pair, take_back: ComponentSet, source: Weights | None = None) -> Hybrid:
    """Return the model with the components of `take_back` from `source` and all others from tuned.

    `source` is the pair's base unless given. No weights are read yet.

    Raises:
        TakebackError: the set is of another model, or the source lacks a tensor that the set is part of.
    """
    cuts: dict[str, tuple[Region, ...]] = {}
    for region in pair.anatomy(take_back.resolution).regions(take_back):
        cuts[region.tensor] = (*cuts.get(region.tensor, ()), region)
    given, shapes = source or pair.base, pair.tuned.shapes
    for name in cuts:
        if given.shapes.get(name) != shapes[name]:
            there = (
                f"has {name} of shape {list(given.shapes[name])}"
                if name in given.shapes
                else f"has no {name}"
            )
            raise TakebackError(f"{given.ref} {there}, where {pair.tuned.ref} has shape {list(shapes[name])}")
    return Hybrid(pair, take_back, given, cuts)
