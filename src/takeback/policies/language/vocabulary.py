"""What a tokenizer's tokens mean in an answer: the text each adds, and which ones end it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from takeback.run.errors import TakebackError

EXACT_TOKENS = 4096
"""Largest vocabulary whose answers are enumerated; with a larger one, illegality classes are sampled."""

_PLAIN = "a"


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens of a tokenizer as an answer uses them.

    Attributes:
        texts: What each token adds to the answer; "" for special tokens.
        exact: Whether answers are enumerated: the vocabulary is small. Then only end-of-sequence ends one.
        ends: True for tokens that end an answer. With an ordinary vocabulary these are the special tokens
            and, unless actions have several words, once the answer has begun every token that starts with
            white space.
        special: True for special tokens.
    """

    texts: tuple[str, ...]
    exact: bool
    ends: NDArray[np.bool_]
    special: NDArray[np.bool_]
    letters: Letters = field(repr=False)

    @classmethod
    def of(
        cls, tokenizer: PreTrainedTokenizerBase, exact: bool | None = None, several_words: bool = False
    ) -> Vocabulary:
        """Read a tokenizer's vocabulary; `exact` None lets its size decide.

        Raises:
            TakebackError: the tokenizer has no end-of-sequence token.
        """
        if not isinstance(tokenizer.eos_token_id, int):
            raise TakebackError(
                "the tokenizer has no end-of-sequence token, so no answer could end; set eos_token"
            )
        size = len(tokenizer)
        special = np.zeros(size, np.bool_)
        special[[number for number in tokenizer.all_special_ids if number < size]] = True
        texts = tuple("" if special[t] else text for t, text in enumerate(_token_texts(tokenizer, size)))
        exact = size <= EXACT_TOKENS if exact is None else exact
        ends = np.arange(size) == tokenizer.eos_token_id
        if not exact:
            ends = special | np.array([text[:1].isspace() and not several_words for text in texts])
        return cls(texts, exact, ends, special, Letters.of(texts))

    def spellings(self, text: str, limit: int | None) -> list[tuple[int, ...]]:
        """List the first `limit` (None: all) token sequences that spell `text`, in a fixed order."""
        return list(islice(self._spell(text), limit))

    def _spell(self, text: str) -> Iterator[tuple[int, ...]]:
        if not text:
            yield ()
        for length, tokens in self.letters.prefixes_of(text):
            for token in tokens:
                for rest in self._spell(text[length:]):
                    yield (token, *rest)


@dataclass(frozen=True, eq=False)
class Letters:
    """A tree of letters over the tokens' texts, to find which tokens may follow letter by letter."""

    tokens: list[int] = field(default_factory=list[int])
    next: dict[str, Letters] = field(default_factory=dict[str, "Letters"])

    @classmethod
    def of(cls, texts: Iterable[str]) -> Letters:
        """Build the tree of all non-empty texts."""
        root = cls()
        for token, text in enumerate(texts):
            if text:
                node = root
                for letter in text:
                    node = node.next.setdefault(letter, cls())
                node.tokens.append(token)
        return root

    def continuations(self, text: str, viable: Callable[[str], bool]) -> list[int]:
        """List the tokens that may follow `text`, ascending: every letter they add keeps it viable."""
        found: list[int] = []
        open_nodes = [(text, self)]
        while open_nodes:
            so_far, node = open_nodes.pop()
            found += node.tokens
            open_nodes += [
                (so_far + letter, below) for letter, below in node.next.items() if viable(so_far + letter)
            ]
        return sorted(found)

    def prefixes_of(self, text: str) -> Iterator[tuple[int, list[int]]]:
        """Yield (length, tokens) for every length at which tokens spell the start of `text`."""
        node: Letters | None = self
        for length, letter in enumerate(text, start=1):
            node = node.next.get(letter) if node else None
            if node is None:
                return
            if node.tokens:
                yield length, node.tokens


def _token_texts(tokenizer: PreTrainedTokenizerBase, size: int) -> list[str]:
    """Decode each token after a plain letter, so that a word-start mark counts as the space it stands for."""
    anchor = tokenizer.encode(_PLAIN, add_special_tokens=False)[-1:]
    before = tokenizer.decode(anchor, clean_up_tokenization_spaces=False)
    decoded = tokenizer.batch_decode(
        [[*anchor, token] for token in range(size)], clean_up_tokenization_spaces=False
    )
    return [str(text).removeprefix(str(before)) for text in decoded]
