"""A block for a type that no family has: drawn from families that name tensors alike, and then tried."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from takeback.anatomy import anatomy_of
from takeback.anatomy.families import known_family, packaged_blocks
from takeback.anatomy.own import own_families
from takeback.checkpoint.config import settings_in
from takeback.checkpoint.locate import locate
from takeback.hybrid.proof import Proof, prove
from takeback.hybrid.tiny import LAYERS, shrunk
from takeback.run.errors import TakebackError
from takeback.run.progress import no_library_bars

MOST: Final = 24
"""Most blocks that are tried on tiny models."""

NEAREST: Final = 4
"""Families that a block is drawn from, the ones whose names fit best."""

_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "layers": LAYERS,
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    "groups": ("num_key_value_heads", "num_kv_heads", "n_head_kv"),
    "hidden": ("hidden_size", "n_embd", "d_model", "dim"),
    "neurons": ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "d_ff"),
}
"""What configs call the sizes of a model."""

Owner = str | Mapping[str, Any]


@dataclass(frozen=True)
class Draft:
    """Is a draft of a family's block: like another one, with the entries that differ."""

    name: str
    like: str
    settings: Mapping[str, Any]
    tensors: Mapping[str, Owner]

    def toml(self) -> str:
        """Write it as a file of families has it."""
        lines = [f"[{self.name}]", f"model_types = {_value([self.name])}", f"like = {_value(self.like)}"]
        lines += [f"{key} = {_value(value)}" for key, value in self.settings.items()]
        if self.tensors:
            lines += ["", f"[{self.name}.tensors]"]
            lines += [f"{_value(name)} = {_value(owner)}" for name, owner in self.tensors.items()]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class BlockProposal:
    """Says which block describes a model type, and which laws hold with it.

    Attributes:
        model_type: the type that the config names.
        family: the family that has it: one that was there, or the proposed one.
        block: the proposed block as TOML, None where a family has the type already.
        proof: what became of each law on a tiny model of the config.
        tried: how many blocks were tried.
        heads: how many heads the tiny model has by the block.
    """

    model_type: str
    family: str
    block: str | None
    proof: Proof
    tried: int
    heads: int

    @property
    def holds(self) -> bool:
        """Whether all laws hold, and law 4 had heads to be tried on."""
        return self.proof.holds and self.heads > 0

    def __str__(self) -> str:
        lines = str(self.proof).splitlines()
        if not self.heads:
            lines.append("no head is told apart, so that law 4 says nothing; look at the owners by hand")
        laws = "\n".join(f"# {line}" for line in lines)
        return f"{laws}\n{self.block}" if self.block else laws + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        laws = [
            {"law": law.number, "name": law.name, "holds": law.holds, "told": law.told}
            for law in self.proof.laws
        ]
        found = {"model_type": self.model_type, "family": self.family, "block": self.block}
        return {**found, "holds": self.holds, "heads": self.heads, "laws": laws, "tried": self.tried}


def propose(model: str | Path) -> BlockProposal:
    """Propose a block for the type of a model, and try laws 1 to 4 with it on a tiny model of its config.

    No weights are read: `model` is a folder, `org/name@revision`, or a config.json. For a type that a family
    has already, that one is tried.

    Raises:
        TakebackError: there is no config, transformers can't build its model, or nothing like it is known.
    """
    config = _config(model)
    try:
        small = shrunk(config)
    except Exception as error:  # whatever the code of so many architectures raises
        why = " ".join(str(error).split())[:160]
        raise TakebackError(
            f"a {config.model_type} can't be made tiny, so nothing can be tried: {why}"
        ) from error
    if (family := known_family(config.model_type)) is not None:
        with no_library_bars():
            return BlockProposal(config.model_type, family.name, None, _proof(small), 0, _heads(small))
    with no_library_bars():
        return _best(config, small)


def _best(config: Any, small: Any) -> BlockProposal:
    """Try drafts until all laws hold, and return the one with which most do."""
    module = _on_meta(small)
    best: tuple[tuple[int, int], Draft, Proof] | None = None
    tried = 0
    for block in islice(_drafts(module, small), MOST):
        tried += 1
        proof, heads = _tried(block, small, config)
        score = sum(law.holds for law in proof.laws), heads
        if best is None or score > best[0]:
            best = score, block, proof
        if proof.holds and heads:
            break
    if best is None:
        raise TakebackError(f"no family names its tensors like {config.model_type}; write a block by hand")
    return BlockProposal(config.model_type, best[1].name, best[1].toml(), best[2], tried, best[0][1])


def _config(model: str | Path) -> Any:
    place = Path(model)
    file = place if place.is_file() and place.suffix == ".json" else locate(str(model)) / "config.json"
    if not file.is_file():
        raise TakebackError(f"{file.parent} has no config.json, which tells the type of a model")
    settings_in(file)
    try:
        config: Any = AutoConfig.from_pretrained(file, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # transformers and its validators raise many kinds, all about this file
        why = " ".join(str(error).split())[:200]
        raise TakebackError(f"{file} is not a config that transformers accepts: {why}") from error
    return config


def _on_meta(config: Any) -> PreTrainedModel:
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # whatever the code of so many architectures raises
        why = " ".join(str(error).split())[:160]
        raise TakebackError(f"transformers can't build a {config.model_type}: {why}") from error


def _proof(small: Any) -> Proof:
    try:
        return prove(small)
    except RuntimeError as error:  # sizes that do not go together
        why = " ".join(str(error).split())[:160]
        raise TakebackError(
            f"a tiny {small.model_type} does not run, so nothing can be tried: {why}"
        ) from error


def _heads(small: Any) -> int:
    try:
        return sum(one.kind == "H" for one in anatomy_of(_on_meta(small)).universe)
    except TakebackError:
        return 0


def _tried(block: Draft, small: Any, config: Any) -> tuple[Proof, int]:
    """Try the laws on the tiny model, and the first also on the names and shapes of the whole one."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "families.toml"
        file.write_text(block.toml(), encoding="utf-8")
        with own_families([file]):
            proof, heads = _proof(small), _heads(small)
            if not proof.holds:
                return proof, heads
            try:
                anatomy_of(_on_meta(config))
            except TakebackError as error:
                first = replace(proof.laws[0], holds=False, told=f"of the whole model: {error}")
                return replace(proof, laws=(first,)), heads
            return proof, heads


def _drafts(module: PreTrainedModel, config: Any) -> Iterator[Draft]:
    """Yield blocks: like each of the nearest families, then those with single owners changed."""
    shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    names = list(dict.fromkeys(map(_pattern, shapes)))
    ranks = {_pattern(name): len(shape) for name, shape in shapes.items()}
    blocks = packaged_blocks()
    tails = {
        name: {_tail(p): owner for p, owner in _singles(block["tensors"])} for name, block in blocks.items()
    }
    near = sorted(blocks, key=lambda name: -_overlap(names, blocks[name], tails[name]))[:NEAREST]
    first: list[tuple[str, dict[str, Owner]]] = []
    for like in near:
        owners = {
            name: _owner(name, ranks[name], [tails[like], *(tails[one] for one in near), *tails.values()])
            for name in names
        }
        first.append((like, owners))
        yield _block(module, config, like, owners)
    for like, owners in first:
        if spread := {name: owner for name in names if (owner := _spanning(name, ranks[name])) is not None}:
            yield _block(module, config, like, {**owners, **spread})
    for like, owners in first:
        for name, other in _others(names, ranks, owners, tails.values()):
            yield _block(module, config, like, {**owners, name: other})


def _overlap(names: Iterable[str], block: Mapping[str, Any], tails: Mapping[str, Owner]) -> float:
    there = {pattern for pattern, _ in _singles(block["tensors"])}
    found = list(names)
    same = sum(_tail(name) in tails for name in found)
    return same - 0.1 * len(tails) / max(1, len(found)) + 0.01 * sum(name in there for name in found)


def _others(
    names: Iterable[str],
    ranks: Mapping[str, int],
    owners: Mapping[str, Owner],
    families: Iterable[Mapping[str, Owner]],
) -> Iterator[tuple[str, Owner]]:
    """Yield other owners that families give to tensors of these names, those that most of them give first."""
    families = list(families)
    for name in names:
        given = Counter(_value(one[_tail(name)]) for one in families if _tail(name) in one)
        known = {_value(one[_tail(name)]): one[_tail(name)] for one in families if _tail(name) in one}
        texts = [text for text, _ in given.most_common(3)]
        if ranks[name] == 1 and "norm" in name and "{l}" in name:
            known |= {_value(one): one for one in _NORMS}
            texts += [_value(one) for one in _NORMS]
        for text in dict.fromkeys(texts):
            if text != _value(owners[name]):
                yield name, known[text]


_WORDS = (
    ("q|query|q_proj|wq", 0, "H"),
    ("k|v|key|value|k_proj|v_proj|wk|wv", 0, "KV"),
    ("o|o_proj|out_proj|wo|dense", 1, "H"),
    ("fc1|fc_in|up_proj|gate_proj|w1|w3|c_fc|wi", 0, "N"),
    ("fc2|fc_out|down_proj|w2", 1, "N"),
)
"""What modules of linear layers are called, the axis that their parts share, and who those parts are."""


def _spanning(name: str, rank: int) -> Owner | None:
    """Return who owns the gains of a norm on queries or keys that spans the heads, None of others."""
    for words, kind in (("q_norm|query_norm|q_layernorm", "H"), ("k_norm|key_norm|k_layernorm", "KV")):
        if rank == 1 and re.search(rf"\.({words})\.", name):
            return {"axis": 0, "split": [kind]}
    return None


_NORMS: tuple[Owner, ...] = ("ATTN", {"axis": 0, "split": ["H"]}, {"axis": 0, "split": ["KV"]})
"""Who may own the gains of a norm on queries or keys."""


def _owner(name: str, rank: int, families: Iterable[Mapping[str, Owner]]) -> Owner:
    """Return who owns the tensors of a name by the first family that has its like, else by its words."""
    tail = _tail(name)
    for tails in families:
        if tail in tails:
            return tails[tail]
    for words, axis, kind in _WORDS:
        if rank and "{l}" in name and re.search(rf"(^|[._])({words})\.(weight|bias)$", tail):
            if rank == 2:
                return {"axis": axis, "split": [kind]}
            return {"axis": 0, "split": [kind]} if axis == 0 else "MLPB" if kind == "N" else "ATTN"
    if "{l}" not in name:
        embeds = re.search(r"embed|wte|wpe", name) is not None
        return "EMBED" if embeds else "NORM" if rank == 1 else "UNEMBED"
    if rank == 1 and re.search(r"norm|\bln", tail):
        return "LN2" if re.search(r"mlp|ffn|post|2", tail) else "LN1"
    return "MLPB" if re.search(r"mlp|ffn|feed_forward|fc", tail) else "MIXER" if "mixer" in tail else "ATTN"


def _block(module: PreTrainedModel, config: Any, like: str, owners: Mapping[str, Owner]) -> Draft:
    parent = packaged_blocks()[like]
    have = dict(_singles(parent["tensors"]))
    entries = {
        name: _plain(owner) for name, owner in owners.items() if _value(have.get(name)) != _value(owner)
    }
    embed, unembed = (
        _name_of(module, part) for part in (module.get_input_embeddings(), module.get_output_embeddings())
    )
    prefix = f"{module.base_model_prefix}." if module.base_model_prefix else ""
    wanted: dict[str, Any] = {
        "prefix": prefix,
        "embedding": embed or parent["embedding"],
        "unembedding": unembed or parent["unembedding"],
        "tied": bool(getattr(type(config)(), "tie_word_embeddings", parent["tied"])),
    }
    settings = {key: value for key, value in wanted.items() if parent[key] != value}
    keys: dict[str, str] = {}
    for size, known in parent["config"].items():
        there = [known] if isinstance(known, str) else known
        other = next((key for key in _SYNONYMS.get(size, ()) if hasattr(config, key)), None)
        if other is not None and not any(hasattr(config, key) for key in there):
            keys[size] = other
    if keys:
        settings["config"] = keys
    return Draft(str(config.model_type), like, settings, _joined(entries))


def _name_of(module: PreTrainedModel, part: Any) -> str | None:
    name = next((name for name, one in module.named_modules() if one is part), None)
    return None if part is None or name is None else f"{name}.weight"


def _plain(owner: Owner) -> Owner:
    """Return an owner without the names that a stack's parts have in files of another family."""
    return owner if isinstance(owner, str) else {key: one for key, one in owner.items() if key != "stored"}


def _joined(entries: Mapping[str, Owner]) -> dict[str, Owner]:
    """Write weight and bias of one owner as one entry."""
    made: dict[str, Owner] = {}
    for name, owner in entries.items():
        stem, _, last = name.rpartition(".")
        twin = f"{stem}.weight"
        if last == "bias" and twin in made and _value(made[twin]) == _value(owner):
            made = {(f"{stem}.weight|bias" if one == twin else one): value for one, value in made.items()}
        else:
            made[name] = owner
    return made


def _singles(tensors: Mapping[str, Owner]) -> Iterator[tuple[str, Owner]]:
    """Yield the entries of a block with each alternative at the end of a name alone."""
    for pattern, owner in tensors.items():
        stem, _, last = pattern.rpartition(".")
        yield from ((f"{stem}.{word}", owner) for word in last.split("|"))


def _pattern(name: str) -> str:
    """Write a tensor's name with `{l}` for its first number and `{i}` for its second."""
    places = iter(("{l}", "{i}"))
    return ".".join(next(places, part) if part.isdigit() else part for part in name.split("."))


def _tail(pattern: str) -> str:
    """Return what a name has after its layer, or, outside the layers, its last two words."""
    _, layer, rest = pattern.partition("{l}.")
    return rest if layer else "^" + ".".join(pattern.split(".")[-2:])


def _value(value: Any) -> str:
    """Write a value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return str(value)
