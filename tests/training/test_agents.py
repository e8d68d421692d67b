"""Agents of Stable-Baselines3: they start at their parent, learn, and leave ordinary networks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import networks
from takeback.arenas import arena
from takeback.checkpoint import load_network, open_checkpoint
from takeback.policies.load import load_policy
from takeback.run.errors import TakebackError, UnknownName
from takeback.training import check_recipe, train
from takeback.training.agents import _model, _stacks

CARTPOLE = "gym:CartPole-v1"
SETTINGS: Mapping[str, dict[str, Any]] = {
    "ppo": {"n_steps": 32, "batch_size": 32},
    "a2c": {"n_steps": 8},
    "dqn": {"learning_starts": 8, "buffer_size": 64, "exploration_final_eps": 0.1},
}
ROWS = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEBACK_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Fresh networks by what their outputs are."""
    folder = tmp_path_factory.mktemp("bases")
    shape = {"hidden": [12, 10], "activation": "tanh"}
    return {
        outputs: str(
            train(
                check_recipe(
                    {"method": "fresh", "arena": CARTPOLE, "architecture": {**shape, "outputs": outputs}}
                ),
                folder / outputs,
            )
        )
        for outputs in ("logits", "values")
    }


def fields(bases: Mapping[str, str], algorithm: str = "ppo", **more: Any) -> dict[str, Any]:
    parent = bases["values" if algorithm == "dqn" else "logits"]
    common = {"method": "agent", "arena": CARTPOLE, "goal": "reward", "parent": parent, "threads": 1}
    own = {"algorithm": algorithm, "settings": SETTINGS[algorithm], "environments": 4, "steps": 256}
    return {**common, **own, "learning_rate": 3e-3, **more}


def silent(done: int, total: int) -> None:
    pass


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".zip"  # a zip has the time it was made at
    }


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_an_agent_starts_exactly_at_its_parent(algorithm: str, bases: Mapping[str, str]) -> None:
    recipe = check_recipe(fields(bases, algorithm))
    place = arena(CARTPOLE)
    parent = load_network(open_checkpoint(recipe.parent))
    model = _model(recipe, place, parent)
    for stack in _stacks(model):
        for mine, theirs in zip(stack, parent.layers, strict=True):
            assert torch.equal(mine.weight, theirs.weight)
            assert torch.equal(mine.bias, theirs.bias)
    assert len(_stacks(model)) == (2 if algorithm == "dqn" else 1)
    with torch.no_grad():
        if algorithm == "dqn":
            torch.testing.assert_close(model.q_net(ROWS), parent(ROWS))
        else:
            found = model.policy.get_distribution(ROWS).distribution.probs
            torch.testing.assert_close(found, torch.softmax(parent(ROWS), 1))


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_an_agent_leaves_networks_its_zip_and_a_log(
    algorithm: str, bases: Mapping[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    told: list[tuple[int, int]] = []
    recipe = check_recipe(fields(bases, algorithm, snapshots=(4, 150, 152)))
    final = train(recipe, out, lambda done, total: told.append((done, total)))
    assert told[-1] == (256, 256)
    assert {path.name for path in out.iterdir()} == {
        ".lock",
        "recipe.yaml",
        "log.parquet",
        "final",
        "step-4",
        "step-150",
        "step-152",
    }
    base, tuned = weights(Path(recipe.parent)), weights(final)
    assert base.keys() == tuned.keys()
    assert not any(torch.equal(base[name], tuned[name]) for name in base)
    assert all(torch.equal(one, base[name]) for name, one in weights(out / "step-4").items())
    made = open_checkpoint(final).network
    assert made.outputs == ("values" if algorithm == "dqn" else "logits")
    assert made.exploration == (pytest.approx(0.1) if algorithm == "dqn" else 0)
    assert made.activation == "tanh"
    log = pd.read_parquet(out / "log.parquet")
    assert list(log.columns) == ["step", "reward", "length", "loss"]
    assert log["step"].is_monotonic_increasing
    assert log["step"].iloc[-1] == 256
    last = log.iloc[-1]
    assert 8 <= last["reward"] <= 256
    assert last["reward"] == last["length"]
    assert log["loss"].isna().all() == (algorithm == "a2c")


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_the_zip_of_an_agent_is_its_network(algorithm: str, bases: Mapping[str, str], tmp_path: Path) -> None:
    final = train(check_recipe(fields(bases, algorithm, snapshots=(128,))), tmp_path / "run", silent)
    for folder in (final, tmp_path / "run" / "step-128"):
        zipped, plain = open_checkpoint(folder / "agent.zip"), open_checkpoint(folder)
        assert zipped.network == plain.network
        assert {name: zipped.read(name).tolist() for name in zipped.shapes} == {
            name: plain.read(name).tolist() for name in plain.shapes
        }
        assert torch.equal(load_network(zipped)(ROWS), load_network(plain)(ROWS))
    place = arena(CARTPOLE)
    situations = place.situations("held-out", 3, 0)
    policies = [load_policy(path, place) for path in (final / "agent.zip", final)]
    one, other = (policy.read(policy.prepare(place, situations)) for policy in policies)
    assert one.probabilities.tolist() == other.probabilities.tolist()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(bases: Mapping[str, str], tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        train(check_recipe(fields(bases, seed=seed, snapshots=(100,))), tmp_path / name, silent)
    one, again, other = (digests(tmp_path / name) for name in ("one", "again", "other"))
    assert one == again
    assert one["final/model.safetensors"] != other["final/model.safetensors"]


def test_a_finished_agent_is_not_trained_again(bases: Mapping[str, str], tmp_path: Path) -> None:
    recipe = check_recipe(fields(bases))
    final = train(recipe, tmp_path / "run", silent)
    assert train(recipe, tmp_path / "run", lambda *_: pytest.fail("it ran again")) == final
    with pytest.raises(TakebackError, match="holds a run of another recipe or parent"):
        train(check_recipe(fields(bases, seed=1)), tmp_path / "run", silent)


def test_an_agent_starts_from_an_agent(bases: Mapping[str, str], tmp_path: Path) -> None:
    first = train(check_recipe(fields(bases)), tmp_path / "first", silent)
    recipe = check_recipe(fields(bases, parent=str(first / "agent.zip")))
    second = train(recipe, tmp_path / "second", silent)
    assert not any(torch.equal(one, weights(first)[name]) for name, one in weights(second).items())


@pytest.mark.slow
def test_ppo_raises_the_return_of_a_fresh_base(bases: Mapping[str, str], tmp_path: Path) -> None:
    settings = {"n_steps": 64, "batch_size": 64, "n_epochs": 8}
    recipe = check_recipe(fields(bases, steps=8192, settings=settings))
    train(recipe, tmp_path / "run", silent)
    reward = pd.read_parquet(tmp_path / "run" / "log.parquet")["reward"]
    assert reward.iloc[-1] > 2 * reward.iloc[0]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"algorithm": "dqn", "settings": {}}, TakebackError, "dqn trains networks whose outputs are values"),
        ({"parent": "values"}, TakebackError, "ppo trains networks whose outputs are logits; those of"),
        ({"settings": {"n_step": 3}}, TakebackError, "settings of ppo: "),
        ({"settings": {"seed": 3}}, TakebackError, "settings of ppo: "),
        ({"settings": {"n_steps": 8, "batch_size": 1}}, TakebackError, "settings of ppo: `batch_size` must"),
        ({"goal": "rewrd"}, UnknownName, "did you mean 'reward'"),
        ({"parent": "endgame-base"}, TakebackError, "name a policy network"),
        ({"parent": "endgame-mlp"}, TakebackError, "has outputs: 4184, where arena gym:CartPole-v1 has 2"),
        ({"parent": "bare"}, TakebackError, "agents have a bias in every layer, and"),
        ({"parent": "elu"}, TakebackError, "agents have the activations relu, tanh, gelu, not elu"),
        (
            {"arena": "endgames", "goal": "win", "parent": "endgame-mlp"},
            TakebackError,
            "arena endgames has no environment; name one like gym:CartPole-v1",
        ),
    ],
)
def test_what_is_no_agent_is_told_in_one_line(
    change: dict[str, Any],
    error: type[Exception],
    message: str,
    bases: Mapping[str, str],
    tmp_path: Path,
) -> None:
    bare, elu = networks.tensors_of((4, 5, 2), 0, biases=False), networks.tensors_of((4, 5, 2), 0)
    named = {
        "values": bases["values"],
        "bare": str(networks.write(tmp_path / "bare.safetensors", bare)),
        "elu": str(networks.write(tmp_path / "elu.safetensors", elu, {"activation": "elu"})),
    }
    changed = {**change, "parent": named.get(change.get("parent", ""), change.get("parent", bases["logits"]))}
    with pytest.raises(error) as caught:
        train(check_recipe({**fields(bases), **changed}), tmp_path / "run", silent)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_an_unknown_algorithm_is_told(bases: Mapping[str, str]) -> None:
    with pytest.raises(TakebackError, match="algorithm: Input should be 'ppo', 'a2c' or 'dqn'"):
        check_recipe({**fields(bases), "algorithm": "sac"})
