"""The losses of policy networks that learn from their own answers, from their games, or from preferences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid

from takeback.arenas import Arena, ForNetworks, able
from takeback.checkpoint import Network
from takeback.training.games import Choice, GameRewarder, play
from takeback.training.recipe import DPO, RFT, RL
from takeback.training.reward import Rewarder, best_answers
from takeback.training.trainers import Batch


def advantages(recipe: RL | RFT, rewards: Tensor) -> Tensor:
    """Return how much each answer is pushed up; rewards and advantages are [situations, answers].

    GRPO takes the mean of a situation's answers as baseline; RLOO (Ahmadian et al. 2024, arXiv 2402.14740)
    the mean of the others, so that the baseline does not depend on the answer. Of k answers RLOO's advantages
    are k / (k − 1) times GRPO's unscaled ones.

    >>> from takeback.training import check_recipe
    >>> fields = {"method": "rl", "parent": "endgame-mlp", "goal": "win", "steps": 1, "learning_rate": 1e-3}
    >>> rewards = torch.tensor([[1.0, 0.0, 0.5]])
    >>> advantages(check_recipe({**fields, "algorithm": "rloo"}), rewards).tolist()
    [[0.75, -0.75, 0.0]]
    """
    if isinstance(recipe, RFT):
        return best_answers(rewards)
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    if recipe.algorithm == "rloo":
        many = rewards.shape[1]
        return centred * (many / (many - 1))
    if recipe.scale_rewards == "group":
        return centred / (rewards.std(dim=1, keepdim=True) + 1e-4)
    return centred / (rewards.std() + 1e-4) if recipe.scale_rewards == "batch" else centred


@dataclass(frozen=True, eq=False)
class PolicyGradient:
    """The policy gradient with the mean of a situation's answers as baseline, and KL toward the parent.

    It is what GRPO (Shao et al. 2024, arXiv 2402.03300) does with one update for each batch: REINFORCE
    (Williams 1992, doi:10.1007/BF00992696) with a group's mean. Fine-tuning on the best answers is the same
    with other weights. The KL is exact, a sum over all outputs.
    """

    recipe: RL | RFT
    place: Arena[Any]
    rewarder: Rewarder
    parent: Network

    def __call__(self, network: Network, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Draw answers, score them and return the loss, which is a mean over answers."""
        recipe = self.recipe
        logs = log_softmax(network(batch["observations"]) / recipe.temperature, dim=1)
        chance = _chance(recipe, batch)
        drawn = torch.multinomial(logs.detach().exp(), recipe.completions, True, generator=chance)
        outputs = able(self.place, ForNetworks).outputs
        answers = [outputs[output] for output in drawn.flatten().tolist()]
        situations = [one for one in batch["situations"] for _ in range(recipe.completions)]
        earned, legal = self.rewarder.score(batch["step"], situations, answers)
        rewards = torch.tensor(earned).reshape(drawn.shape)
        gain = -(advantages(recipe, rewards) * logs.gather(1, drawn)).mean()
        loss, told = _held(recipe, gain, logs, self.parent(batch["observations"]).detach())
        return loss, {"reward": float(rewards.mean()), **told, "legal": legal}


@dataclass(frozen=True, eq=False)
class GameGradient:
    """The same over whole games: every move of a game has the game's advantage among those of its start.

    The log-probability of a move is that in the situation it was made in.
    """

    recipe: RL
    horizon: int
    place: Arena[Any]
    rewarder: GameRewarder
    parent: Network

    def __call__(self, network: Network, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Play games, score them and return the loss, which is a mean over moves."""
        recipe, chance = self.recipe, _chance(self.recipe, batch)
        shown = able(self.place, ForNetworks)

        def choose(situations: Sequence[Any]) -> list[Choice]:
            with torch.no_grad():
                seen = torch.from_numpy(shown.observe(situations))
                weights = torch.softmax(network(seen) / recipe.temperature, dim=1)
            drawn = torch.multinomial(weights, 1, generator=chance).flatten().tolist()
            return [(shown.outputs[output], output) for output in drawn]

        begun = [one for one in batch["situations"] for _ in range(recipe.completions)]
        games = play(self.place, choose, begun, self.horizon)
        earned, legal = self.rewarder.score_games(batch["step"], games)
        rewards = torch.tensor(earned).reshape(-1, recipe.completions)
        lengths = torch.tensor([len(game.situations) for game in games])
        pushed = advantages(recipe, rewards).flatten().repeat_interleave(lengths)
        met = [one for game in games for one in game.situations]
        observed = torch.from_numpy(shown.observe(met))
        drawn = torch.tensor([output for game in games for _, output in game.choices])[:, None]
        logs = log_softmax(network(observed) / recipe.temperature, dim=1)
        gain = -(pushed * logs.gather(1, drawn)[:, 0]).mean()
        loss, told = _held(recipe, gain, logs, self.parent(observed).detach())
        return loss, {"reward": float(rewards.mean()), **told, "legal": legal}


@dataclass(frozen=True, eq=False)
class PreferenceLoss:
    """Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290, equation 7).

    −log σ(β · m), with the margin m how much more than the parent the policy prefers the chosen action to the
    rejected one, in log-odds; a mean over pairs. `targets` is [situations, 2]: chosen and rejected outputs.
    """

    recipe: DPO
    parent: Network

    def __call__(self, network: Network, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss, and how often the margin is positive."""
        seen, pairs = batch["observations"], batch["targets"]
        with torch.no_grad():
            before = self.parent(seen).gather(1, pairs)
        # The normaliser of both log-probabilities is one, so the log-odds are a difference of logits.
        moved = network(seen).gather(1, pairs) - before
        margin = self.recipe.beta * (moved[:, 0] - moved[:, 1])
        told = {
            "rewards/margins": float(margin.detach().mean()),
            "rewards/accuracies": float((margin > 0).float().mean()),
        }
        return -logsigmoid(margin).mean(), told


def _chance(recipe: RL | RFT, batch: Batch) -> torch.Generator:
    seed = int(np.random.default_rng([recipe.seed, batch["number"]]).integers(2**62))
    return torch.Generator().manual_seed(seed)


def _held(recipe: RL | RFT, gain: Tensor, logs: Tensor, parent: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Add the KL toward the parent, given by its logits, a mean over situations."""
    before = log_softmax(parent / recipe.temperature, dim=1)
    divergence = (logs.exp() * (logs - before)).sum(dim=1).mean()
    entropy = -(logs.exp() * logs).sum(dim=1).mean()
    told = {"kl": float(divergence.detach()), "entropy": float(entropy.detach())}
    return gain + recipe.kl * divergence, told
