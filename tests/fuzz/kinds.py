"""What is bent: each kind writes its input, runs it, and says whether what was accepted is right."""

from __future__ import annotations

import fnmatch
import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fuzz.bend import bytes_of, json_of, text_of
from fuzz.common import CONFIG
from fuzz.forms import distributed, layout, shards
from fuzz.gguf import gguf
from fuzz.streams import stream
from takeback.checkpoint import open_checkpoint, open_pair
from takeback.component import Component, ComponentSet
from takeback.planning.checkin.known import facts_of
from takeback.planning.predictions.event import read_events
from takeback.planning.trees import merge, read_tree
from takeback.study.conjectures.rule import parse_rule
from takeback.training import load_recipe
from takeback.weights import diff

QUERY = "model.layers.0.self_attn.q_proj"
LORA = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "bias": "none"}
RECIPE = {"method": "rl", "parent": "base", "goal": "win", "steps": 2, "learning_rate": 1e-3, "seed": 1}
FRONT = "---\nauthor: Ada\ndate: 2026-11-20\nstage: before-reading\n---\n"
TREE = f"{FRONT}- no idea\n  - no names {{#a}}\n    see: x\n"
PREDICTION = "- predicted: 2026-01-05\n  name: a\n  statement: s\n  about: b\n  by: c\n  probability: 0.5\n"
RULE = 'mean(agency.value, arm=["rl", "rft"], measure="MEG") > 0.1'
NAMES = "EMBED L0.H0 L0.H1 L0.MLP L1.H0 L1.H1 L1.MLP NORM"
STEPS = {"train": {"key": "k", "began": 1.0, "done": True, "seconds": 2.0}}


def header(place: Path, common: Path, draw: random.Random) -> bool:
    """Weights whose bytes, mostly those of the header, are bent."""
    data = (common / "tuned" / "model.safetensors").read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    bent = bytes_of(data[:end], draw) + data[end:] if draw.random() < 0.8 else bytes_of(data, draw)
    (place / "model.safetensors").write_bytes(bent)
    (place / "config.json").write_text(json.dumps(CONFIG))
    found = diff(open_pair(common / "base", place))
    base = load_file(common / "base" / "model.safetensors")
    try:
        own = load_file(place / "model.safetensors")
    except SafetensorError:
        return False
    changed = sum(int((own[name].double() != one.double()).sum()) for name, one in base.items())
    whole = sum(one.numel() for one in base.values())
    return abs(float(found.total["changed_bitwise"].iloc[0]) * whole - changed) < 0.5


def config(place: Path, common: Path, draw: random.Random) -> bool:
    """A config of values that are none."""
    (place / "model.safetensors").write_bytes((common / "tuned" / "model.safetensors").read_bytes())
    (place / "config.json").write_bytes(json_of(CONFIG, draw))
    anatomy = open_checkpoint(place).anatomy()
    sizes = load_file(place / "model.safetensors").values()
    return anatomy.parameters(anatomy.universe) == sum(one.numel() for one in sizes)


def adapter(place: Path, common: Path, draw: random.Random) -> bool:
    """An adapter with a bent config or bent weights."""
    halves = {"A": torch.randn(2, 8), "B": torch.randn(8, 2)}
    stored = {f"base_model.model.{QUERY}.lora_{key}.weight": half for key, half in halves.items()}
    save_file(stored, place / "adapter_model.safetensors")
    (place / "adapter_config.json").write_bytes(json_of(LORA, draw))
    if draw.random() < 0.2:
        data = (place / "adapter_model.safetensors").read_bytes()
        (place / "adapter_model.safetensors").write_bytes(bytes_of(data, draw))
    merged = open_checkpoint(f"{common / 'base'}+{place}").read(f"{QUERY}.weight")
    told = json.loads((place / "adapter_config.json").read_text())
    base = load_file(common / "base" / "model.safetensors")[f"{QUERY}.weight"]
    half = load_file(place / "adapter_model.safetensors")
    a, b = (half[f"base_model.model.{QUERY}.lora_{key}.weight"].double() for key in "AB")
    root = bool(told.get("use_rslora"))
    wanted = base.double() + told["lora_alpha"] / (told["r"] ** 0.5 if root else told["r"]) * (b @ a)
    return torch.allclose(merged.double(), wanted, rtol=1e-4, atol=1e-4, equal_nan=True)


def agent(place: Path, common: Path, draw: random.Random) -> bool:
    """An agent's zip."""
    tensors: dict[Any, Any] = {"action_net.weight": torch.randn(2, 3), "action_net.bias": torch.randn(2)}
    odd = (
        torch.randn(2).to_sparse(),
        torch.empty(2, device="meta"),
        torch.ones(1).expand(9**6),
        torch.ones(2).int(),
    )
    if draw.random() < 0.4:
        tensors[draw.choice(("action_net.bias", 3, "a\0b", "x" * 400))] = draw.choice(odd)
    inner, file = io.BytesIO(), place / "agent.zip"
    torch.save(tensors, inner)
    data = json_of({"policy_class": {"__module__": "stable_baselines3.x"}, "clip_range": 1}, draw)
    with zipfile.ZipFile(file, "w", draw.choice((0, 8))) as archive:
        archive.writestr(
            "policy.pth", bytes_of(inner.getvalue(), draw) if draw.random() < 0.3 else inner.getvalue()
        )
        archive.writestr("data", data)
        archive.writestr("_stable_baselines3_version", "2.0")
    if draw.random() < 0.3:
        file.write_bytes(bytes_of(file.read_bytes(), draw))
    found = open_checkpoint(file)
    own = torch.load(io.BytesIO(zipfile.ZipFile(file).read("policy.pth")), weights_only=True)
    return all(found.read(f"policy.0.{part}").equal(own[f"action_net.{part}"]) for part in ("weight", "bias"))


def recipe(place: Path, common: Path, draw: random.Random) -> bool:
    """A recipe in YAML."""
    path = place / "recipe.yaml"
    path.write_bytes(text_of(yaml.safe_dump(RECIPE), draw))
    found, wanted = load_recipe(path).model_dump(), yaml.safe_load(path.read_text(encoding="utf-8"))
    return all(
        str(found[name]) == str(value) or found[name] == float(value) for name, value in wanted.items()
    )


def component_set(place: Path, common: Path, draw: random.Random) -> bool:
    """A set by its text."""
    everything = ComponentSet(map(Component.parse, NAMES.split()))
    text = text_of(draw.choice(("L0.H*", "~L1.* *.H*", "*.MLP EMBED", "*")), draw).decode("utf-8", "replace")
    found = {str(one) for one in ComponentSet.parse(text, everything)}
    words = [(word.removeprefix("~"), word[0] == "~") for word in text.split()]
    names = [
        {n for n in NAMES.split() if fnmatch.fnmatchcase(n, word.replace("[", "[[]"))} for word, _ in words
    ]
    plain = [there for there, (_, out) in zip(names, words, strict=True) if not out]
    chosen: set[str] = set().union(*plain) if plain or not words else set(NAMES.split())
    taken = (there for there, (_, out) in zip(names, words, strict=True) if out)
    return "#" in text or found == chosen.difference(*taken)


def rule(place: Path, common: Path, draw: random.Random) -> bool:
    """A rule of a conjecture."""
    text = text_of(RULE, draw).decode("utf-8", "replace")
    return repr(parse_rule(text)) == repr(parse_rule(text))


def tree(place: Path, common: Path, draw: random.Random) -> bool:
    """A tree of problems."""
    path = place / "a.md"
    path.write_bytes(text_of(TREE, draw))
    found = read_tree(path)
    return len(list(merge([found]).tree.walk())) <= len(list(found.walk())) + 1


def predictions(place: Path, common: Path, draw: random.Random) -> bool:
    """A file of predictions."""
    path = place / "p.yaml"
    path.write_bytes(text_of(PREDICTION, draw))
    return len(read_events(path)) == len(yaml.safe_load(path.read_text(encoding="utf-8")) or ())


def record(place: Path, common: Path, draw: random.Random) -> bool:
    """Steps and manifest of a run."""
    (place / "steps").mkdir()
    (place / "plan.yaml").write_text(yaml.safe_dump({"arms": {"rl": {}}, "seeds": [0]}))
    (place / "steps" / "rl-seed-0.json").write_bytes(json_of(STEPS, draw))
    (place / "manifest.json").write_bytes(json_of({"checkpoints": {"rl/seed-0": "x"}}, draw))
    found, told = facts_of(place), json.loads((place / "steps" / "rl-seed-0.json").read_text())
    return found.work == sum(float(one.get("seconds") or 0) for one in told.values())


def name(place: Path, common: Path, draw: random.Random) -> bool:
    """The name of a model."""
    text = text_of(draw.choice((f"{common}/base", "org/name", "~/x", "a+b", "endgame-base")), draw)
    return open_checkpoint(text.decode("utf-8", "replace")).digest != ""


KINDS: dict[str, Callable[[Path, Path, random.Random], bool]] = {
    one.__name__: one
    for one in (
        *(header, config, adapter, agent, recipe, component_set, rule, tree, predictions, record, name),
        *(stream, gguf, distributed, shards, layout),
    )
}
