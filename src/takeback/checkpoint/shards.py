"""Safetensors files, looked at without reading weights: which tensor lies where, is the file whole."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from safetensors import SafetensorError, safe_open

from takeback.run.errors import TakebackError
from takeback.run.json_text import parse_json, read_json
from takeback.run.reading import Unreadable, open_regular, own_path

if TYPE_CHECKING:
    import torch

ELEMENTS: Mapping[str, str] = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "BOOL": "bool",
}
"""The element types of the safetensors format that this package reads and writes, as torch names them."""

ITEM_SIZES: Mapping[str, int] = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "bool": 1,
}
"""The bytes of an entry of each type."""

LARGEST_HEADER = 100_000_000
"""The most bytes of a header, as in the safetensors library."""

_PICKLED = ("pytorch_model*.bin", "pytorch_model*.bin.index.json", "*.pt", "*.pth", "adapter_model.bin")
_NOT_WEIGHTS = {"optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt"}


@dataclass(frozen=True, slots=True)
class Entry:
    """Says where one stored tensor lies: its file, its name there, its type and shape, its first byte.

    `within` is for a stretch of a stacked tensor: the slice on the first axis, and the rows of it.
    """

    file: Path
    stored: str
    element: str
    shape: tuple[int, ...]
    offset: int
    within: tuple[int, int, int] | None = None

    @property
    def nbytes(self) -> int:
        """How many bytes it takes in the file."""
        return math.prod(self.shape) * ITEM_SIZES[self.element]

    @contextmanager
    def opened(self) -> Generator[BinaryIO]:
        """Open the file for reading.

        Raises:
            TakebackError: it cannot be read any more.
        """
        try:
            with open_regular(self.file) as stream:
                yield stream
        except (OSError, ValueError) as error:
            raise TakebackError(f"could not read {self.stored} from {self.file}: {error}") from error

    def read(self, index: tuple[slice, ...] = ()) -> torch.Tensor:
        """Read the tensor, or the part of it at `index`; the result must not be written to."""
        try:
            with safe_open(self.file, framework="pt") as shard:
                if self.within is not None:
                    place, start, stop = self.within
                    return shard.get_slice(self.stored)[place, start:stop][index]
                if not index:
                    return shard.get_tensor(self.stored)
                return shard.get_slice(self.stored)[index]
        except (OSError, SafetensorError) as error:
            raise TakebackError(f"could not read {self.stored} from {self.file}: {error}") from error


def weight_entries(folder: Path) -> dict[str, Entry]:
    """Find the weights of a Hugging Face folder, single or sharded: stored name -> entry.

    Raises:
        TakebackError: there are none, they are pickled, or a shard is missing, truncated or misplaced.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return read_header(single)
    if index.is_file():
        return read_index(folder, index)
    raise no_weights(folder)


def stale_files(folder: Path) -> tuple[str, ...]:
    """Tell of weights in a folder that are not read, or may be older than others beside them.

    Of a single file and an index the single file is read, as by transformers.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    shards = sorted(folder.glob("model-*-of-*.safetensors"))
    if not single.is_file() or not (index.is_file() or shards):
        return ()
    newest = max(file.stat().st_mtime_ns for file in (*shards, *([index] if index.is_file() else [])))
    older = ", which is older than them" if single.stat().st_mtime_ns < newest else ""
    return (
        f"{folder} holds both model.safetensors and shards: model.safetensors was read{older}; remove what "
        "is out of date",
    )


def read_header(file: Path) -> dict[str, Entry]:
    """Read the header of a safetensors file and check it by the rules of the format: stored name -> entry.

    The rules (https://github.com/huggingface/safetensors#format): JSON in UTF-8 that begins with a brace,
    no name twice, shapes and places in whole numbers, and tensors that fill the file without holes, overlaps
    and bytes after the last one.

    Raises:
        TakebackError: the file is missing, truncated or no safetensors file, or holds an unknown type.
    """
    try:
        size = file.stat().st_size
        with open_regular(file) as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > size - 8:
                raise TakebackError(f"{file} is truncated or not a safetensors file ({size} bytes)")
            if length > LARGEST_HEADER:
                raise _broken(file, f"it is {length} bytes long, more than {LARGEST_HEADER}")
            text = stream.read(length)
    except OSError as error:
        raise TakebackError(f"could not read {file}: {error.strerror or error}") from error
    rows = _rows(file, text)
    entries = {name: _entry(file, name, row, (8 + length, size)) for name, row in rows.items()}
    if not entries:
        raise TakebackError(f"{file} holds no tensors; fetch or save it again")
    _check_filled(file, entries, 8 + length, size)
    return entries


def read_metadata(file: Path) -> dict[str, str]:
    """Read the free-form metadata of a safetensors file.

    Raises:
        TakebackError: the file is missing or no safetensors file.
    """
    try:
        with safe_open(file, framework="np") as shard:
            return dict(cast("dict[str, str] | None", shard.metadata()) or {})
    except (OSError, SafetensorError) as error:
        raise TakebackError(f"could not read {file}: {error}") from error


def _rows(file: Path, text: bytes) -> dict[str, Any]:
    """Read what the header says of each tensor, as it stands."""
    try:
        if not text.startswith(b"{"):
            raise ValueError("it does not begin with a brace")
        header: Any = parse_json(text, "it", strict=True, once=True)
    except ValueError as error:
        raise _broken(file, error.why if isinstance(error, Unreadable) else str(error)) from error
    about = header.pop("__metadata__", None)
    if about is not None and not (isinstance(about, dict) and _all_text(cast("dict[Any, Any]", about))):
        raise _broken(file, "its __metadata__ is no table of texts")
    return header


def _all_text(about: Mapping[Any, Any]) -> bool:
    return all(isinstance(value, str) for value in about.values())


def _entry(file: Path, name: str, row: Any, data: tuple[int, int]) -> Entry:
    """Check the row of a header against where the data of the file begin and end."""
    if not isinstance(row, dict) or row.keys() != {"dtype", "shape", "data_offsets"}:
        raise _broken(file, f"{name} has not just dtype, shape and data_offsets")
    kind, shape, places = (cast("Any", row[key]) for key in ("dtype", "shape", "data_offsets"))
    if kind == "" and shape == [] and places == [0, 0]:
        raise TakebackError(
            f"{file} names {name} and holds nothing of it, as torchtitan writes output embeddings that are "
            "tied; take the name out of the header and the index, or save it with a newer torchtitan"
        )
    if not isinstance(kind, str) or kind not in ELEMENTS:
        raise TakebackError(f"{name} in {file} has the element type {kind}; known: {', '.join(ELEMENTS)}")
    if not _whole_numbers(shape) or not _whole_numbers(places) or len(places) != 2:
        raise _broken(file, f"{name} has the shape {shape} at {places}, which are not all whole numbers")
    element, (start, stop), room = ELEMENTS[kind], places, data[1] - data[0]
    if stop > room:
        raise TakebackError(
            f"{file} is truncated: {name} ends at byte {stop}, there are {room}; fetch or save it again"
        )
    if stop - start != math.prod(shape) * ITEM_SIZES[element]:
        raise _broken(file, f"{name} has {stop - start} bytes for shape {list(shape)}")
    return Entry(file, name, element, tuple(shape), data[0] + start)


def _whole_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _check_filled(file: Path, entries: Mapping[str, Entry], start: int, size: int) -> None:
    """Raise unless the tensors follow on each other from the first byte of the data to the last."""
    place, before = start, "the header"
    for name, entry in sorted(entries.items(), key=lambda one: (one[1].offset, one[1].nbytes)):
        if entry.offset < place:
            raise _broken(file, f"{name} overlaps {before}")
        if entry.offset > place:
            raise _broken(file, f"{entry.offset - place} bytes between {before} and {name} are no tensor's")
        place, before = entry.offset + entry.nbytes, name
    if place < size:
        raise _broken(file, f"{size - place} bytes after {before} are no tensor's")


def _broken(file: Path, why: str) -> TakebackError:
    return TakebackError(f"{file} has a broken safetensors header ({why}); fetch or save it again")


def read_index(folder: Path, index: Path) -> dict[str, Entry]:
    """Read the shards that an index names, and find each tensor in the file that it says.

    Raises:
        TakebackError: it is no index, or a file lacks, or has not what it says.
    """
    try:
        places = read_json(index)["weight_map"]
        strange = [name for name in places.values() if not is_file_name(name)]
        if strange:
            raise ValueError(f"it names {strange[0]!r:.80}, which is no file of its folder")
        files = sorted(set(places.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TakebackError(f"{index} is not an index of shards ({error}); fetch or save it again") from error
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise TakebackError(
            f"{index} names {_some(missing)}, but {folder} has no such file; fetch or save it again"
        )
    found = {name: read_header(folder / name) for name in files}
    absent = [tensor for tensor, name in places.items() if tensor not in found[name]]
    if absent:
        raise TakebackError(
            f"{index} places {_some(absent)} in files that do not have them; fetch or save it again"
        )
    return {tensor: found[name][tensor] for tensor, name in places.items()}


def is_file_name(name: object) -> bool:
    """Return whether a text can name a file of a folder, and leads nowhere else."""
    if not isinstance(name, str) or len(name.encode("utf-8", "replace")) > 255:
        return False
    return name not in ("", ".", "..") and not set(name) & set("/\\\0")


def no_weights(folder: Path) -> TakebackError:
    """Say what a folder without weights holds instead, and what to do."""
    pickled = sorted(
        file.name for pattern in _PICKLED for file in folder.glob(pattern) if file.name not in _NOT_WEIGHTS
    )
    if pickled:
        return TakebackError(
            f"{folder} holds pickled weights ({pickled[0]}), which run code when opened; load the model "
            "where you trust it and save it with save_pretrained, which writes safetensors"
        )
    if (folder / "adapter_config.json").is_file():
        return TakebackError(
            f"{folder} holds an adapter, not a model; write BASE+{folder}, with the model that it is of"
        )
    inner = sorted(path.parent.name for path in folder.glob("*/config.json"))
    if inner:
        return TakebackError(f"{folder} has no weights itself, but holds {_some(inner)}; name one of them")
    return TakebackError(f"{folder} has no model.safetensors and no model.safetensors.index.json")


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter and no weights of a whole model."""
    whole = ("model.safetensors", "model.safetensors.index.json")
    return (folder / "adapter_config.json").is_file() and not any((folder / one).exists() for one in whole)


def adapter_base(folder: Path) -> str | None:
    """Return what an adapter's config says that it was trained on, None where it says nothing.

    A path that is not one from here is taken from the adapter's folder.
    """
    try:
        config = read_json(folder / "adapter_config.json")
        named, revision = config.get("base_model_name_or_path"), config.get("revision")
    except (OSError, ValueError, AttributeError):
        return None
    if not isinstance(named, str) or not named or not _can_be(named):
        return None
    if not Path(named).exists() and (folder / named).is_dir():
        return str(folder / named)
    return f"{named}@{revision}" if revision and not Path(named).exists() else named


def _can_be(name: str) -> bool:
    """Return whether a file can have a name: its parts are not too long, and no byte of it is zero."""
    try:
        own_path(name)
    except TakebackError:
        return False
    return True


def _some(names: list[str]) -> str:
    return ", ".join(name[:120] for name in names[:4]) + (
        f", … ({len(names)} in all)" if len(names) > 4 else ""
    )
