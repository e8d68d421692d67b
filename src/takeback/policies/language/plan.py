"""What a readout needs from arena, situations and tokenizer, prepared once for every model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from takeback.arenas import Enumerable, able, written
from takeback.policies.language.judge import Judge
from takeback.policies.language.legal import LegalRound, Speller
from takeback.policies.language.trie import TokenTree
from takeback.policies.language.vocabulary import Vocabulary
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    from takeback.arenas import Arena

LONGEST = 8
"""Tokens after which a drawn answer is cut off, where no action is longer."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ReadoutPlan:
    """Situations made ready to be read from any number of models that share a tokenizer.

    Attributes:
        texts: Each situation as tables call it.
        clusters: Each situation's cluster, for standard errors.
        actions: Each situation's legal actions.
        prompts: Each situation's prompt in the plan's style, in tokens.
        tree: The token paths of answers.
        judge: What an ended answer is.
        legal: The first round.
        lower_bound: True for situations of which some legal action has more spellings than are summed.
        longest: Tokens after which a drawn answer is cut off; None where the arena knows dead ends.
    """

    arena: Arena[Any]
    texts: tuple[str, ...]
    clusters: tuple[str, ...]
    actions: tuple[tuple[str, ...], ...]
    prompts: tuple[Ints, ...]
    tree: TokenTree
    judge: Judge
    legal: LegalRound
    lower_bound: NDArray[np.bool_]
    longest: int | None

    @property
    def exact(self) -> bool:
        """Whether kinds of answers are enumerated, not sampled."""
        return self.tree.vocabulary.exact

    @classmethod
    def prepare(
        cls,
        arena: Arena[Any],
        situations: Iterable[Any],
        tokenizer: PreTrainedTokenizerBase,
        style: str = "compact",
        exact: bool | None = None,
    ) -> ReadoutPlan:
        """Prepare situations; `exact` None enumerates a small vocabulary if the arena knows dead ends.

        Raises:
            TakebackError: no situations, the tokenizer has no end token or can't spell a legal action, or
                the arena does not know dead ends and `exact` is asked for.
        """
        chosen = tuple(situations)
        if not chosen:
            raise TakebackError("no situations to read; ask the arena for at least one")
        actions = tuple(tuple(arena.legal(situation)) for situation in chosen)
        viable = able(arena, Enumerable).viable if exact or isinstance(arena, Enumerable) else None
        vocabulary = Vocabulary.of(tokenizer, exact if viable else False, several_words(actions))
        tree = TokenTree(
            vocabulary, viable if vocabulary.exact or viable is None else partial(_after_space, viable)
        )
        judge = Judge(arena, chosen, actions)
        prompts = _prompts(tokenizer, [written(arena, situation, style) for situation in chosen])
        spell = Speller(vocabulary, tokenizer)
        spellings = [[way for action in legal for way in spell(action)[0]] for legal in actions]
        return cls(
            arena=arena,
            texts=tuple(arena.prompt(situation) for situation in chosen),
            clusters=tuple(str(arena.cluster(situation)) for situation in chosen),
            actions=actions,
            prompts=prompts,
            tree=tree,
            judge=judge,
            legal=LegalRound.of(tree, prompts, spellings, judge),
            lower_bound=np.array([not all(spell(action)[1] for action in legal) for legal in actions]),
            longest=None if viable else max([LONGEST, *(len(way) + 1 for ways in spellings for way in ways)]),
        )


def several_words(actions: Iterable[Iterable[str]]) -> bool:
    """Tell whether any action has a blank in it, so that blanks don't end answers."""
    return any(any(letter.isspace() for letter in action) for legal in actions for action in legal)


def _after_space(viable: Callable[[str], bool], text: str) -> bool:
    return viable(text.removeprefix(" "))


def _prompts(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> tuple[Ints, ...]:
    """Encode prompts as the tokenizer does, without an end token that it may add."""
    rows = [list(row) for row in tokenizer(texts)["input_ids"]]
    rows = [row[:-1] if row and row[-1] == tokenizer.eos_token_id else row for row in rows]
    if not all(rows):
        raise TakebackError("a prompt has no tokens, so there is nothing to answer")
    return tuple(np.array(row, np.int64) for row in rows)
