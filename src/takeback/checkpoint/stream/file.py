"""One file of a stream: tensors that it holds whole, patches of others, and what it says of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from takeback.checkpoint.shards import Entry, read_header, read_metadata
from takeback.checkpoint.stream.patched import Patch
from takeback.run.errors import TakebackError
from takeback.run.json_text import parse_json
from takeback.run.reading import Unreadable

INDICES, VALUES = ".indices", ".values"
SPELLINGS = ((INDICES, VALUES), (".idx", ".val"))
"""What trainers append to a tensor's name for the places and the values of its changes."""

STEP, SPARSE, SPARSITY, CHANGED = "model_version", "sparse", "sparsity", "changed_params"
ENCODING, GAPS = "encoding", "gap_delta"
"""Metadata that trainers write, and their name for indices stored as gaps."""

BASE_STEP, BASE_DIGEST, DIGEST, NAMES = "base_step", "base_digest", "digest", "digest_names"
REMOVED, SHAPES, TOTALS = "removed", "shapes", "checksums"
"""Metadata that this package adds: which step a delta follows, hashes, tensors that went, checksums."""

_KINDS: Final = {True: ("uint16", "uint32"), False: ("int32", "int64")}


@dataclass(frozen=True, eq=False)
class StreamFile:
    """Holds the header of an anchor or of a delta.

    `base` is the step that a delta says it follows, `removed` names what is gone from it on; `metadata` is
    all that the file says of itself.
    """

    path: Path
    step: int
    whole: Mapping[str, Entry]
    patches: Mapping[str, Patch]
    removed: tuple[str, ...]
    base: int | None
    metadata: Mapping[str, str]

    @property
    def nbytes(self) -> int:
        """The bytes of the file."""
        return self.path.stat().st_size


def read_anchor(path: Path, step: int) -> StreamFile:
    """Read the header of an anchor.

    Raises:
        TakebackError: the file is missing, truncated or no safetensors file.
    """
    return _anchor(path, step, _stamp(path))


def read_delta(path: Path, step: int) -> StreamFile:
    """Read the header of a delta.

    Raises:
        TakebackError: the file is missing, truncated or no safetensors file, or no delta.
    """
    return _delta(path, step, _stamp(path))


@lru_cache(maxsize=1 << 12)
def _anchor(path: Path, step: int, stamp: tuple[int, int]) -> StreamFile:
    return StreamFile(path, step, read_header(path), {}, (), None, read_metadata(path))


@lru_cache(maxsize=1 << 12)
def _delta(path: Path, step: int, stamp: tuple[int, int]) -> StreamFile:
    whole, metadata = read_header(path), read_metadata(path)
    gaps = metadata.get(ENCODING) == GAPS
    totals = _of(path, metadata, TOTALS, dict[str, Any]())
    if not all(type(total) is int for total in totals.values()):
        raise TakebackError(f"{path} is damaged: its {TOTALS} are not all whole numbers; fetch it again")
    removed = [str(name) for name in _of(path, metadata, REMOVED, list[str]())]
    base = metadata.get(BASE_STEP)
    if base is not None and not re.fullmatch(r"[0-9]{1,18}", base):
        raise TakebackError(f"{path} is damaged: the step that it follows is {base[:40]!r}; fetch it again")
    patches: dict[str, Patch] = {}
    for places, values in SPELLINGS:
        for name in [name.removesuffix(values) for name in whole if name.endswith(values)]:
            if name + places in whole:
                patch = Patch(
                    whole.pop(name + places), whole.pop(name + values), gaps, totals.get(name), stamp[1]
                )
                patches[name] = _checked(path, name, patch)
    alone = next((name for name in whole if name.endswith((INDICES, ".idx"))), None)
    if alone is not None:
        raise TakebackError(f"{path} is damaged: {alone} has no values beside it; fetch it again")
    return StreamFile(
        path, step, whole, patches, tuple(removed), None if base is None else int(base), metadata
    )


def _checked(path: Path, name: str, patch: Patch) -> Patch:
    """Return a patch whose indices and values fit together.

    Raises:
        TakebackError: they are not of one length, or of types that indices do not have.
    """
    one_length = patch.indices.shape == patch.values.shape and len(patch.values.shape) == 1
    if one_length and patch.indices.element in _KINDS[patch.gaps]:
        return patch
    held = f"indices {patch.indices.element} {list(patch.indices.shape)}, values {list(patch.values.shape)}"
    raise TakebackError(
        f"{path} has {name} as {held}; a delta holds flat indices (int32 or int64; uint16 or uint32 as "
        f"{GAPS}) and as many values"
    )


def _of(path: Path, metadata: Mapping[str, str], key: str, empty: Any) -> Any:
    """Read a part of the metadata that is JSON of the type of `empty`."""
    try:
        found = parse_json(metadata[key], path) if key in metadata else empty
    except Unreadable:
        found = None
    if not isinstance(found, type(empty)):
        raise TakebackError(f"{path} is damaged: its {key} are no {type(empty).__name__}; fetch it again")
    return found


def _stamp(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError as error:
        raise TakebackError(f"could not read {path}: {error.strerror or error}") from error
    return state.st_size, state.st_mtime_ns
