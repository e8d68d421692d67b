"""Two checkpoints made alike before they are compared: what one side alone has does not make them no pair."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from takeback.anatomy import Family, family_of
from takeback.anatomy.source import family_in
from takeback.checkpoint.checkpoint import Checkpoint
from takeback.checkpoint.shards import Entry
from takeback.checkpoint.vocabulary import SharedVocabulary
from takeback.run.errors import TakebackError
from takeback.run.json_text import read_json, read_object
from takeback.run.reading import Unreadable


def made_alike(base: Checkpoint, tuned: Checkpoint) -> tuple[Checkpoint, Checkpoint]:
    """Return both sides with rows for one vocabulary, and heads that one of them alone has laid aside.

    Sides of another kind, and whatever else differs, are returned as they are.
    """
    if base.settings is None or tuned.settings is None:
        return base, tuned
    if base.settings["model_type"] != tuned.settings["model_type"]:
        return base, tuned
    family = family_in(tuned.settings)
    if family is None:
        return base, tuned
    base, tuned = _laid_aside(family, base, tuned), _laid_aside(family, tuned, base)
    return _one_vocabulary(family, base, tuned)


def cut_to(side: Checkpoint, rows: int) -> Checkpoint:
    """Return a language model with the first rows of its vocabulary alone."""
    assert side.settings is not None
    family = family_of(side.settings["model_type"])
    tensors = tuple(name for name in family.vocabulary if name in side.entries)
    own = side.entries[family.embedding].shape[0]
    return replace(side, vocabulary=SharedVocabulary(rows, rows, own, tensors))


def vocabulary_of(folder: Path) -> dict[str, int] | None:
    """Read token -> id from the files of a tokenizer, None where there are none that tell.

    Raises:
        TakebackError: they are broken.
    """
    try:
        return _read_vocabulary(folder)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, Unreadable) as error:
        why = error.why if isinstance(error, Unreadable) else error
        raise TakebackError(f"{folder} has a broken tokenizer: {why}") from error


def _laid_aside(family: Family, side: Checkpoint, other: Checkpoint) -> Checkpoint:
    """Lay aside the value, reward and output heads of a side that the other has not."""

    def alone(name: str) -> bool:
        if name in other.entries or (name == family.unembedding and side.tied != other.tied):
            return False
        match = family.match(name)
        return match is not None and {block.kind for block in match.claim.blocks} <= {"HEAD", "UNEMBED"}

    aside = {name: entry for name, entry in side.entries.items() if alone(name)}
    kept = {name: entry for name, entry in side.entries.items() if name not in aside}
    return replace(side, entries=kept, aside={**side.aside, **aside}) if aside else side


def _one_vocabulary(family: Family, base: Checkpoint, tuned: Checkpoint) -> tuple[Checkpoint, Checkpoint]:
    rows = [_rows(family, side) for side in (base, tuned)]
    if None in rows:
        return base, tuned
    own = [size for size in rows if size is not None]
    shared = base.vocabulary or tuned.vocabulary
    if shared is None or not set(own) <= {shared.common, shared.rows}:
        base, tuned = replace(base, vocabulary=None), replace(tuned, vocabulary=None)
        if own[0] == own[1]:
            return base, tuned
        tensors = tuple(name for name in family.vocabulary if name in base.entries)
        shared = SharedVocabulary(min(own), max(own), 0, tensors, _widest_tokenizer(base, tuned))
    before, after = (
        side if side.vocabulary else replace(side, vocabulary=replace(shared, own=size))
        for side, size in zip((base, tuned), own, strict=True)
    )
    return before, after


def _rows(family: Family, side: Checkpoint) -> int | None:
    """Return the rows of a vocabulary, None where its tensors have not all as many."""
    entries: list[Entry] = [side.entries[name] for name in family.vocabulary if name in side.entries]
    sizes = {entry.shape[0] for entry in entries if entry.shape}
    return sizes.pop() if len(sizes) == 1 and family.embedding in side.entries else None


def _widest_tokenizer(base: Checkpoint, tuned: Checkpoint) -> Path | None:
    """Return the folder of the tokenizer that has all tokens of both sides by the same numbers."""
    folders = [side.tokenizer_folder for side in (tuned, base)]
    found = [(folder, vocabulary_of(folder)) for folder in folders if folder is not None]
    known = [(folder, tokens) for folder, tokens in found if tokens is not None]
    if len(known) < 2:
        return folders[0] or folders[1]
    for folder, tokens in known:
        if all(others.items() <= tokens.items() for _, others in known):
            return folder
    return None


_MOST_OF_TOKENIZER = 1 << 30


def _read_vocabulary(folder: Path) -> dict[str, int] | None:
    if (folder / "tokenizer.json").is_file():
        tokenizer: Any = read_json(folder / "tokenizer.json", most=_MOST_OF_TOKENIZER)
        vocabulary = tokenizer["model"].get("vocab", {})
        if isinstance(vocabulary, list):
            vocabulary = {token: place for place, (token, _) in enumerate(vocabulary)}
        return {
            **vocabulary,
            **{added["content"]: added["id"] for added in tokenizer.get("added_tokens", ())},
        }
    if (folder / "vocab.json").is_file():
        added = folder / "added_tokens.json"
        extra = read_object(added) if added.is_file() else {}
        return {**read_object(folder / "vocab.json"), **extra}
    return None
