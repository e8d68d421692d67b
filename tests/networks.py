"""Small policy networks with random weights, and agents of Stable-Baselines3, for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from takeback.checkpoint import Network, NetworkConfig
from takeback.checkpoint.network_config import KEY
from takeback.run.threads import cpu_threads

RELU: dict[str, Any] = {"activation": "relu", "outputs": "logits"}


def tensors_of(
    widths: Sequence[int], seed: int, biases: bool = True, names: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """Draw the tensors of a stack of these widths, no number of which is shared with another seed."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for place, (inputs, outputs) in enumerate(pairwise(widths)):
        stem = names[place] if names else f"policy.{place}"
        weight = torch.randn(outputs, inputs, generator=generator) / inputs**0.5
        found[f"{stem}.weight".removeprefix(".")] = weight
        if biases:
            found[f"{stem}.bias".removeprefix(".")] = torch.randn(outputs, generator=generator) / 2
    return found


def build(
    widths: Sequence[int], seed: int, activation: str = "relu", biases: bool = True, **more: Any
) -> Network:
    """Build a network with random weights."""
    config = NetworkConfig.model_validate({"activation": activation, **more})
    order = [f"policy.{place}" for place in range(len(widths) - 1)]
    return Network.of(tensors_of(widths, seed, biases), config, order).eval()


def write(file: Path, tensors: Mapping[str, Tensor], told: Any = RELU) -> Path:
    """Write tensors as a safetensors file that says how its network is run (None: nothing of it)."""
    told = told if isinstance(told, str) or told is None else json.dumps(told)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), file, {"format": "pt"} if told is None else {"format": "pt", KEY: told})
    return file


def save_pair(folder: Path, widths: Sequence[int], activation: str = "relu", **more: Any) -> tuple[str, str]:
    """Save a base and a tuned network that share no number, and return their folders."""
    for seed, name in enumerate(("base", "tuned")):
        build(widths, seed, activation, **more).save_pretrained(folder / name)
    return str(folder / "base"), str(folder / "tuned")


AGENTS: Mapping[str, Mapping[str, Any]] = {
    "PPO": {"n_steps": 32, "batch_size": 32, "learning_rate": 1e-2},
    "A2C": {"n_steps": 8, "learning_rate": 1e-2},
    "DQN": {"learning_starts": 8, "buffer_size": 64, "learning_rate": 1e-2, "exploration_final_eps": 0.1},
}
"""Algorithms and the settings that make them change much in few steps."""


def save_agents(folder: Path) -> dict[str, tuple[str, str]]:
    """Train an agent of each algorithm for some steps of CartPole and save it before and after."""
    import stable_baselines3

    found: dict[str, tuple[str, str]] = {}
    for name, settings in AGENTS.items():
        shape = {"net_arch": [6, 5]}
        made = getattr(stable_baselines3, name)(
            "MlpPolicy", "CartPole-v1", policy_kwargs=shape, seed=0, device="cpu", **settings
        )
        sides = folder / f"{name}-base.zip", folder / f"{name}-tuned.zip"
        made.save(sides[0])
        with cpu_threads(1):
            made.learn(96)
        made.save(sides[1])
        found[name] = str(sides[0]), str(sides[1])
    return found
