"""Tiny configs of every model type: the same architecture, every size small."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from takeback.run.errors import TakebackError, unknown_name

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
"""What configs call the number of layers."""


def tiny_config(model_type: str) -> Any:
    """Return a tiny config of a model type, with the defaults of transformers elsewhere.

    >>> tiny_config("llama").hidden_size
    24

    Raises:
        UnknownName: transformers has no such model type.
        TakebackError: its config can't be made this small.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if model_type not in CONFIG_MAPPING:
        raise unknown_name("model type", model_type, list(CONFIG_MAPPING))
    try:
        return shrunk(CONFIG_MAPPING[model_type]())
    except Exception as error:  # whatever the code of so many architectures raises
        raise TakebackError(f"{model_type}: {_one_line(error)}") from error


def shrunk(config: Any) -> Any:
    """Return a config of the same class and settings with every size small.

    A list with an entry for each layer keeps some of each kind.

    >>> from transformers import Qwen2Config
    >>> made = shrunk(Qwen2Config(num_hidden_layers=40, tie_word_embeddings=True))
    >>> made.num_hidden_layers, made.tie_word_embeddings
    (2, True)

    Raises:
        Exception: whatever the config's class says of such sizes.
    """
    sizes, own = _data()["sizes"], dict(_data()["types"].get(config.model_type, {}))
    left = {*own.pop("leave", ())}
    own |= dict.fromkeys(own.pop("none", ()))
    given = {key: value for key, value in config.to_diff_dict().items() if key not in _NOT_SETTINGS}
    small = {key: value for key, value in sizes.items() if key not in left and _has(config, key)}
    made = {**given, **small, **own}
    old = next((getattr(config, key) for key in LAYERS if _has(config, key)), None)
    count = next((made[key] for key in LAYERS if key in made), None)
    for key, value in made.items():
        if key not in own and isinstance(value, (list, tuple)) and old and count and len(value) == old:
            made[key] = _some(list(value), count)
    if "rope_parameters" not in own and isinstance(made.get("rope_parameters"), Mapping):
        made["rope_parameters"] = _plain_rope(made["rope_parameters"])
    for key in config.sub_configs or ():
        if (inner := getattr(config, key, None)) is not None and key not in own:
            made[key] = shrunk(inner)
    return type(config)(**made)


_NOT_SETTINGS = (
    "model_type",
    "transformers_version",
    "architectures",
    "quantization_config",
    "dtype",
    "per_layer_config",
)
_ROPE = ("rope_theta", "partial_rotary_factor")


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(files("takeback.hybrid").joinpath("tiny.toml").read_text("utf-8"))


def _has(config: Any, key: str) -> bool:
    try:
        return hasattr(config, key)
    except RuntimeError:  # differs from layer to layer
        return True


def _some(values: list[Any], count: int) -> list[Any]:
    """Return `count` of the values in their order, the first of each kind among them where they fit."""
    firsts = [place for place, value in enumerate(values) if value not in values[:place]][:count]
    rest = (place for place in range(len(values)) if place not in firsts)
    chosen = sorted([*firsts, *(next(rest) for _ in range(count - len(firsts)))])
    return [values[place] for place in chosen]


def _plain_rope(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return rope parameters without what depends on the head's width."""
    if any(isinstance(value, Mapping) for value in given.values()):
        return {
            key: _plain_rope(value) if isinstance(value, Mapping) else value for key, value in given.items()
        }
    return {"rope_type": "default", **{key: given[key] for key in _ROPE if key in given}}


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
