"""What an adapter's config says, checked and bounded: kinds, ranks, scales, patterns."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from takeback.run.errors import TakebackError
from takeback.run.json_text import read_json
from takeback.run.reading import Missing, Unreadable

_READ = {
    "r",
    "lora_alpha",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "peft_type",
    "use_dora",
    "lora_bias",
    "trainable_token_indices",
    "target_parameters",
    "ensure_weight_tying",
}
_WITHOUT_EFFECT = {
    "task_type",
    "auto_mapping",
    "peft_version",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "target_modules",
    "exclude_modules",
    "lora_dropout",
    "fan_in_fan_out",  # told by the family: a saved value is that of the last module only
    "layers_to_transform",
    "layers_pattern",
    "megatron_core",
    "qalora_group_size",
    "runtime_config",
    "eva_config",
}
_KNOWN: Mapping[str, tuple[Any, ...]] = {
    "bias": ("none", "all", "lora_only"),
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal", "pissa", "olora"),
}
_LARGEST = 65_536
_MANY = 100_000
_LONG = 300
_OPEN_ENDED = re.compile(r"[*+{]")


def lora_settings(folder: Path) -> dict[str, Any]:
    """Read the config of a LoRA adapter, with peft's defaults where it says nothing of patterns and switches.

    Raises:
        TakebackError: it is no LoRA, uses what is not read, or has a value that is none of its kind.
    """
    file = folder / "adapter_config.json"
    settings = _read(folder, file)
    strange = [
        name
        for name, value in settings.items()
        if value and name not in _READ | _WITHOUT_EFFECT | _KNOWN.keys()
    ]
    strange += [
        f"{name}={settings[name]}"
        for name, known in _KNOWN.items()
        if not _is_one_of(settings.get(name, known[0]), known)
    ]
    if strange:
        told = ", ".join(name[:_LONG] for name in strange[:3])
        raise TakebackError(f"{folder} uses {told}, which is not read; merge it with peft and save that")
    plain = {"use_rslora": False, "use_dora": False, "lora_bias": False, "init_lora_weights": True}
    settings = {**plain, **{name: value for name, value in settings.items() if value is not None}}
    for name in ("rank_pattern", "alpha_pattern"):
        settings[name] = _pattern(file, name, settings.get(name) or {})
    settings["r"] = _rank(file, "r", settings.get("r"))
    settings["lora_alpha"] = _scale(file, "lora_alpha", settings.get("lora_alpha"))
    _check_tokens(file, settings.get("trainable_token_indices"))
    return settings


def of_module(module: str, patterns: Mapping[str, Any], default: Any) -> Any:
    """Return the value of the first pattern that fits the end of a module's name, as PEFT matches them.

    >>> of_module("model.layers.1.mlp.up_proj", {"up_proj": 4, "layers.1.*": 8}, 2)
    4
    """
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), default)


def _read(folder: Path, file: Path) -> dict[str, Any]:
    try:
        settings = read_json(file)
    except Missing:
        raise TakebackError(
            f"{folder} has no adapter_config.json; write base+adapter with a PEFT adapter's folder"
        ) from None
    except Unreadable as error:
        raise TakebackError(f"{file} is not an adapter's config: {error.why}") from error
    if not isinstance(settings, dict) or settings.get("peft_type") != "LORA":
        kind = settings.get("peft_type") if isinstance(settings, dict) else None
        raise TakebackError(
            f"{folder} is an adapter of type {_shown(kind)}, not LORA; merge it with peft and save that"
        )
    return settings


def _is_one_of(value: Any, known: tuple[Any, ...]) -> bool:
    return any(value is one or (isinstance(value, str) and value == one) for one in known)


def _rank(file: Path, name: str, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= _LARGEST:
        raise TakebackError(f"{file} has {_shown(value)} as {name}, which is no rank of 1 or more")
    return value


def _scale(file: Path, name: str, value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > 1e12:
        raise TakebackError(f"{file} has {_shown(value)} as {name}, which is no number")
    return value


def _pattern(file: Path, name: str, values: Any) -> dict[str, Any]:
    """Check a table of patterns: every one is a regular expression that can't take long to match.

    A pattern with more than two open ends (`*`, `+`, `{`), one of them after a group, or a reference back can
    take time that grows exponentially with the length of a module's name.
    """
    if not isinstance(values, dict) or len(values) > _MANY:
        raise TakebackError(f"{file} has {_shown(values)} as {name}, which is no table of modules")
    check = _rank if name == "rank_pattern" else _scale
    for key, value in values.items():
        open_ends = len(_OPEN_ENDED.findall(key))
        if len(key) > _LONG or open_ends > 2 or re.search(r"\)[*+{?]|\\[1-9]|\(\?", key):
            raise TakebackError(
                f"{file} has the pattern {_shown(key)} in {name}, which could take for ever to match; "
                "name the modules themselves"
            )
        try:
            re.compile(key)
        except re.error as error:
            raise TakebackError(f"{file} has the pattern {_shown(key)} in {name}: {error}") from error
        check(file, f"{name} of {_shown(key)}", value)
    return values


def _check_tokens(file: Path, indices: Any) -> None:
    rows = list(indices.values()) if isinstance(indices, dict) else [indices or []]
    if not all(isinstance(row, list) and all(type(one) is int and one >= 0 for one in row) for row in rows):
        raise TakebackError(f"{file} has {_shown(indices)} as trainable_token_indices, which are no tokens")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
