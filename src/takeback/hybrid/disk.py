"""Hybrids on disk: read lazily like a checkpoint, and written as an ordinary Hugging Face folder."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from takeback.anatomy import Anatomy, Region
from takeback.checkpoint.checkpoint import Checkpoint
from takeback.checkpoint.pair import Difference, Pair, summary
from takeback.checkpoint.shards import read_metadata
from takeback.checkpoint.weights import Weights, narrowest_dtype, weights_digest
from takeback.checkpoint.writer import Layout, write_file, write_folder
from takeback.component import ComponentSet
from takeback.hybrid.card import is_written_here, model_card
from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file, atomic_folder

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
        """The settings that base ran with and the hybrid has not, in one line, None where all are equal."""
        settings = [one for one in self.differences if one.kind in ("config", "tokenizer")]
        return f"the hybrid has tuned's settings, base has others: {summary(settings)}" if settings else None

    @property
    def config(self) -> PreTrainedConfig | None:
        """Tuned's settings, with the element type to load the hybrid in."""
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


def write_hybrid(
    made: Hybrid, out: str | Path, *, overwrite: bool = False, shard_bytes: int = 5_000_000_000
) -> Path:
    """Write a hybrid as an ordinary Hugging Face folder (of plain state dicts, as a `.safetensors` file).

    Tensors are written one at a time under tuned's stored names, with tuned's tokenizer, config and
    generation config and a model card, which tells where base's are others. The output appears whole, under
    its name, or not at all. `overwrite` replaces an earlier hybrid and nothing else.

    Raises:
        TakebackError: the output exists (unless `overwrite` and a hybrid), is or holds a parent, or the disk
            refuses.
    """
    out, tuned = Path(out), made.pair.tuned
    _check_output(made, out, overwrite)
    layouts = [
        Layout(tuned.stored[name], made.dtypes[name], shape, lambda name=name: made.read(name))
        for name, shape in made.shapes.items()
    ]
    if tuned.config is None:
        metadata = {**read_metadata(next(iter(tuned.entries.values())).file), "takeback": made.ref}
        with atomic_file(out) as draft:
            write_file(draft, layouts, metadata)
        return out
    with atomic_folder(out, replace=overwrite) as draft:
        for file in tuned.side_files():
            (shutil.copytree if file.is_dir() else shutil.copyfile)(file, draft / file.name)
        (draft / "config.json").write_text(json.dumps(_config(made), indent=2) + "\n", encoding="utf-8")
        (draft / "README.md").write_text(model_card(made, out), encoding="utf-8")
        write_folder(draft, layouts, shard_bytes)
    return out


def _check_output(made: Hybrid, out: Path, overwrite: bool) -> None:
    """Raise unless `out` is free, or may be overwritten and holds an earlier hybrid and no parent."""
    places = _both_ways(out)
    parents = {way for parent in _parents(made) for way in _both_ways(parent)}
    held = next((parent for parent in sorted(parents) if places & {parent, *parent.parents}), None)
    if held is not None:
        is_one = "is" if held in places else f"holds {held},"
        raise TakebackError(f"{out} {is_one} one of the hybrid's parents; choose another output")
    plain = made.pair.tuned.config is None
    if plain and out.suffix != ".safetensors":
        raise TakebackError(f"{out}: a hybrid of plain state dicts is one file; end its name in .safetensors")
    if not out.exists():
        return
    if plain != out.is_file():
        raise TakebackError(f"{out} is a {'folder' if plain else 'file'}; choose another output")
    if not plain and not any(out.iterdir()):
        return
    if not overwrite:
        raise TakebackError(f"{out} exists already; choose another name, or say --overwrite (overwrite=True)")
    if not (_is_hybrid_file(out) if plain else is_written_here(out)):
        raise TakebackError(
            f"{out} is not a hybrid written here, so it is not overwritten; choose another output"
        )


def _parents(made: Hybrid) -> set[Path]:
    """Return the folders and files that a hybrid reads, those of a source that is a hybrid too."""
    found: set[Path] = set()
    for side in (made.pair.base, made.pair.tuned, made.source):
        if isinstance(side, Hybrid):
            found |= _parents(side)
        elif isinstance(side, Checkpoint):
            entries = [
                *side.entries.values(),
                *(half for one in side.deltas.values() for half in (one.a, one.b)),
            ]
            found |= {side.folder, *side.side_folders, *(entry.file for entry in entries)}
    return found


def _both_ways(path: Path) -> set[Path]:
    """Return where a path leads with its links followed and as it is written."""
    return {path.resolve(), Path(os.path.abspath(path))}


def _is_hybrid_file(file: Path) -> bool:
    try:
        return "takeback" in read_metadata(file)
    except TakebackError:
        return False


def _config(made: Hybrid) -> dict[str, Any]:
    """Return tuned's config as its file has it, but for what the hybrid's tensors make untrue."""
    tuned = made.pair.tuned
    config: dict[str, Any] = json.loads((tuned.folder / "config.json").read_text(encoding="utf-8"))
    if config.get("tie_word_embeddings", tuned.tied) != tuned.tied or made.pair.untied:
        config["tie_word_embeddings"] = tuned.tied
    if made.loading_dtype is not None:
        config.pop("torch_dtype", None)
        config["dtype"] = str(made.loading_dtype).removeprefix("torch.")
    return config
