"""Bends what trainers write: distributed checkpoints, shards, and folders laid out each in its own way."""

from __future__ import annotations

import json
import math
import os
import pickle
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.metadata import BytesStorageMetadata

from fuzz.bend import VALUES, bytes_of, json_of
from takeback.checkpoint import open_checkpoint
from takeback.checkpoint.forms.pickled import silent

NAMES: tuple[Any, ...] = (
    3,
    None,
    "",
    "../x",
    "x" * 400,
    "a\nb",
    ("a",),
    "model.norm.weight",
    "optim.lr",
    "model",
)
SIZES: tuple[Any, ...] = (0, 1, -1, 3, 2**31, 2**40, 2**62, None, "8", 1.5, True)
PATHS = ("../outside", "/etc/passwd", "", ".", "__9_9.distcp", "a\0b", "x" * 400, ".metadata", 3, None, "a/b")
BENT_BEFORE = (AttributeError, TypeError, LookupError, ValueError, OverflowError, pickle.PickleError)
"""What a second bend may meet."""


class Planted:
    """Is unpickled by a call that leaves a file, as a harmful one would be."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({str(self.mark)!r}, 'w')",))


def distributed(place: Path, common: Path, draw: random.Random) -> bool:
    """A distributed checkpoint with a bent index, bent pieces, or a planted call."""
    return _right(bent_distributed(place, common, draw), place, common)


def shards(place: Path, common: Path, draw: random.Random) -> bool:
    """Shards of processes, pickled, of which one is bent, called otherwise or gone."""
    return _right(bent_shards(place, common, draw), place, common)


def layout(place: Path, common: Path, draw: random.Random) -> bool:
    """A trainer's folder with a bent index of shards, odd names, pipes, loops of links or two models."""
    return _right(bent_layout(place, common, draw), place, common)


def _right(ref: str, place: Path, common: Path) -> bool:
    """Read a model and say whether each tensor is one that was saved; nothing planted may have run."""
    try:
        found = open_checkpoint(ref)
        anatomy = found.anatomy()
        held = {name: found.read(name) for name in found.shapes}
    finally:
        if (place / "mark").exists():
            raise AssertionError("a planted call ran")
    saved = load_file(common / "tuned" / "model.safetensors")
    known = {(tuple(one.shape), one.dtype, _bits(one)) for one in saved.values()}
    whole = anatomy.parameters(anatomy.universe) == sum(one.numel() for one in held.values())
    return whole and (
        _is_bent_in_data(place)
        or all((tuple(one.shape), one.dtype, _bits(one)) in known for one in held.values())
    )


def _is_bent_in_data(place: Path) -> bool:
    """Say whether numbers themselves were bent, of which no file keeps a checksum."""
    return (place / "numbers").exists()


def _bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def bent_distributed(place: Path, common: Path, draw: random.Random) -> str:
    """Write a distributed checkpoint, bend it, and return its name."""
    folder = place / draw.choice(("step-3", "x"))
    kind = draw.choice(("dist", "dist", "dist", "slices"))
    shutil.copytree(common / kind, folder)
    if kind == "slices":
        for file in draw.sample(sorted(folder.glob("*.safetensors")), 1):
            _bend_file(file, draw, place)
    elif draw.random() < 0.75:
        for _ in range(draw.choice((1, 1, 2))):
            with suppress(*BENT_BEFORE):
                _bend_index(folder / ".metadata", draw, place / "mark")
    else:
        _bend_file(draw.choice(sorted(folder.iterdir())), draw, place)
    (place / "mark").unlink(missing_ok=True)  # a second bend unpickles the first one's
    return str(folder)


def _bend_index(file: Path, draw: random.Random, mark: Path) -> None:
    """Change one field of `.metadata`, which only this fuzzer has written."""
    if draw.random() < 0.2:
        file.write_bytes(bytes_of(file.read_bytes(), draw))
        return
    index = pickle.loads(file.read_bytes())
    draw.choice((_bend_names, _bend_row, _bend_row, _bend_chunks, _bend_chunks, _bend_pieces, _bend_pieces))(
        index, draw, mark
    )
    if draw.random() < 0.1:
        odd = (Planted(mark), None, {}, [], 3, {"a": 1}, os.system)
        setattr(index, draw.choice(list(vars(index))), draw.choice(odd))
    if draw.random() < 0.1:
        index = draw.choice((Planted(mark), {}, [], None, index.state_dict_metadata, os.getcwd))
    file.write_bytes(pickle.dumps(index))


def _bend_names(index: Any, draw: random.Random, mark: Path) -> None:
    rows = index.state_dict_metadata
    name = draw.choice(list(rows))
    rows[draw.choice(NAMES)] = rows.pop(name) if draw.random() < 0.5 else rows[name]


def _bend_row(index: Any, draw: random.Random, mark: Path) -> None:
    rows = index.state_dict_metadata
    name, what = draw.choice(list(rows)), draw.randrange(3)
    row = rows[name]
    if what == 0:
        object.__setattr__(row, "size", _odd(row.size, draw.randrange(len(row.size)), draw))
    elif what == 1:
        kinds = (torch.float16, torch.int32, torch.float64, "float32", None, torch.complex64)
        row.properties.dtype = draw.choice(kinds)
    else:
        odd = (BytesStorageMetadata(), None, Planted(mark), [], row.properties, math.prod)
        rows[name] = draw.choice(odd)


def _bend_chunks(index: Any, draw: random.Random, mark: Path) -> None:
    row = index.state_dict_metadata[draw.choice(list(index.state_dict_metadata))]
    place, what = draw.randrange(len(row.chunks)), draw.randrange(4)
    part = row.chunks[place]
    if what < 2:
        odd = _odd(part.sizes, draw.randrange(len(row.size)), draw)
        row.chunks[place] = replace(part, **{("offsets", "sizes")[what]: odd})
    elif what == 2:
        row.chunks[place:place] = [part] * draw.choice((1, 1000))
    else:
        del row.chunks[place]


def _bend_pieces(index: Any, draw: random.Random, mark: Path) -> None:
    pieces = index.storage_data
    key, what = draw.choice(list(pieces)), draw.randrange(3)
    if what == 0:
        pieces[key] = replace(pieces[key], **{draw.choice(("offset", "length")): draw.choice(SIZES)})
    elif what == 1:
        pieces[key] = replace(pieces[key], relative_path=draw.choice(PATHS))
    else:
        pieces[draw.choice((key, *NAMES))] = draw.choice((*pieces.values(), Planted(mark), None))


def _odd(size: Any, at: int, draw: random.Random) -> Any:
    """Return a size or place of which one number is odd."""
    new = list(size)
    new[at] = draw.choice((*SIZES, new[at] + 1))
    if draw.random() < 0.2:
        new = draw.choice(([], new * 3, new[:-1]))
    try:
        return torch.Size(new)
    except (TypeError, RuntimeError, OverflowError):
        return draw.choice((tuple(new), None, "x"))


def bent_shards(place: Path, common: Path, draw: random.Random) -> str:
    """Write shards, bend them, and return the name of their step."""
    step = place / draw.choice(("global_step_3", "x"))
    folder = step / draw.choice(("actor", "policy", ""))
    shutil.copytree(common / draw.choice(("verl", "verl", "deepspeed")), folder)
    for _ in range(draw.choice((0, 1, 1, 2))):
        file = draw.choice(
            sorted(one for one in folder.iterdir() if one.suffix == ".pt") or [folder / "config.json"]
        )
        if file.suffix != ".pt" or draw.random() < 0.5:
            _bend_file(file, draw, place)
        elif draw.random() < 0.4:
            world, rank = (
                draw.choice(("2", "3", "0", "999999", "1000000", "03")),
                draw.choice(("0", "1", "2", "3", "999999", "00")),
            )
            os.replace(file, file.parent / f"model_world_size_{world}_rank_{rank}.pt")
        else:
            with suppress(Exception):  # bent before
                _bend_shard(file, draw, place / "mark")
    (place / "mark").unlink(missing_ok=True)
    return str(step)


def _bend_shard(file: Path, draw: random.Random, mark: Path) -> None:
    with silent("torch.distributed.device_mesh"):
        held = torch.load(file, weights_only=False)
    own = held.get("module", held)
    name = draw.choice(list(own))
    odd: tuple[Callable[[], Any], ...] = (
        lambda: Planted(mark),
        lambda: None,
        lambda: torch.randn(2).to_sparse(),
        lambda: torch.empty(8, 8, device="meta"),
        lambda: torch.ones(1).expand(2**20, 2**12),
        lambda: torch.ones(8, 8).int(),
        lambda: torch.ones(8, 8, dtype=torch.complex64),
        lambda: torch.quantize_per_tensor(torch.ones(8, 8), 0.1, 0, torch.qint8),
        lambda: torch.nn.Parameter(torch.ones(8, 8)),
        lambda: draw.choice(VALUES),
        lambda: own[draw.choice(list(own))],
        lambda: own[name].to_local() if hasattr(own[name], "to_local") else own[name][:1],
    )
    if draw.random() < 0.2:
        own[draw.choice(NAMES)] = own.pop(name)
    elif draw.random() < 0.2:
        del own[name]
    elif draw.random() < 0.2:
        held = draw.choice((Planted(mark), [], None, {"module": 3}, {}, own[name]))
    else:
        own[name] = draw.choice(odd)()
        (mark.parent / "numbers").touch()
    torch.save(held, file)


def bent_layout(place: Path, common: Path, draw: random.Random) -> str:
    """Lay out a trainer's folder, bend it, and return its name."""
    name = draw.choice(
        ("checkpoint-3", "global_step_3", "step_3", "epoch_0_step_3", "epoch_3", "step-3", "x")
    )
    inside = draw.choice(
        ("", "", "actor/huggingface", "policy/weights/model/consolidated", "model", "hf", "a/b/c/d")
    )
    step = place / name
    folder = step / inside
    folder.mkdir(parents=True)
    shutil.copy(common / "tuned" / "config.json", draw.choice((folder, folder, step, place)))
    state = load_file(common / "tuned" / "model.safetensors")
    names = sorted(state)
    stem = draw.choice(("model", "model", "ft-model"))
    files = [f"{stem}-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for file, own in zip(files, (names[::2], names[1::2]), strict=True):
        save_file({one: state[one] for one in own}, folder / file)
    weights = {one: files[number % 2] for number, one in enumerate(names)}
    if draw.random() < 0.8:
        index = {"metadata": {"total_size": 1}, "weight_map": weights}
        if draw.random() < 0.4:
            weights[draw.choice(names)] = draw.choice((*PATHS, *files, "../../outside.safetensors"))
        text = json_of(index, draw) if draw.random() < 0.6 else json.dumps(index).encode()
        (folder / f"{stem}.safetensors.index.json").write_bytes(text)
    shutil.copy(common / "tuned" / "model.safetensors", place / "outside.safetensors")
    for _ in range(draw.choice((0, 1, 1, 2))):
        with suppress(OSError, SafetensorError):
            draw.choice(ODDITIES)(step, folder, common, draw)
    return str(draw.choice((step, step, folder, place)))


def _again(step: Path, folder: Path, common: Path, draw: random.Random) -> None:
    """Put the same model at a second place."""
    shutil.copytree(
        common / "tuned",
        step / draw.choice(("actor", "critic", "other", "consolidated", "best")),
        dirs_exist_ok=True,
    )


def _scripts(step: Path, folder: Path, common: Path, draw: random.Random) -> None:
    """Put scripts beside weights, which nothing may run."""
    for name in ("consolidate.sh", "zero_to_fp32.py"):
        (draw.choice((step, folder)) / name).write_text(f"touch {step.parent / 'mark'}\n")


def _ends(step: Path, folder: Path, common: Path, draw: random.Random) -> None:
    """Put a pipe, a folder or a loop of links where a file is looked for."""
    file = draw.choice((step, folder)) / draw.choice(
        (
            "config.json",
            "model.safetensors",
            "model.safetensors.index.json",
            ".metadata",
            "mp_rank_00_model_states.pt",
            "a.gguf",
            "adapter_config.json",
            "latest_checkpointed_iteration.txt",
        )
    )
    file.unlink(missing_ok=True)
    draw.choice(
        (
            os.mkfifo,
            Path.mkdir,
            lambda one: one.symlink_to(one),
            lambda one: one.symlink_to(step, True),
            Path.touch,
        )
    )(file)


def _bent_part(step: Path, folder: Path, common: Path, draw: random.Random) -> None:
    files = sorted(one for one in step.rglob("*") if one.is_file())
    _bend_file(draw.choice(files), draw, step.parent)


def _moved(step: Path, folder: Path, common: Path, draw: random.Random) -> None:
    file = draw.choice(sorted(folder.glob("*.safetensors")))
    os.replace(
        file,
        folder
        / draw.choice(
            (
                "optimizer.safetensors",
                "model-2.safetensors",
                "consolidated.safetensors",
                "x" * 255,
                "adapter_model.safetensors",
                "model-\udc80.safetensors",
            )
        ),
    )


def _adapter(step: Path, folder: Path, common: Path, draw: random.Random) -> None:
    """Put an adapter's config beside, that names a base of its own."""
    named = draw.choice(
        (".", "..", str(step), "~nobody", "x" * 400, str(common / "base"), "org/name", "a\0b", "a+b")
    )
    (draw.choice((step, folder)) / "adapter_config.json").write_text(
        json.dumps(
            {
                "peft_type": "LORA",
                "r": 2,
                "lora_alpha": 4,
                "target_modules": ["q_proj"],
                "base_model_name_or_path": named,
                "revision": draw.choice(VALUES[:3]),
            }
        )
    )


ODDITIES = (_again, _scripts, _ends, _bent_part, _bent_part, _moved, _adapter)


def _bend_file(file: Path, draw: random.Random, place: Path) -> None:
    """Cut a file, bend its bytes, or take it away; what is no checksum's may change numbers."""
    data = file.read_bytes()
    what = draw.random()
    if what < 0.2:
        file.unlink()
        return
    if what < 0.4:
        file.write_bytes(data[: draw.randrange(len(data) + 1)])
        return
    end = 8 + int.from_bytes(data[:8], "little") if file.suffix == ".safetensors" else len(data)
    if end < len(data) and draw.random() < 0.7:
        file.write_bytes(bytes_of(data[:end], draw) + data[end:])
    else:
        file.write_bytes(bytes_of(data, draw))
        (place / "numbers").touch()
