"""Architecture families as data: which names their tensors have and how components share them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from takeback.anatomy.own import Stamp, own_blocks, own_files
from takeback.component import INDEXED_KINDS, LAYER_KINDS, MODEL_KINDS
from takeback.run.errors import TakebackError, UnknownName, unknown_name

PARTS = ("families.toml", "decoders.toml", "mixtures.toml")
"""The files of the package that hold families: those explained, like ones, those with experts or mixers."""


_INSIDE = re.compile(r"(^|\.)(?:(?:_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod)\.)+")
_BEFORE = re.compile(r"^(?:module|base_model\.model|pretrained_model)\.")
_VISION = re.compile(r"^(?:language_model\.|(model\.)language_model\.)")
_HEADS = re.compile(r"(?:score|v_head|value_head|reward_head|classifier)\.(?:.+\.)?(?:weight|bias)")
_BUFFERS = re.compile(
    r"(?:.+\.)?(?:(?:rotary_emb|rotary_pos_emb|rotary)\.(?:original_)?inv_freq|position_ids|"
    r"(?:rotary_emb|rotary_pos_emb)\.(?:cos|sin)_cached)"
)


@dataclass(frozen=True, slots=True)
class Block:
    """Says who owns a stretch of an axis: the kind it is cut among, and how many widths each member has."""

    kind: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class Claim:
    """Says who owns the entries of every tensor whose name fits a pattern.

    `axis` is None where one component owns the whole tensor; `even` says that the axis is cut evenly whatever
    width the config gives. `rounds` says into how many rounds the axis is cut first, each with its share of
    every block; "KV" means as many as there are key/value groups. `stored` are the patterns on disk of one
    slice.
    """

    pattern: str
    axis: int | None
    blocks: tuple[Block, ...]
    stored: tuple[str, ...] = ()
    even: bool = False
    rounds: int | str = 1


@dataclass(frozen=True, slots=True)
class Match:
    """A claim that fits a tensor's name, with the layer and the index within it that the name tells."""

    claim: Claim
    layer: int | None
    index: int | None

    def parts(self, index: int) -> tuple[str, ...]:
        """Return the names of the stored tensors that slice `index` of this tensor consists of."""
        return tuple(part.format(l=self.layer, i=index) for part in self.claim.stored)


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Holds one block of `families.toml`, whose head explains each entry."""

    name: str
    model_types: tuple[str, ...]
    prefix: str
    embedding: str
    unembedding: str
    tied: bool
    ignored: tuple[str, ...]
    leftovers: tuple[tuple[str, str], ...]
    renames: tuple[tuple[str, str], ...]
    unread: Mapping[str, str]
    config: Mapping[str, tuple[str, ...]]
    hidden_times: int | None
    claims: tuple[Claim, ...]

    def match(self, name: str) -> Match | None:
        """Return the claim on the tensor `name` (a canonical name), or None."""
        return _match(self, name)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The tensors that have a row, or an entry, for each token."""
        return self.embedding, self.unembedding, self.unembedding.removesuffix("weight") + "bias"

    def ignores(self, name: str) -> bool:
        """Return whether the tensor `name` is a leftover in old files and no parameter."""
        return _BUFFERS.fullmatch(name) is not None or any(
            compiled(pattern).fullmatch(name) for pattern in self.ignored
        )


_HEAD_MATCH = Match(Claim("score.weight", None, (Block("HEAD"),)), None, None)
"""What claims a value, reward or classification head, in any family."""


@cache
def _match(family: Family, name: str) -> Match | None:
    for claim in family.claims:
        found = compiled(claim.pattern).fullmatch(name)
        if found is not None:
            places = found.groupdict()
            return Match(claim, _integer(places.get("l")), _integer(places.get("i")))
    return _HEAD_MATCH if _HEADS.fullmatch(name) else None


def families() -> Mapping[str, Family]:
    """Return the known families by name: a user's own of `takeback.anatomy.own`, and those that come along.

    Raises:
        TakebackError: a file of the user's can't be read or has a block that is none, or one that there is.

    >>> families()["mamba"].model_types
    ('mamba', 'mamba2', 'falcon_mamba')
    """
    return _families(own_files())


@cache
def _families(stamp: Stamp) -> Mapping[str, Family]:
    packaged = _packaged()
    own = own_blocks(stamp)
    if again := own.keys() & packaged.keys():
        raise TakebackError(f"a file of families has {min(again)}, which comes along; call it otherwise")
    blocks = {**own, **packaged}
    found: dict[str, Family] = {}
    for name in own:
        try:
            found[name] = _family(name, _inherited(blocks, name))
        except TakebackError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            why = " ".join(f"{type(error).__name__} {error}".split())[:120]
            raise TakebackError(
                f"the block of the family {name} is none: {why}; docs/families.md says what one has"
            ) from error
    return found | {name: _family(name, _inherited(packaged, name)) for name in packaged}


@cache
def _packaged() -> Mapping[str, Any]:
    blocks: dict[str, Any] = {}
    for part in PARTS:
        blocks |= tomllib.loads(files("takeback.anatomy").joinpath(part).read_text("utf-8"))
    return blocks


def packaged_blocks() -> Mapping[str, Mapping[str, Any]]:
    """Return the blocks that come along by name, each with what it takes from the one that it is like."""
    return {name: _inherited(_packaged(), name) for name in _packaged()}


def own_block(family: Family | None) -> Mapping[str, Any] | None:
    """Return what a user's file says of a family, with what it is like; None of one that comes along.

    Results depend on it as on the code of takeback.
    """
    own = own_blocks(own_files())
    if family is None or family.name not in own:
        return None
    return {**own[family.name], "all": _inherited({**own, **_packaged()}, family.name)}


def family_of(model_type: str) -> Family:
    """Return the family of a config's `model_type`.

    >>> family_of("mistral").name
    'llama'

    Raises:
        UnknownName: no family has this model type, or it is one that is not read; it says what to do.
    """
    family = known_family(model_type)
    if family is None:
        raise UnknownName(no_family(model_type))
    return family


def known_family(model_type: str) -> Family | None:
    """Return the family of a config's `model_type`, None where no family has it.

    Raises:
        UnknownName: the type is one that is not read; the message says what to do.
    """
    for family in families().values():  # a user's own come first
        if model_type in family.model_types:
            return family
        if model_type in family.unread:
            raise UnknownName(f"models of the type {model_type!r} are not read: {family.unread[model_type]}")
    return None


def no_family(model_type: str) -> str:
    """Say in one line what is missing of a type that no family has, and how to add it."""
    return (
        f"no family knows the model type {model_type!r}, so that its components are whole tensors (T:NAME) "
        "and layers (L3.*); `takeback family MODEL` proposes a block that tells its heads and neurons apart"
    )


def canonical_name(family: Family | str, stored: str) -> str | None:
    """Return the name a live module gives a stored tensor, or None for a leftover that is no parameter.

    A name that no pattern fits is returned as it is.

    >>> canonical_name("gpt2", "h.0.attn.c_attn.weight")
    'transformer.h.0.attn.c_attn.weight'
    >>> canonical_name("gpt2", "h.0.attn.bias") is None
    True
    >>> canonical_name("mixtral", "model.layers.0.block_sparse_moe.gate.weight")
    'model.layers.0.mlp.gate.weight'

    Raises:
        UnknownName: `family` is a model type of no known family.
    """
    return _canonical(family_of(family) if isinstance(family, str) else family, stored)


@cache
def _canonical(family: Family, stored: str) -> str | None:
    for plain in dict.fromkeys((stored, unwrapped(stored))):
        name = plain
        for pattern, replacement in family.renames:
            name = re.sub(pattern, replacement, name)
        for candidate in (name, family.prefix + name):
            if family.ignores(candidate):
                return None
            if family.match(candidate) is not None:
                return candidate
    return stored


def unwrapped(name: str) -> str:
    """Return a tensor's name without what wrappers put before it, or in it.

    FSDP and activation checkpointing (`_fsdp_wrapped_module`, `_checkpoint_wrapped_module`), `torch.compile`
    (`_orig_mod`), DDP and DeepSpeed (`module`), peft (`base_model.model`), and vision-language models, whose
    decoder is `language_model`.

    >>> unwrapped("module.model.layers.0._fsdp_wrapped_module.mlp.up_proj.weight")
    'model.layers.0.mlp.up_proj.weight'
    >>> unwrapped("model.language_model.norm.weight"), unwrapped("language_model.lm_head.weight")
    ('model.norm.weight', 'lm_head.weight')
    """
    plain = _INSIDE.sub(r"\1", name)
    before = ""
    while before != plain:
        before, plain = plain, _BEFORE.sub("", plain)
    return _VISION.sub(r"\1", plain)


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a name pattern: `{l}` and `{i}` are numbers, `a|b` at the end either word, `*` anything."""
    stem, _, last = pattern.rpartition(".")
    text = re.escape(f"{stem}.") + f"(?:{'|'.join(map(re.escape, last.split('|')))})"
    for place in "li":
        text = text.replace(re.escape(f"{{{place}}}"), rf"(?P<{place}>[0-9]+)")
    return re.compile(text.replace(re.escape("*"), ".+"))


def _inherited(blocks: Mapping[str, Any], name: str) -> dict[str, Any]:
    block = blocks[name]
    if "like" not in block:
        return dict(block)
    parent = _inherited(blocks, block["like"])
    own, theirs = block.get("tensors", {}), parent["tensors"]
    tensors = {**own, **{pattern: owner for pattern, owner in theirs.items() if pattern not in own}}
    return {**parent, **block, "config": {**parent["config"], **block.get("config", {})}, "tensors": tensors}


def _family(name: str, block: Mapping[str, Any]) -> Family:
    claims: list[Claim] = []
    for pattern, owner in block["tensors"].items():
        claims += _claims(name, pattern, owner)
    return Family(
        name=name,
        model_types=tuple(block["model_types"]),
        prefix=block["prefix"],
        embedding=block["embedding"],
        unembedding=block["unembedding"],
        tied=block["tied"],
        ignored=tuple(block.get("ignored", ())),
        leftovers=tuple((pattern, key) for pattern, key in block.get("leftovers", ())),
        renames=tuple((pattern, replacement) for pattern, replacement in block.get("renames", ())),
        unread=block.get("unread", {}),
        config={size: _words(key) for size, key in block["config"].items()},
        hidden_times=block.get("hidden_times"),
        claims=tuple(claims),
    )


def _claims(family: str, pattern: str, owner: str | Mapping[str, Any]) -> list[Claim]:
    """Read one entry of `tensors`: the claim on the live tensor and those on its stored parts."""
    if isinstance(owner, str):
        return [Claim(pattern, None, (_block(family, pattern, owner),))]
    even = owner.get("even")
    blocks = tuple(_block(family, pattern, text) for text in ([even] if even else owner["split"]))
    stored = tuple(owner.get("stored", ()))
    parts = [Claim(part, None, (Block(blocks[0].kind),)) for part in stored]
    rounds = owner.get("rounds", 1)
    return [Claim(pattern, owner["axis"], blocks, stored, even is not None, rounds), *parts]


def _block(family: str, pattern: str, text: str) -> Block:
    kind, _, times = text.partition("*")
    if kind not in LAYER_KINDS and kind not in MODEL_KINDS:
        raise unknown_name(f"owner of {family} {pattern}:", kind, (*LAYER_KINDS, *MODEL_KINDS))
    if times and kind not in INDEXED_KINDS:
        raise TakebackError(f"{family} {pattern}: {text!r} repeats a kind that is not split")
    return Block(kind, int(times or 1))


def _words(entry: str | Sequence[str]) -> tuple[str, ...]:
    return (entry,) if isinstance(entry, str) else tuple(entry)


def _integer(text: str | None) -> int | None:
    return None if text is None else int(text)
