"""Policy networks on disk: what is written comes back, under its names, and what is none is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import networks
from takeback.checkpoint import Network, NetworkConfig, load_network, open_checkpoint, open_pair
from takeback.checkpoint.network import ACTIVATIONS
from takeback.checkpoint.network_config import KEY
from takeback.checkpoint.shards import read_metadata
from takeback.run.errors import TakebackError

WIDTHS = (3, 5, 4, 2)
ROWS = torch.from_numpy(np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32))


def refusal(file: Path) -> str:
    with pytest.raises(TakebackError) as caught:
        load_network(open_checkpoint(file))
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("how", ["folder", "file"])
def test_what_is_saved_comes_back(how: str, biases: bool, tmp_path: Path) -> None:
    network = networks.build(WIDTHS, 0, "tanh", biases, outputs="values", exploration=0.25)
    network.save_pretrained(tmp_path / "made")
    opened = open_checkpoint(tmp_path / "made" if how == "folder" else tmp_path / "made/model.safetensors")
    again = load_network(opened)
    assert again.network == network.network == opened.network
    assert same(dict(again.state_dict()), dict(network.state_dict()))
    assert torch.equal(again(ROWS), network(ROWS))
    assert (again.inputs, again.outputs, again.training) == (3, 2, False)
    assert same(load_file(tmp_path / "made/model.safetensors"), networks.tensors_of(WIDTHS, 0, biases))
    assert {path.name for path in (tmp_path / "made").iterdir()} == {"model.safetensors"}


def test_what_is_saved_twice_has_the_same_bytes(tmp_path: Path) -> None:
    network = networks.build(WIDTHS, 0)
    for turn in range(8):
        network.save_pretrained(tmp_path / str(turn))
    assert len({(tmp_path / str(turn) / "model.safetensors").read_bytes() for turn in range(8)}) == 1


@pytest.mark.parametrize(
    "names",
    [
        ("0", "2", "10"),
        ("body.first.0", "body.first.2", "head"),
        ("layers.0", "layers.1", "outputs"),
        ("a", "a.b", "forward"),
        ("fc1.train", "fc2.train", "fc3.train"),
    ],
)
@pytest.mark.parametrize("biases", [True, False])
def test_any_names_are_kept(names: tuple[str, ...], biases: bool, tmp_path: Path) -> None:
    tensors = networks.tensors_of(WIDTHS, 0, biases, names)
    file = networks.write(tmp_path / "net.safetensors", dict(reversed(tensors.items())))
    network = load_network(open_checkpoint(file))
    assert same({name: one.detach() for name, one in network.named_parameters()}, tensors)
    assert torch.equal(network(ROWS), networks.build(WIDTHS, 0, biases=biases)(ROWS))
    network.save_pretrained(tmp_path / "again")
    assert same(load_file(tmp_path / "again/model.safetensors"), tensors)
    assert open_checkpoint(tmp_path / "again").digest == open_checkpoint(file).digest


def test_one_layer_without_a_name(tmp_path: Path) -> None:
    tensors = networks.tensors_of((3, 2), 0, names=[""])
    assert set(tensors) == {"weight", "bias"}
    network = load_network(open_checkpoint(networks.write(tmp_path / "net.safetensors", tensors)))
    assert same(dict(network.state_dict()), tensors)
    expected = torch.nn.functional.linear(ROWS, tensors["weight"], tensors["bias"])
    assert torch.equal(network(ROWS), expected)


def test_a_sequential_s_own_state_dict_is_a_network(tmp_path: Path) -> None:
    stack = torch.nn.Sequential(
        torch.nn.Linear(3, 5), torch.nn.ELU(), torch.nn.Linear(5, 4, bias=False), torch.nn.ELU()
    ).append(torch.nn.Linear(4, 2))
    file = networks.write(tmp_path / "net.safetensors", stack.state_dict(), {"activation": "elu"})
    with torch.no_grad():
        torch.testing.assert_close(load_network(open_checkpoint(file))(ROWS), stack(ROWS))


def test_weights_in_half_precision_are_run_in_fp32(tmp_path: Path) -> None:
    tensors = {name: one.bfloat16() for name, one in networks.tensors_of(WIDTHS, 0).items()}
    opened = open_checkpoint(networks.write(tmp_path / "net.safetensors", tensors))
    assert set(opened.dtypes.values()) == {torch.bfloat16}
    network = load_network(opened)
    assert all(torch.equal(one, tensors[name].float()) for name, one in network.named_parameters())


def test_fresh_networks_follow_from_their_seed_and_stay_within_torch_s_bounds() -> None:
    config = NetworkConfig(activation="relu")
    one, again, other = (Network.fresh(WIDTHS, config, seed).state_dict() for seed in (3, 3, 4))
    assert same(dict(one), dict(again))
    assert not any(torch.equal(one[name], other[name]) for name in one)
    assert all(
        float(one[f"policy.{i}.{p}"].abs().max()) <= WIDTHS[i] ** -0.5 for i in range(3) for p in PARTS
    )


PARTS = ("weight", "bias")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_the_one_of_torch(name: str) -> None:
    values = torch.linspace(-3, 3, 41)
    modules = {
        "relu": torch.nn.ReLU(),
        "tanh": torch.nn.Tanh(),
        "sigmoid": torch.nn.Sigmoid(),
        "elu": torch.nn.ELU(),
        "gelu": torch.nn.GELU(),
        "silu": torch.nn.SiLU(),
        "leaky_relu": torch.nn.LeakyReLU(),
        "identity": torch.nn.Identity(),
    }
    assert torch.equal(ACTIVATIONS[name](values), modules[name](values))


def test_what_decides_the_behaviour_besides_weights(tmp_path: Path) -> None:
    tensors = networks.tensors_of(WIDTHS, 0)
    relu, tanh, silent = (
        open_checkpoint(networks.write(tmp_path / f"{name}.safetensors", tensors, told))
        for name, told in (("relu", {"activation": "relu"}), ("tanh", {"activation": "tanh"}), ("none", None))
    )
    assert relu.digest == tanh.digest == silent.digest
    assert len({relu.runs_as, tanh.runs_as, silent.runs_as}) == 3
    assert NetworkConfig.model_validate_json(tanh.runs_as).activation == "tanh"


def test_networks_that_are_run_otherwise_differ_in_their_config(tmp_path: Path) -> None:
    networks.save_pair(tmp_path, WIDTHS, "tanh")
    pair = open_pair(tmp_path / "base", tmp_path / "tuned")
    assert pair.differences() == ()
    networks.build(WIDTHS, 0, "relu", exploration=0.5).save_pretrained(tmp_path / "other")
    told = open_pair(tmp_path / "other", tmp_path / "tuned").differences()
    assert [(one.kind, one.place, one.base, one.tuned) for one in told] == [
        ("config", "activation", '"relu"', '"tanh"'),
        ("config", "exploration", "0.5", "0.0"),
    ]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (None, "does not say how its network is run; save it with the metadata 'takeback_network'"),
        ("{", "makes no sense"),
        ("[]", "makes no sense"),
        ({}, "activation: Field required"),
        ({"activation": "softplus"}, "activation: Input should be 'relu'"),
        ({"activation": "relu", "outputs": "odds"}, "outputs: Input should be 'logits' or 'values'"),
        ({"activation": "relu", "outputs": "values", "exploration": 2}, "exploration: "),
        ('{"activation": "relu", "outputs": "values", "exploration": NaN}', "exploration: "),
        ({"activation": "relu", "depth": 2}, "depth: Extra inputs"),
    ],
)
def test_metadata_that_do_not_tell(told: object, message: str, tmp_path: Path) -> None:
    file = networks.write(tmp_path / "net.safetensors", networks.tensors_of(WIDTHS, 0), told)
    assert message in refusal(file)


def test_layers_that_do_not_follow_on_each_other(tmp_path: Path) -> None:
    tensors = networks.tensors_of(WIDTHS, 0)
    tensors["policy.1.weight"] = torch.ones(4, 6)
    told = refusal(networks.write(tmp_path / "net.safetensors", tensors))
    assert "layer 'policy.1' reads 6 numbers, the layer before it gives 5" in told


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none(value: float, tmp_path: Path) -> None:
    tensors = networks.tensors_of(WIDTHS, 0)
    tensors["policy.1.bias"][2] = value
    told = refusal(networks.write(tmp_path / "net.safetensors", tensors))
    assert "policy.1.bias" in told
    assert "not finite" in told


def test_what_is_no_linear_layer(tmp_path: Path) -> None:
    tensors = {**networks.tensors_of(WIDTHS, 0), "norm.scale": torch.ones(3)}
    assert "'norm.scale'" in refusal(networks.write(tmp_path / "net.safetensors", tensors))


def test_a_folder_without_config_and_metadata_keeps_its_error(tmp_path: Path) -> None:
    networks.write(tmp_path / "model.safetensors", networks.tensors_of(WIDTHS, 0), None)
    assert refusal(tmp_path).endswith("has no config.json; name the weights file itself if it is an MLP's")
    assert "does not say how its network is run" in refusal(tmp_path / "model.safetensors")


def test_a_config_comes_first(tmp_path: Path) -> None:
    networks.write(tmp_path / "model.safetensors", networks.tensors_of(WIDTHS, 0))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(TakebackError, match=r"has no lm_head\.weight, but its config"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("how", ["folder", "file"])
def test_truncated_files(how: str, tmp_path: Path) -> None:
    file = networks.write(tmp_path / "model.safetensors", networks.tensors_of(WIDTHS, 0))
    whole = file.read_bytes()
    for length in (0, 5, 60, len(whole) - 4):
        file.write_bytes(whole[:length])
        assert "truncated" in refusal(tmp_path if how == "folder" else file)


def test_the_shipped_network_is_opened_by_its_name() -> None:
    opened = open_checkpoint("endgame-mlp")
    network = load_network(opened)
    assert [layer.out_features for layer in network.layers] == [256, 256, 4184]
    assert network.inputs == 320
    assert KEY in read_metadata(opened.folder / "model.safetensors")
