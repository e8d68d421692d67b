"""Policy networks trained by the recipes that language models have, and by cloning."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from takeback.arenas import Arena, ForNetworks, Populated, able
from takeback.checkpoint import Network, NetworkConfig
from takeback.policies.load import load_policy
from takeback.policies.network import NetworkPolicy
from takeback.run.errors import TakebackError
from takeback.training.drawing import best_actions, divided_situations, preferences, tried_situations
from takeback.training.games import GameRewarder
from takeback.training.gradients import GameGradient, PolicyGradient, PreferenceLoss
from takeback.training.pretrain import batch_seed
from takeback.training.recipe import DPO, RFT, RL, SFT, Clone, Drift, Pretrain, Shallow
from takeback.training.reward import Rewarder, chance_of
from takeback.training.trainers import Batch, Loss, NetworkTask, network_task


def fresh_network(shape: Shallow, place: Arena[Any], seed: int) -> Network:
    """Make a network of this shape for an arena, with initial weights.

    Raises:
        TakebackError: the arena has no situations, or shows nothing to networks.
    """
    shown = able(place, ForNetworks)
    inputs = shown.observe(place.situations("train", 1, 0)).shape[1]
    config = NetworkConfig(activation=shape.activation, outputs=shape.outputs)
    return Network.fresh([inputs, *shape.hidden, len(shown.outputs)], config, seed)


@network_task.register(RL)
@network_task.register(RFT)
def _from_own_answers(recipe: RL | RFT, place: Arena[Any], network: Network) -> NetworkTask:
    start = copy.deepcopy(network)
    batches = _Slices(place, tried_situations(place, recipe), recipe.prompts)
    if isinstance(recipe, RL) and recipe.horizon is not None:
        games = GameRewarder(place, recipe.goal, chance_of(recipe))
        return NetworkTask(batches, GameGradient(recipe, recipe.horizon, place, games, start), games)
    rewarder = Rewarder(place, recipe.goal, chance_of(recipe))
    return NetworkTask(batches, PolicyGradient(recipe, place, rewarder, start), rewarder)


@network_task.register
def _best(recipe: SFT, place: Arena[Any], network: Network) -> NetworkTask:
    drawn = place.situations("train", recipe.steps * recipe.batch, recipe.seed, goal=recipe.goal)
    return NetworkTask(_Best(place, drawn, recipe.batch, recipe), _imitation)


@network_task.register
def _preferred(recipe: DPO, place: Arena[Any], network: Network) -> NetworkTask:
    batches = _Preferred(place, divided_situations(recipe, place), recipe.batch, recipe)
    return NetworkTask(batches, PreferenceLoss(recipe, copy.deepcopy(network)))


@network_task.register
def _cloned(recipe: Clone, place: Arena[Any], network: Network) -> NetworkTask:
    pool = place.situations("train", recipe.situations, recipe.seed, goal=recipe.goal)
    chosen = np.random.default_rng(recipe.seed).integers(len(pool), size=recipe.steps * recipe.batch)
    drawn = [pool[number] for number in chosen]
    return NetworkTask(_Taught(place, drawn, recipe.batch, _teacher(recipe, place)), _imitation)


@network_task.register(Pretrain)
@network_task.register(Drift)
def _imitated(recipe: Pretrain | Drift, place: Arena[Any], network: Network) -> NetworkTask:
    return NetworkTask(_ObservationBatches(recipe, able(place, Populated)), _imitation)


def network_trainer(
    task: NetworkTask, network: Network, settings: Mapping[str, Any], callback: TrainerCallback
) -> tuple[Trainer, Rewarder | None]:
    """Build the trainer of a policy network; batches follow from the seed and the step alone."""
    trainer = _NetworkTrainer(
        task.loss,
        model=network,
        args=TrainingArguments(**settings, per_device_train_batch_size=1, remove_unused_columns=False),
        train_dataset=task.batches,
        data_collator=_only,
        callbacks=[callback],
    )
    return trainer, task.rewarder


class _NetworkTrainer(Trainer):
    """A trainer that takes a loss as a function of network and batch."""

    def __init__(self, loss: Loss, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._loss, self._told = loss, dict[str, float]()

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss of a batch."""
        loss, self._told = self._loss(model, {**inputs, "step": self.state.global_step + 1})
        return (loss, {}) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log what the loss tells beside itself, too."""
        super().log({**logs, **self._told} if "loss" in logs else logs, start_time)


def _imitation(network: Network, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """Mean cross-entropy, in nats, toward a distribution over outputs."""
    return cross_entropy(network(batch["observations"]), batch["targets"]), {}


def _only(batches: list[Batch]) -> Batch:
    (batch,) = batches
    return batch


@dataclass(eq=False)
class _Slices(Dataset[Batch]):
    """One whole batch of situations for each step."""

    place: Arena[Any]
    situations: Sequence[Any]
    size: int

    def __len__(self) -> int:
        return len(self.situations) // self.size

    def __getitem__(self, number: int) -> Batch:
        some = self.situations[number * self.size : (number + 1) * self.size]
        observed = torch.from_numpy(able(self.place, ForNetworks).observe(some))
        return {"observations": observed, "situations": some, "number": number}

    @cached_property
    def _output(self) -> dict[str, int]:
        return {action: place for place, action in enumerate(able(self.place, ForNetworks).outputs)}


@dataclass(eq=False)
class _Best(_Slices):
    """Situations with a goal's best action in each, ties broken by the seed; or with one another's."""

    recipe: SFT

    def __getitem__(self, number: int) -> Batch:
        batch = super().__getitem__(number)
        random = np.random.default_rng([self.recipe.seed, number])
        best = best_actions(self.place, self.recipe.goal, batch["situations"], random)
        if self.recipe.shuffled:
            random.shuffle(best)
        return {**batch, "targets": torch.tensor([self._output[action] for action in best])}


@dataclass(eq=False)
class _Preferred(_Slices):
    """Situations with a best and a worse action in each."""

    recipe: DPO

    def __getitem__(self, number: int) -> Batch:
        batch = super().__getitem__(number)
        random = np.random.default_rng([self.recipe.seed, number])
        pairs = preferences(self.place, self.recipe.goal, batch["situations"], random)
        return {**batch, "targets": torch.tensor([[self._output[one] for one in pair] for pair in pairs])}


@dataclass(eq=False)
class _Taught(_Slices):
    """Situations with a teacher's probability of every output."""

    teacher: NetworkPolicy

    def __getitem__(self, number: int) -> Batch:
        batch = super().__getitem__(number)
        with torch.no_grad():
            weights = self.teacher.model.network.weights(self.teacher.model(batch["observations"]))
        return {**batch, "targets": weights / weights.sum(dim=1, keepdim=True)}


@dataclass(eq=False)
class _ObservationBatches(Dataset[Batch]):
    """The population's answers, a whole batch for each step."""

    recipe: Pretrain | Drift
    place: Populated

    def __len__(self) -> int:
        return self.recipe.steps

    def __getitem__(self, number: int) -> Batch:
        made = self.place.network_imitation_batch(self.recipe.batch, batch_seed(self.recipe, number))
        return {
            "observations": torch.from_numpy(made.observations),
            "targets": torch.from_numpy(made.targets),
        }


def _teacher(recipe: Clone, place: Arena[Any]) -> NetworkPolicy:
    teacher = load_policy(recipe.teacher, place)
    if not isinstance(teacher, NetworkPolicy):
        raise TakebackError(f"teacher {recipe.teacher} is a language model; a network clones a network")
    return teacher
