"""A tree as a graph: problems, which makes which hard, cycles, and what hangs on what."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from takeback.planning.trees.tree import Node, Tree
from takeback.planning.trees.wording import normalised
from takeback.run.errors import TakebackError

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class ProblemGraph:
    """The problems of one tree, each once, though it may stand under several others.

    Attributes:
        nodes: by key, in the order of the file. The key is the normalised wording; two nodes of a plain tree
            with the same one are one problem.
        children: what makes each hard, in order.
        parents: what each makes hard, in order.
    """

    nodes: Mapping[str, tuple[Node, ...]]
    children: Mapping[str, tuple[str, ...]]
    parents: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, tree: Tree) -> ProblemGraph:
        """Return the graph of a tree.

        Raises:
            TakebackError: problems make each other hard in a circle; the message has its path.
        """
        key_of = {node.id: normalised(node.words) for node in tree.walk() if node.id and not node.own.refers}

        def key(node: Node) -> str:
            return key_of[node.id] if node.own.refers else normalised(node.words)

        nodes: dict[str, tuple[Node, ...]] = {}
        children: dict[str, dict[str, int]] = {}
        parents: dict[str, dict[str, int]] = {}
        for node in tree.walk():
            name = key(node)
            nodes.setdefault(name, ())
            if not node.own.refers:
                nodes[name] = (*nodes[name], node)
            parents.setdefault(name, {})
            below = children.setdefault(name, {})
            for child in node.children:
                below.setdefault(key(child), child.line)
                parents.setdefault(key(child), {}).setdefault(name, child.line)
        if circle := cycle_in({name: tuple(below) for name, below in children.items()}):
            steps = [(nodes[a][0].words, f"{tree.name}:{children[a][b]}") for a, b in pairwise(circle)]
            raise told_cycle(steps)
        return cls(
            nodes,
            {name: tuple(below) for name, below in children.items()},
            {name: tuple(above) for name, above in parents.items()},
        )

    @property
    def roots(self) -> tuple[str, ...]:
        """The problems that make no other hard."""
        return tuple(name for name in self.nodes if not self.parents[name])

    def below(self, name: str) -> set[str]:
        """Return all problems that hang on one, however far below it."""
        return reached(self.children, name)

    def above(self, name: str) -> set[str]:
        """Return all problems that one makes hard, however far above it."""
        return reached(self.parents, name)


def reached(steps: Mapping[Key, Iterable[Key]], start: Key) -> set[Key]:
    """Return what can be reached from a start by one step or more.

    >>> sorted(reached({"a": "b", "b": "cd", "c": "", "d": "", "e": "a"}, "a"))
    ['b', 'c', 'd']
    """
    found: set[Key] = set()
    stack = list(steps[start])
    while stack:
        if (one := stack.pop()) not in found:
            found.add(one)
            stack += steps[one]
    return found


def cycle_in(steps: Mapping[Key, Sequence[Key]]) -> list[Key]:
    """Return a path that ends where it begins, empty where there is none.

    >>> cycle_in({"a": "b", "b": "c", "c": "b"}), cycle_in({"a": "bc", "b": "c", "c": ""})
    (['b', 'c', 'b'], [])
    """
    done: set[Key] = set()
    for start in steps:
        path: dict[Key, int] = {}
        stack: list[tuple[Key, int]] = [(start, 0)] if start not in done else []
        while stack:
            name, place = stack.pop()
            if place == 0:
                path[name] = len(path)
            if place == len(steps[name]):
                done.add(name)
                del path[name]
                continue
            stack.append((name, place + 1))
            child = steps[name][place]
            if child in path:
                names = list(path)
                return [*names[path[child] :], child]
            if child not in done:
                stack.append((child, 0))
    return []


def told_cycle(steps: Sequence[tuple[str, str]]) -> TakebackError:
    """Build the error for a cycle: each problem's words, and where the next one is named under it."""
    names = [words for words, _ in steps]
    told = ", ".join(
        f"{words!r} by {by!r} ({place})"
        for (words, place), by in zip(steps, [*names[1:], names[0]], strict=True)
    )
    return TakebackError(f"problems make each other hard in a circle: {told}; take one of these lines out")
