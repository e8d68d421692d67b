"""Hybrids on disk: written as an ordinary Hugging Face folder, or as one file of a plain state dict."""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch

from takeback.checkpoint.alike import vocabulary_of
from takeback.checkpoint.checkpoint import Checkpoint
from takeback.checkpoint.shards import read_metadata
from takeback.checkpoint.weights import all_finite
from takeback.checkpoint.writer import TensorSlot, write_file, write_folder
from takeback.hybrid.card import is_written_here, model_card
from takeback.hybrid.hybrid import Hybrid
from takeback.run.errors import TakebackError, warned
from takeback.run.files import atomic_file, atomic_folder, one_writer


def write_hybrid(
    made: Hybrid,
    out: str | Path,
    *,
    overwrite: bool = False,
    shard_bytes: int = 5_000_000_000,
    words: str = "",
) -> Path:
    """Write a hybrid as an ordinary Hugging Face folder (of plain state dicts, as a `.safetensors` file).

    Tensors are written one at a time under tuned's stored names, with tuned's tokenizer, config and
    generation config and a model card, which tells where base's are others. The output appears whole, under
    its name, or not at all. `overwrite` replaces an earlier hybrid and nothing else; `words`, Markdown,
    go into the card.

    Raises:
        TakebackError: the output exists (unless `overwrite` and a hybrid), is or holds a parent, or the disk
            refuses.
    """
    out = Path(out)
    check_output(made, out, overwrite)
    with one_writer(out):
        check_output(made, out, overwrite)  # the one before may have made it meanwhile
        _write(made, out, overwrite, shard_bytes, words)
    return out


def _write(made: Hybrid, out: Path, overwrite: bool, shard_bytes: int, words: str) -> None:
    tuned, broken = made.pair.tuned, list[str]()

    def read(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        tensor = made.read(name)
        if not all_finite(tensor):
            broken.append(name)
        return tensor if tensor.shape == shape else tensor[: shape[0]]

    shapes = {name: _own_shape(made, name) for name in made.shapes}
    layouts = [
        TensorSlot(tuned.stored[name], made.dtypes[name], shape, partial(read, name, shape))
        for name, shape in shapes.items()
    ]
    for name, entry in tuned.aside.items():
        kind = getattr(torch, entry.element)
        layouts.append(TensorSlot(tuned.stored[name], kind, entry.shape, entry.read))
    if tuned.config is None:
        metadata = {**read_metadata(next(iter(tuned.entries.values())).file), "takeback": made.ref}
        with atomic_file(out, replace=overwrite) as draft:
            write_file(draft, layouts, metadata)
        return
    with atomic_folder(out, replace=overwrite) as draft:
        for file in _speaker(made).side_files():
            (shutil.copytree if file.is_dir() else shutil.copyfile)(file, draft / file.name)
        (draft / "config.json").write_text(json.dumps(_config(made), indent=2) + "\n", encoding="utf-8")
        (draft / "README.md").write_text(model_card(made, out, words), encoding="utf-8")
        write_folder(draft, layouts, shard_bytes)
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        warned(f"{out} holds numbers that are not finite, in {broken[0]}{more}: a parent of it is broken")


def _own_shape(made: Hybrid, name: str) -> tuple[int, ...]:
    """Return the shape that a tensor has in the file, with the rows of the hybrid's own vocabulary."""
    shape, shared = made.shapes[name], made.pair.tuned.vocabulary
    if shared is None or made.rows is None or name not in shared.tensors:
        return shape
    return (made.rows, *shape[1:])


def _speaker(made: Hybrid) -> Checkpoint:
    """Return the side whose tokenizer a hybrid gets: tuned, unless that has tokens without a row."""
    base, tuned = made.pair.base.alone, made.pair.tuned.alone
    if made.rows is None or made.rows >= _tokens(tuned) or base.tokenizer_folder is None:
        return tuned
    return base


def _tokens(side: Checkpoint) -> int:
    """Return how many rows a side's own tokenizer needs."""
    known = None if side.tokenizer_folder is None else vocabulary_of(side.tokenizer_folder)
    return 1 + max(known.values(), default=-1) if known else 0


def check_output(made: Hybrid, out: Path, overwrite: bool, one_file: str | None = None) -> None:
    """Raise unless `out` is free, or may be overwritten and holds an earlier hybrid and no parent.

    `one_file` says what is written as one file, where it is no hybrid as its sides are stored.
    """
    places = _both_ways(out)
    parents = {way for parent in _parents(made) for way in _both_ways(parent)}
    held = next((parent for parent in sorted(parents) if places & {parent, *parent.parents}), None)
    if held is not None:
        is_one = "is" if held in places else f"holds {held},"
        raise TakebackError(f"{out} {is_one} one of the hybrid's parents; choose another output")
    plain = made.pair.tuned.config is None or one_file is not None
    if plain and out.suffix != ".safetensors":
        what = one_file or "a hybrid of plain state dicts"
        raise TakebackError(f"{out}: {what} is one file; end its name in .safetensors")
    if not out.exists():
        return
    if plain != out.is_file():
        raise TakebackError(f"{out} is a {'folder' if plain else 'file'}; choose another output")
    if not plain and not any(out.iterdir()):
        return
    if not overwrite:
        raise TakebackError(f"{out} exists already; choose another name, or say --overwrite (overwrite=True)")
    if not (_is_hybrid_file(out) if plain else is_written_here(out)):
        raise TakebackError(
            f"{out} is not a hybrid written here, so it is not overwritten; choose another output"
        )


def _parents(made: Hybrid) -> set[Path]:
    """Return the folders and files that a hybrid reads, those of a source that is a hybrid too."""
    found: set[Path] = set()
    for side in (made.pair.base, made.pair.tuned, made.source):
        if isinstance(side, Hybrid):
            found |= _parents(side)
        elif isinstance(side, Checkpoint):
            found |= {side.folder, *side.side_folders, *side.files}
    return found


def _both_ways(path: Path) -> set[Path]:
    """Return where a path leads with its links followed and as it is written."""
    return {path.resolve(), Path(os.path.abspath(path))}


def _is_hybrid_file(file: Path) -> bool:
    try:
        return "takeback" in read_metadata(file)
    except TakebackError:
        return False


def _config(made: Hybrid) -> dict[str, Any]:
    """Return tuned's config as its file has it, but for what the hybrid's tensors make untrue."""
    tuned = made.pair.tuned
    config = tuned.stored_config()
    if config.get("tie_word_embeddings", tuned.tied) != tuned.tied or made.pair.untied:
        config["tie_word_embeddings"] = tuned.tied
    if made.rows is not None:
        _resize(config, made)
    if made.loading_dtype is not None:
        config.pop("torch_dtype", None)
        config["dtype"] = str(made.loading_dtype).removeprefix("torch.")
    return config


def _resize(config: dict[str, Any], made: Hybrid) -> None:
    """Let a config say the hybrid's rows, and name no special token that has none of them."""
    assert made.rows is not None
    config["vocab_size"] = made.rows
    others = made.pair.base.settings or {}
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        named = config.get(name)
        ids = named if isinstance(named, list) else [named]
        if any(isinstance(one, int) and one >= made.rows for one in ids):
            config[name] = others.get(name)
