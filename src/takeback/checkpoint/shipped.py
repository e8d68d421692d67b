"""The checkpoints that come with the package."""

from __future__ import annotations

from pathlib import Path

from takeback.errors import unknown_name

_MODELS = Path(__file__).parents[1] / "models"


def shipped_names() -> tuple[str, ...]:
    """Return the names of the checkpoints that come with the package.

    >>> shipped_names()
    ('endgame-base', 'endgame-mlp')
    """
    folders = (folder for folder in _MODELS.iterdir() if (folder / "model.safetensors").exists())
    return tuple(sorted(folder.name for folder in folders))


def shipped(name: str) -> Path:
    """Return the folder of a checkpoint that comes with the package.

    Raises:
        UnknownName: no such checkpoint comes with it.
    """
    if name not in shipped_names():
        raise unknown_name("shipped checkpoint", name, shipped_names())
    return _MODELS / name
