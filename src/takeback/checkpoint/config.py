"""What config.json says: as it stands, and with the defaults of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from takeback.run.errors import TakebackError
from takeback.run.json_text import read_object
from takeback.run.reading import Missing, Unreadable

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def read_settings(folder: Path) -> dict[str, Any]:
    """Read what a folder's config.json holds.

    Raises:
        TakebackError: there is none, or it is no config.
    """
    try:
        return settings_in(folder / "config.json")
    except Missing:
        raise TakebackError(
            f"{folder} has no config.json; name the weights file itself if it is an MLP's"
        ) from None


def settings_in(file: Path) -> dict[str, Any]:
    """Read what a config file holds.

    Raises:
        Missing: there is no such file.
        TakebackError: it is no config.
    """
    try:
        raw = read_object(file, strict=True)
    except Missing:
        raise
    except Unreadable as error:
        raise TakebackError(f"{file} is not a config: {error.why}") from error
    return checked_settings(file, raw)


def checked_settings(file: Path, raw: dict[str, Any]) -> dict[str, Any]:
    """Return what a file says of its model, if it can be one.

    Raises:
        TakebackError: it says no type, or more layers than any model has.
    """
    if not isinstance(raw.get("model_type"), str):
        raise TakebackError(f"{file} is not a config: it has no model_type, or one that is no text")
    many = [name for name, value in raw.items() if "layer" in name and _is_more(value, MOST_LAYERS)]
    if many:
        raise TakebackError(f"{file} is not a config: its {many[0]} is {raw[many[0]]}, which no model has")
    return raw


MOST_LAYERS = 10_000
"""A config with more is refused before anything is made for each of them."""


def _is_more(value: object, most: int) -> bool:
    return isinstance(value, int) and value > most


def full_config(folder: Path, settings: Mapping[str, Any]) -> PreTrainedConfig:
    """Read a folder's config.json with the defaults of transformers, without what `settings` left out.

    Raises:
        TakebackError: transformers does not accept it.
    """
    from transformers import AutoConfig

    try:
        if not (folder / "config.json").is_file():
            return AutoConfig.for_model(**settings)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        if "quantization_config" not in settings and hasattr(config, "quantization_config"):
            delattr(config, "quantization_config")
        return config
    except Exception as error:  # transformers and its validators raise many kinds, all about this file
        lines = " ".join(str(error).split())
        file = folder / "config.json"
        raise TakebackError(f"{file} is not a config that transformers accepts: {lines}") from error


def untied_settings(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return settings that say that embeddings are not tied."""
    return {**settings, "tie_word_embeddings": False}
