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
from takeback.run.reading import Unreadable, open_regular

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
        return _sharded_entries(folder, index)
    raise _no_weights(folder)


def read_header(file: Path) -> dict[str, Entry]:
    """Read the header of a safetensors file and check it against the file's length: stored name -> entry.

    Raises:
        TakebackError: the file is missing, truncated or no safetensors file, or holds an unknown type.
    """
    try:
        size = file.stat().st_size
        with open_regular(file) as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > size - 8:
                raise TakebackError(f"{file} is truncated or not a safetensors file ({size} bytes)")
            text = stream.read(length)
    except OSError as error:
        raise TakebackError(f"could not read {file}: {error.strerror or error}") from error
    try:
        header = parse_json(text, "its header")
        rows = {name: row for name, row in header.items() if name != "__metadata__"}
        entries = {name: _entry(file, name, row, (8 + length, size)) for name, row in rows.items()}
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        if isinstance(error, TakebackError) and not isinstance(error, Unreadable):
            raise
        raise TakebackError(
            f"{file} has a broken safetensors header ({error}); fetch or save it again"
        ) from error
    if not entries:
        raise TakebackError(f"{file} holds no tensors; fetch or save it again")
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


def _entry(file: Path, name: str, row: Mapping[str, Any], data: tuple[int, int]) -> Entry:
    """Check the row of a header against where the data of the file begin and end."""
    room = data[1] - data[0]
    start, stop = row["data_offsets"]
    shape = tuple(int(extent) for extent in row["shape"])
    if row["dtype"] not in ELEMENTS:
        raise TakebackError(
            f"{name} in {file} has the element type {row['dtype']}; known: {', '.join(ELEMENTS)}"
        )
    element = ELEMENTS[row["dtype"]]
    if stop > room:
        raise TakebackError(
            f"{file} is truncated: {name} ends at byte {stop}, there are {room}; fetch or save it again"
        )
    if start < 0 or stop - start != math.prod(shape) * ITEM_SIZES[element]:
        raise TakebackError(
            f"{file} has a broken safetensors header: {name} has {stop - start} bytes for shape {list(shape)}"
        )
    return Entry(file, name, element, shape, data[0] + start)


def _sharded_entries(folder: Path, index: Path) -> dict[str, Entry]:
    try:
        places = read_json(index)["weight_map"]
        strange = [name for name in places.values() if not _is_plain(name)]
        if strange:
            raise ValueError(f"it names {strange[0]!r}, which is no file of its folder")
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


def _is_plain(name: object) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\")


def _no_weights(folder: Path) -> TakebackError:
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
    if not isinstance(named, str) or not named:
        return None
    if not Path(named).exists() and (folder / named).is_dir():
        return str(folder / named)
    return f"{named}@{revision}" if revision and not Path(named).exists() else named


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f", … ({len(names)} in all)" if len(names) > 4 else "")
