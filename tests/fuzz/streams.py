"""Bends streams of sparse deltas; what is accepted is replayed with safetensors and torch alone."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from fuzz.bend import VALUES, bytes_of, json_of
from fuzz.common import STEPS
from takeback.checkpoint import open_checkpoint

State = dict[str, torch.Tensor]
NAMES = (
    "../x",
    "/etc/passwd",
    "model.layers.9.mlp.up_proj.weight",
    "a\0b",
    "x" * 400,
    "model.norm.weight",
    "",
)


def stream(place: Path, common: Path, draw: random.Random) -> bool:
    """A stream of which one file or more is bent, opened at one of its steps."""
    ref = bent_stream(place, common, draw)
    found = open_checkpoint(ref)
    anatomy = found.anatomy()
    held = {name: found.read(name) for name in found.shapes}
    try:
        wanted = replayed(place / "packed", ref.rpartition("=")[2])
    except (ValueError, KeyError, IndexError, SafetensorError):
        return False
    alike = held.keys() == wanted.keys() and all(
        _bits(held[name]) == _bits(tensor) for name, tensor in wanted.items()
    )
    return alike and anatomy.parameters(anatomy.universe) == sum(one.numel() for one in wanted.values())


def bent_stream(place: Path, common: Path, draw: random.Random) -> str:
    """Write a bent stream and return the name of one of its steps."""
    folder = place / "packed"
    shutil.copytree(common / "packed", folder)
    for _ in range(draw.choice((0, 1, 1, 1, 2))):
        files = sorted(one for one in folder.rglob("*.safetensors") if one.is_file() and not one.is_symlink())
        if files:
            with suppress(SafetensorError, ValueError, shutil.SameFileError):  # bent before
                draw.choice(BENDS)(draw.choice(files), draw)
    step = draw.choice((*(str(step) for step in range(STEPS + 1)), "last", "last"))
    if draw.random() < 0.1:
        step = draw.choice(("137", "9" * 18, "9" * 30, "-1", "1.0", "", "٣", "x" * 300))
    return (
        f"{folder}@step={step}"
        if draw.random() < 0.95
        else f"{draw.choice(('~nobody', folder, 'x' * 300))}@step={step}"
    )


def replayed(folder: Path, step: str) -> State:
    """Replay a step from the files as they stand; no takeback code is used.

    Raises:
        ValueError: a file does not fit the one before it.
    """
    anchors, deltas = (
        {
            int(one.stem[5:]): one
            for one in (folder / kind).glob("step_[0-9]*.safetensors")
            if one.is_file() and len(one.stem) < 24
        }
        for kind in ("anchors", "deltas")
    )
    number = max({**anchors, **deltas}) if step == "last" else int(step)
    start = max(one for one in anchors if one <= number)
    state, before = load_file(anchors[start]), start
    for one in sorted(one for one in deltas if start < one <= number):
        with safe_open(deltas[one], "pt") as shard:
            told = dict(shard.metadata() or {})
        if int(told.get("base_step", before)) != before:
            raise ValueError(f"step {one} follows another")
        before = one
        _apply(state, load_file(deltas[one]), json.loads(told.get("removed", "[]")))
    return state


def _apply(state: State, held: Mapping[str, torch.Tensor], removed: list[str]) -> None:
    for name in removed:
        state.pop(name, None)
    for name, tensor in held.items():
        stem = name.removesuffix(".indices").removesuffix(".values")
        if not {f"{stem}.indices", f"{stem}.values"} <= held.keys():
            state[name] = tensor
        elif name.endswith(".indices"):
            values, whole = held[f"{stem}.values"], state[stem]
            if (
                len(set(tensor.tolist())) < len(tensor)
                or tensor.shape != values.shape
                or values.dtype != whole.dtype
                or tensor.is_floating_point()
                or bool((tensor < 0).any())
            ):
                raise ValueError(f"{stem} is changed by what does not fit")
            flat = whole.reshape(-1).clone()
            flat[tensor.long()] = values
            state[stem] = flat.reshape(whole.shape)


def _bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _header(file: Path, draw: random.Random) -> None:
    data = file.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    file.write_bytes(bytes_of(data[:end], draw) + data[end:] if draw.random() < 0.7 else bytes_of(data, draw))


def _told(file: Path, draw: random.Random) -> None:
    """Bend what a file says of itself."""
    with safe_open(file, "pt") as shard:
        told: dict[str, str] = dict(shard.metadata() or {})
    held = load_file(file)
    key = draw.choice((*told, "removed", "base_step", "checksums", "encoding", "takeback_network"))
    text = draw.choice(
        (
            str(draw.choice(VALUES)),
            json_of(_json(told.get(key, "[]")), draw).decode("utf-8", "replace"),
            "[" * 10**5,
            "gap_delta",
            "9" * 5000,
            "-1",
            "1",
            "2",
        )
    )
    told[key] = text.encode("utf-8", "replace").decode()
    if draw.random() < 0.2:
        told.pop(key)
    save_file(held, file, told)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _tensors(file: Path, draw: random.Random) -> None:
    """Bend places, values or names; the checksums stay, go, or are none."""
    with safe_open(file, "pt") as shard:
        told: dict[str, str] = dict(shard.metadata() or {})
    held = load_file(file)
    name = draw.choice(sorted(held))
    tensor = held[name]
    if draw.random() < 0.8:
        told.pop("checksums", None)
    if draw.random() < 0.3:
        told["checksums"] = json.dumps(
            dict.fromkeys([one.removesuffix(".indices") for one in held], draw.choice(VALUES))
        )
    if draw.random() < 0.25:
        held[
            draw.choice(("", ".indices", ".values")).join(
                ("" if draw.random() < 0.5 else name, draw.choice(NAMES))
            )
        ] = tensor.clone()
        if draw.random() < 0.5:
            del held[name]
    else:
        held[name] = draw.choice(CHANGES)(tensor, draw)
    save_file({one.replace("\0", ""): tensor.contiguous() for one, tensor in held.items()}, file, told)


CHANGES: tuple[Callable[[torch.Tensor, random.Random], torch.Tensor], ...] = (
    lambda tensor, draw: tensor.flip(0),
    lambda tensor, draw: torch.cat([tensor, tensor[-1:]]),
    lambda tensor, draw: tensor[:-1],
    lambda tensor, draw: tensor[:0],
    lambda tensor, draw: tensor.reshape(1, *tensor.shape),
    lambda tensor, draw: tensor.to(
        draw.choice(
            (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.int16, torch.uint16, torch.bool)
        )
    ),
    lambda tensor, draw: tensor + draw.choice((1, -1, 5)),
    lambda tensor, draw: tensor * 0,
    lambda tensor, draw: torch.full_like(tensor, draw.choice((100, -1, 7))),
    lambda tensor, draw: torch.full((max(1, tensor.numel()),), draw.choice((2**40, 2**31 - 1, -(2**31), 3))),
)


def _gone(file: Path, draw: random.Random) -> None:
    file.unlink()


def _moved(file: Path, draw: random.Random) -> None:
    """Call a file by another step, or put it among those of the other kind, or take another's place."""
    kind = file.parent.parent / draw.choice(("anchors", "deltas"))
    stem = draw.choice(
        (
            "step_1",
            "step_000002",
            "step_4",
            "step_000009",
            f"step_{'9' * 18}",
            f"step_{'9' * 19}",
            "step_00",
            "step_-1",
        )
    )
    place = kind / f"{stem}.safetensors"
    shutil.copy(file, place) if draw.random() < 0.5 else os.replace(file, place)


def _special(file: Path, draw: random.Random) -> None:
    """Put a pipe, a folder, a loop of links or a link out of the folder in a file's place."""
    data = file.read_bytes()
    file.unlink()
    kind = draw.randrange(4)
    if kind == 0:
        os.mkfifo(file)
    elif kind == 1:
        file.mkdir()
    elif kind == 2:
        file.symlink_to(file)
    else:
        outside = file.parent.parent.parent / "outside"
        outside.write_bytes(data)
        file.symlink_to(outside)


def _beside(file: Path, draw: random.Random) -> None:
    """Bend the config of the stream, or put another beside it from a step on."""
    folder = file.parent.parent
    text = json_of(json.loads((folder / "config.json").read_text()), draw)
    place = folder / "config.json"
    if draw.random() < 0.5:
        place = folder / "beside" / draw.choice(("step_1", "step_000003", "step_x")) / "config.json"
        place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text)


BENDS = (_header, _told, _told, _tensors, _tensors, _tensors, _gone, _moved, _special, _beside)
