"""Policy networks trained by the recipes that language models have: RL, supervised, cloning, pretraining."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from takeback.arenas import Arena, PopulatedArena
from takeback.behaviour import load_policy
from takeback.behaviour.network import NetworkPolicy
from takeback.checkpoint import Network, NetworkConfig
from takeback.errors import TakebackError
from takeback.training.pretrain import lesson_seed, populated
from takeback.training.recipe import RFT, RL, SFT, Clone, Drift, Pretrain, Shallow
from takeback.training.reward import Rewarder, best_answers, chance_of

Batch: TypeAlias = Mapping[str, Any]
Loss: TypeAlias = Callable[[Network, Batch], tuple[Tensor, dict[str, float]]]
"""Gives the loss of a step, and what is logged beside it."""


def fresh_network(shape: Shallow, place: Arena[Any], seed: int) -> Network:
    """Make a network of this shape for an arena, with initial weights.

    Raises:
        TakebackError: the arena has no situations.
    """
    inputs = place.observe(place.situations("train", 1, 0)).shape[1]
    config = NetworkConfig(activation=shape.activation, outputs=shape.outputs)
    return Network.fresh([inputs, *shape.hidden, len(place.outputs)], config, seed)


def network_trainer(
    recipe: RL | RFT | SFT | Drift | Clone | Pretrain,
    place: Arena[Any],
    network: Network,
    settings: Mapping[str, Any],
    callback: TrainerCallback,
) -> tuple[Trainer, Rewarder | None]:
    """Build the trainer of a policy network; batches follow from the seed and the step alone.

    Raises:
        UnknownName: the arena has no such goal.
        TakebackError: the arena has no population to imitate, or the teacher can't act in it.
    """
    rewarder = None
    match recipe:
        case RL() | RFT():
            rewarder = Rewarder(place, recipe.goal, chance_of(recipe))
            drawn = place.situations("train", recipe.steps * recipe.prompts, recipe.seed, goal=recipe.goal)
            batches = _Slices(place, drawn, recipe.prompts)
            loss: Loss = _PolicyGradient(recipe, place, rewarder, copy.deepcopy(network))
        case SFT():
            drawn = place.situations("train", recipe.steps * recipe.batch, recipe.seed, goal=recipe.goal)
            batches, loss = _Best(place, drawn, recipe.batch, recipe), _imitation
        case Clone():
            pool = place.situations("train", recipe.situations, recipe.seed, goal=recipe.goal)
            chosen = np.random.default_rng(recipe.seed).integers(len(pool), size=recipe.steps * recipe.batch)
            drawn = [pool[number] for number in chosen]
            batches, loss = _Taught(place, drawn, recipe.batch, _teacher(recipe, place)), _imitation
        case Pretrain() | Drift():
            batches, loss = _Lessons(recipe, populated(place)), _imitation
    trainer = _NetworkTrainer(
        loss,
        model=network,
        args=TrainingArguments(**settings, per_device_train_batch_size=1, remove_unused_columns=False),
        train_dataset=batches,
        data_collator=_only,
        callbacks=[callback],
    )
    return trainer, rewarder


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


@dataclass(frozen=True, eq=False)
class _PolicyGradient:
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
        recipe = self.recipe
        logs = log_softmax(network(batch["observations"]) / recipe.temperature, dim=1)
        seed = int(np.random.default_rng([recipe.seed, batch["number"]]).integers(2**62))
        chance = torch.Generator().manual_seed(seed)
        drawn = torch.multinomial(logs.detach().exp(), recipe.completions, True, generator=chance)
        answers = [self.place.outputs[output] for output in drawn.flatten().tolist()]
        situations = [one for one in batch["situations"] for _ in range(recipe.completions)]
        earned, legal = self.rewarder.score(batch["step"], situations, answers)
        rewards = torch.tensor(earned).reshape(drawn.shape)
        gain = -(self._advantages(rewards) * logs.gather(1, drawn)).mean()
        with torch.no_grad():
            before = log_softmax(self.parent(batch["observations"]) / recipe.temperature, dim=1)
        divergence = (logs.exp() * (logs - before)).sum(dim=1).mean()
        entropy = -(logs.exp() * logs).sum(dim=1).mean()
        told = {"reward": rewards.mean(), "kl": divergence, "entropy": entropy}
        logged = {name: float(value.detach()) for name, value in told.items()}
        return gain + recipe.kl * divergence, {**logged, "legal": legal}

    def _advantages(self, rewards: Tensor) -> Tensor:
        if isinstance(self.recipe, RFT):
            return best_answers(rewards)
        centred = rewards - rewards.mean(dim=1, keepdim=True)
        if self.recipe.scale_rewards == "group":
            return centred / (rewards.std(dim=1, keepdim=True) + 1e-4)
        return centred / (rewards.std() + 1e-4) if self.recipe.scale_rewards == "batch" else centred


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
        observed = torch.from_numpy(self.place.observe(some))
        return {"observations": observed, "situations": some, "number": number}


@dataclass(eq=False)
class _Best(_Slices):
    """Situations with a goal's best action in each, ties broken by the seed; or with one another's."""

    recipe: SFT

    def __getitem__(self, number: int) -> Batch:
        batch = super().__getitem__(number)
        utility = self.place.utility(self.recipe.goal, batch["situations"])
        random = np.random.default_rng([self.recipe.seed, number])
        best: list[int] = []
        start = 0
        for situation in batch["situations"]:
            actions = self.place.legal(situation)
            mine = utility[start : start + len(actions)]
            best.append(self._outputs[actions[int(random.choice(np.flatnonzero(mine == mine.max())))]])
            start += len(actions)
        if self.recipe.shuffled:
            random.shuffle(best)
        return {**batch, "targets": torch.tensor(best)}

    @cached_property
    def _outputs(self) -> dict[str, int]:
        return {action: place for place, action in enumerate(self.place.outputs)}


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
class _Lessons(Dataset[Batch]):
    """The population's answers, a whole batch for each step."""

    recipe: Pretrain | Drift
    place: PopulatedArena[Any]

    def __len__(self) -> int:
        return self.recipe.steps

    def __getitem__(self, number: int) -> Batch:
        lesson = self.place.network_lesson(self.recipe.batch, lesson_seed(self.recipe, number))
        return {
            "observations": torch.from_numpy(lesson.observations),
            "targets": torch.from_numpy(lesson.targets),
        }


def _teacher(recipe: Clone, place: Arena[Any]) -> NetworkPolicy:
    teacher = load_policy(recipe.teacher, place)
    if not isinstance(teacher, NetworkPolicy):
        raise TakebackError(f"teacher {recipe.teacher} is a language model; a network clones a network")
    return teacher
