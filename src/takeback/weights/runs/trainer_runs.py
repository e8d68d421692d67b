"""Runs that a Trainer of transformers or TRL left by itself: checkpoints by step, and what they began on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from takeback.checkpoint.shards import adapter_base
from takeback.run.json_text import read_object
from takeback.run.reading import Unreadable, read_text
from takeback.run.yaml_text import parse_yaml

_CHECKPOINT = re.compile(r"checkpoint-([0-9]+)")
_FRONT = re.compile(r"\A---\n(.*?)\n---", re.DOTALL)


def saved_checkpoints(folder: Path) -> tuple[tuple[int, Path], ...]:
    """Return a Trainer's checkpoints as (step, folder) by step, and the model saved beside them at its end.

    That model counts where the folder says its step (`trainer.save_state()`), it is later than the last
    checkpoint, and it is not an earlier one that was loaded again as the best.
    """
    found = sorted(
        (int(step[1]), place)
        for place in folder.glob("checkpoint-*")
        if (step := _CHECKPOINT.fullmatch(place.name)) and place.is_dir()
    )
    if not found:
        return ()
    state = _json(folder / "trainer_state.json")
    last, best = state.get("global_step"), state.get("best_model_checkpoint")
    if isinstance(last, int) and last > found[-1][0] and best is None:
        found.append((last, folder))
    return tuple(found)


def began_with(folder: Path) -> str | None:
    """Return what a Trainer's run says that it started from, None where it says nothing.

    An adapter's config says it, a config of transformers before version 5, or the card that TRL and peft
    write (`base_model` in the head of `README.md`).
    """
    *_, (_, last) = saved_checkpoints(folder)
    named = adapter_base(last) or _json(last / "config.json").get("_name_or_path")
    for card in (folder / "README.md", last / "README.md"):
        named = named or _head(card).get("base_model")
    named = named[0] if isinstance(named, list) and named else named
    return named if isinstance(named, str) and named else None


def _json(file: Path) -> dict[str, Any]:
    try:
        return read_object(file)
    except Unreadable:
        return {}


def _head(card: Path) -> dict[str, Any]:
    try:
        head = _FRONT.match(read_text(card))
        found = parse_yaml(head[1], card) if head else None
    except Unreadable:
        return {}
    return found if isinstance(found, dict) else {}
