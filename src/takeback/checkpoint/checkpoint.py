"""A checkpoint on disk, opened lazily and only for reading."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from takeback.anatomy import Anatomy, Region, anatomy_of, canonical_name
from takeback.anatomy.families import Family, own_block, unwrapped
from takeback.anatomy.partition import COMMON_ROWS
from takeback.anatomy.source import canonical_names, family_in
from takeback.checkpoint.adapter import LoraDelta, read_adapter
from takeback.checkpoint.flat import Flat, Mapped, Merged
from takeback.checkpoint.locate import locate, split_adapter
from takeback.checkpoint.network_config import KEY, WEIGHTS, NetworkConfig
from takeback.checkpoint.sb3 import sb3_network
from takeback.checkpoint.settings import full_config, read_settings, untied_settings, without_quantization
from takeback.checkpoint.shards import (
    Entry,
    adapter_base,
    is_adapter,
    read_header,
    read_metadata,
    stale_files,
    weight_entries,
)
from takeback.checkpoint.stored import unstacked, without_leftovers
from takeback.checkpoint.stream.file import DIGEST, NAMES
from takeback.checkpoint.stream.folder import ANCHORS, Stream, is_stream, split_step
from takeback.checkpoint.stream.patched import Patched, Replayed
from takeback.checkpoint.ties import embeddings_of, is_tied, one_of_tied, with_default_tying
from takeback.checkpoint.vocabulary import Padded, SharedVocabulary
from takeback.checkpoint.weights import names_digest, weights_digest
from takeback.draw.page import Section, Table, fragment
from takeback.run.errors import TakebackError, unknown_name, warned
from takeback.run.files import file_digest
from takeback.run.identity import identity, told
from takeback.run.json_text import read_object

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig


@dataclass(frozen=True, eq=False, repr=False)
class Checkpoint:
    """Gives the tensors of a model on disk by canonical name, one at a time, holding none in memory.

    `settings` is what config.json holds (None for a plain state dict), `entries` says where each tensor lies,
    `stored` what files of this model call it, `deltas` what an adapter adds. `side_folders` have
    tokenizer and generation config, earlier ones first. In a pair, `vocabulary` says how it reads beside a
    vocabulary of another size, and `aside` holds tensors of this side alone, which are not compared.
    `warnings` tells what is odd about its files; `promised` is the content hash that a stream's file says it
    has, if it says one.
    """

    ref: str
    folder: Path
    settings: Mapping[str, Any] | None
    entries: Mapping[str, Entry]
    stored: Mapping[str, str]
    side_folders: tuple[Path, ...] = ()
    deltas: Mapping[str, LoraDelta] = field(default_factory=dict[str, LoraDelta])
    promised: str | None = None
    vocabulary: SharedVocabulary | None = None
    aside: Mapping[str, Entry] = field(default_factory=dict[str, Entry])
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        kind = "a network" if self.settings is None else self.settings["model_type"]
        size = sum(map(math.prod, self.shapes.values()))
        elements = " and ".join(dict.fromkeys(self.elements.values()))
        merged = ", an adapter merged in" if self.adapted else ""
        return f"Checkpoint {self.ref!r}: {kind}, {size:,} parameters in {elements}{merged}"

    def _repr_html_(self) -> str:
        anatomy = self.anatomy()
        kinds: dict[str, list[int]] = {}
        for component in anatomy.universe:
            kinds.setdefault(component.kind, []).append(anatomy.parameters(component))
        rows = tuple((kind, str(len(sizes)), f"{sum(sizes):,}") for kind, sizes in kinds.items())
        table = Table(("kind", "components", "parameters"), rows, ("kind",))
        return fragment(Section(self.ref, (repr(self),), tables=(table,)))

    @property
    def config(self) -> PreTrainedConfig | None:
        """The architecture's settings with the defaults of transformers, which is loaded when first asked.

        Raises:
            TakebackError: transformers does not accept what config.json holds.
        """
        return self._config

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each tensor by canonical name."""
        shapes = {name: entry.shape for name, entry in self.entries.items()}
        if self.vocabulary is None:
            return shapes
        return {name: self.vocabulary.shape(name, shape) for name, shape in shapes.items()}

    @property
    def dtypes(self) -> Mapping[str, torch.dtype]:
        """The element type of each tensor by canonical name; see `elements`."""
        import torch

        return {name: getattr(torch, element) for name, element in self.elements.items()}

    @property
    def elements(self) -> Mapping[str, str]:
        """The name of each tensor's element type; float32 where an adapter is merged in."""
        return {
            name: self.deltas[name].element if name in self.deltas else entry.element
            for name, entry in self.entries.items()
        }

    @property
    def network(self) -> NetworkConfig:
        """How the network of a plain state dict is run.

        Raises:
            TakebackError: its file does not say it.
        """
        return NetworkConfig.of(read_metadata(self._file), str(self._file))

    @property
    def runs_as(self) -> str:
        """What besides its weights decides what it does: the config, or how a network is run."""
        if self.config is not None:
            return self.config.to_json_string()
        return read_metadata(self._file).get(KEY, "")

    @property
    def digest(self) -> str:
        """The content hash of the weights: equal for equal tensors, whatever the files look like."""
        return self._digest

    @property
    def files(self) -> list[Path]:
        """The files that its tensors lie in, an adapter's too."""
        deltas = (file for delta in self.deltas.values() for file in delta.files)
        patches = (
            patch.values.file
            for entry in self.entries.values()
            if isinstance(entry, Patched)
            for patch in entry.patches
        )
        return sorted({*(entry.file for entry in self.entries.values()), *patches, *deltas})

    @property
    def stamp(self) -> str:
        """What tells these files from others without reading them: names, sizes, times, the config."""
        states = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in self.files]
        view = [] if self.vocabulary is None else [self.vocabulary.common, self.vocabulary.rows]
        own = own_block(family_in(self.settings))
        families = [own] if own else ()
        return identity(states, sorted(self.entries), self.settings, *view, *families, versions=False)

    @property
    def tied(self) -> bool:
        """Whether the input embeddings are also the output embeddings."""
        return self.settings is not None and is_tied(family_in(self.settings), self.settings, self.shapes)

    def read(self, name: str) -> torch.Tensor:
        """Read one tensor, in its stored element type; it must not be written to.

        Raises:
            UnknownName: there is no such tensor.
            TakebackError: the file cannot be read any more.
        """
        tensor = self._entry(name).read()
        tensor = self.deltas[name].merged(tensor) if name in self.deltas else tensor
        shared = self.vocabulary
        return shared.padded(tensor) if shared is not None and name in shared.tensors else tensor

    def flat(self, name: str) -> Flat:
        """Return the entries of one tensor in row-major order, to be looked at a stretch at a time.

        Raises:
            UnknownName: there is no such tensor.
        """
        entry = self._entry(name)
        stored = Replayed(entry) if isinstance(entry, Patched) else Mapped(entry)
        whole = Merged(stored, self.deltas[name]) if name in self.deltas else stored
        if self.vocabulary is None or name not in self.vocabulary.tensors:
            return whole
        return Padded(whole, math.prod(self.entries[name].shape))

    def read_region(self, region: Region) -> torch.Tensor:
        """Read one stretch of a tensor, with the bits that reading the whole would give.

        Raises:
            UnknownName: there is no such tensor.
            TakebackError: the file cannot be read any more.
        """
        shared = self.vocabulary if self.vocabulary and region.tensor in self.vocabulary.tensors else None
        beyond = shared is not None and (region.axis is None or (region.stop or 0) > shared.own)
        if beyond or region.tensor in self.deltas:
            return self.read(region.tensor)[region.index]
        return self._entry(region.tensor).read(region.index)

    def anatomy(self, resolution: str = "heads") -> Anatomy:
        """Return which entries belong to which component, at the resolution "heads" or "neurons".

        Raises:
            TakebackError: the family is unknown, or the tensors are not those of such a model.
        """
        if resolution not in self._anatomies:
            self._anatomies[resolution] = self._read_anatomy(resolution)
        return self._anatomies[resolution]

    @property
    def adapted(self) -> bool:
        """Whether an adapter is merged in."""
        return self.folder not in self.side_folders[:1] and self.settings is not None

    @property
    def streamed(self) -> bool:
        """Whether it is a step of a stream of deltas, so that no folder holds it as transformers loads it."""
        return (
            self.settings is not None
            and not any(entry.file.parent == self.folder for entry in self.entries.values())
            and not self.adapted
        )

    @property
    def heads(self) -> tuple[str, ...]:
        """The tensors of a value, reward or classification head."""
        cuts = self.anatomy().cuts
        return tuple(name for name, owned in cuts.items() if owned[0].kind == "HEAD")

    @property
    def wrapped(self) -> bool:
        """Whether its files have the names of a wrapper, which transformers does not know."""
        return any(
            self.stored.get(name) == unwrapped(entry.stored) != entry.stored
            for name, entry in self.entries.items()
            if entry.file.parent == self.folder
        )

    @property
    def resized(self) -> int | None:
        """The rows of the vocabulary that an adapter brought in the place of its base's, if it did."""
        if not self.adapted or self.settings is None:
            return None
        family = family_in(self.settings)
        embedding = None if family is None else self.entries.get(family.embedding)
        own = embedding is not None and embedding.file.parent != self.folder
        return embedding.shape[0] if embedding is not None and own else None

    @property
    def separated(self) -> bool:
        """Whether its output embeddings are a copy that the files do not hold; see `untied`."""
        unembed = self.output_embeddings
        entry = self.entries.get(unembed) if unembed else None
        return any(entry is other for name, other in self.entries.items() if name != unembed)

    @property
    def output_embeddings(self) -> str | None:
        """The tensor of untied output embeddings in this family, None for a plain state dict."""
        return self._embeddings[1] if self._embeddings else None

    def untied(self) -> Checkpoint:
        """Return this model with output embeddings of their own, a copy of the input embeddings."""
        if self.settings is None or self._embeddings is None or not self.tied:
            return self
        embed, unembed = self._embeddings
        return replace(
            self,
            settings=untied_settings(self.settings),
            entries={**self.entries, unembed: self.entries[embed]},
            stored={**self.stored, unembed: unembed},
            promised=None,
        )

    @property
    def alone(self) -> Checkpoint:
        """This model as its files have it, whatever it is paired with."""
        if self.vocabulary is None and not self.aside:
            return self
        return replace(self, vocabulary=None, entries={**self.entries, **self.aside}, aside={})

    @property
    def tokenizer_folder(self) -> Path | None:
        """The folder of the model's tokenizer: the first beside its weights that holds a vocabulary.

        In a pair with vocabularies of two sizes it is the one that knows all tokens of both, if one does.
        """
        if self.vocabulary is not None and self.vocabulary.tokenizer is not None:
            return self.vocabulary.tokenizer
        return next(
            (
                folder
                for folder in self.side_folders
                if any((folder / name).is_file() for name in _VOCABULARIES)
            ),
            None,
        )

    def stored_config(self) -> dict[str, Any]:
        """Read config.json as it is, but for what the tensors make untrue of them."""
        config = read_object(self.folder / "config.json")
        if "quantization_config" not in (self.settings or {}):
            config.pop("quantization_config", None)
        if self.resized is not None:
            config["vocab_size"] = self.resized
        return config

    def side_files(self) -> Iterator[Path]:
        """Yield the files of the tokenizer and the generation config that belong to this model."""
        settings = (folder / "generation_config.json" for folder in self.side_folders)
        yield from islice((file for file in settings if file.exists()), 1)
        if (folder := self.tokenizer_folder) is not None:
            yield from (folder / name for name in TOKENIZER_FILES if (folder / name).exists())

    def side_digests(self) -> list[tuple[str, str]]:
        """Return names and content hashes of `side_files`, those of a folder one by one."""
        places = (place for path in self.side_files() for place in (path, *sorted(path.rglob("*"))))
        return [(place.name, file_digest(place)) for place in places if place.is_file()]

    @property
    def _file(self) -> Path:
        return next(iter(self.entries.values())).file

    @cached_property
    def _config(self) -> PreTrainedConfig | None:
        if self.settings is None:
            return None
        config = full_config(self.folder, self.settings)
        if "tie_word_embeddings" in self.settings or family_in(self.settings) is not None:
            config.tie_word_embeddings = self.tied
        if self.resized is not None:
            config.get_text_config().vocab_size = self.resized
        if self.vocabulary is not None:
            setattr(config, COMMON_ROWS, self.vocabulary.common)
            config.get_text_config().vocab_size = self.vocabulary.rows
        return config

    def _read_anatomy(self, resolution: str) -> Anatomy:
        """Read it from config.json as it is, and only if that does not fit with the defaults filled in."""
        settings = self.settings
        if settings is not None and self.vocabulary is not None:
            settings = {**settings, COMMON_ROWS: self.vocabulary.common}
        try:
            return anatomy_of(_Described(settings, self.shapes), resolution)
        except (TakebackError, TypeError):
            return anatomy_of(self, resolution)

    @property
    def _embeddings(self) -> tuple[str, str] | None:
        settings = self.settings
        return None if settings is None else embeddings_of(family_in(settings), settings, self.shapes)

    @cached_property
    def _digest(self) -> str:
        if self.alone is not self:
            return self.alone.digest
        digest = weights_digest(self)
        if self.promised not in (None, digest):
            raise TakebackError(
                f"{self.ref} is damaged: its tensors are not those that were packed; fetch or pack its "
                "stream again, from the anchor before it on"
            )
        return digest

    @cached_property
    def _anatomies(self) -> dict[str, Anatomy]:
        return {}

    def _entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise unknown_name("tensor", name, self.entries)
        return self.entries[name]


@told.register(Checkpoint)
def _(checkpoint: Checkpoint) -> Any:
    own = own_block(family_in(checkpoint.settings))
    return [checkpoint.digest, checkpoint.runs_as, checkpoint.side_digests(), *([own] if own else ())]


@dataclass(frozen=True)
class _Described:
    config: Mapping[str, Any] | None
    shapes: Mapping[str, tuple[int, ...]]


TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates",
)
"""Files (and one folder) that make up a tokenizer in a Hugging Face folder."""

_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")


def open_checkpoint(ref: str | Path) -> Checkpoint:
    """Open a model for reading, without loading it.

    `ref` is a Hugging Face folder (a trainer's `checkpoint-200` too), `org/name@revision` (from the local
    cache, else from the hub; without a revision from the cache only), `base+adapter` with a PEFT LoRA
    adapter, merged in float32 as tensors are read (the adapter alone is one of the base that its config
    names), `RUN@step=N` or `RUN@step=last` of a stream of sparse deltas, replayed as tensors are read, a
    `.safetensors` file with the state dict of an MLP (or a folder with it as `model.safetensors`), or a
    Stable-Baselines3 `.zip`, of which the policy's tensors are read and nothing is unpickled.

    Raises:
        TakebackError: there is no such model, its files are not whole, or it is of a kind that is not read.
    """
    run, step = split_step(str(ref))
    if step is not None and Path(run).expanduser().is_dir():
        return _open_step(str(ref), locate(run), step)
    base, adapter = split_adapter(str(ref))
    run, step = split_step(base)
    place = locate(run)
    if adapter is None and is_adapter(place) and (named := adapter_base(place)) is not None:
        base, adapter, place = named, str(place), _base_of(place, named)
    if step is not None:
        opened = _open_step(str(ref), place, step)
    else:
        opened = _open_folder(str(ref), place) if place.is_dir() else _open_file(str(ref), place)
    opened = _open_folder(str(ref), place) if place.is_dir() else _open_file(str(ref), place)
    for text in opened.warnings:
        warned(text)
    if adapter is None:
        return opened
    if opened.settings is None:
        raise TakebackError(
            f"{base} is a plain state dict; an adapter needs a Hugging Face folder as its base"
        )
    folder = locate(adapter)
    family = family_in(opened.settings)
    changed = read_adapter(folder, family, opened.entries, opened.tied)
    names = embeddings_of(family, opened.settings, opened.shapes)
    if names and opened.tied and (names[0] in changed.deltas or names[0] in changed.replaced):
        raise TakebackError(
            f"{folder} changes embeddings that are tied in {base}; untie those first, or merge it with peft"
        )
    return replace(
        opened,
        entries={**opened.entries, **changed.replaced},
        deltas=changed.deltas,
        side_folders=(folder, *opened.side_folders),
        promised=None,
    )


def _base_of(adapter: Path, named: str) -> Path:
    try:
        return locate(named)
    except TakebackError as error:
        raise TakebackError(
            f"{adapter} is an adapter of {named}, and {error}; or write BASE+{adapter}"
        ) from error


def _open_file(ref: str, file: Path) -> Checkpoint:
    if file.suffix == ".zip":
        file = sb3_network(file)
    if file.suffix != ".safetensors":
        raise TakebackError(
            f"{file} is not a .safetensors file; pickled weights run code when opened: load them where you "
            "trust them and save them with safetensors.torch.save_file"
        )
    entries = read_header(file)
    _check_floating(file, entries)
    return Checkpoint(ref, file.parent, None, entries, {name: name for name in entries})


def _open_step(ref: str, folder: Path, named: str) -> Checkpoint:
    stream = Stream.open(folder)
    step = stream.step(named)
    found, beside, said = stream.entries(step), stream.beside(step), stream.chain(step)[-1].metadata
    anchor = read_metadata(next(iter(found.values())).file)
    has_config = (beside / "config.json").exists()
    if KEY in anchor or (NAMES in anchor and not has_config):
        _check_floating(folder, found)
        opened = Checkpoint(ref, folder, None, found, {name: name for name in found})
    elif has_config:
        opened = _of_entries(ref, beside, found)
    else:
        raise TakebackError(
            f"{folder} has no config.json beside its {ANCHORS}; put the one of the model that was trained "
            "there, with its tokenizer"
        )
    same_names = said.get(NAMES) == names_digest(opened.entries)
    return replace(opened, promised=said.get(DIGEST) if same_names else None)


def _open_folder(ref: str, folder: Path) -> Checkpoint:
    if is_stream(folder) and not (folder / "model.safetensors").exists():
        steps = Stream.open(folder).steps
        raise TakebackError(
            f"{folder} is a stream of {len(steps)} steps from {steps[0]} to {steps[-1]}; name one: "
            f"{folder}@step={steps[-1]}"
        )
    found = weight_entries(folder)
    if _holds_network(folder):
        return _open_file(ref, folder / WEIGHTS)
    return _of_entries(ref, folder, found)


def _of_entries(ref: str, folder: Path, found: Mapping[str, Entry]) -> Checkpoint:
    settings = read_settings(folder)
    family = family_in(settings)
    entries = canonical_names(found, family)
    if family is not None:
        entries = without_leftovers(family, settings, unstacked(family, entries))
    stored = {
        name: name if entry.within else _unwrapped(family, entry.stored) for name, entry in entries.items()
    }
    settings = without_quantization(folder, settings, entries)
    _check_floating(folder, entries)
    if family is None:
        settings = with_default_tying(folder, settings, entries)
    names = embeddings_of(family, settings, {name: entry.shape for name, entry in entries.items()})
    if names and is_tied(family, settings, {name: entry.shape for name, entry in entries.items()}):
        settings = one_of_tied(settings, names, entries, stored)
    elif family is not None and not {family.embedding, family.unembedding} & entries.keys():
        raise TakebackError(
            f"{folder} has no {family.unembedding}, but its config says that embeddings are not tied"
        )
    told = stale_files(folder)
    return Checkpoint(ref, folder, settings, entries, stored, (folder,), warnings=told)


def _unwrapped(family: Family | None, stored: str) -> str:
    """Return what a file of this model calls a tensor, without what a wrapper added."""
    if family is None:
        return stored
    plain = unwrapped(stored)
    return plain if canonical_name(family, plain) == canonical_name(family, stored) else stored


def _holds_network(folder: Path) -> bool:
    alone = (folder / WEIGHTS).is_file() and not (folder / "config.json").exists()
    return alone and KEY in read_metadata(folder / WEIGHTS)


def _check_floating(place: Path, entries: Mapping[str, Entry]) -> None:
    whole = next(
        (name for name, entry in entries.items() if not entry.element.startswith(("float", "bfloat"))),
        None,
    )
    if whole is not None:
        raise TakebackError(
            f"{place} holds {whole} as {entries[whole].element}; dequantize it to floating-point "
            "weights first"
        )
