"""A folder that shows a record without Python: the page, and all that it can ask as scripts."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from takeback.findings.localise.shares import GRAFT, TAKE_BACK
from takeback.findings.sweep.sets import CONTROLS, chosen_sets, random_controls
from takeback.lab.effects import changes_of
from takeback.lab.lab import Lab
from takeback.lab.selection import Selection
from takeback.lab.server import INDEX, page_files
from takeback.lab.situations import drawn_of, numbers, situation_of
from takeback.lab.stage import BESIDE, Stage
from takeback.policies.answers import AnswerReadouts
from takeback.policies.drawn import DrawnReadouts
from takeback.policies.readout import Readouts
from takeback.run.files import atomic_folder

SCALE: Final = 1000
"""What a probability of 1 is written as."""

CHUNK: Final = 64
"""Situations in a file."""

LIVE: Final = b'data-transport="live"'
STATIC: Final = b'data-transport="static"'
"""How the page knows whether it speaks with a server or reads files."""


def export(lab: Lab, out: Path) -> Path:
    """Write a lab as a folder for any web server, or to be opened from disk.

    Raises:
        TakebackError: the folder is there already, the page was not built, or a view can't be opened.
    """
    files = page_files()
    with atomic_folder(out) as draft:
        for name, content in files.items():
            (draft / name).write_bytes(content.replace(LIVE, STATIC) if name == INDEX else content)
        write_data(lab, draft / "data")
    return out


def write_data(lab: Lab, folder: Path) -> None:
    """Write all that a page can ask."""
    views = [one.told for one in lab.views.values()]
    for key in lab.views:
        for thought in lab.stage(key).thoughts:
            while not thought.finished:
                thought.go_on()
    write(folder / "views.js", "views", {"views": views, "view": views[0]["key"]})
    for key in lab.views:
        write_view(lab.stage(key), lab.scene(key), folder / key, key)


def write_view(stage: Stage, scene: dict[str, Any], folder: Path, view: str) -> None:
    """Write what can be asked of one pair: its sets in both directions, as far as they were read."""
    bench, asked = stage.bench, _asked(stage)
    stage = replace(stage, live=False)
    recorded = [
        {
            "set": str(one.components),
            "direction": one.direction,
            "source": one.source,
            "read": stage.known(one.ask),
            "file": f"set-{place}",
        }
        for place, one in enumerate(asked)
    ]
    told = {**scene, "live": False, "typed": None, "draws": False, "recorded": recorded}
    write(folder / "scene.js", f"{view}/scene", told)
    every = [situation_of(bench.arena, one, place) for place, one in enumerate(bench.situations)]
    for start in range(0, len(every), CHUNK):
        name = f"situations-{start // CHUNK}"
        write(folder / f"{name}.js", f"{view}/{name}", every[start : start + CHUNK])
    for side, readouts in bench.ends.items():
        write(folder / f"{side}.js", f"{view}/{side}", {"readouts": packed(readouts)})
    for place, one in enumerate(asked):
        write(folder / f"set-{place}.js", f"{view}/set-{place}", _found(stage, one))


def _asked(stage: Stage) -> list[Selection]:
    """Return components alone and offered sets in both directions, random ones taken back; as far as read."""
    universe = stage.bench.anatomy.universe
    if stage.live and not stage.swept:
        chosen = chosen_sets(stage.bench.anatomy, None)
        stage.swept = (*chosen, *random_controls(stage.bench.anatomy, chosen, stage.delta, BESIDE, 0))
    sets = dict.fromkeys(stage.alone_set(one) for one in universe)
    random = [one.components for one in stage.swept if one.family in CONTROLS]
    sets |= dict.fromkeys(one.components for one in stage.swept if one.family not in CONTROLS)
    sets |= dict.fromkeys(stage.bench.anatomy.parse(one["set"]) for one in stage.sets)
    real = [stage.bench.nothing, *sets, universe]
    ways = {TAKE_BACK: [*real, *random], GRAFT: real}
    asked = [Selection(one, way, "base", None) for way, some in ways.items() for one in dict.fromkeys(some)]
    if stage.live:
        stage.bench.gather([one.ask for one in asked])
    return [one for one in asked if stage.known(one.ask)]


def _found(stage: Stage, asked: Selection) -> dict[str, Any]:
    bench = stage.on_first(stage.known(asked.ask))
    (readouts,) = bench.read([asked.ask])
    effects = stage.effects(asked.ask, asked.side, len(bench.situations))
    controls = [told for told in stage.controls(asked, effects["effects"]) if told["type"] == "controls"]
    return {
        "readouts": packed(readouts, bench.ends["tuned"]),
        "changes": changes_of(bench, asked.ask),
        **effects,
        "controls": controls[-1] if controls else None,
    }


def packed(readouts: Readouts, before: Readouts | None = None) -> dict[str, Any]:
    """Return what a policy does in whole numbers; of a hybrid, what it has more than tuned."""
    whole = _whole(readouts)
    if before is not None:
        whole = whole - _whole(before)
    told: dict[str, Any] = {"scale": SCALE, "numbers": whole.tolist()}
    if isinstance(readouts, AnswerReadouts):
        told["logprobs"] = numbers(readouts.logprobs, 3)
    if isinstance(readouts, DrawnReadouts):
        told["drawn"] = [drawn_of(readouts, place) for place in range(len(readouts))]
    return told


def _whole(readouts: Readouts) -> NDArray[np.int64]:
    """Return each situation's probabilities, masses, undecided rest and greedy's place + 1, end to end."""
    rows: list[NDArray[np.int64]] = []
    for place in range(len(readouts)):
        known = (readouts.probabilities[readouts.span(place)], readouts.masses[place])
        shares = np.concatenate([*known, readouts.undecided[place : place + 1]])
        rows += [np.round(shares * SCALE).astype(np.int64), readouts.greedy[place : place + 1] + 1]
    return np.concatenate(rows)


def write(path: Path, key: str, value: Any) -> None:
    """Write a value as a script that gives it to the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script(key, value), encoding="utf-8")


def script(key: str, value: Any) -> str:
    r"""Return a script that gives a value to the page: its JSON, deflated, in letters that no text can end.

    >>> script("a", None)
    'takebackData("a","yyvNyQEA");\n'
    """
    told = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    letters = base64.b64encode(deflate.compress(told) + deflate.flush()).decode("ascii")
    return f'takebackData({json.dumps(key)},"{letters}");\n'
