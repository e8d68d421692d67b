"""Ordinary RL agents: Stable-Baselines3 trains a policy network in an environment."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import pandas as pd
import torch
from torch import nn

from takeback.arenas import ForAgents, able, arena, goal_of
from takeback.checkpoint import Network
from takeback.policies.load import load_policy
from takeback.policies.network import NetworkPolicy
from takeback.run.errors import TakebackError
from takeback.run.extras import needed
from takeback.run.files import atomic_folder
from takeback.run.tables import write_table
from takeback.training.recipe import Agent

_ACTIVATIONS: Final[Mapping[str, type[nn.Module]]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}
_LOGGED: Final = ("reward", "length", "loss")
"""What is logged: means over the last episodes that ended, and the last update's loss where there is one."""


def train_agent(
    recipe: Agent, out: Path, progress: Callable[[int, int], None], claim: Callable[[], None]
) -> None:
    """Train an agent from its parent's weights and write `final/`, `step-N/` and the log into `out`.

    Steps are actions in the environment. Beside each network lies `agent.zip`, as Stable-Baselines3 saves it.
    The library can't go on in the middle of an episode: a run that was killed starts again and, with the
    same seed and threads, ends the same.

    Args:
        recipe: what to train.
        out: the run folder.
        progress: told the steps done and those in all.
        claim: called once the recipe is known to work.

    Raises:
        TakebackError: Stable-Baselines3 is missing, the arena has no environment, the parent does not fit
            the algorithm, or the algorithm has no such setting.
    """
    place = arena(recipe.arena)
    agents = able(place, ForAgents)
    goal_of(place, recipe.goal)
    parent = load_policy(recipe.parent, place)
    if not isinstance(parent, NetworkPolicy):
        raise TakebackError(f"an agent starts from a policy network, and {recipe.parent} is none")
    wanted = "values" if recipe.algorithm == "dqn" else "logits"
    if parent.model.network.outputs != wanted:
        raise TakebackError(
            f"{recipe.algorithm} trains networks whose outputs are {wanted}; those of {recipe.parent} are "
            f"{parent.model.network.outputs}"
        )
    model = _model(recipe, agents, parent.model)
    claim()
    keeper = _keeper(recipe, out, parent.model, progress)
    model.learn(total_timesteps=recipe.steps, callback=keeper)
    log = pd.DataFrame(keeper.rows, columns=["step", *_LOGGED])
    write_table(log.astype(dict.fromkeys(_LOGGED, "Float64")), out / "log.parquet")
    _save(model, parent.model, out / "final")


def _model(recipe: Agent, place: ForAgents, parent: Network) -> Any:
    """Make the algorithm with its policy at the parent's weights."""
    sb3 = needed("stable_baselines3", "sb3")
    from stable_baselines3.common.vec_env import DummyVecEnv

    hidden = [layer.out_features for layer in parent.layers[:-1]]
    if parent.network.activation not in _ACTIVATIONS:
        raise TakebackError(
            f"agents have the activations {', '.join(_ACTIVATIONS)}, not {parent.network.activation}"
        )
    if any(layer.bias is None for layer in parent.layers):  # pyright: ignore[reportUnnecessaryComparison]
        raise TakebackError(f"agents have a bias in every layer, and {recipe.parent} has layers without")
    shape = {"net_arch": hidden, "activation_fn": _ACTIVATIONS[parent.network.activation]}
    seeds = [recipe.seed * recipe.environments + number for number in range(recipe.environments)]
    makers = [partial(_watched, place, recipe.goal, seed) for seed in seeds]
    try:
        model = getattr(sb3, recipe.algorithm.upper())(
            "MlpPolicy",
            DummyVecEnv(makers),
            learning_rate=recipe.learning_rate,
            policy_kwargs=shape,
            seed=recipe.seed,
            device="cpu",
            **recipe.settings,
        )
    except (TypeError, ValueError, AssertionError) as error:
        raise TakebackError(f"settings of {recipe.algorithm}: {error}") from error
    with torch.no_grad():
        for stack in _stacks(model):
            for mine, theirs in zip(stack, parent.layers, strict=True):
                mine.weight.copy_(theirs.weight)
                mine.bias.copy_(theirs.bias)
    return model


def _watched(place: ForAgents, goal: str, seed: int) -> Any:
    """Make an environment whose returns the library logs."""
    from stable_baselines3.common.monitor import Monitor

    return Monitor(place.env(goal, seed))


def _stacks(model: Any) -> list[list[nn.Linear]]:
    """Return the linear layers of the policy from below, and for DQN those of the target network."""
    policy = model.policy
    if hasattr(policy, "q_net"):
        parts = [[policy.q_net.q_net], [policy.q_net_target.q_net]]
    else:
        parts = [[policy.mlp_extractor.policy_net, policy.action_net]]
    return [
        [layer for part in some for layer in part.modules() if isinstance(layer, nn.Linear)] for some in parts
    ]


def _save(model: Any, like: Network, folder: Path) -> None:
    network = copy.deepcopy(like)
    rate: float | None = getattr(model, "exploration_rate", None)
    if rate is not None:
        network.network = network.network.model_copy(update={"exploration": float(rate)})
    with torch.no_grad():
        for mine, theirs in zip(network.layers, _stacks(model)[0], strict=True):
            mine.weight.copy_(theirs.weight)
            mine.bias.copy_(theirs.bias)
    with atomic_folder(folder, replace=True) as draft:
        network.save_pretrained(draft)
        model.save(draft / "agent.zip")


def _keeper(recipe: Agent, out: Path, like: Network, progress: Callable[[int, int], None]) -> Any:
    """Make the callback that keeps snapshots, reads the log and passes the progress on."""
    from stable_baselines3.common.callbacks import BaseCallback

    class Keeper(BaseCallback):
        def __init__(self) -> None:
            super().__init__()
            self.rows: list[dict[str, Any]] = []
            self._left: Sequence[int] = sorted(recipe.snapshots)

        def _on_step(self) -> bool:
            while self._left and self.num_timesteps >= self._left[0]:
                _save(self.model, like, out / f"step-{self._left[0]}")
                self._left = self._left[1:]
            progress(min(self.num_timesteps, recipe.steps), recipe.steps)
            return True

        def _on_rollout_end(self) -> None:
            ended = self.model.ep_info_buffer or ()  # the library's own log is empty where a rollout ends
            reward, length = (fmean(one[key] for one in ended) if ended else None for key in ("r", "l"))
            row = {"step": self.num_timesteps, "reward": reward, "length": length}
            self.rows.append({**row, "loss": self.logger.name_to_value.get("train/loss")})

    return Keeper()
