"""Everything follows its model: the numbers of every device found, and of one that is only pretended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from accelerate import dispatch_model

import stand_in
from models import build
from takeback.anatomy import anatomy_of
from takeback.arenas import arena
from takeback.checkpoint import Pair, Placement, open_pair
from takeback.checkpoint.placement import CPU, found_devices
from takeback.hybrid.replay import Inputs
from takeback.hybrid.walk import Hybrids, path_of
from takeback.measure.bench import Bench
from takeback.measure.read import Ask
from takeback.measure.setup import Setup
from takeback.policies.load import load_policy

ENDGAMES = arena("endgames")
OTHERS = [device for device in found_devices() if device != CPU]


@pytest.fixture(scope="module")
def pair(players: tuple[str, str]) -> Pair:
    return open_pair(*players)


def reading(pair: Pair, setup: Setup, measure: str) -> list[Any]:
    bench = Bench(pair, ENDGAMES, ENDGAMES.situations("held-out", 6, 1), [measure], setup)
    named = ("", "L0.H0", "L1.MLP", "EMBED L1.*", "*")
    asks = [make(bench.anatomy.parse(text)) for text in named for make in (Ask, Ask.graft)]
    return bench.read([*asks, Ask(bench.anatomy.parse("L0.*"), "noise:1")])


def pretended(*args: Any, **more: Any) -> Any:
    policy = load_policy(*args, **more)
    stand_in.move(policy.model)
    return policy


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["legal", "entropy"])
def test_nothing_is_mixed_with_what_lies_elsewhere(pair, measure):
    wanted = reading(pair, Setup(placement=Placement(CPU)), measure)
    with stand_in.cards():
        found = reading(pair, Setup(placement=Placement(CPU), load=pretended), measure)
    for mine, others in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine.probabilities, others.probabilities, atol=1e-5)
        np.testing.assert_allclose(mine.masses, others.masses, atol=1e-5)
        assert (mine.greedy == others.greedy).all()


def test_a_policy_that_lies_elsewhere_answers_and_shows_its_states(players):
    drawn = ENDGAMES.situations("held-out", 5, 2)
    here = load_policy(players[1], ENDGAMES)
    wanted = here.choose(ENDGAMES, drawn, torch.Generator().manual_seed(0))
    states = here.states(ENDGAMES, drawn)
    with stand_in.cards():
        there = pretended(players[1], ENDGAMES)
        assert there.choose(ENDGAMES, drawn, torch.Generator().manual_seed(0)) == wanted
        np.testing.assert_allclose(there.states(ENDGAMES, drawn), states, atol=1e-4)


def test_the_stand_in_refuses_a_mix():
    with stand_in.cards(), pytest.raises(AssertionError, match="mixes"):
        stand_in.Elsewhere(torch.ones(2), stand_in.CARD) + torch.ones(2)


@pytest.mark.slow
@pytest.mark.parametrize("device", [CPU, *OTHERS])
@pytest.mark.parametrize("hold", ["both", "one"])
def test_every_device_found_gives_the_numbers_of_the_cpu(pair, device, hold):
    wanted = reading(pair, Setup(placement=Placement(CPU, "fp32", "both")), "legal")
    found = reading(pair, Setup(placement=Placement(device, "fp32", hold)), "legal")
    for mine, others in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine.probabilities, others.probabilities, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("device", [CPU, *OTHERS])
def test_bf16_is_near_fp32(pair, device):
    wanted = reading(pair, Setup(placement=Placement(CPU)), "legal")
    found = reading(pair, Setup(placement=Placement(device, "bf16", "one")), "legal")
    for mine, others in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine.probabilities, others.probabilities, atol=0.05)


def test_a_model_spread_over_devices_is_walked_layer_by_layer(built):
    model, base = build("llama-gqa-biases"), built("llama-gqa-biases", 1)
    anatomy = anatomy_of(model)
    paths = [path_of(anatomy.parse(text)) for text in ("", "L0.H0", "EMBED L1.*", "*.MLP")]
    tokens = torch.arange(10).reshape(2, 5)
    asked = Inputs(
        {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}, torch.tensor([[1, 4], [2, 4]])
    )
    wanted = {place: one.clone() for place, one in Hybrids(model, base, anatomy).logits(asked, paths)}
    pieces = [
        name
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    spread = dispatch_model(model, dict.fromkeys(pieces, "cpu"), force_hooks=True)
    hybrids = Hybrids(spread, base, anatomy)
    for place, logits in hybrids.logits(asked, paths):
        assert torch.equal(logits, wanted[place])
    assert hybrids._replay is not None
