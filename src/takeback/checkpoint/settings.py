"""What a folder's config.json says of a model, as it is and with the defaults of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from takeback.anatomy.source import family_in
from takeback.checkpoint.shards import Entry
from takeback.run.errors import TakebackError
from takeback.run.json_text import read_object
from takeback.run.reading import Missing, Unreadable

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def read_settings(folder: Path) -> dict[str, Any]:
    """Return what a folder's config.json holds.

    Raises:
        TakebackError: there is none, or it is not a model's config.
    """
    file = folder / "config.json"
    try:
        raw = read_object(file, strict=True)
    except Missing:
        raise TakebackError(
            f"{folder} has no config.json; name the weights file itself if it is an MLP's"
        ) from None
    except Unreadable as error:
        raise TakebackError(f"{file} is not a config: {error.why}") from error
    if not isinstance(raw.get("model_type"), str):
        raise TakebackError(f"{file} is not a config: it has no model_type, or one that is no text")
    many = [name for name, value in raw.items() if "layers" in name and _is_more(value, MOST_LAYERS)]
    if many:
        raise TakebackError(f"{file} is not a config: its {many[0]} is {raw[many[0]]}, which no model has")
    return raw


MOST_LAYERS = 10_000
"""A config with more is refused before anything is made for each of them."""


def _is_more(value: object, most: int) -> bool:
    return isinstance(value, int) and value > most


def full_config(folder: Path, settings: Mapping[str, Any]) -> PreTrainedConfig:
    """Return a folder's config with the defaults of transformers, but for a quantization that was undone.

    Raises:
        TakebackError: transformers does not accept it.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        if "quantization_config" not in settings and hasattr(config, "quantization_config"):
            delattr(config, "quantization_config")
        return config
    except Exception as error:  # transformers and its validators raise many kinds, all about this file
        lines = " ".join(str(error).split())
        file = folder / "config.json"
        raise TakebackError(f"{file} is not a config that transformers accepts: {lines}") from error


def untied_settings(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return settings that say that the output embeddings are their own."""
    return {**settings, "tie_word_embeddings": False}


_PLAIN = ("float64", "float32", "float16", "bfloat16")


def without_quantization(
    folder: Path, settings: dict[str, Any], entries: Mapping[str, Entry]
) -> dict[str, Any]:
    """Return settings without a quantization that the tensors do not have: it was left when it was undone.

    Raises:
        TakebackError: the tensors have it.
    """
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
