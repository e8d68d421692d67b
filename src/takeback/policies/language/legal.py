"""The first round of a readout, the same for every model: all prefixes of all legal actions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from takeback.policies.language.judge import Judge
from takeback.policies.language.rounds import Floats, Round, RoundAnswers
from takeback.policies.language.trie import ROOT, TokenTree
from takeback.policies.language.vocabulary import Vocabulary
from takeback.run.errors import TakebackError

SPELLINGS = 16
"""Most spellings of a move (with and without a leading space) that are summed with an ordinary tokenizer."""

Ints = NDArray[np.int64]
Spelling = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class LegalRound:
    """Each situation's root and every prefix of its legal actions, as targets of a round.

    Attributes:
        round: What is asked. With an enumerable vocabulary the pairs are all tokens that keep an answer
            undecided, else only those that lead to a legal action.
        roots: The target that is each situation's root.
        child: The target that each pair leads to, or -1 where the pair leaves the legal prefixes.
        end: The outcome of ending the answer at each target, or -1 where that is left to sampling.
        levels: The pairs that stay among the legal prefixes, by depth.
    """

    round: Round
    roots: Ints
    child: Ints
    end: Ints
    levels: tuple[Ints, ...]

    @classmethod
    def of(
        cls, tree: TokenTree, prompts: Sequence[Ints], spellings: Sequence[Sequence[Spelling]], judge: Judge
    ) -> LegalRound:
        """Lay out the round from each situation's spellings of its legal actions."""
        situations: list[int] = []
        nodes: list[int] = []
        ends: list[int] = []
        pairs: list[tuple[Ints, Ints, Ints]] = []
        for number, ways in enumerate(spellings):
            paths = [tree.descend(way) for way in ways]
            needed = dict.fromkeys([ROOT, *(node for path in paths for node in path)])
            members = sorted(needed, key=tree.length)
            target = {node: len(nodes) + i for i, node in enumerate(members)}
            complete = {path[-1] for path in paths}
            pairs += _pairs(tree, target)
            judged = (tree.vocabulary.exact or node in complete for node in members)
            ends += [
                judge(number, tree.answer(node)) if ask else -1
                for node, ask in zip(members, judged, strict=True)
            ]
            situations += [number] * len(members)
            nodes += members
        at = (np.array(situations), np.array(nodes))
        pair_target, pair_token, child = (np.concatenate(column) for column in zip(*pairs, strict=True))
        depth = np.where(child >= 0, tree.depth[at[1]][pair_target], -1)
        return cls(
            round=Round.of(tree, prompts, at, (pair_target, pair_token)),
            roots=np.flatnonzero(at[1] == ROOT),
            child=child,
            end=np.array(ends),
            levels=tuple(np.flatnonzero(depth == level) for level in range(int(depth.max()) + 1)),
        )

    def reach(self, answers: RoundAnswers) -> Floats:
        """Return the probability of reaching each target: the product along its path."""
        masses = np.zeros(len(self.round.nodes))
        masses[self.roots] = 1.0
        for pairs in self.levels:
            masses[self.child[pairs]] = masses[self.round.pair_target[pairs]] * answers.pair[pairs]
        return masses


def _pairs(tree: TokenTree, target: dict[int, int]) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Yield (target, token, child target) of each target of a situation."""
    below: dict[int, dict[int, int]] = {node: {} for node in target}
    for node, number in target.items():
        if node != ROOT:
            parent, token = tree.step(node)
            below[parent][token] = number
    for node, number in target.items():
        inside = np.array(sorted(below[node]), np.int64)
        tokens = tree.continuations(node) if tree.vocabulary.exact else inside
        place = np.searchsorted(tokens, inside)
        if len(inside) and (place[-1] == len(tokens) or (tokens[place] != inside).any()):
            raise TakebackError(
                f"the arena calls {tree.text(node)!r} a dead end, but legal actions go on from it"
            )
        child = np.full(len(tokens), -1)
        child[place] = [below[node][token] for token in inside.tolist()]
        yield np.full(len(tokens), number), tokens, child


class Speller:
    """Finds the token sequences that spell a move, and tells whether they are all there are."""

    def __init__(self, vocabulary: Vocabulary, tokenizer: PreTrainedTokenizerBase) -> None:
        self._vocabulary, self._tokenizer = vocabulary, tokenizer
        self._known: dict[str, tuple[list[Spelling], bool]] = {}

    def __call__(self, action: str) -> tuple[list[Spelling], bool]:
        """Return the spellings of an action, and whether no spelling is left out.

        Raises:
            TakebackError: the tokenizer can't spell the action.
        """
        if action not in self._known:
            self._known[action] = self._spell(action)
        return self._known[action]

    def _spell(self, action: str) -> tuple[list[Spelling], bool]:
        vocabulary = self._vocabulary
        variants = [action] if vocabulary.exact else [action, f" {action}"]
        every = [way for variant in variants for way in vocabulary.spellings(variant, SPELLINGS + 1)]
        if vocabulary.exact and len(every) > SPELLINGS:
            every = vocabulary.spellings(action, None)
        complete = vocabulary.exact or len(every) <= SPELLINGS
        if not complete:
            own = {tuple(self._tokenizer.encode(variant, add_special_tokens=False)) for variant in variants}
            every = [way for way in sorted(own) if "".join(vocabulary.texts[t] for t in way) in variants]
        if not every:
            raise TakebackError(f"the tokenizer has no tokens that spell the legal action {action!r}")
        return every, complete
