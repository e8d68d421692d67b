"""From a folder to the weights in it, whichever form they have and wherever their trainer put them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from takeback.checkpoint.forms.deepspeed import DEEPSPEED
from takeback.checkpoint.forms.distributed import DISTRIBUTED, SLICES
from takeback.checkpoint.forms.form import Form
from takeback.checkpoint.forms.gguf import GGUF
from takeback.checkpoint.forms.layouts import LAYOUTS, config_places, layout_of, places
from takeback.checkpoint.forms.plain import PLAIN
from takeback.checkpoint.forms.shards import SHARDS
from takeback.checkpoint.made import Stored
from takeback.checkpoint.shards import is_adapter, no_weights
from takeback.run.errors import TakebackError

FORMS: tuple[Form, ...] = (PLAIN, SLICES, DISTRIBUTED, SHARDS, DEEPSPEED, GGUF)
"""Forms of a folder, the one that is preferred first: plain safetensors anywhere go before all others."""


@dataclass(frozen=True, slots=True)
class Found:
    """Holds the weights of a checkpoint by stored name, their form, and where config and tokenizer lie.

    `settings` are those of a form that says itself what its model is.
    """

    form: str
    entries: Mapping[str, Stored]
    config: Path
    sides: tuple[Path, ...]
    settings: Mapping[str, Any] | None = None


def find_weights(folder: Path) -> Found:
    """Find the weights of a model in a folder or below it, or in a file that is a form by itself.

    Raises:
        TakebackError: there are none, in several places, in a form that is not read, or files are broken.
    """
    around = places(folder) if folder.is_dir() else [folder]
    for form in FORMS:
        held = [place for place in around if form.holds(place)]
        if held:
            _check_one(folder, held)
            return _found(form, folder, held[0])
    raise no_weights(folder)


def adapter_in(folder: Path) -> Path:
    """Return the folder of the adapter that a trainer's step holds in place of a model, else the folder."""
    if is_adapter(folder) or not folder.is_dir():
        return folder
    around = places(folder)
    if any(form.holds(place) for form in FORMS[:1] for place in around):
        return folder
    return next((place for place in around if is_adapter(place)), folder)


def _found(form: Form, folder: Path, weights: Path) -> Found:
    around = config_places(folder, weights) if weights.is_dir() else [weights.parent]
    weights_folder = weights if weights.is_dir() else weights.parent
    config = next((place for place in around if (place / "config.json").is_file()), weights_folder)
    told = form.name if form.told is None else form.told(weights)
    settings = None
    if form.settings is not None and not (config / "config.json").is_file():
        settings = form.settings(weights)
    sides = (config, *(one for one in around if one != config))
    return Found(told, form.entries(weights), config, sides, settings)


def _check_one(folder: Path, held: list[Path]) -> None:
    """Raise if weights lie in several places of which no layout prefers one: it would be a guess."""
    first = held[0]
    if first == folder or _listed(folder, first):
        return
    others = [place for place in held[1:] if first not in place.parents]
    if others:
        names = ", ".join(str(place.relative_to(folder)) for place in (first, *others)[:4])
        raise TakebackError(f"{folder} has no weights itself, but holds {names}; name one of them")


def _listed(folder: Path, place: Path) -> bool:
    own = layout_of(folder)
    patterns = [pattern for layout in ([own] if own else LAYOUTS) for pattern in layout.weights if pattern]
    return any(place in folder.glob(pattern) for pattern in patterns)
