"""Safetensors, whole or in shards, under the names of transformers or a trainer's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from takeback.checkpoint.forms.distributed import holds_slices
from takeback.checkpoint.forms.form import Form
from takeback.checkpoint.shards import Entry, read_header, read_index, weight_entries
from takeback.run.errors import TakebackError

_STANDARD = ("model.safetensors", "model.safetensors.index.json")
_OTHERS = ("adapter_model.safetensors", "optimizer*.safetensors", "consolidated*.safetensors")


def _holds(folder: Path) -> bool:
    if any((folder / name).is_file() for name in _STANDARD):
        return True
    return bool(_index(folder) or _files(folder)) and not holds_slices(folder)


def _entries(folder: Path) -> Mapping[str, Entry]:
    if any((folder / name).is_file() for name in _STANDARD):
        return weight_entries(folder)
    if index := _index(folder):
        return read_index(folder, index)
    found: dict[str, Entry] = {}
    for file in _files(folder):
        for name, entry in read_header(file).items():
            if name in found:
                raise TakebackError(
                    f"{folder} has {name} in {found[name].file.name} and in {file.name}, and no index says "
                    "which holds; remove the older one"
                )
            found[name] = entry
    return found


def _index(folder: Path) -> Path | None:
    """Return an index of shards under another name, such as `ft-model.safetensors.index.json`."""
    found = sorted(folder.glob("*.safetensors.index.json"))
    return found[0] if len(found) == 1 else None


def _files(folder: Path) -> list[Path]:
    others = {file for pattern in _OTHERS for file in folder.glob(pattern)}
    return sorted(file for file in folder.glob("*.safetensors") if file not in others and file.is_file())


PLAIN = Form("safetensors", _holds, _entries)
