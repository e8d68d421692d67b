"""What an arena is: a place where policies act. Arenas know nothing of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.words import Words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Batch = TypeVar("Batch")
S = TypeVar("S")


class NamedGoal(Protocol):
    """What every goal has: a name, and words that say what it is."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def meaning(self) -> str:
        """What it is, in words."""
        ...


@dataclass(frozen=True)
class Goal(Generic[Batch]):
    """A named utility in [0, 1].

    Both functions take an arena's batch of N situations with up to A actions each: `utility` gives [N, A]
    over actions, `applies` tells for which situations the goal makes sense, [N]. `meaning` says it in words.
    """

    name: str
    utility: Callable[[Batch], NDArray[np.float64]]
    applies: Callable[[Batch], NDArray[np.bool_]]
    meaning: str


@dataclass(frozen=True, eq=False)
class Lesson:
    """Answers to imitate, in tokens of the arena's own tokenizer, and a distribution to learn for each token.

    `tokens`, int64 [n, length], are prompts followed by sampled answers without their last token. `targets`,
    float32 [n, answer length, vocabulary], give for each token of an answer, its end included, what the
    population might have written there; rows after the end are zero. The last logits are the ones that have
    targets.
    """

    tokens: NDArray[np.int64]
    targets: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class NetworkLesson:
    """Observations, float32 [n, inputs], and the population's distributions, float32 [n, outputs]."""

    observations: NDArray[np.float32]
    targets: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Layer(Generic[S]):
    """What can be met before one of the next actions of an episode, and where each action leads from there.

    `counts` [n] are the numbers of legal actions of the n situations, `following` [all actions] the place of
    the next situation in the layer that follows, -1 where the episode is over; in the last layer it means
    nothing.
    """

    situations: Sequence[S]
    counts: NDArray[np.int64]
    following: NDArray[np.int64]


@dataclass(frozen=True)
class Twins(Generic[S]):
    """Two situations that differ in one fact.

    `action` is worth something in `sound` and nothing in `spoilt`; the actions in `same` are worth as much in
    both, and that is more than nothing.
    """

    sound: S
    spoilt: S
    action: str
    same: tuple[str, ...]


class Game(Protocol):
    """One game as it ended."""

    @property
    def start(self) -> Any:
        """The situation it began in."""
        ...

    @property
    def outcome(self) -> str:
        """How it ended, a word of the arena's."""
        ...

    @property
    def reason(self) -> str:
        """The class of an illegal end, else empty."""
        ...

    @property
    def turns(self) -> int:
        """How often the policy acted."""
        ...

    @property
    def score(self) -> float:
        """What it was worth: 1 for a mate in chess, the return in an environment."""
        ...


class Arena(Protocol[S]):
    """Gives situations, knows legal actions, classifies texts and defines goals.

    A situation S is a small frozen value; an action is a text. `illegal` names the classes of texts that are
    no legal action, in the order they are tried in; `outputs` the action that each output of a policy network
    stands for. What is told of the legal actions of several situations lies end to end, in the order of
    `legal`.
    """

    @property
    def name(self) -> str:
        """What the arena is called, such as `endgames`."""
        ...

    @property
    def words(self) -> Words:
        """What it calls its things."""
        ...

    @property
    def illegal(self) -> tuple[str, ...]:
        """The classes of illegal answers."""
        ...

    @property
    def goals(self) -> Mapping[str, NamedGoal]:
        """The goals by name."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """The action of each output of a policy network."""
        ...

    def situations(self, split: str, n: int, seed: int, goal: str | None = None) -> list[S]:
        """Draw n situations of the split `train` or `held-out`; with a goal, only where it applies."""
        ...

    def prompt(self, situation: S, style: str = "compact") -> str:
        """Write a situation as a text; the compact one is what tables call it."""
        ...

    def parse(self, prompt: str) -> S:
        """Read a compact prompt."""
        ...

    def observe(self, situations: Sequence[S]) -> NDArray[np.float32]:
        """Return what a policy network reads, shape (n, inputs)."""
        ...

    def verdicts(self, situations: Sequence[S]) -> NDArray[np.int16]:
        """Return what each output is in each situation, shape (n, outputs).

        Its place among the legal actions, or -1 - c for the illegality class number c.
        """
        ...

    def legal(self, situation: S) -> tuple[str, ...]:
        """Return the legal actions, sorted."""
        ...

    def classify(self, situation: S, text: str) -> str:
        """Return `legal`, or the class of what is wrong."""
        ...

    def utility(self, goal: str, situations: Sequence[S]) -> NDArray[np.float64]:
        """Return a goal's utility of every legal action of every situation."""
        ...

    def applies(self, goal: str, situations: Sequence[S]) -> NDArray[np.bool_]:
        """Tell to which situations a goal applies."""
        ...

    def judge(
        self, goal: str, situations: Sequence[S], texts: Sequence[str]
    ) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """Return the utility of one text per situation (0 for illegal ones) and the class of each."""
        ...

    def features(self, situations: Sequence[S]) -> dict[str, NDArray[np.bool_]]:
        """Return yes-or-no features of every legal action of every situation."""
        ...

    def play_out(
        self, choose: Callable[[Sequence[S]], Sequence[str]], situations: Sequence[S], max_moves: int
    ) -> Sequence[Game]:
        """Play games until each is decided or has had `max_moves` moves."""
        ...

    def distance(self, situation: S) -> int | None:
        """Return how many actions perfect play needs from here to win, None where it can't."""
        ...

    def cluster(self, situation: S) -> int:
        """Return what situations count as one by: standard errors are clustered by it."""
        ...

    def board(self, situation: S) -> dict[str, str]:
        """Return which piece stands on which square, for drawing; nothing where there is no board."""
        ...


@runtime_checkable
class TextArena(Arena[S], Protocol[S]):
    """An arena whose situations language models can read: `styles` are the ways to write a prompt."""

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles of prompts."""
        ...

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Make the arena's own tokenizer."""
        ...

    def viable(self, prefix: str) -> bool:
        """Tell whether a text is, or can be continued to, one that parses."""
        ...


@runtime_checkable
class PopulatedArena(TextArena[S], Protocol[S]):
    """A text arena with a mixed population of players that a base can imitate."""

    def lesson(self, n: int, seed: Sequence[int]) -> Lesson:
        """Draw a batch of n training situations, answered by the population, for a language model."""
        ...

    def network_lesson(self, n: int, seed: Sequence[int]) -> NetworkLesson:
        """Draw a batch of n training situations, answered by the population, for a policy network."""
        ...


@runtime_checkable
class TrainableArena(Arena[S], Protocol[S]):
    """An arena with an environment of Gymnasium in which agents can be trained."""

    def env(self, goal: str, seed: int) -> Any:
        """Return an environment with a goal's reward; it shows what `observe` does of training situations."""
        ...


@runtime_checkable
class ProbedArena(Arena[S], Protocol[S]):
    """An arena that tells facts of its situations, which probes look for in a model's hidden states."""

    def facts(self, situations: Sequence[S]) -> dict[str, NDArray[np.int64]]:
        """Return facts by name as class numbers, shape (n, parts of the fact)."""
        ...

    def moved(self, situations: Sequence[S]) -> list[S | None]:
        """Return what each legal action of each situation leads to before anyone answers.

        It is a situation as far as prompts and observations go, though nobody need be able to act in it; None
        where it can't be written.
        """
        ...


@runtime_checkable
class EpisodicArena(Arena[S], Protocol[S]):
    """An arena whose answer to an action is fixed and known, so that episodes can be solved."""

    def ahead(self, situations: Sequence[S], horizon: int) -> list[Layer[S]]:
        """Return what can be met before each of the next `horizon` actions, the given situations first."""
        ...


@runtime_checkable
class TwinArena(Arena[S], Protocol[S]):
    """An arena with pairs of situations that differ in one fact which matters to its first goal."""

    @property
    def twin_facts(self) -> tuple[str, ...]:
        """The facts that pairs can differ in."""
        ...

    def twins(self, fact: str, split: str, n: int, seed: int) -> list[Twins[S]]:
        """Draw n pairs of a split."""
        ...
