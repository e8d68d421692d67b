"""From what a user writes to an opened checkpoint, whatever form it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from takeback.anatomy import Family, canonical_name
from takeback.anatomy.families import unwrapped
from takeback.anatomy.source import canonical_names, family_in
from takeback.checkpoint.adapter import read_adapter
from takeback.checkpoint.checkpoint import Checkpoint
from takeback.checkpoint.config import full_config, read_settings, untied_settings
from takeback.checkpoint.forms.find import adapter_in, find_weights
from takeback.checkpoint.forms.scaled import as_floats
from takeback.checkpoint.locate import locate, split_adapter
from takeback.checkpoint.made import Stored
from takeback.checkpoint.network_config import KEY, WEIGHTS
from takeback.checkpoint.sb3 import sb3_network
from takeback.checkpoint.shards import (
    adapter_base,
    is_adapter,
    read_header,
    read_metadata,
    stale_files,
)
from takeback.checkpoint.stored import unstacked, without_leftovers
from takeback.checkpoint.stream.file import DIGEST, NAMES
from takeback.checkpoint.stream.folder import ANCHORS, Stream, is_stream, split_step
from takeback.checkpoint.ties import embeddings_of, is_tied
from takeback.checkpoint.weights import names_digest
from takeback.run.errors import TakebackError, warned
from takeback.run.reading import own_path


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
    if step is not None and own_path(run).is_dir():
        return _open_step(str(ref), locate(run), step)
    base, adapter = split_adapter(str(ref))
    run, step = split_step(base)
    place = adapter_in(locate(run))
    if adapter is None and is_adapter(place) and (named := adapter_base(place)) is not None:
        base, adapter, place = named, str(place), _base_of(place, named)
    if step is not None:
        opened = _open_step(str(ref), place, step)
    else:
        whole_model = place.is_dir() or place.suffix == ".gguf"
        opened = _open_folder(str(ref), place) if whole_model else _open_file(str(ref), place)
    for text in opened.warnings:
        warned(text)
    if adapter is None:
        return opened
    if opened.settings is None:
        raise TakebackError(
            f"{base} is a plain state dict; an adapter needs a Hugging Face folder as its base"
        )
    folder = adapter_in(locate(adapter))
    family = family_in(opened.settings)
    whole = opened.untied()
    both = embeddings_of(family, opened.settings, opened.shapes) if opened.tied else None
    changed = read_adapter(folder, family, whole.entries, both)
    opened = whole if changed.unties else opened
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
    if not found:
        raise TakebackError(f"{folder} has no tensor left at step {step}: its deltas removed them all")
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
    found = find_weights(folder)
    if _holds_network(folder):
        return _open_file(ref, folder / WEIGHTS)
    floats = as_floats(folder, found.entries, found.settings or read_settings(found.config))
    opened = _of_entries(ref, found.config, floats.entries, floats.settings)
    told = (*stale_files(folder), *floats.warnings)
    return replace(opened, side_folders=found.sides, warnings=told, form=floats.told or found.form)


def _of_entries(
    ref: str, folder: Path, found: Mapping[str, Stored], settings: Mapping[str, Any] | None = None
) -> Checkpoint:
    settings = settings or read_settings(folder)
    family = family_in(settings)
    entries = canonical_names(found, family)
    if family is not None:
        entries = without_leftovers(family, settings, unstacked(family, entries))
    called = canonical_names({name: name for name in found}, family)
    stored = {name: _unwrapped(family, called.get(name, name)) for name in entries}
    settings = _without_quantization(folder, settings, entries)
    _check_floating(folder, entries)
    if family is None:
        settings = _with_default(folder, settings, entries)
    shapes = {name: entry.shape for name, entry in entries.items()}
    names = embeddings_of(family, settings, shapes)
    if names and is_tied(family, settings, shapes):
        settings = _tie(settings, names, entries, stored)
    elif family is not None and not {family.embedding, family.unembedding} & entries.keys():
        raise TakebackError(
            f"{folder} has no {family.unembedding}, but its config says that embeddings are not tied"
        )
    return Checkpoint(ref, folder, settings, entries, stored, (folder,))


def _unwrapped(family: Family | None, stored: str) -> str:
    """Return what a file of this model calls a tensor, without what a wrapper added."""
    if family is None:
        return stored
    plain = unwrapped(stored)
    return plain if canonical_name(family, plain) == canonical_name(family, stored) else stored


_PLAIN = ("float64", "float32", "float16", "bfloat16")


def _without_quantization(
    folder: Path, settings: Mapping[str, Any], entries: Mapping[str, Stored]
) -> Mapping[str, Any]:
    """Return settings without a quantization that the tensors do not have: it was left when it was undone."""
    if not settings.get("quantization_config"):
        return settings
    odd = [name for name, entry in entries.items() if entry.element not in _PLAIN]
    family = family_in(settings)
    odd += [name for name in entries if family is None or family.match(name) is None]
    if odd:
        raise TakebackError(
            f"{folder} holds quantized weights ({odd[0]} is {entries[odd[0]].element}); load it dequantized "
            "and save that with save_pretrained"
        )
    return {name: value for name, value in settings.items() if name != "quantization_config"}


def _holds_network(folder: Path) -> bool:
    alone = (folder / WEIGHTS).is_file() and not (folder / "config.json").exists()
    return alone and KEY in read_metadata(folder / WEIGHTS)


def _tie(
    settings: Mapping[str, Any], names: tuple[str, str], entries: dict[str, Stored], stored: dict[str, str]
) -> Mapping[str, Any]:
    """Keep one of two tied tensors; unequal ones are not tied, as in transformers."""
    embed, unembed = names
    if unembed not in entries:
        return settings
    if embed not in entries:
        entries[embed], stored[embed] = entries.pop(unembed), stored.pop(unembed)
        return settings
    if not entries[embed].read().equal(entries[unembed].read()):
        return untied_settings(settings)
    del entries[unembed], stored[unembed]
    return settings


def _with_default(
    folder: Path, settings: Mapping[str, Any], entries: Mapping[str, Stored]
) -> Mapping[str, Any]:
    """Ask transformers whether a type without a family ties what is stored twice, if nothing says it."""
    names = embeddings_of(None, settings, {name: entry.shape for name, entry in entries.items()})
    if names is None or names[1] not in entries or "tie_word_embeddings" in settings:
        return settings
    try:
        tied = bool(getattr(full_config(folder, settings), "tie_word_embeddings", False))
    except TakebackError:  # a type that transformers does not know either
        tied = False
    return {**settings, "tie_word_embeddings": tied}


def _check_floating(place: Path, entries: Mapping[str, Stored]) -> None:
    whole = next(
        (name for name, entry in entries.items() if not entry.element.startswith(("float", "bfloat"))),
        None,
    )
    if whole is not None:
        raise TakebackError(
            f"{place} holds {whole} as {entries[whole].element}; dequantize it to floating-point "
            "weights first"
        )
