"""Two checkpoints of one architecture, and everything in which they differ besides their weights' values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from takeback.anatomy import Anatomy
from takeback.checkpoint.alike import cut_to, made_alike, vocabulary_of
from takeback.checkpoint.checkpoint import Checkpoint, open_checkpoint
from takeback.draw.page import Section, Table, fragment
from takeback.run.errors import TakebackError
from takeback.run.identity import told

Kind = Literal[
    "architecture",
    "missing",
    "shape",
    "tying",
    "warning",
    "vocabulary",
    "aside",
    "config",
    "tokenizer",
    "dtype",
]
"""What two checkpoints can differ in; the first four make them no pair."""

_TITLES: Mapping[Kind, str] = {
    "architecture": "other architecture",
    "missing": "tensors on one side only",
    "shape": "other shape",
    "tying": "embeddings tied on one side only (untie=True, --untie, gives that side a copy)",
    "warning": "warning",
    "vocabulary": "vocabulary of another size (rows in common are compared, others are EMBED+, UNEMBED+)",
    "aside": "on one side only and not compared (a hybrid keeps tuned's)",
    "config": "other config",
    "tokenizer": "other tokenizer",
    "dtype": "other element type",
}
_SHOWN = 20
"""Differences that a notebook lists at most."""
_NUMBER = re.compile(r"(?<=\.)[0-9]+(?=\.)")
_FATAL: tuple[Kind, ...] = ("architecture", "missing", "shape", "tying")
_WITHOUT_EFFECT = {
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "attn_pdrop",
    "bos_token_id",
    "chunk_size_feed_forward",
    "dtype",
    "embd_pdrop",
    "eos_token_id",
    "id2label",
    "initializer_range",
    "is_encoder_decoder",
    "label2id",
    "model_type",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "problem_type",
    "resid_pdrop",
    "return_dict",
    "tie_word_embeddings",
    "transformers_version",
    "use_cache",
    "vocab_size",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """Says in what two checkpoints differ: a kind, the place (a tensor, a setting), and what each side has.

    None on a side means that it has nothing there.
    """

    kind: Kind
    place: str
    base: str | None
    tuned: str | None

    @property
    def fatal(self) -> bool:
        """Whether it makes taking back meaningless, so that the two are no pair."""
        return self.kind in _FATAL

    def __str__(self) -> str:
        if self.kind == "warning":
            return self.place
        return f"{self.place} ({self.base or 'nothing'} in base, {self.tuned or 'nothing'} in tuned)"


class PairMismatch(TakebackError):
    """Two checkpoints that are no pair; `differences` holds everything in which they differ."""

    def __init__(self, base: str, tuned: str, differences: tuple[Difference, ...]) -> None:
        self.differences = differences
        fatal = summary(difference for difference in differences if difference.fatal)
        mild = summary(difference for difference in differences if not difference.fatal)
        also = f". Besides, but no obstacle: {mild}" if mild else ""
        super().__init__(f"{base} and {tuned} are no pair: {fatal}{also}")


@dataclass(frozen=True, eq=False, repr=False)
class Pair:
    """Holds the two sides of a comparison: the model before training and after.

    `untied` says that a side got output embeddings of its own.
    """

    base: Checkpoint
    tuned: Checkpoint
    untied: bool = False

    def __str__(self) -> str:
        return f"{self.base.ref} → {self.tuned.ref}"

    def __repr__(self) -> str:
        kinds = ", ".join(dict.fromkeys(one.kind for one in self.differences()))
        return f"Pair {self.base.ref!r} → {self.tuned.ref!r}: {kinds or 'nothing'} besides values differs"

    def _repr_html_(self) -> str:
        words = (repr(self), repr(self.base), repr(self.tuned))
        heads = ("kind", "place", "base", "tuned")
        rows = tuple((d.kind, d.place, d.base or "–", d.tuned or "–") for d in self.differences()[:_SHOWN])
        tables = (Table(heads, rows, heads),) if rows else ()
        return fragment(Section(str(self), words, tables=tables))

    @property
    def stamp(self) -> str:
        """What tells the files of this pair from others without reading them."""
        return json.dumps([self.base.stamp, self.tuned.stamp, self.untied])

    def differences(self) -> tuple[Difference, ...]:
        """Return everything in which the two sides differ besides values, the fatal first."""
        return self._differences

    def anatomy(self, resolution: str = "heads") -> Anatomy:
        """Return which entries belong to which component, at the resolution "heads" or "neurons"."""
        return self.tuned.anatomy(resolution)

    @property
    def common(self) -> Pair:
        """The pair without the rows that only the larger of two vocabularies has."""
        (pair,) = in_common([self])
        return pair

    @cached_property
    def _differences(self) -> tuple[Difference, ...]:
        other = _of_kind(self.base, self.tuned)
        if other is not None:
            return (other,)
        found = [*_of_tensors(self.base, self.tuned), *_of_configs(self.base, self.tuned)]
        found += _of_one_side(self.base, self.tuned)
        found += _of_tokenizers(self.base, self.tuned)
        order = list(_TITLES)
        return tuple(sorted(found, key=lambda difference: order.index(difference.kind)))


@told.register(Pair)
def _(pair: Pair) -> Any:
    return [pair.base, pair.tuned]


def open_pair(base: str | Path | Checkpoint, tuned: str | Path | Checkpoint, untie: bool = False) -> Pair:
    """Open two checkpoints as the sides of a comparison; see `open_checkpoint` for what names them.

    With `untie`, a side whose embeddings are tied while the other's are not gets output embeddings of
    its own, a copy of its input embeddings.

    Raises:
        PairMismatch: they differ in shapes, names, tying or architecture; the message tells all of it.
        TakebackError: one of them cannot be opened.
    """
    before, after = (
        side if isinstance(side, Checkpoint) else open_checkpoint(side) for side in (base, tuned)
    )
    untied = untie and before.tied != after.tied
    if untied:
        before, after = before.untied(), after.untied()
    pair = Pair(*made_alike(before, after), untied)
    if any(difference.fatal for difference in pair.differences()):
        raise PairMismatch(before.ref, after.ref, pair.differences())
    return pair


def in_common(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Return pairs of one base with the rows of a vocabulary that all of their sides have."""
    shared = [pair.tuned.vocabulary for pair in pairs if pair.tuned.vocabulary is not None]
    if not shared:
        return tuple(pairs)
    rows = min(one.common for one in shared)
    return tuple(
        replace(pair, base=cut_to(pair.base, rows), tuned=cut_to(pair.tuned, rows)) for pair in pairs
    )


def summary(differences: Iterable[Difference]) -> str:
    """Tell differences in one line: each kind with its first places and their number."""
    return "; ".join(summaries(differences))


def summaries(differences: Iterable[Difference]) -> list[str]:
    """Tell differences in a line for each kind, what repeats from layer to layer once."""
    lines: list[str] = []
    for kind, group in groupby(differences, key=_kind_of):
        alike: dict[str, list[Difference]] = {}
        for difference in group:
            place = _NUMBER.sub("*", difference.place)
            alike.setdefault(str(replace(difference, place=place)), []).append(difference)
        told = [
            str(found[0]) if len(found) == 1 else f"{text} × {len(found)}" for text, found in alike.items()
        ]
        more = f", … {sum(map(len, alike.values()))} in all" if len(told) > 3 else ""
        lines.append(f"{_TITLES[kind]}: {', '.join(told[:3])}{more}")
    return lines


def told_besides(differences: Iterable[Difference]) -> list[str]:
    """Tell in sentences what is odd about two checkpoints, and in what they differ besides values."""
    found = list(differences)
    odd = [f"WARNING: {one}." for one in found if one.kind == "warning"]
    others = summaries(one for one in found if one.kind != "warning")
    return [*odd, *(f"Besides values they differ in: {line}" for line in others)]


def _kind_of(difference: Difference) -> Kind:
    return difference.kind


def _of_kind(base: Checkpoint, tuned: Checkpoint) -> Difference | None:
    kinds = [None if side.settings is None else side.settings["model_type"] for side in (base, tuned)]
    if kinds[0] == kinds[1]:
        return None
    if None in kinds:
        return Difference("architecture", "kind of model", *(kind or "a plain state dict" for kind in kinds))
    return Difference("architecture", "model_type", *kinds)


def _of_tensors(base: Checkpoint, tuned: Checkpoint) -> Iterator[Difference]:
    if base.tied != tuned.tied and base.settings is not None and tuned.settings is not None:
        yield Difference("tying", "embeddings", _tying(base), _tying(tuned))
    shapes, elements = (base.shapes, tuned.shapes), (base.elements, tuned.elements)
    for name in [*shapes[0], *(name for name in shapes[1] if name not in shapes[0])]:
        before, after = (None if name not in side else str(list(side[name])) for side in shapes)
        if before is None or after is None:
            if base.tied == tuned.tied or name not in (base.output_embeddings, tuned.output_embeddings):
                yield Difference("missing", name, before, after)
        elif before != after:
            yield Difference("shape", name, before, after)
        elif elements[0][name] != elements[1][name]:
            yield Difference("dtype", name, *(side[name] for side in elements))


def _of_one_side(base: Checkpoint, tuned: Checkpoint) -> Iterator[Difference]:
    """Tell what is odd about either side's files, and what one side alone has."""
    for text in dict.fromkeys((*base.warnings, *tuned.warnings)):
        yield Difference("warning", text, None, None)
    if base.vocabulary is not None and tuned.vocabulary is not None:
        yield Difference(
            "vocabulary", "rows", *(str(side.vocabulary.own) for side in (base, tuned) if side.vocabulary)
        )
    for name in {**base.aside, **tuned.aside}:
        yield Difference("aside", name, *(_shape_aside(side, name) for side in (base, tuned)))


def _shape_aside(side: Checkpoint, name: str) -> str | None:
    return str(list(side.aside[name].shape)) if name in side.aside else None


def _tying(side: Checkpoint) -> str:
    return "tied" if side.tied else "untied"


def _of_configs(base: Checkpoint, tuned: Checkpoint) -> Iterator[Difference]:
    if base.settings is None or tuned.settings is None:
        yield from _of_networks(base, tuned)
        return
    if _effective(base) == _effective(tuned):
        return
    settings = [
        json.loads(json.dumps(side.config.to_dict(), default=str)) for side in (base, tuned) if side.config
    ]
    before, after = base.anatomy(), tuned.anatomy()
    for size in ("layers", "heads", "groups"):
        if getattr(before, size) != getattr(after, size):
            yield Difference("architecture", size, str(getattr(before, size)), str(getattr(after, size)))
    for name in sorted(settings[0].keys() | settings[1].keys()):
        values = [side.get(name) for side in settings]
        if name not in _WITHOUT_EFFECT and values[0] != values[1]:
            yield Difference("config", name, *(json.dumps(value) for value in values))


def _of_networks(base: Checkpoint, tuned: Checkpoint) -> Iterator[Difference]:
    """Tell in what two plain state dicts are run differently, if both files say how."""
    if not (base.runs_as and tuned.runs_as) or base.runs_as == tuned.runs_as:
        return
    before, after = (side.network.model_dump() for side in (base, tuned))
    for name, value in before.items():
        if value != after[name]:
            yield Difference("config", name, json.dumps(value), json.dumps(after[name]))


def _effective(side: Checkpoint) -> dict[str, Any]:
    """Return what config.json says that has an effect; where it is equal, so is all that follows from it."""
    settings = {name: value for name, value in (side.settings or {}).items() if name not in _WITHOUT_EFFECT}
    return {**settings, "model_type": (side.settings or {}).get("model_type")}


def _of_tokenizers(base: Checkpoint, tuned: Checkpoint) -> Iterator[Difference]:
    before, after = (_vocabulary(side) for side in (base, tuned))
    if before is None or after is None:
        return
    changed = sorted(
        (token for token in before.keys() | after.keys() if before.get(token) != after.get(token)),
        key=lambda token: (before.get(token, after.get(token, 0)), token),
    )
    for token in changed:
        ids = (f"id {side[token]}" if token in side else None for side in (before, after))
        yield Difference("tokenizer", f"token {token!r}", *ids)


def _vocabulary(side: Checkpoint) -> dict[str, int] | None:
    """Read token -> id from a side's own tokenizer, None where there is none that tells."""
    folder = side.alone.tokenizer_folder
    return None if folder is None else vocabulary_of(folder)
