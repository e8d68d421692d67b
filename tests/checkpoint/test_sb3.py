"""Policies of Stable-Baselines3: equal to what it computes itself, nothing run, refusals."""

from __future__ import annotations

import base64
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stable_baselines3 import A2C, DQN, PPO, SAC

from takeback.checkpoint.sb3 import sb3_network
from takeback.checkpoint.shards import read_metadata
from takeback.run.errors import TakebackError

torch.set_num_threads(1)
SMALL: dict[str, Any] = {"device": "cpu", "seed": 0}
CALLS = {"relu": torch.relu, "tanh": torch.tanh, "elu": torch.nn.functional.elu}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEBACK_CACHE", str(tmp_path / "cache"))


def forward(file: Path, rows: np.ndarray) -> np.ndarray:
    """Compute a network's outputs the plain way."""
    layers = load_file(file)
    activation = CALLS[json.loads(read_metadata(file)["takeback_network"])["activation"]]
    hidden, n = torch.from_numpy(rows), len(layers) // 2
    for i in range(n):
        hidden = hidden @ layers[f"policy.{i}.weight"].T + layers[f"policy.{i}.bias"]
        hidden = activation(hidden) if i < n - 1 else hidden
    return hidden.numpy()


def rows(n: int = 50) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)


def changed(file: Path, change: Callable[[dict[str, bytes]], Any]) -> Path:
    """Write the zip over with other members."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    target = file.with_name("changed.zip")
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target


def edit(members: dict[str, bytes], **settings: Any) -> None:
    members["data"] = json.dumps({**json.loads(members["data"]), **settings}).encode()


def tensors(members: dict[str, bytes], renamed: Callable[[str], str] = str, **more: torch.Tensor) -> None:
    found = torch.load(io.BytesIO(members["policy.pth"]), weights_only=True)
    buffer = io.BytesIO()
    torch.save({**{renamed(name): tensor for name, tensor in found.items()}, **more}, buffer)
    members["policy.pth"] = buffer.getvalue()


def refusal(file: Path) -> str:
    with pytest.raises(TakebackError) as caught:
        sb3_network(file)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.fixture
def ppo(tmp_path: Path) -> Path:
    PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, **SMALL).save(tmp_path / "ppo.zip")
    return tmp_path / "ppo.zip"


@pytest.mark.parametrize(
    ("kwargs", "activation", "layers"),
    [
        ({}, "tanh", 3),
        ({"activation_fn": torch.nn.ReLU, "net_arch": [16]}, "relu", 2),
        ({"activation_fn": torch.nn.ELU, "net_arch": {"pi": [8, 8, 8], "vf": [4]}}, "elu", 4),
        ({"net_arch": []}, "tanh", 1),
        ({"net_arch": [7] * 12}, "tanh", 13),
    ],
)
@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_actors_give_the_distribution_of_their_library(algorithm, kwargs, activation, layers, tmp_path):
    more = {"n_steps": 8, "batch_size": 8} if algorithm is PPO else {"n_steps": 4}
    model = algorithm("MlpPolicy", "CartPole-v1", policy_kwargs=kwargs, **more, **SMALL).learn(16)
    model.save(tmp_path / "model.zip")
    file = sb3_network(tmp_path / "model.zip")
    with torch.no_grad():
        expected = model.policy.get_distribution(torch.from_numpy(rows())).distribution.probs.numpy()
    assert torch.softmax(torch.from_numpy(forward(file, rows())), 1).numpy() == pytest.approx(
        expected, abs=1e-6
    )
    metadata = read_metadata(file)
    assert json.loads(metadata["takeback_network"]) == {"activation": activation, "outputs": "logits"}
    source = json.loads(metadata["takeback_sb3"])
    assert (source["algorithm"], len(source["tensors"])) == (algorithm.__name__, 2 * layers)
    assert source["tensors"][f"policy.{layers - 1}.weight"] == "action_net.weight"


@pytest.mark.parametrize("kwargs", [{}, {"activation_fn": torch.nn.Tanh, "net_arch": [5]}, {"net_arch": []}])
def test_values_are_those_of_dqn(kwargs, tmp_path):
    more = {"learning_starts": 4, "buffer_size": 50, "exploration_final_eps": 0.07}
    model = DQN("MlpPolicy", "CartPole-v1", policy_kwargs=kwargs, **more, **SMALL).learn(40)
    model.save(tmp_path / "model.zip")
    file = sb3_network(tmp_path / "model.zip")
    with torch.no_grad():
        expected = model.q_net(torch.from_numpy(rows())).numpy()
    assert forward(file, rows()) == pytest.approx(expected, abs=1e-6)
    network = json.loads(read_metadata(file)["takeback_network"])
    assert network["exploration"] == model.exploration_rate == 0.07
    assert network["outputs"] == "values"
    assert json.loads(read_metadata(file)["takeback_sb3"])["algorithm"] == "DQN"


def test_a_second_call_finds_the_file(ppo):
    first = sb3_network(ppo)
    time = first.stat().st_mtime_ns
    assert sb3_network(str(ppo)) == first
    assert first.stat().st_mtime_ns == time


class Malice:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def test_nothing_pickled_in_the_settings_is_run(ppo, tmp_path):
    trace = tmp_path / "trace"
    evil = base64.b64encode(pickle.dumps(Malice(trace))).decode()

    def poison(members: dict[str, bytes]) -> None:
        data = json.loads(members["data"])
        for value in data.values():
            if isinstance(value, dict) and ":serialized:" in value:
                value[":serialized:"] = evil
        data["policy_kwargs"] = {":type:": "<class 'dict'>", ":serialized:": evil}
        members["data"] = json.dumps(data).encode()

    poisoned = changed(ppo, poison)
    assert forward(sb3_network(poisoned), rows()).shape == (50, 2)
    assert not trace.exists()


def test_pickled_code_in_the_weights_is_refused_and_not_run(ppo, tmp_path):
    trace = tmp_path / "trace"
    for blob in (pickle.dumps(Malice(trace)), _saved({"action_net.weight": Malice(trace)})):
        text = refusal(changed(ppo, lambda members, blob=blob: members.update({"policy.pth": blob})))
        assert "policy.pth (of version 2." in text
        assert "was not opened" in text
        assert not trace.exists()


def _saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("policy.pth"), "has no policy.pth"),
        (lambda m: m.pop("data"), "not of Stable-Baselines3"),
        (lambda m: m.update(data=b"{"), "its data is no JSON"),
        (lambda m: m.update(data=b"[]"), "no table of settings"),
        (lambda m: m.update({"policy.pth": _saved([1])}), "not a table of tensors"),
        (lambda m: tensors(m, log_std=torch.ones(1)), "continuous actions (log_std)"),
        (lambda m: tensors(m, **{"lstm_actor.weight_ih_l0": torch.ones(1)}), "a recurrent policy"),
        (lambda m: tensors(m, **{"features_extractor.cnn.0.weight": torch.ones(1)}), "a CnnPolicy"),
        (lambda m: tensors(m, **{"features_extractor.extractors.a.0.weight": torch.ones(1)}), "MultiInput"),
        (lambda m: tensors(m, **{"pi_features_extractor.x.weight": torch.ones(1)}), "features extractor"),
        (lambda m: tensors(m, lambda name: f"quantile_net.{name}"), "a QR-DQN policy"),
        (lambda m: tensors(m, lambda name: f"head.{name}"), "no action_net and no q_net, but head.mlp_ext"),
        (lambda m: tensors(m, **{"action_net.weight": torch.ones(2, 5)}), "action_net is no linear layer"),
        (
            lambda m: tensors(m, **{"mlp_extractor.policy_net.1.weight": torch.ones(64)}),
            "policy_net.1 is no linear layer",
        ),
        (lambda m: edit(m, cg_max_steps=15), "a policy of TRPO"),
        (lambda m: edit(m, policy_class={"__module__": "sb3_contrib.common.maskable"}), "of sb3_contrib"),
        (
            lambda m: edit(m, action_space={":type:": "<class 'gymnasium.spaces.multi_discrete.Multi'>"}),
            "has the action space <class 'gymnasium.spaces.multi_discrete.Multi'>",
        ),
        (
            lambda m: edit(
                m, policy_kwargs={"activation_fn": "<class 'torch.nn.modules.activation.Softsign'>"}
            ),
            "unknown activation of a policy 'Softsign'",
        ),
        (lambda m: edit(m, policy_kwargs={"activation_fn": "<function swish at 0>"}), "'<function swish"),
    ],
)
def test_each_refusal_is_one_line(change, message, ppo):
    assert message in refusal(changed(ppo, change))


def test_a_continuous_policy_is_refused(tmp_path):
    PPO("MlpPolicy", "Pendulum-v1", n_steps=8, batch_size=8, **SMALL).save(tmp_path / "p.zip")
    assert "a policy of continuous actions" in refusal(tmp_path / "p.zip")
    SAC("MlpPolicy", "Pendulum-v1", buffer_size=10, **SMALL).save(tmp_path / "s.zip")
    assert "an actor and critics as in SAC" in refusal(tmp_path / "s.zip")


def test_several_actions_at_once_are_refused(tmp_path):
    class Pairs(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (4,))
        action_space = gymnasium.spaces.MultiDiscrete([2, 2])

    A2C("MlpPolicy", Pairs(), **SMALL).save(tmp_path / "m.zip")
    assert "has the action space <class 'gymnasium.spaces.multi_discrete" in refusal(tmp_path / "m.zip")


def test_cut_and_foreign_files_are_refused(ppo, tmp_path):
    data = ppo.read_bytes()
    for length in (0, 10, len(data) // 2, len(data) - 5):
        ppo.write_bytes(data[:length])
        assert "is truncated or no zip" in refusal(ppo)
    spoilt = bytearray(data)
    spoilt[data.index(b"policy.pth") + 500] ^= 1
    ppo.write_bytes(bytes(spoilt))
    assert "is truncated or no zip" in refusal(ppo)
    assert "could not read" in refusal(tmp_path / "nowhere.zip")
    torch.save({"a": torch.ones(1)}, tmp_path / "weights.pt")
    assert "not of Stable-Baselines3" in refusal(tmp_path / "weights.pt")


def test_shared_layers_of_older_versions_come_first(ppo):
    def share(members: dict[str, bytes]) -> None:
        tensors(members, lambda name: name.replace("policy_net.0", "shared_net.0"))

    assert (forward(sb3_network(changed(ppo, share)), rows()) == forward(sb3_network(ppo), rows())).all()
