"""What a training run is: a YAML file, checked before anything starts.

The class of a recipe is its method, which registers itself by the name in its field `method`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from takeback.arenas.rows.spec import ArenaText
from takeback.arenas.words import Words
from takeback.draw.numbers import count
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.limits import MOST_SEED, MOST_THREADS
from takeback.run.own import is_reference, load_own
from takeback.run.yaml_text import read_yaml

REWARDED = "0.2 + 0.8 · utility"
"""What an ordinary answer is rewarded with, in words; see `takeback.training.reward`."""

OUTCOME = "win"
"""The goal that a game's outcome decides; of any other it is worth what its moves are, in the mean."""

Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]
Rate = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class Account:
    """What a method says of itself, for reports and comparisons.

    Attributes:
        table: how it trains, in a table.
        sentence: the same in a sentence.
        by: what drives it: a reward for the goal, a reward by chance, or answers to imitate.
        aims: whether its goal has a part in training; otherwise the arm is only read on it.
        logs: what its log holds beside steps.
        steps: what its steps are.
    """

    table: str
    sentence: str
    by: Literal["reward", "chance", "imitation"] = "imitation"
    aims: bool = True
    logs: str = "the loss"
    steps: str = "batches"


METHODS: Final[dict[str, type[Recipe]]] = {}
"""The methods by name."""


class Recipe(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """A training run; a class of it that has a field `method` is a method."""

    if TYPE_CHECKING:
        method: str
        arena: str
        seed: int

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if "method" in cls.model_fields:
            METHODS[cls.model_fields["method"].default] = cls


class Common(Recipe, frozen=True):
    """The fields that all recipes have but that of a base that has learned nothing."""

    arena: ArenaText = "endgames"
    seed: Seed = 0
    steps: Positive
    """Optimiser steps."""
    learning_rate: Rate
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    save_every: Positive = 50
    """Steps between the checkpoints that a killed run resumes from."""
    snapshots: tuple[Positive, ...] = ()
    """Steps after which an ordinary model folder `step-N` is kept."""
    threads: Annotated[int, Field(gt=0, le=MOST_THREADS)] | None = None
    """CPU threads of torch; a fixed number makes a run repeat bit for bit on a machine."""

    @model_validator(mode="after")
    def _snapshots_are_reached(self) -> Common:
        late = [step for step in self.snapshots if step > self.steps]
        if late:
            raise ValueError(f"snapshots {late} lie after the last step, {self.steps}; leave them out")
        return self


class Lora(BaseModel):
    """The shape of an adapter (Hu et al. 2021, arXiv 2106.09685) that is trained while the parent stays."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rank: Positive = 16
    alpha: Annotated[float, Field(gt=0)] | None = None
    """What the adapter is multiplied by, over its rank; by default twice the rank."""
    targets: tuple[str, ...] = ()
    """The linear layers that it changes, by the ends of their names, such as q_proj; by default all."""

    def __str__(self) -> str:
        return f"a LoRA of rank {self.rank}"


class Tuned(Common, frozen=True):
    """The fields of an arm: a run that starts from a parent checkpoint and aims at a goal."""

    parent: str
    """A checkpoint: a folder, `org/name@revision`, or the name of one that ships, such as `endgame-base`."""
    goal: str
    only: Annotated[str, Field(exclude_if=lambda text: text == "*")] = "*"
    """Components that are free to move, such as `L1.H2 L3.MLP`; all others stay as in the parent, bitwise."""
    precision: Literal["fp32"] = "fp32"
    """What is compared trains in fp32: bf16 hides small updates and would pass for sparsity."""
    lora: Annotated[Lora | None, Field(exclude_if=lambda given: given is None)] = None
    """Train a LoRA adapter of a language model in place of its weights; `final` is the adapter."""

    micro_batch: Annotated[Positive | None, Field(exclude_if=lambda given: given is None)] = None
    """Answers that a language model learns from at a time, where memory holds no whole step; the update is
    the same to rounding."""

    @model_validator(mode="after")
    def _an_adapter_is_free_to_move(self) -> Tuned:
        if self.lora is not None and self.only != "*":
            raise ValueError("a lora moves the layers that are its targets; leave `only` out")
        return self

    def account(self, words: Words) -> Account:
        """Say what the method does, in an arena's words."""
        raise NotImplementedError

    def full_account(self, words: Words) -> Account:
        """Say what the method does and, where it trains an adapter, that too."""
        told = self.account(words)
        if self.lora is None:
            return told
        return replace(told, table=f"{told.table}, {self.lora}", sentence=f"{told.sentence} in {self.lora}")


def _several(given: Any) -> Any:
    """Take one value for a list of it."""
    return given if isinstance(given, list | tuple) else (given,)


class Sampled(Tuned, frozen=True):
    """The fields of an arm that learns from the policy's own answers."""

    prompts: Positive = 32
    """Situations per step."""
    completions: Annotated[int, Field(ge=2)] = 8
    """Answers sampled per situation."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    kl: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the KL penalty toward the parent (`beta` in TRL)."""
    mate_within: Annotated[
        tuple[Positive, ...], BeforeValidator(_several), Field(exclude_if=lambda m: not m)
    ] = ()
    """For the goal `win`: at how many moves from mate the policy is asked at most, for each of as many equal
    parts of the run (a curriculum); without it, wherever the goal applies."""

    @model_validator(mode="after")
    def _only_what_can_be_won_is_near_mate(self) -> Sampled:
        if self.mate_within and self.goal != OUTCOME:
            raise ValueError(f"mate_within is for the goal {OUTCOME}, not {self.goal}; leave it out")
        if len(self.mate_within) > self.steps:
            raise ValueError(f"mate_within has {len(self.mate_within)} parts of {count(self.steps, 'step')}")
        return self


class RL(Sampled, frozen=True):
    """Reinforcement learning, on single actions or on whole games.

    By GRPO (Shao et al., 2024, arXiv 2402.03300) or RLOO (Ahmadian et al., 2024, arXiv 2402.14740).
    """

    method: Literal["rl"] = "rl"
    algorithm: Literal["grpo", "rloo"] = "grpo"
    scale_rewards: Literal["none", "group", "batch"] = "none"
    """`group` divides by the spread of each situation's rewards, which bends the optimum."""
    ignore_output: bool = False
    """Reward by chance, whatever the answer: what training does where there is nothing to learn."""
    horizon: Positive | None = None
    """The policy's moves in a game that is played out and rewarded as a whole; without it, single actions."""

    @model_validator(mode="after")
    def _games_start_within_the_horizon(self) -> RL:
        if self.horizon is not None and max(self.mate_within, default=0) > self.horizon:
            raise ValueError(f"mate_within {max(self.mate_within)} is beyond the horizon {self.horizon}")
        return self

    @model_validator(mode="after")
    def _rloo_has_neither(self) -> RL:
        if self.algorithm == "rloo" and self.scale_rewards != "none":
            raise ValueError(f"rloo takes rewards as they are; leave scale_rewards {self.scale_rewards} out")
        if self.algorithm == "rloo" and self.horizon is not None:
            raise ValueError("whole games are trained by grpo; leave algorithm rloo or horizon out")
        return self

    def account(self, words: Words) -> Account:
        """Say what the method does, in an arena's words."""
        name = self.algorithm.upper()
        games = f" on whole {words.game}s of {count(self.horizon, words.action)}" if self.horizon else ""
        chance = "a reward that ignores the answer" if self.ignore_output else ""
        by = " by RLOO" if self.algorithm == "rloo" else ""
        worth = f" of a whole {words.game}" if self.horizon else ""
        return Account(
            table=f"RL ({name}){games}" + f" with {chance}" * bool(chance),
            sentence=f"reinforcement learning{by}{games}" + f" by {chance}" * bool(chance),
            by="chance" if self.ignore_output else "reward",
            aims=not self.ignore_output,
            logs="a reward by chance"
            if self.ignore_output
            else f"{words.reward or f'the reward, {REWARDED}'}{worth}",
        )


class RFT(Sampled, frozen=True):
    """Fine-tuning on the best of the policy's own answers (RAFT, Dong et al. 2023, arXiv 2304.06767).

    On-policy, and nothing but imitation: no answer is pushed down. Of each situation's answers those are kept
    that are legal and score no less than any other; together they weigh one answer.
    """

    method: Literal["rft"] = "rft"

    def account(self, words: Words) -> Account:
        """Say what the method does, in an arena's words."""
        return Account(
            "fine-tuning on its own best answers",
            "fine-tuning on the best of its own answers",
            logs=words.reward or f"the reward, {REWARDED}",
        )


class SFT(Tuned, frozen=True):
    """Supervised fine-tuning on the goal's best actions: the skill without reinforcement."""

    method: Literal["sft"] = "sft"
    batch: Positive = 256
    shuffled: bool = False
    """Deal the best actions out anew: the same answers, without relation to their situations."""

    def account(self, words: Words) -> Account:
        """Say what the method does, in an arena's words."""
        return Account(
            (f"SFT on best {words.action}s" if words.reward else "SFT on best actions")
            + f" of other {words.situation if words.reward else 'situation'}s" * self.shuffled,
            "supervised fine-tuning" + " on shuffled answers" * self.shuffled,
            aims=not self.shuffled,
        )


class DPO(Tuned, frozen=True):
    """Direct preference optimisation (Rafailov et al., 2023, arXiv 2305.18290), on pairs of legal actions.

    A best action of the goal is preferred to one that is worse.
    """

    method: Literal["dpo"] = "dpo"
    batch: Positive = 256
    """Pairs per step, each in a situation of its own."""
    beta: Annotated[float, Field(gt=0)] = 0.1
    """How strongly the policy is held to the parent."""

    def account(self, words: Words) -> Account:
        """Say what the method does, in an arena's words."""
        best = words.action if words.reward else "action"
        return Account(f"DPO, a best {best} before a worse one", "preference optimisation")


class Drift(Tuned, frozen=True):
    """Pretraining that goes on: the arena's mixed players, imitated from further batches.

    Training without a new aim; `goal` only says by what the arm is read.
    """

    method: Literal["drift"] = "drift"
    batch: Positive = 512

    def account(self, words: Words) -> Account:
        """Say what the method does, in an arena's words."""
        return Account("pretraining that goes on", "pretraining that goes on", aims=False)


class Clone(Tuned, frozen=True):
    """Imitating another policy's distribution: its behaviour without the training that made it."""

    method: Literal["clone"] = "clone"
    teacher: str
    """The checkpoint that is imitated; in a plan also the name of an arm, for the same seed's final model."""
    situations: Positive = 2048
    """Training situations that batches are drawn from."""
    batch: Positive = 256

    @model_validator(mode="after")
    def _networks_have_no_adapter(self) -> Clone:
        if self.lora is not None or self.micro_batch is not None:
            raise ValueError("method clone trains policy networks; leave `lora` and `micro_batch` out")
        return self

    def account(self, words: Words) -> Account:
        """Say what the method does; a teacher that is a folder with a final model is called by its run."""
        path = Path(self.teacher)
        name = path.parent.name if path.name == "final" and path.parent.name else self.teacher
        told = f"behaviour cloning of {name}"
        return Account(told, told, aims=False)


class Agent(Tuned, frozen=True):
    """An ordinary RL agent of Stable-Baselines3 in a Gymnasium environment."""

    method: Literal["agent"] = "agent"
    algorithm: Literal["ppo", "a2c", "dqn"] = "ppo"
    environments: Positive = 8
    """Copies of the environment that are acted in side by side."""
    settings: dict[str, int | float | bool] = {}
    """Further arguments of the algorithm's class, such as `n_steps: 256` and `ent_coef: 0.01`."""

    @model_validator(mode="after")
    def _moves_everything(self) -> Agent:
        if self.only != "*":
            raise ValueError("method agent moves all of its network; leave `only` out")
        if self.lora is not None or self.micro_batch is not None:
            raise ValueError("method agent trains policy networks; leave `lora` and `micro_batch` out")
        return self

    def account(self, words: Words) -> Account:
        """Say what the method does, in an arena's words."""
        name = self.algorithm.upper()
        return Account(
            f"{name} by Stable-Baselines3",
            f"reinforcement learning by {name}",
            by="reward",
            logs="the mean return of recent episodes or, where that was not logged, the algorithm’s loss, "
            "which need not fall as the agent learns",
            steps="actions in the environment",
        )


class Architecture(BaseModel):
    """The shape of a Llama-architecture model that is pretrained from scratch."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    layers: Positive = 4
    heads: Positive = 4
    width: Positive = 96
    mlp_width: Positive = 384

    noun: ClassVar[str] = "language model"

    def __str__(self) -> str:
        return f"{count(self.layers, 'layer')} of width {self.width}"


class Shallow(BaseModel):
    """The shape of a policy network: hidden layers between what an arena shows and its outputs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    hidden: Annotated[tuple[Positive, ...], Field(max_length=3)] = (256, 256)
    activation: Literal["relu", "tanh", "gelu"] = "relu"
    outputs: Literal["logits", "values"] = "logits"
    """`values` for DQN, whose outputs are what actions are worth."""

    noun: ClassVar[str] = "network"

    def __str__(self) -> str:
        units = f"{' + '.join(map(str, self.hidden))} units" if self.hidden else "no hidden layer"
        return f"{units}, {self.activation}"


class Fresh(Recipe, frozen=True):
    """A base that has learned nothing: a policy network with initial weights."""

    method: Literal["fresh"] = "fresh"
    arena: ArenaText = "endgames"
    seed: Seed = 0
    architecture: Shallow = Shallow()

    @property
    def made(self) -> str:
        """What it makes, in words.

        >>> Fresh(architecture=Shallow(hidden=(32, 32), activation="tanh")).made
        'a fresh network (32 + 32 units, tanh)'
        """
        return f"a fresh {self.architecture.noun} ({self.architecture})"


class Pretrain(Common, frozen=True):
    """Pretraining a base from scratch, imitating the arena's mixed population of players."""

    method: Literal["pretrain"] = "pretrain"
    architecture: Architecture | Shallow = Architecture()
    batch: Positive = 512
    precision: Literal["fp32", "bf16"] = "fp32"
    """`bf16` computes under autocast; the weights are fp32 all the same."""

    @property
    def made(self) -> str:
        """What it makes, in words.

        >>> Pretrain(steps=2000, learning_rate=1e-3, architecture=Architecture(layers=2, width=64)).made
        'a language model pretrained for 2,000 steps (2 layers of width 64)'
        """
        shape = self.architecture
        return f"a {shape.noun} pretrained for {count(self.steps, 'step')} ({shape})"


ROLES = ("parent", "teacher")
"""The fields of a recipe that name other checkpoints; in a plan they may name other arms."""


def load_recipe(path: str | Path, **overrides: Any) -> Recipe:
    """Read a recipe from a YAML file; keyword arguments replace its fields.

    Raises:
        TakebackError: the file is missing, isn't a mapping, or a field is unknown or out of range.
    """
    fields = read_yaml(Path(path), f"no recipe at {path}; give a YAML file such as recipes/rl-win.yaml")
    if not isinstance(fields, dict):
        raise TakebackError(f"{path} holds {type(fields).__name__}, not a mapping of recipe fields")
    return check_recipe({**fields, **overrides}, str(path))


def check_recipe(fields: dict[str, Any], origin: str = "recipe") -> Recipe:
    """Build a recipe from plain fields; its method may be a class of your own, `path/to/file.py:Class`.

    Raises:
        TakebackError: a field is unknown, missing or out of range; the message names each one.

    Examples:
        >>> recipe = check_recipe(
        ...     {"method": "rl", "parent": "endgame-base", "goal": "win", "steps": 150, "learning_rate": 3e-4}
        ... )
        >>> recipe.completions, recipe.scale_rewards
        (8, 'none')
        >>> check_recipe({"method": "rl", "parent": "x", "goal": "win", "steps": 0, "learning_rate": 1e-3})
        Traceback (most recent call last):
        takeback.run.errors.TakebackError: recipe: steps: Input should be greater than 0 (got 0)
    """
    kind = method_of(fields, origin)
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        told = "; ".join(_told(problem) for problem in error.errors())
        raise TakebackError(f"{origin}: {told}") from None


def method_of(fields: dict[str, Any], origin: str = "recipe") -> type[Recipe]:
    """Return the method that the fields of a recipe name.

    Raises:
        TakebackError: there is no such method.
    """
    name = str(fields.get("method", ""))
    kind = load_own(name, "method") if is_reference(name) else METHODS.get(name)
    if not (isinstance(kind, type) and issubclass(kind, Recipe)):
        raise TakebackError(f"{origin}: {unknown_name('method', name, METHODS)}")
    return kind


def dump_recipe(recipe: Recipe) -> str:
    """Return the recipe as YAML with every field filled in; `load_recipe` reads it back."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def _told(problem: Any) -> str:
    tags = (Architecture.__name__, Shallow.__name__)
    where = ".".join(str(part) for part in problem["loc"] if part not in tags)
    message = problem["msg"].removeprefix("Value error, ")
    shown = repr(problem["input"])
    shown = shown if len(shown) <= 200 else f"{shown[:200]}…"
    got = "" if isinstance(problem["input"], dict) else f" (got {shown})"
    return f"{where}: {message}{got}" if where else f"{message}{got}"
