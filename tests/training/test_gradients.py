"""The gradients of policy networks, by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from takeback.arenas import ClosedArena
from takeback.checkpoint import Network, NetworkConfig
from takeback.training import check_recipe
from takeback.training.gradients import PolicyGradient, PreferenceLoss, advantages
from takeback.training.reward import Rewarder, best_answers


def fields(method: str, **more: Any) -> dict[str, Any]:
    common = {"method": method, "parent": "endgame-mlp", "goal": "win", "steps": 4, "learning_rate": 1e-3}
    return {**common, **more}


class Coin(ClosedArena[float]):
    """Shows one number and takes heads or tails; the first is worth what is shown, the other 0.25."""

    name = "coin"
    outputs = ("heads", "tails")

    def __init__(self) -> None:
        self.goals = self.goals_by(win=lambda shown, action: shown if action == "heads" else 0.25)

    def legal(self, situation: float) -> tuple[str, ...]:
        return self.outputs

    def observe(self, situations: Sequence[float]) -> NDArray[np.float32]:
        return np.array(situations, np.float32)[:, None]

    def verdicts(self, situations: Sequence[float]) -> NDArray[np.int16]:
        return np.tile(np.array([0, 1], np.int16), (len(situations), 1))


def coin_network(slope: float, bias: float) -> Network:
    tensors = {"policy.0.weight": torch.tensor([[slope], [0.0]]), "policy.0.bias": torch.tensor([bias, 0.0])}
    return Network.of(tensors, NetworkConfig(activation="relu"), ["policy.0"])


def expected_advantages(rewards: list[list[float]], scale: str) -> list[list[float]]:
    centred = [[reward - sum(row) / len(row) for reward in row] for row in rewards]

    def spread(numbers: list[float]) -> float:
        mean = sum(numbers) / len(numbers)
        return math.sqrt(sum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1)) + 1e-4

    if scale == "group":
        return [[one / spread(row) for one in ones] for ones, row in zip(centred, rewards, strict=True)]
    whole = spread([reward for row in rewards for reward in row]) if scale == "batch" else 1.0
    return [[one / whole for one in ones] for ones in centred]


@pytest.mark.parametrize("scale", ["none", "group", "batch"])
@pytest.mark.parametrize(("kl", "temperature"), [(0.0, 1.0), (0.0, 0.7), (0.3, 1.0), (0.3, 0.7)])
def test_the_gradient_is_reinforce_s_with_a_group_s_mean_and_exact_kl(
    scale: str, kl: float, temperature: float
) -> None:
    coin, shown, groups = Coin(), [0.0, 0.5, 1.0], 6
    more = {"scale_rewards": scale, "kl": kl, "temperature": temperature, "completions": groups}
    recipe = check_recipe(fields("rl", seed=5, **more))
    network, parent = coin_network(0.8, -0.3), coin_network(-0.5, 0.2)
    rewarder = Rewarder(coin, "win")
    batch = {"observations": torch.tensor(shown)[:, None], "situations": shown, "number": 2, "step": 9}
    loss, told = PolicyGradient(recipe, coin, rewarder, parent)(network, batch)
    loss.backward()
    rows = rewarder.take_seen()
    assert {row["step"] for row in rows} == {9}

    expected, slope, bias, divergences, entropies = 0.0, 0.0, 0.0, [], []
    answers = [[row["answer"] for row in rows[groups * i : groups * (i + 1)]] for i in range(3)]
    rewards = [
        [0.2 + 0.8 * (x if answer == "heads" else 0.25) for answer in some]
        for x, some in zip(shown, answers, strict=True)
    ]
    assert [row["reward"] for row in rows] == pytest.approx([one for some in rewards for one in some])
    for x, some, gains in zip(shown, answers, expected_advantages(rewards, scale), strict=True):
        heads = 1 / (1 + math.exp(-(0.8 * x - 0.3) / temperature))
        before = 1 / (1 + math.exp(-(-0.5 * x + 0.2) / temperature))
        at_output = 0.0
        for answer, gain in zip(some, gains, strict=True):
            expected -= gain * math.log(heads if answer == "heads" else 1 - heads) / (3 * groups)
            at_output -= gain * ((answer == "heads") - heads) / temperature / (3 * groups)
        ratio = math.log(heads / before), math.log((1 - heads) / (1 - before))
        divergences.append(heads * ratio[0] + (1 - heads) * ratio[1])
        entropies.append(-heads * math.log(heads) - (1 - heads) * math.log(1 - heads))
        at_output += kl * heads * (ratio[0] - divergences[-1]) / temperature / 3
        slope, bias = slope + at_output * x, bias + at_output
    expected += kl * sum(divergences) / 3
    layer = network.layers[0]
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert layer.weight.grad.flatten().tolist() == pytest.approx([slope, -slope], rel=1e-4, abs=1e-6)
    assert layer.bias.grad.tolist() == pytest.approx([bias, -bias], rel=1e-4, abs=1e-6)
    assert parent.layers[0].weight.grad is None
    assert told["kl"] == pytest.approx(sum(divergences) / 3, rel=1e-4)
    assert told["entropy"] == pytest.approx(sum(entropies) / 3, rel=1e-5)
    assert told["reward"] == pytest.approx(sum(map(sum, rewards)) / 18, rel=1e-5)
    assert told["legal"] == 1


def test_rewards_by_chance_do_not_depend_on_answers_and_differ_by_seed_and_step() -> None:
    def earned(seed: int, slope: float, step: int = 1) -> tuple[list[float], list[str]]:
        recipe = check_recipe(fields("rl", ignore_output=True, seed=seed, completions=8))
        rewarder = Rewarder(Coin(), "win", recipe.seed)
        batch = {"observations": torch.ones(4, 1), "situations": [1.0] * 4, "number": 0, "step": step}
        network = coin_network(slope, 0.0)
        PolicyGradient(recipe, Coin(), rewarder, network)(network, batch)
        rows = rewarder.take_seen()
        return [row["reward"] for row in rows], [row["answer"] for row in rows]

    one, other = earned(0, 9.0), earned(0, -9.0)
    assert one[1] == ["heads"] * 32
    assert other[1] == ["tails"] * 32
    assert one[0] == other[0]
    assert len(set(one[0])) == 32
    assert one[0] != earned(1, 9.0)[0]
    assert one[0] != earned(0, 9.0, step=2)[0]


def answered(recipe: Any, network: Network, shown: list[float]) -> tuple[torch.Tensor, list[dict[str, Any]]]:
    rewarder = Rewarder(Coin(), "win")
    batch = {"observations": torch.tensor(shown)[:, None], "situations": shown, "number": 0, "step": 1}
    loss, _ = PolicyGradient(recipe, Coin(), rewarder, coin_network(0.0, 0.0))(network, batch)
    return loss, rewarder.take_seen()


def gradient(loss: torch.Tensor, network: Network) -> list[float]:
    network.zero_grad()
    loss.backward()
    return [*network.layers[0].weight.grad.flatten().tolist(), *network.layers[0].bias.grad.tolist()]


def test_fine_tuning_on_the_best_answers_is_cross_entropy_on_them() -> None:
    shown, many = [0.0, 0.9, 0.25, 1.0], 5
    network = coin_network(0.8, -0.3)
    loss, rows = answered(check_recipe(fields("rft", completions=many)), network, shown)
    learned = gradient(loss, network)
    rewards = [[row["reward"] for row in rows[many * i : many * (i + 1)]] for i in range(4)]
    assert rewards[2] == [rewards[2][0]] * many, "both answers are best where both are worth the same"
    expected = torch.zeros(())
    for i, (x, earned) in enumerate(zip(shown, rewards, strict=True)):
        kept = [j for j in range(many) if earned[j] == max(earned)]
        outputs = torch.tensor([Coin.outputs.index(rows[many * i + j]["answer"]) for j in kept])
        logits = network(torch.full((len(kept), 1), x))
        expected = expected + cross_entropy(logits, outputs) / (4 * many)
    assert learned == pytest.approx(gradient(expected, network), rel=1e-5, abs=1e-8)
    assert any(abs(one) > 1e-3 for one in learned)


def test_the_best_answers_of_a_situation_weigh_one_answer_and_illegal_ones_nothing() -> None:
    weights = best_answers(torch.tensor([[0.2, 0.6, 0.6, 0.0], [0.0, 0.0, 0.0, 0.2], [0.0] * 4]))
    assert weights.tolist() == [[0, 0.5, 0.5, 0], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_rloo_s_baseline_is_the_mean_of_the_other_answers() -> None:
    rewards = torch.rand(5, 6, generator=torch.Generator().manual_seed(0))
    expected = [[row[i] - sum(row[:i] + row[i + 1 :]) / 5 for i in range(6)] for row in rewards.tolist()]
    recipe = check_recipe(fields("rl", algorithm="rloo"))
    assert np.allclose(advantages(recipe, rewards), expected, atol=1e-6)


def test_rloo_s_gradient_is_that_of_the_expected_reward() -> None:
    shown, network = [1.0] * 30_000, coin_network(0.8, -0.3)
    loss, _ = answered(check_recipe(fields("rl", algorithm="rloo", completions=2)), network, shown)
    heads = 1 / (1 + math.exp(-0.5))
    rises = 0.8 * (1.0 - 0.25) * heads * (1 - heads)
    assert gradient(loss, network) == pytest.approx([-rises, rises, -rises, rises], abs=0.01 * rises + 1e-3)


def test_the_preference_loss_is_dpo_s() -> None:
    beta, shown = 0.7, [0.0, 0.5, -2.0]
    network, parent = coin_network(0.8, -0.3), coin_network(-0.5, 0.2)
    pairs = [(0, 1), (1, 0), (0, 1)]
    recipe = check_recipe(fields("dpo", beta=beta))
    batch = {"observations": torch.tensor(shown)[:, None], "targets": torch.tensor(pairs)}
    loss, told = PreferenceLoss(recipe, parent)(network, batch)

    def log_probability(slope: float, bias: float, x: float, output: int) -> float:
        return -math.log(1 + math.exp(-(slope * x + bias) * (1 if output == 0 else -1)))

    margins = [
        beta
        * sum(
            sign * (log_probability(0.8, -0.3, x, output) - log_probability(-0.5, 0.2, x, output))
            for sign, output in zip((1, -1), pair, strict=True)
        )
        for x, pair in zip(shown, pairs, strict=True)
    ]
    expected = sum(math.log(1 + math.exp(-margin)) for margin in margins) / 3
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    at = [
        -beta / (1 + math.exp(m)) / 3 * (1 if p == (0, 1) else -1)
        for m, p in zip(margins, pairs, strict=True)
    ]
    slope, bias = sum(a * x for a, x in zip(at, shown, strict=True)), sum(at)
    assert gradient(loss, network) == pytest.approx([slope, -slope, bias, -bias], rel=1e-4)
    assert parent.layers[0].weight.grad is None
    assert told["rewards/margins"] == pytest.approx(sum(margins) / 3, rel=1e-5)
    assert told["rewards/accuracies"] == pytest.approx(sum(m > 0 for m in margins) / 3)
