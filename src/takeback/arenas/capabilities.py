"""What only some arenas can do: boards, networks, games, populations, probes, episodes, minimal pairs.

An arena has a capability when it has its members. `able` asks for one where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.protocol import Arena
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

S = TypeVar("S")
C = TypeVar("C")


@dataclass(frozen=True, eq=False)
class ImitationBatch:
    """Answers to imitate, in tokens of the arena's own tokenizer, and a distribution to learn for each token.

    `tokens`, int64 [n, length], are prompts followed by sampled answers without their last token. `targets`,
    float32 [n, answer length, vocabulary], give for each token of an answer, its end included, what the
    population might have written there; rows after the end are zero. The last logits are the ones that have
    targets.
    """

    tokens: NDArray[np.int64]
    targets: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class NetworkImitationBatch:
    """Observations, float32 [n, inputs], and the population's distributions, float32 [n, outputs]."""

    observations: NDArray[np.float32]
    targets: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Depth(Generic[S]):
    """What can be met before one of the next actions of an episode, and where each action leads from there.

    `counts` [n] are the numbers of legal actions of the n situations, `following` [all actions] the place of
    the next situation at the depth that follows, -1 where the episode is over; at the last depth it means
    nothing.
    """

    situations: Sequence[S]
    counts: NDArray[np.int64]
    following: NDArray[np.int64]


@dataclass(frozen=True)
class MinimalPair(Generic[S]):
    """Two situations that differ in one fact.

    `action` is worth something in `sound` and nothing in `spoilt`; the actions in `same` are worth as much in
    both, and that is more than nothing.
    """

    sound: S
    spoilt: S
    action: str
    same: tuple[str, ...]


class GameResult(Protocol):
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
        """The kind of an answer that ended it by not being legal, else empty."""
        ...

    @property
    def turns(self) -> int:
        """How often the policy acted."""
        ...

    @property
    def score(self) -> float:
        """What it was worth: 1 for a mate in chess, the return in an environment."""
        ...


@runtime_checkable
class Readable(Protocol):
    """Reads situations back from tables."""

    def parse(self, prompt: str) -> Any:
        """Read what `prompt` writes."""
        ...


@runtime_checkable
class Featured(Protocol):
    """Tells features of actions, from which biases are measured."""

    def features(self, situations: Sequence[Any]) -> dict[str, NDArray[np.bool_]]:
        """Return yes-or-no features of all legal actions of all situations, end to end."""
        ...


@runtime_checkable
class Styled(Protocol):
    """Writes prompts in several ways; of `compact` ones an answer follows without a blank."""

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles of prompts, those for ordinary language models last."""
        ...

    def prompt(self, situation: Any, style: str = "compact") -> str:
        """Write a situation in a style; the compact one is what tables call it."""
        ...


@runtime_checkable
class Tokenized(Protocol):
    """Has a small tokenizer of its own."""

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Make it."""
        ...


@runtime_checkable
class Enumerable(Protocol):
    """Knows which beginnings lead nowhere, so that all answers of a small vocabulary can be enumerated."""

    @property
    def dead_end(self) -> str:
        """The kind of every answer that begins with a text that is not viable."""
        ...

    def viable(self, prefix: str) -> bool:
        """Tell whether a text is, or can be continued to, an answer of another kind than `dead_end`."""
        ...


@runtime_checkable
class ForNetworks(Protocol):
    """Shows situations as rows of numbers, and has an output for each action."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The action of each output of a policy network."""
        ...

    def observe(self, situations: Sequence[Any]) -> NDArray[np.float32]:
        """Return what a policy network reads, shape (n, inputs)."""
        ...

    def verdicts(self, situations: Sequence[Any]) -> NDArray[np.int16]:
        """Return what each output is in each situation, shape (n, outputs).

        Its place among the legal actions, or -1 - k for kind number k.
        """
        ...


@runtime_checkable
class Playable(Protocol):
    """Goes on after an action: games can be played from its situations."""

    def play_out(
        self, choose: Callable[[Sequence[Any]], Sequence[str]], situations: Sequence[Any], max_moves: int
    ) -> Sequence[GameResult]:
        """Play games until each is decided or has had `max_moves` actions."""
        ...

    def distance(self, situation: Any) -> int | None:
        """Return how many actions perfect play needs from here to win, None where it can't."""
        ...


@runtime_checkable
class Board(Protocol):
    """Has a board to draw."""

    def board(self, situation: Any) -> dict[str, str]:
        """Return which piece stands on which square; nothing where there is no board."""
        ...


@runtime_checkable
class Populated(Protocol):
    """Has a mixed population of players that a base can imitate."""

    def imitation_batch(self, n: int, seed: Sequence[int]) -> ImitationBatch:
        """Draw n training situations, answered by the population, for a language model."""
        ...

    def network_imitation_batch(self, n: int, seed: Sequence[int]) -> NetworkImitationBatch:
        """Draw n training situations, answered by the population, for a policy network."""
        ...


@runtime_checkable
class ForAgents(Protocol):
    """Has an environment of Gymnasium in which agents can be trained."""

    def env(self, goal: str, seed: int) -> Any:
        """Return an environment with a goal's reward; it shows what `observe` does of training situations."""
        ...


@runtime_checkable
class Probed(Protocol):
    """Tells facts of its situations, which probes look for in a model's hidden states."""

    def facts(self, situations: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
        """Return facts by name as class numbers, shape (n, parts of the fact)."""
        ...

    def moved(self, situations: Sequence[Any]) -> list[Any | None]:
        """Return what each legal action of each situation leads to before anyone answers.

        It is a situation as far as prompts and observations go, though nobody need be able to act in it; None
        where it can't be written.
        """
        ...


@runtime_checkable
class Episodic(Protocol):
    """Knows the answer to every action, so that episodes can be solved."""

    def ahead(self, situations: Sequence[Any], horizon: int) -> list[Depth[Any]]:
        """Return what can be met before each of the next `horizon` actions, the given situations first."""
        ...


@runtime_checkable
class MinimalPairs(Protocol):
    """Has pairs of situations that differ in one fact which matters to the first goal."""

    @property
    def pair_facts(self) -> tuple[str, ...]:
        """The facts that pairs can differ in."""
        ...

    def minimal_pairs(self, fact: str, split: str, n: int, seed: int) -> list[MinimalPair[Any]]:
        """Draw n pairs of a split."""
        ...


_LACKING: Final[Mapping[type[Any], str]] = {
    Readable: "can't read situations back from a table; measure readouts where they were made",
    Featured: "tells no features of actions",
    Styled: "writes its prompts in one style",
    Tokenized: "has no tokenizer of its own; name a checkpoint that has one",
    Enumerable: "does not say which beginnings of answers lead nowhere, so kinds of answers are sampled",
    ForNetworks: "shows no rows of numbers to policy networks; name a language model",
    Playable: "has no games to play",
    Board: "has no boards to draw",
    Populated: "has no players to imitate; its base is made by method fresh or an agent",
    ForAgents: "has no environment; name one like gym:CartPole-v1",
    Probed: "tells no facts to probe for; endgames does",
    Episodic: "does not know what follows an action; endgames does",
    MinimalPairs: "has no minimal pairs to compare; endgames has",
}


def able(arena: Arena[Any], capability: type[C]) -> C:
    """Return an arena as one that has a capability.

    Raises:
        TakebackError: it has not; the message says what it would have to have.
    """
    if not isinstance(arena, capability):
        members = [name for name in vars(capability) if not name.startswith("_")]
        lacks = " and ".join(name for name in members if not hasattr(arena, name))
        raise TakebackError(f"arena {arena.name} {_LACKING[capability]} (it lacks {lacks})")
    return arena


def written(arena: Arena[Any], situation: Any, style: str) -> str:
    """Write a situation in one of the styles an arena has, or in its only one."""
    styled: Any = arena
    return styled.prompt(situation, style) if isinstance(arena, Styled) else arena.prompt(situation)
