"""Answers that are listed: choices, or a pool that was drawn; each is read by its log-probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

Messages: TypeAlias = tuple[Mapping[str, Any], ...]
"""A chat: messages with a role and content."""

Shown: TypeAlias = str | Messages
"""What a model is shown: a text, or a chat that its tokenizer's template writes."""

GIVEN: Final = "given"
"""The side of an answer that no policy drew."""

NORMALISATIONS: Final = ("none", "token", "byte", "character", "unconditional")
"""What a choice's log-probability is divided by, or (`unconditional`) what is taken from it."""


@dataclass(frozen=True)
class ListedAnswer:
    """One answer of a situation.

    Attributes:
        text: what it says.
        tokens: how it is written; without, as the tokenizer writes it after the prompt.
        side: which policy drew it: `base`, `tuned`, or none, `given`.
        log_mixture: the log-probability, in nats, with which the sides together draw it; 0 for a choice.
        log_own: its log-probability under the side that drew it, in nats.
        kind: what sort of answer it is; empty for an ordinary one.
    """

    text: str
    tokens: tuple[int, ...] | None = None
    side: str = GIVEN
    log_mixture: float = 0.0
    log_own: float = 0.0
    kind: str = ""


@dataclass(frozen=True, eq=False)
class Listing:
    """A situation with its answers: what is shown, and what may be answered."""

    shown: Shown
    answers: tuple[ListedAnswer, ...]


@dataclass(frozen=True)
class AskedTokens:
    """Tokens that are asked for, and those that they follow."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Spelling:
    """An answer in tokens.

    Attributes:
        pieces: what is read; log-probabilities add up. A long text has several.
        alone: the same without the prompt, where that is asked for.
    """

    pieces: tuple[AskedTokens, ...]
    alone: tuple[AskedTokens, ...] = ()

    @property
    def tokens(self) -> tuple[int, ...]:
        """The answer's tokens, those of all pieces."""
        return tuple(token for piece in self.pieces for token in piece.tokens)


@runtime_checkable
class Listed(Protocol):
    """Lists the answers of its situations: policies are compared on these, whatever else they might say."""

    @property
    def normalisation(self) -> str:
        """How log-probabilities of answers are made comparable, one of `NORMALISATIONS`."""
        ...

    @property
    def temperature(self) -> float:
        """The temperature at which answers have their log-probabilities."""
        ...

    @property
    def template_arguments(self) -> Mapping[str, Any]:
        """What the tokenizer's chat template is given besides the messages."""
        ...

    def listing(self, situation: Any) -> Listing:
        """Return what is shown in a situation and which answers are listed."""
        ...


@runtime_checkable
class Spells(Protocol):
    """Writes its prompts and answers in tokens itself."""

    def spell(self, situation: Any, tokenizer: Any, config: Any) -> Sequence[Spelling]:
        """Return the listed answers in tokens, for a model with this tokenizer and configuration.

        Raises:
            TakebackError: the tokenizer can't write them.
        """
        ...


@runtime_checkable
class Open(Protocol):
    """Takes any text for an answer; what one is worth is known once it is drawn."""

    @property
    def draws(self) -> str:
        """The identity of how answers are drawn and what they are worth, apart from who draws."""
        ...


@dataclass(frozen=True, eq=False)
class SomeAnswers:
    """A listed arena of which some answers are read; a situation is one of its own with their places."""

    arena: Any

    @property
    def name(self) -> str:
        """What the arena is called."""
        return str(self.arena.name)

    @property
    def normalisation(self) -> str:
        """None: log-probabilities are asked for as they are."""
        return "none"

    @property
    def temperature(self) -> float:
        """The arena's temperature."""
        return float(self.arena.temperature)

    @property
    def template_arguments(self) -> Mapping[str, Any]:
        """What the arena gives the chat template."""
        return self.arena.template_arguments

    def listing(self, situation: tuple[Any, Sequence[int]]) -> Listing:
        """Return what is shown, and the answers at these places."""
        whole = self.arena.listing(situation[0])
        return Listing(whole.shown, tuple(whole.answers[place] for place in situation[1]))

    def prompt(self, situation: tuple[Any, Sequence[int]]) -> str:
        """Return what tables call the situation."""
        return str(self.arena.prompt(situation[0]))

    def cluster(self, situation: tuple[Any, Sequence[int]]) -> str:
        """Return what it counts as one by."""
        return str(self.arena.cluster(situation[0]))

    def legal(self, situation: tuple[Any, Sequence[int]]) -> tuple[str, ...]:
        """Return the answers at these places as texts."""
        every = self.arena.legal(situation[0])
        return tuple(every[place] for place in situation[1])


class SomeSpelledAnswers(SomeAnswers):
    """The same of an arena that writes its answers in tokens itself."""

    def spell(self, situation: tuple[Any, Sequence[int]], tokenizer: Any, config: Any) -> Sequence[Spelling]:
        """Return the answers at these places in tokens."""
        every = self.arena.spell(situation[0], tokenizer, config)
        return tuple(every[place] for place in situation[1])


def some_answers(arena: Any) -> SomeAnswers:
    """Return a listed arena of which some answers are read."""
    return SomeSpelledAnswers(arena) if isinstance(arena, Spells) else SomeAnswers(arena)
