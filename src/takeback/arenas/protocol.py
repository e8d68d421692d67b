"""What an arena is: a place where policies act. Arenas know nothing of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.words import Words
from takeback.run.errors import unknown_name

S = TypeVar("S")
LEGAL = "legal"
"""What `classify` says of a legal action; also the goal of legality alone, which every arena has."""


def everywhere(situations: Sequence[object]) -> NDArray[np.bool_]:
    """Tell that a goal applies to all situations."""
    return np.ones(len(situations), np.bool_)


@dataclass(frozen=True)
class Goal(Generic[S]):
    """A named utility in [0, 1] of legal actions.

    Attributes:
        name: its name.
        utility: gives the utility of every legal action of situations, end to end in the order of `legal`.
        applies: tells for which of n situations the goal makes sense, shape (n,).
        meaning: what it is, in words.
    """

    name: str
    utility: Callable[[Sequence[S]], NDArray[np.float64]]
    applies: Callable[[Sequence[S]], NDArray[np.bool_]] = everywhere
    meaning: str = ""


class Arena(Protocol[S]):
    """Gives situations, knows their legal actions, tells kinds of other answers apart and defines goals.

    A situation S is a small frozen value, an action a text. What only some arenas can do besides is in
    `takeback.arenas.capabilities`; `ClosedArena` has five of these nine members ready.
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
    def kinds(self) -> tuple[str, ...]:
        """The kinds of answers that are no legal action; none only where answers are listed."""
        ...

    @property
    def goals(self) -> Mapping[str, Goal[S]]:
        """The goals that are measured, by name; `[]` may know more than it lists."""
        ...

    def situations(self, split: str, n: int, seed: int, goal: str | None = None) -> list[S]:
        """Draw n situations of the split `train` or `held-out`; with a goal, only where it applies."""
        ...

    def prompt(self, situation: S) -> str:
        """Write a situation as a text, which no other situation has: tables call it by it."""
        ...

    def legal(self, situation: S) -> tuple[str, ...]:
        """Return the legal actions, sorted."""
        ...

    def classify(self, situation: S, text: str) -> str:
        """Return `legal`, or the kind of an answer that is none; blanks around an action don't count."""
        ...

    def cluster(self, situation: S) -> int | str:
        """Return what situations count as one by: standard errors are clustered by it."""
        ...


class ClosedArena(Generic[S]):
    """What most arenas need not say themselves: plain words, one kind of other answers, no clusters."""

    words: Words = Words()
    kinds: tuple[str, ...] = ("other",)

    def prompt(self, situation: S) -> str:
        """Write a situation as a text; here what `str` gives."""
        return str(situation)

    if TYPE_CHECKING:

        def legal(self, situation: S) -> tuple[str, ...]:
            """Return the legal actions, sorted: an arena's own to say."""
            ...

    def classify(self, situation: S, text: str) -> str:
        """Return `legal` or, of any other text, the first of the kinds."""
        return LEGAL if text.strip() in self.legal(situation) else self.kinds[0]

    def cluster(self, situation: S) -> int:
        """Return a number of the situation's own."""
        digest = blake2b(self.prompt(situation).encode(), digest_size=7).digest()
        return int.from_bytes(digest, "little")

    def goals_by(self, **worth: Callable[[S, str], float]) -> dict[str, Goal[S]]:
        """Make goals that apply everywhere from what an action is worth in a situation, between 0 and 1."""

        def of(one: Callable[[S, str], float], situations: Sequence[S]) -> NDArray[np.float64]:
            return np.array([float(one(s, action)) for s in situations for action in self.legal(s)])

        return {name: Goal(name, partial(of, one)) for name, one in worth.items()}


def goal_of(arena: Arena[S], name: str) -> Goal[S]:
    """Return an arena's goal of this name; `legal`, any legal action, is one in all arenas.

    >>> from takeback.arenas import arena
    >>> goal_of(arena("endgames"), "win").meaning
    'the shortest way to mate, on won positions'

    Raises:
        UnknownName: there is no such goal.
    """
    try:
        return arena.goals[name]
    except KeyError:
        if name != LEGAL:
            raise unknown_name("goal", name, (*arena.goals, LEGAL)) from None

    def alike(situations: Sequence[S]) -> NDArray[np.float64]:
        return np.ones(sum(len(arena.legal(one)) for one in situations))

    return Goal(LEGAL, alike, meaning="any legal action")


def utilities(arena: Arena[S], goal: str, situations: Sequence[S]) -> list[NDArray[np.float64]]:
    """Return a goal's utility of the legal actions of each situation.

    Raises:
        UnknownName: there is no such goal.
    """
    found, counts = goal_of(arena, goal), [len(arena.legal(one)) for one in situations]
    return np.split(found.utility(situations), np.cumsum(counts[:-1])) if counts else []


def judge(
    arena: Arena[S], goal: str, situations: Sequence[S], texts: Sequence[str]
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the utility of one text per situation (0 where it is not legal) and the kind of each.

    >>> from takeback.arenas import arena
    >>> endgames = arena("endgames")
    >>> judge(endgames, "win", [endgames.parse("w Kb6 Rh1 kb8")] * 2, ["h1h8", "h1g2"])
    (array([1., 0.]), ('legal', 'geometry'))

    Raises:
        UnknownName: there is no such goal.
    """
    kinds = tuple(arena.classify(one, text) for one, text in zip(situations, texts, strict=True))
    worth = np.zeros(len(kinds))
    good = [place for place, kind in enumerate(kinds) if kind == LEGAL]
    for place, each in zip(good, utilities(arena, goal, [situations[i] for i in good]), strict=True):
        worth[place] = each[arena.legal(situations[place]).index(texts[place].strip())]
    return worth, kinds
