"""A tree of problems: what makes a problem hard stands under it, with who said so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

MERGED: Final = "merged"
STAGES: Final = ("before-reading", "after-reading", MERGED)
"""When a tree was made: before its author read other people's work, after it, or out of several trees."""


class Mention(NamedTuple):
    """Who named a problem, at which stage, in which line of which file, and in what words."""

    author: str
    stage: str
    file: str
    line: int
    words: str

    def __str__(self) -> str:
        return f"{self.author}, {self.stage}, {self.file}:{self.line}: {self.words}"


class Link(NamedTuple):
    """A conjecture of a run, or a whole study, that a problem is tied to.

    `kind` is `conjecture` (if it is true, so is the problem), `against` (if it is true, the problem is not),
    or `study`, which has no `name`.
    """

    kind: str
    name: str
    run: str

    def __str__(self) -> str:
        return f"{self.name} in {self.run}" if self.name else self.run


class Own(NamedTuple):
    """What a node says itself, without its children."""

    words: str
    id: str = ""
    refers: bool = False
    """It only names a problem that stands elsewhere in the tree, by its id: one problem under two others."""
    notes: tuple[str, ...] = ()
    see: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    hats: tuple[str, ...] = ()
    """Whose questions it came from."""
    was: tuple[str, ...] = ()
    """Ids of problems that became one with it."""
    said: tuple[Mention, ...] = ()
    """In a merged tree: everybody who named it."""


class Source(NamedTuple):
    """The text that a node was read from, how far it was indented, and what it said."""

    text: str
    indent: int
    own: Own


@dataclass(frozen=True, slots=True)
class Node:
    """A problem and the problems that make it hard.

    Attributes:
        own: what it says itself.
        children: what makes it hard, in order.
        line: of the file that it was read from; 0 for a new one.
        source: its text there, which is written again while `own` is unchanged.
    """

    own: Own
    children: tuple[Node, ...] = ()
    line: int = field(default=0, compare=False)
    source: Source | None = field(default=None, compare=False, repr=False)

    @property
    def words(self) -> str:
        """The problem."""
        return self.own.words

    @property
    def id(self) -> str:
        """Its name within the file, empty where it has none."""
        return self.own.id

    def walk(self) -> Iterator[Node]:
        """Yield the node and all below it, each before its children.

        >>> [one.words for one in Node(Own("a"), (Node(Own("b"), (Node(Own("c")),)), Node(Own("d")))).walk()]
        ['a', 'b', 'c', 'd']
        """
        stack: list[Node] = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))


class Front(NamedTuple):
    """The front matter of a file."""

    author: str
    date: str
    stage: str
    extends: str = ""
    """The merged tree that this is a copy of, to be extended."""
    of: tuple[str, ...] = ()
    """The files that a merged tree was made of."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A file of problems.

    Attributes:
        front: author, date and stage.
        nodes: the top problems.
        name: of its file, without folders.
        head: the text before the first problem (front matter, and what follows it), and what it said.
        newline: how its lines end.

    >>> tree = Tree(Front("Ada", "2026-11-20", "before-reading"), (Node(Own("nothing works")),))
    >>> [node.words for node in tree.walk()]
    ['nothing works']
    """

    front: Front
    nodes: tuple[Node, ...]
    name: str = "tree.md"
    head: tuple[str, str, Front] | None = field(default=None, compare=False, repr=False)
    newline: str = field(default="\n", compare=False, repr=False)

    @property
    def is_merged(self) -> bool:
        """Whether it was made out of several trees."""
        return self.front.stage == MERGED

    def walk(self) -> Iterator[Node]:
        """Yield every node, each before its children; problems under several others also as references."""
        for node in self.nodes:
            yield from node.walk()

    def with_child(self, parent: Node, child: Node) -> Tree:
        """Return the tree with a node added as the last child of one of its own nodes (that very object)."""
        return replace(self, nodes=tuple(_grown(node, parent, child) for node in self.nodes))


def _grown(node: Node, parent: Node, child: Node) -> Node:
    if node is parent:
        return replace(node, children=(*node.children, child))
    children = tuple(_grown(one, parent, child) for one in node.children)
    same = all(a is b for a, b in zip(children, node.children, strict=True))
    return node if same else replace(node, children=children)
