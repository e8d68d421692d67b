"""A checkpoint on disk, opened lazily and only for reading."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from takeback.anatomy import Anatomy, Region, anatomy_of
from takeback.anatomy.families import own_block, unwrapped
from takeback.anatomy.partition import COMMON_ROWS
from takeback.anatomy.source import family_in
from takeback.checkpoint.adapter import Change
from takeback.checkpoint.config import full_config, untied_settings
from takeback.checkpoint.flat import Flat, Held, Mapped, Merged
from takeback.checkpoint.forms.plain import PLAIN
from takeback.checkpoint.lora import LoraDelta
from takeback.checkpoint.made import Stored
from takeback.checkpoint.network_config import KEY, WEIGHTS, NetworkConfig
from takeback.checkpoint.shards import (
    Entry,
    read_metadata,
)
from takeback.checkpoint.stream.patched import Patched, Replayed
from takeback.checkpoint.ties import embeddings_of, is_tied
from takeback.checkpoint.vocabulary import Padded, SharedVocabulary
from takeback.checkpoint.weights import weights_digest
from takeback.draw.page import Section, Table, fragment
from takeback.run.errors import TakebackError, unknown_name
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
    `warnings` tells what is odd about its files, `form` how the weights lie on disk; `promised` is the
    content hash that a stream's file says it has, if it says one.
    """

    ref: str
    folder: Path
    settings: Mapping[str, Any] | None
    entries: Mapping[str, Stored]
    stored: Mapping[str, str]
    side_folders: tuple[Path, ...] = ()
    deltas: Mapping[str, Change] = field(default_factory=dict[str, Change])
    vocabulary: SharedVocabulary | None = None
    aside: Mapping[str, Stored] = field(default_factory=dict[str, Stored])
    warnings: tuple[str, ...] = ()
    form: str = PLAIN.name
    promised: str | None = None

    def __repr__(self) -> str:
        kind = "a network" if self.settings is None else self.settings["model_type"]
        size = sum(map(math.prod, self.shapes.values()))
        elements = " and ".join(dict.fromkeys(self.elements.values()))
        merged = ", an adapter merged in" if self.adapted else ""
        merged += f", read from {self.form}" if self.form != PLAIN.name else ""
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
        entry, delta = self._entry(name), self.deltas.get(name)
        if isinstance(entry, Patched):
            stored: Flat = Replayed(entry)
        else:
            stored = Mapped(entry) if isinstance(entry, Entry) else Held(entry.read())
        if delta is None:
            whole = stored
        elif isinstance(delta, LoraDelta):
            whole = Merged(stored, delta)
        else:
            whole = Held(delta.merged(entry.read()))
        if self.vocabulary is None or name not in self.vocabulary.tensors:
            return whole
        return Padded(whole, math.prod(entry.shape))

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
    def plain(self) -> bool:
        """Whether its folder is one that transformers loads by itself."""
        files = {entry.file for entry in self.entries.values()}
        return self.form == PLAIN.name and all(
            file.parent == self.folder and (file.name == WEIGHTS or (self.folder / _INDEX).is_file())
            for file in files
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
    def streamed(self) -> bool:
        """Whether it is a step of a stream of deltas, so that no folder holds it as transformers loads it."""
        return (
            self.settings is not None
            and not any(entry.file.parent == self.folder for entry in self.entries.values())
            and not self.adapted
        )

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
        """Read config.json as it is, but for what the tensors make untrue of them.

        Where the form of the weights has none, it is what transformers would write.
        """
        file = self.folder / "config.json"
        if self.config is not None and not file.is_file():
            config: dict[str, Any] = self.config.to_diff_dict()
        else:
            config = read_object(file)
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

    def _entry(self, name: str) -> Stored:
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

_INDEX = "model.safetensors.index.json"
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")
