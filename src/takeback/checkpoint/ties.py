"""Which stored tensors are the input and the output embeddings, and whether they are tied."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from takeback.anatomy import Family
from takeback.anatomy.source import says_tied
from takeback.checkpoint.settings import full_config, untied_settings
from takeback.checkpoint.shards import Entry
from takeback.component import layer_in
from takeback.run.errors import TakebackError

LM_HEAD = "lm_head.weight"
"""What models of Hugging Face call output embeddings where no family says it."""


def embeddings_of(
    family: Family | None, settings: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[str, str] | None:
    """Return the names of the input and the output embeddings, of which a tied model stores one.

    Without a family they are the one or two matrices outside the layers with a row for each token; None where
    there are more or none.

    >>> shapes = {"lm_head.weight": (9, 4), "model.embed.weight": (9, 4), "model.norm.weight": (4,)}
    >>> embeddings_of(None, {"vocab_size": 9}, shapes)
    ('model.embed.weight', 'lm_head.weight')
    """
    if family is not None:
        return family.embedding, family.unembedding
    rows = settings.get("vocab_size")
    found = [
        name
        for name, shape in shapes.items()
        if len(shape) == 2 and shape[0] == rows and layer_in(name) is None
    ]
    if len(found) == 1 and found[0] != LM_HEAD:
        return found[0], LM_HEAD
    if len(found) != 2 or shapes[found[0]] != shapes[found[1]]:
        return None
    first, last = sorted(found, key=_is_output)
    return first, last


def is_tied(
    family: Family | None, settings: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> bool:
    """Return whether settings say that embeddings are tied, or else that the output ones are not stored."""
    if family is not None:
        return says_tied(family, settings)
    names = embeddings_of(family, settings, shapes)
    said = settings.get("tie_word_embeddings")
    return names is not None and (names[1] not in shapes if said is None else bool(said))


def one_of_tied(
    settings: Mapping[str, Any], names: tuple[str, str], entries: dict[str, Entry], stored: dict[str, str]
) -> Mapping[str, Any]:
    """Keep one of two tied tensors; unequal ones are not tied, as in transformers."""
    embed, unembed = names
    if unembed not in entries:
        return settings
    if embed not in entries:
        entries[embed], stored[embed] = entries.pop(unembed), stored.pop(unembed)
        return settings
    if not entries[embed].read().equal(entries[unembed].read()):
        return untied_settings(settings)
    del entries[unembed], stored[unembed]
    return settings


def with_default_tying(
    folder: Path, settings: Mapping[str, Any], entries: Mapping[str, Entry]
) -> Mapping[str, Any]:
    """Ask transformers whether a type without a family ties what is stored twice, if nothing says it."""
    names = embeddings_of(None, settings, {name: entry.shape for name, entry in entries.items()})
    if names is None or names[1] not in entries or "tie_word_embeddings" in settings:
        return settings
    try:
        tied = bool(getattr(full_config(folder, settings), "tie_word_embeddings", False))
    except TakebackError:  # a type that transformers does not know either
        tied = False
    return {**settings, "tie_word_embeddings": tied}


def _is_output(name: str) -> tuple[bool, int, str]:
    """Return a sort key by which output embeddings come last: they are named so, or stand further out."""
    return "head" in name or "out" in name, -name.count("."), name
