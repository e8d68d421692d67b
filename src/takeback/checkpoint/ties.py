"""Which stored tensors are the input and the output embeddings, and whether they are tied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from takeback.anatomy import Family
from takeback.anatomy.source import says_tied
from takeback.component import layer_in

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


def _is_output(name: str) -> tuple[bool, int, str]:
    """Return a sort key by which output embeddings come last: they are named so, or stand further out."""
    return "head" in name or "out" in name, -name.count("."), name
