"""Tree scoring: prompts and token-tree nodes packed into rows, so that one forward pass scores every node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from takeback.policies.language.trie import ROOT, TokenTree

ROW_NODES = 64
"""Most nodes asked for in one row: attention costs the square of a row's length."""
ROWS = 16
"""Most rows in one forward pass: more gain nothing on a CPU and cost memory traffic."""
LOGITS = 2**24
"""Most logits in one forward pass, which bounds memory with large vocabularies."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class PackedRows:
    """Rows of tokens for one forward pass: left-padded prompts, each with `nodes` right-padded nodes.

    Shapes: tokens and positions (rows, T); sees (rows, T, T), true where the first token sees the second.
    """

    tokens: Ints
    positions: Ints
    sees: NDArray[np.bool_]
    nodes: int


@dataclass(frozen=True)
class Batch:
    """Rows, the targets they score (places in the caller's list), and where in rows x (1 + nodes)."""

    rows: PackedRows
    targets: Ints
    places: Ints

    def halves(self) -> Iterator[Batch]:
        """Yield the first half of the rows, no smaller, and the second, with what they score."""
        rows, width = self.rows, self.rows.nodes + 1
        half = (len(rows.tokens) + 1) // 2
        later = self.places >= half * width
        for some, mine, before in ((slice(half), ~later, 0), (slice(half, None), later, half * width)):
            piece = PackedRows(rows.tokens[some], rows.positions[some], rows.sees[some], rows.nodes)
            yield Batch(piece, self.targets[mine], self.places[mine] - before)


def pack(
    prompts: Sequence[Ints], situations: Ints, nodes: Ints, tree: TokenTree, vocabulary: int
) -> Iterator[Batch]:
    """Pack targets (a situation's number and a node of the tree each) into batches, deterministically.

    Targets of one situation keep their order and share rows of at most `ROW_NODES`; rows of like length share
    a batch. Ancestors that aren't targets are added. How a node is numbered has no influence on the packing.
    """
    if not len(situations):
        return
    order = np.argsort(situations, kind="stable")
    first = np.searchsorted(situations[order], situations[order], side="left")
    rank = np.arange(len(order)) - first
    _, row = np.unique(situations[order] * len(order) + rank // ROW_NODES, return_inverse=True)
    bounds = np.searchsorted(row, np.arange(row[-1] + 2))
    sizes = np.diff(bounds)
    lengths = np.array([len(prompts[s]) for s in situations[order][bounds[:-1]]]) + sizes
    by_length = np.argsort(lengths, kind="stable")
    largest = int(sizes.max() + tree.depth[nodes].max()) + 1
    count = max(1, min(ROWS, LOGITS // (largest * vocabulary)))
    for start in range(0, len(by_length), count):
        members = [order[bounds[r] : bounds[r + 1]] for r in by_length[start : start + count]]
        yield _batch(prompts, members, situations, nodes, tree)


def _batch(
    prompts: Sequence[Ints], members: list[Ints], situations: Ints, nodes: Ints, tree: TokenTree
) -> Batch:
    targets = np.concatenate(members)
    row = np.repeat(np.arange(len(members)), [len(m) for m in members])
    paths = tree.paths(nodes[targets])  # (targets, depth), root-side first, -1 before the start
    slot_row, slot_node, slot_of = _slots(row, paths)
    starts = np.searchsorted(slot_row, np.arange(len(members)))
    column = np.arange(len(slot_row)) - starts[slot_row]
    width = int(column.max()) + 1 if len(column) else 0
    asked = [prompts[int(situations[m[0]])] for m in members]
    longest = max(len(prompt) for prompt in asked)
    lengths = np.array([len(prompt) for prompt in asked])
    tokens = np.zeros((len(members), longest + width), np.int64)
    positions = np.zeros_like(tokens)
    for r, prompt in enumerate(asked):
        tokens[r, longest - len(prompt) : longest] = prompt
        positions[r, longest - len(prompt) : longest] = np.arange(len(prompt))
    tokens[slot_row, longest + column] = tree.token[slot_node]
    positions[slot_row, longest + column] = lengths[slot_row] + tree.depth[slot_node] - 1
    sees = visibility(lengths, longest, width)
    inner = slot_of.copy()
    for depth in range(paths.shape[1]):
        present = paths[:, depth] >= 0
        for below in range(depth, paths.shape[1]):
            both = present & (paths[:, below] >= 0)
            sees[row[both], longest + column[inner[both, below]], longest + column[inner[both, depth]]] = True
    is_root = nodes[targets] == ROOT
    last = slot_of[:, -1] if paths.shape[1] else np.zeros(len(targets), np.int64)
    place = np.zeros(len(targets), np.int64)
    place[~is_root] = 1 + column[last[~is_root]]
    return Batch(PackedRows(tokens, positions, sees, width), targets, row * (width + 1) + place)


def _slots(row: Ints, paths: Ints) -> tuple[Ints, Ints, Ints]:
    """Give every node its slot in each row that needs it, by row, then by first need, ancestors first."""
    flat = paths.reshape(-1)
    keep = flat >= 0
    base = int(flat.max(initial=0)) + 1
    keys = np.repeat(row, paths.shape[1])[keep] * base + flat[keep]
    unique, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    slot_of = np.full(flat.shape, -1)
    slot_of[keep] = rank[inverse]
    return unique[order] // base, unique[order] % base, slot_of.reshape(paths.shape)


def visibility(lengths: Ints, longest: int, width: int) -> NDArray[np.bool_]:
    """Let prompts be causal and nodes see their prompt; every token, padding too, sees itself."""
    size = longest + width
    sees = np.zeros((len(lengths), size, size), np.bool_)
    real = np.arange(longest) >= (longest - lengths)[:, None]
    causal = np.tri(longest, dtype=np.bool_)
    sees[:, :longest, :longest] = causal & real[:, None, :]
    sees[:, longest:, :longest] = real[:, None, :]
    sees[:, np.arange(size), np.arange(size)] = True
    return sees
