"""A folder that shows a record without Python: the page, and all that it can ask as scripts."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from takeback.lab.effects import changes_of, effects_of
from takeback.lab.situations import situation_of
from takeback.measure.bench import Bench
from takeback.measure.read import Ask
from takeback.policies.answers import AnswerReadouts
from takeback.policies.readout import Readouts

SCALE: Final = 65535
"""What a probability of 1 is written as."""

CHUNK: Final = 64
"""Situations in a file."""


def packed(readouts: Readouts) -> dict[str, Any]:
    """Return what a policy does in all situations as text; see `docs/lab.md`."""
    rows: list[Any] = []
    for place in range(len(readouts)):
        rows += [
            _whole(readouts.probabilities[readouts.span(place)]),
            _whole(readouts.masses[place]),
            _whole(readouts.undecided[place : place + 1]),
            [int(readouts.greedy[place]) + 1],
        ]
    told = {"bits": 16, "scale": SCALE, "data": _text(np.concatenate(rows).astype("<u2"))}
    if isinstance(readouts, AnswerReadouts):
        told["logprobs"] = _text(readouts.logprobs.astype("<f4"))
    return told


def _whole(values: Any) -> Any:
    return np.round(np.clip(values, 0, 1) * SCALE)


def _text(array: Any) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def write_view(
    bench: Bench, scene: dict[str, Any], asks: Sequence[tuple[str, Ask]], folder: Path, view: str
) -> None:
    """Write what can be asked of one pair.

    Args:
        bench: the pair and its situations, on which all was read.
        scene: its scene.
        asks: hybrids with their direction, `take back` or `graft`.
        folder: where to.
        view: the key of the view.
    """
    recorded = [
        {
            "set": str(ask.take_back if way == TAKE_BACK else ~ask.take_back),
            "direction": way, "source": ask.source, "file": f"set-{place}",
        }
        for place, (way, ask) in enumerate(asks)
    ]  # fmt: skip
    write(folder / "scene.js", f"{view}/scene", {**scene, "live": False, "recorded": recorded})
    every = [situation_of(bench.arena, one, place) for place, one in enumerate(bench.situations)]
    for start in range(0, len(every), CHUNK):
        name = f"situations-{start // CHUNK}"
        write(folder / f"{name}.js", f"{view}/{name}", every[start : start + CHUNK])
    for side in ("base", "tuned"):
        write(folder / f"{side}.js", f"{view}/{side}", {"readouts": packed(bench.ends[side])})
    for told, (way, ask) in zip(recorded, asks, strict=True):
        (readouts,) = bench.read([ask])
        side = "tuned" if way == TAKE_BACK else "base"
        found = {
            "readouts": packed(readouts),
            "changes": changes_of(bench, ask),
            "effects": effects_of(bench, ask, side),
            "controls": None,
        }
        write(folder / f"{told['file']}.js", f"{view}/{told['file']}", found)


TAKE_BACK: Final = "take back"


def write(path: Path, key: str, value: Any) -> None:
    """Write a value as a script that gives it to the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script(key, value), encoding="utf-8")


def script(key: str, value: Any) -> str:
    """Return a script that gives a value to the page; no text of it can end the script or the page.

    >>> script("a", "</script>")
    'takebackData("a","\\u003c/script>");\n'
    """
    told = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return f"takebackData({json.dumps(key)},{told.replace('<', chr(92) + 'u003c')});\n"


__all__ = ["Mapping", "packed", "write_view"]
