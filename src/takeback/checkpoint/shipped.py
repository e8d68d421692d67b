"""The checkpoints that come with the package."""

from __future__ import annotations

from pathlib import Path

from takeback.run.errors import unknown_name

_MODELS = Path(__file__).parents[1] / "models"


def shipped_names() -> tuple[str, ...]:
    """Return the names of the checkpoints that come with the package.

    >>> shipped_names()
    ('endgame-base', 'endgame-mlp')
    """
    return tuple(sorted(file.parent.name for file in _MODELS.glob("*/model.safetensors")))


def shipped(name: str) -> Path:
    """Return the folder of a checkpoint that comes with the package.

    Raises:
        UnknownName: no such checkpoint comes with it.
    """
    if name not in shipped_names():
        raise unknown_name("shipped checkpoint", name, shipped_names())
    return _MODELS / name
