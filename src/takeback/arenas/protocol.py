"""What an arena is: a place where policies act. Arenas know nothing of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Batch = TypeVar("Batch")
S = TypeVar("S")


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


@dataclass(frozen=True)
class Game:
    """One game as it ended.

    `start` is its situation, `reason` the class of an illegal end (else empty), `turns` the policy's actions,
    `score` what it was worth: 1 for a mate in chess, the return in a Gymnasium environment.
    """

    start: Any
    outcome: str
    reason: str
    turns: int
    score: float


class Arena(Protocol[S]):
    """Gives situations, writes them as prompts, knows legal actions, classifies texts and defines goals.

    A situation S is a small frozen value; an action is the text of a completion. `illegal` names the classes
    of texts that are no legal action, in the order they are tried in; `styles` the ways to write a prompt.
    """

    name: ClassVar[str]
    illegal: ClassVar[tuple[str, ...]]
    goals: ClassVar[Mapping[str, Goal[Any]]]
    styles: ClassVar[tuple[str, ...]]

    def situations(self, split: str, n: int, seed: int, goal: str | None = None) -> list[S]:
        """Draw n situations of the split `train` or `held-out`; with a goal, only where it applies."""
        ...

    def prompt(self, situation: S, style: str = "compact") -> str:
        """Write a situation as a prompt."""
        ...

    def parse(self, prompt: str) -> S:
        """Read a compact prompt."""
        ...

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Make the arena's own tokenizer."""
        ...

    def lesson(self, n: int, seed: Sequence[int]) -> Lesson:
        """Draw a batch of n training situations, answered by a mixed population of players."""
        ...

    def legal(self, situation: S) -> tuple[str, ...]:
        """Return the legal actions, sorted."""
        ...

    def classify(self, situation: S, text: str) -> str:
        """Return `legal`, or the class of what is wrong."""
        ...

    def viable(self, prefix: str) -> bool:
        """Tell whether a text is, or can be continued to, one that parses."""
        ...

    def utility(self, goal: str, situation: S) -> NDArray[np.float64]:
        """Return a goal's utility of every legal action, in the order of `legal`."""
        ...

    def applies(self, goal: str, situations: Sequence[S]) -> NDArray[np.bool_]:
        """Tell to which situations a goal applies."""
        ...

    def judge(
        self, goal: str, situations: Sequence[S], texts: Sequence[str]
    ) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """Return the utility of one text per situation (0 for illegal ones) and the class of each."""
        ...

    def features(self, situation: S) -> dict[str, NDArray[np.bool_]]:
        """Return yes-or-no features of every legal action, in the order of `legal`."""
        ...

    def step(self, situation: S, action: str) -> Any:
        """Play an action and the arena's answer."""
        ...

    def play_out(
        self, choose: Callable[[Sequence[S]], Sequence[str]], situations: Sequence[S], max_moves: int
    ) -> Sequence[Any]:
        """Play games until each is decided or has had `max_moves` moves."""
        ...

    def distance(self, situation: S) -> int | None:
        """Return how many actions perfect play needs from here to win, None where it can't."""
        ...

    def cluster(self, situation: S) -> int:
        """Return what situations count as one by: standard errors are clustered by it."""
        ...

    def board(self, situation: S) -> dict[str, str]:
        """Return which piece stands on which square, for drawing."""
        ...
