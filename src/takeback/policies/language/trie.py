"""The tree of token paths of answers, grown where it is needed and shared by all situations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from takeback.policies.language.vocabulary import Vocabulary

ROOT = 0

Ints = NDArray[np.int64]


class TokenTree:
    """Every token path that was needed so far: a node is a path, its text what the path decodes to.

    Growing it changes no result: nodes only gain numbers, and no number orders anything. Without `viable`
    any text can go on.
    """

    def __init__(self, vocabulary: Vocabulary, viable: Callable[[str], bool] | None) -> None:
        self.vocabulary = vocabulary
        self._viable = viable
        self._parent, self._token, self._depth = [-1], [-1], [0]
        self._texts = [""]
        self._children: dict[tuple[int, int], int] = {}
        self._continuations: dict[str, Ints] = {}
        self._paths = np.zeros((1, 0), np.int64)
        self._arrays = (np.array([-1]), np.array([0]))

    @property
    def token(self) -> Ints:
        """The last token of each node's path; -1 for the root."""
        self._paths_array()
        return self._arrays[0]

    @property
    def depth(self) -> Ints:
        """The length of each node's path."""
        self._paths_array()
        return self._arrays[1]

    def text(self, node: int) -> str:
        """Return the text that the node's path decodes to."""
        return self._texts[node]

    def answer(self, node: int) -> str:
        """Return the node's text as an answer: with an ordinary vocabulary, without one leading space."""
        text = self._texts[node]
        return text if self.vocabulary.exact else text.removeprefix(" ")

    def step(self, node: int) -> tuple[int, int]:
        """Return the node's parent and last token."""
        return self._parent[node], self._token[node]

    def length(self, node: int) -> int:
        """Return the number of tokens of the node's path."""
        return self._depth[node]

    def child(self, node: int, token: int) -> int:
        """Return the node of a path one token longer, growing the tree if it is new."""
        key = (node, token)
        if key not in self._children:
            self._children[key] = len(self._texts)
            self._parent.append(node)
            self._token.append(token)
            self._depth.append(self._depth[node] + 1)
            self._texts.append(self._texts[node] + self.vocabulary.texts[token])
        return self._children[key]

    def descend(self, path: Sequence[int]) -> list[int]:
        """Return the nodes along a path, the root first."""
        nodes = [ROOT]
        for token in path:
            nodes.append(self.child(nodes[-1], token))
        return nodes

    def continuations(self, node: int) -> Ints:
        """Return the tokens that keep the answer undecided after this node, ascending."""
        text = self._texts[node]
        if text not in self._continuations:
            tokens = self.vocabulary.letters.continuations(text, self._viable or bool)
            self._continuations[text] = np.array(tokens, np.int64)
        return self._continuations[text]

    def goes_on(self, node: int, token: int) -> bool:
        """Tell whether a token keeps the answer undecided after this node."""
        if self._viable is None:
            return bool(self.vocabulary.texts[token])
        return bool((self.continuations(node) == token).any())

    def paths(self, nodes: Ints) -> Ints:
        """Return the nodes along each path without the root, shape (n, longest path), -1 on the left."""
        return self._paths_array()[nodes]

    def _paths_array(self) -> Ints:
        known = len(self._paths)
        if known < len(self._texts):
            deepest = max(self._depth)
            grown = np.full((len(self._texts), deepest), -1)
            grown[:known, deepest - self._paths.shape[1] :] = self._paths
            for node in range(known, len(self._texts)):
                grown[node, :-1] = grown[self._parent[node], 1:]
                grown[node, -1] = node
            self._paths = grown
            self._arrays = (np.array(self._token), np.array(self._depth))
        return self._paths
