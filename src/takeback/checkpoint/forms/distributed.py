"""Distributed checkpoints of torch, read by torch's own readers: `.metadata` with `*.distcp`, or slices.

Slices are safetensors of which each process wrote its own, with their places in the metadata. `.metadata`
is a pickle: it is unpickled from a list of classes, so that nothing in it runs. The tensors are opened with
`weights_only=True` by torch itself.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from takeback.checkpoint.forms.form import Form
from takeback.checkpoint.forms.prefixes import model_names
from takeback.checkpoint.made import Made
from takeback.checkpoint.shards import is_file_name, read_metadata
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    import torch

_MODULES = ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem")
_PLAIN = {
    ("torch", "Size"),
    ("torch", "device"),
    ("torch.serialization", "_get_layout"),
    ("pathlib", "PosixPath"),
    ("pathlib", "PurePosixPath"),
    ("pathlib", "WindowsPath"),
    ("pathlib._local", "PosixPath"),
    ("builtins", "set"),
    ("collections", "OrderedDict"),
}
_NATIVE = ("tok_embeddings.weight", "layers.0.attention.wq.weight")


@dataclass(frozen=True)
class _Opened:
    """Holds the index of one distributed checkpoint and gives its tensors."""

    folder: Path
    slices: bool = False

    @cached_property
    def index(self) -> Any:
        """What `.metadata` holds, checked: every piece lies in a file of this folder."""
        file = self.folder / ".metadata"
        try:
            if self.slices:
                return self._reader().read_metadata()
            with file.open("rb") as stream:
                found = _Index(stream).load()
            pieces = [str(piece.relative_path) for piece in found.storage_data.values()]
            rows = dict(found.state_dict_metadata)
        except TakebackError:
            raise
        except Exception as error:  # a pickle that is cut or bent raises nearly anything
            why = " ".join(str(error).split())[:300]
            raise TakebackError(f"{file} is no index of a distributed checkpoint ({why})") from error
        strange = [name[:80] for name in pieces if not is_file_name(name)]
        known = () if strange else sorted({*pieces})
        missing = [name for name in known if not (self.folder / name).is_file()]
        if strange or missing:
            raise TakebackError(
                f"{file} places tensors in {(strange or missing)[0]}, which is no file of its folder; "
                "fetch or save it again"
            )
        found.state_dict_metadata = rows
        return found

    def read(self, name: str) -> torch.Tensor:
        """Read one tensor, put together from its pieces."""
        import torch
        from torch.distributed.checkpoint.api import CheckpointException
        from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
        from torch.distributed.checkpoint.state_dict_loader import (
            _load_state_dict,  # pyright: ignore[reportPrivateUsage] `load` warns of a single process
        )

        row = self.index.state_dict_metadata[name]
        try:
            tensor = torch.empty(tuple(row.size), dtype=row.properties.dtype)
            with _as_stored(tensor):
                _load_state_dict(
                    {name: tensor},
                    self._reader(),
                    no_dist=True,
                    planner=DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False),
                )
        except (Exception, CheckpointException) as error:  # torch wraps all kinds in what is no Exception
            lines = str(error).strip().splitlines()
            why = lines[-1][:300] if lines else type(error).__name__
            raise TakebackError(f"could not read {name} from {self.folder}: {why}") from error
        return tensor

    def _reader(self) -> Any:
        from torch.distributed.checkpoint.filesystem import FileSystemReader
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
        from torch.distributed.checkpoint.metadata import StorageMeta

        if self.slices:
            return HuggingFaceStorageReader(str(self.folder))
        index = self.index

        class Reader(FileSystemReader):
            def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
                index.storage_meta = index.storage_meta or StorageMeta()
                return index

        return Reader(self.folder)


class _Index(pickle.Unpickler):
    """Unpickles an index, and no class or function that an index does not consist of."""

    def find_class(self, module: str, name: str) -> Any:
        import torch

        if module in _MODULES:
            found = getattr(__import__(module, fromlist=[name]), name, None)
            if isinstance(found, type) and found.__module__ == module:
                return found
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        raise TakebackError(
            f"its index names {module}.{name}, which no distributed checkpoint of tensors consists of; "
            "it is not opened"
        )


@dataclass(frozen=True)
class _IndexedTensor:
    """Is what an index says of one tensor; a piece is where it begins and ends on each axis."""

    element: str
    shape: tuple[int, ...]
    nbytes: int
    pieces: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def of(cls, name: Any, row: Any) -> _IndexedTensor | None:
        """Check what an unpickled index holds; None for what is no tensor.

        Raises:
            AttributeError, TypeError, ValueError, OverflowError: it is nothing that torch writes.
        """
        import torch

        if not isinstance(name, str):
            raise TypeError("a name that is no text")
        if not hasattr(row, "size"):
            return None
        dtype, shape = row.properties.dtype, _extents(row.size)
        if not isinstance(dtype, torch.dtype):
            raise TypeError(f"the type {dtype!r:.40}")
        boxes = [(_extents(chunk.offsets), _extents(chunk.sizes)) for chunk in row.chunks]
        if any(not len(start) == len(size) == len(shape) for start, size in boxes):
            raise ValueError("pieces of other axes")
        pieces = tuple(
            tuple((first, first + extent) for first, extent in zip(*box, strict=True)) for box in boxes
        )
        if any(stop > full for piece in pieces for (_, stop), full in zip(piece, shape, strict=True)):
            raise ValueError("pieces that reach out of it")
        element = str(dtype).removeprefix("torch.")
        return cls(element, shape, math.prod(shape) * dtype.itemsize, pieces)

    def is_covered(self) -> bool:
        """Return whether every entry lies in one piece: the pieces are as large, and no two overlap."""
        pieces = [piece for piece in self.pieces if all(stop > start for start, stop in piece)]
        held = sum(math.prod(stop - start for start, stop in piece) for piece in pieces)
        if held != math.prod(self.shape):
            return False
        axis = max(range(len(self.shape)), key=lambda one: len({piece[one] for piece in pieces}), default=0)
        pieces.sort(key=lambda piece: piece[axis : axis + 1])
        for place, piece in enumerate(pieces):
            for other in pieces[place + 1 :]:
                if not piece or other[axis][0] >= piece[axis][1]:
                    break
                if all(a < d and c < b for (a, b), (c, d) in zip(piece, other, strict=True)):
                    return False
        return True


def _extents(size: Any) -> tuple[int, ...]:
    extents = tuple(size)
    if not all(type(extent) is int and 0 <= extent < 1 << 62 for extent in extents):
        raise ValueError(f"the size {extents!r:.60}")
    return extents


@contextmanager
def _as_stored(whole: torch.Tensor) -> Generator[None]:
    """Let no piece be cast or cut as it is put into a tensor: the index may be wrong."""
    from torch.overrides import TorchFunctionMode

    own = range(whole.data_ptr(), whole.data_ptr() + max(1, whole.nbytes))

    class Exact(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__name__", "") == "copy_" and args[0].dtype != args[1].dtype:
                raise ValueError(f"a piece is {args[1].dtype}, its index says {args[0].dtype}")
            if getattr(func, "__name__", "") == "narrow" and args[0].data_ptr() not in own:
                raise ValueError(f"a piece has the shape {list(args[0].shape)}, its index says less")
            return func(*args, **(kwargs or {}))

    with Exact():
        yield


@dataclass(frozen=True)
class _Piecewise(Made):
    """Is a tensor of a distributed checkpoint."""

    opened: _Opened

    def made(self) -> torch.Tensor:
        """Read it from the pieces that processes have written."""
        return self.opened.read(self.stored)


def _holds(folder: Path) -> bool:
    return (folder / ".metadata").is_file() and any(folder.glob("*.distcp"))


def holds_slices(folder: Path) -> bool:
    """Return whether the safetensors of a folder are slices, each process's own."""
    first = next(iter(sorted(folder.glob("*.safetensors"))), None)
    try:
        return first is not None and "DCP_SHARDING_INFO" in read_metadata(first)
    except TakebackError:
        return False


def _entries(folder: Path) -> Mapping[str, Made]:
    return _named(_Opened(folder), sorted(folder.glob("*.distcp")))


def _slices(folder: Path) -> Mapping[str, Made]:
    return _named(_Opened(folder, slices=True), sorted(folder.glob("*.safetensors")))


def _named(opened: _Opened, files: list[Path]) -> Mapping[str, Made]:
    folder, found = opened.folder, dict[str, Made]()
    room = sum(file.stat().st_size for file in files if file.is_file())
    for name, row in opened.index.state_dict_metadata.items():
        try:
            tensor = _IndexedTensor.of(name, row)
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise TakebackError(
                f"the index of {folder} says of {str(name)[:80]!r} what no tensor has ({error}); fetch or "
                "save it again"
            ) from error
        if tensor is None:
            continue
        if tensor.nbytes > room:
            raise TakebackError(
                f"{folder} says that {name} has {tensor.nbytes} bytes, and its files have {room}; fetch or "
                "save it again"
            )
        if not tensor.is_covered():
            raise TakebackError(f"{folder} lacks pieces of {name}; fetch or save it again")
        found[name] = _Piecewise(files[0], name, tensor.element, tensor.shape, opened)
    named = model_names(found)
    if any(name in named for name in _NATIVE):
        raise TakebackError(
            f"{folder} has torchtitan's own names of tensors; convert it with torchtitan's "
            "scripts/checkpoint_conversion/convert_to_hf.py"
        )
    return named


DISTRIBUTED = Form("a distributed checkpoint of torch", _holds, _entries)
SLICES = Form("safetensors in slices of processes", holds_slices, _slices)
