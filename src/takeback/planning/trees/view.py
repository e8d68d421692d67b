"""The rows of a picture of a tree, from the top, each with what its colours say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from takeback.draw.colour import STEPS, arm_colour, paint
from takeback.draw.numbers import count, interval, number
from takeback.draw.svg import CONTROL
from takeback.planning.trees.common import people_of
from takeback.planning.trees.evidence import (
    MIXED,
    REFUTED,
    STATES,
    STUDIED,
    SUPPORTED,
    TALK,
    UNTESTED,
    Evidence,
    state_of,
)
from takeback.planning.trees.graph import ProblemGraph
from takeback.planning.trees.tree import Node, Own, Tree
from takeback.planning.trees.wording import normalised

COLOURS: Final[Mapping[str, str]] = {
    SUPPORTED: arm_colour(2),
    REFUTED: arm_colour(1),
    MIXED: arm_colour(3),
    STUDIED: arm_colour(0),
    UNTESTED: CONTROL,
    TALK: "none",
}
"""The colour of each state of the evidence."""


class TreeRow(NamedTuple):
    """A line of the picture.

    Attributes:
        depth: 0 for a top problem.
        own: what the node says.
        anchor: names the problem within the page; references lead to it.
        people: how many named it.
        who: they.
        most: how many people named the problem that most did.
        below: how many problems hang on it.
        state: of the evidence.
        evidence: what became of each of its links.
        children: how many lines are right under it.
        closes: how many lists end after it.
    """

    depth: int
    own: Own
    anchor: str
    people: int
    who: tuple[str, ...]
    most: int
    below: int
    state: str
    evidence: tuple[Evidence, ...]
    children: int
    closes: int

    @property
    def fill(self) -> tuple[str, str]:
        """The colour by people, and that of words on it."""
        return people_colour(self.people, self.most)

    @property
    def title(self) -> str:
        """What there is to say beside the words, in a line."""
        who = f"named by {', '.join(self.who)}" if self.who else "named by nobody on record"
        return f"{who}; {count(self.below, 'problem')} below; {self.state}"


def people_colour(people: int, most: int) -> tuple[str, str]:
    """Return the fill and the ink of a number of people, as CSS values."""
    step = 1 if most <= 1 else round(1 + (STEPS - 3) * (people - 1) / (most - 1))
    return paint("sequential", max(0, step) if people else 0)


def rows_of(tree: Tree, evidence: Mapping[str, tuple[Evidence, ...]]) -> Iterator[TreeRow]:
    """Yield the rows of a tree in the order of its file.

    Raises:
        TakebackError: problems make each other hard in a circle.
    """
    graph = ProblemGraph.of(tree)
    who = {key: people_of(tree, graph, key) for key in graph.nodes}
    most = max(len(people) for people in who.values())
    below = {key: len(graph.below(key)) for key in graph.nodes}
    anchor = {key: f"p{place}" for place, key in enumerate(graph.nodes)}
    key_of = {node.id: normalised(node.words) for node in tree.walk() if node.id and not node.own.refers}
    stack: list[tuple[Node, int, int]] = _with_ends(tree.nodes, 0, 0)[::-1]
    while stack:
        node, depth, closes = stack.pop()
        own = node.own
        key = key_of[own.id] if own.refers else normalised(own.words)
        if own.refers:
            own = own._replace(words=graph.nodes[key][0].words)
        yield TreeRow(
            depth,
            own,
            anchor[key],
            len(who[key]),
            who[key],
            most,
            below[key],
            state_of(evidence.get(key, ())),
            evidence.get(key, ()) if not own.refers else (),
            len(node.children),
            0 if node.children else closes,
        )
        stack += _with_ends(node.children, depth + 1, closes)[::-1]


def _with_ends(nodes: tuple[Node, ...], depth: int, closes: int) -> list[tuple[Node, int, int]]:
    """Return siblings with their depth, and the last one with how many lists end after it."""
    last = len(nodes) - 1
    return [(node, depth, closes + 1 if place == last else 0) for place, node in enumerate(nodes)]


def told(one: Evidence) -> str:
    """Write one link with what became of it.

    >>> from takeback.planning.trees.tree import Link
    >>> told(Evidence(Link("against", "no-place", "runs/demo"), "refuted", "0 == 0 is true"))
    'refuted: no-place in runs/demo, which speaks against it: 0 == 0 is true'
    """
    against = ", which speaks against it" if one.link.kind == "against" else ""
    return f"{one.state}: {one.link}{against}: {one.told}" + (
        f"; {spread_of(one)}" if one.interval is not None else ""
    )


def spread_of(one: Evidence) -> str:
    """Write the interval of what a rule compares, empty where it has none."""
    found = one.interval
    if found is None:
        return ""
    return f"{found.of} {number(found.value)} {interval(found.low, found.high)}, {count(found.n, 'run')}"


def summary(tree: Tree, rows: list[TreeRow]) -> str:
    """Write how many problems, people and states there are, in a sentence."""
    own = [row for row in rows if not row.own.refers]
    people = {name for row in own for name in row.who}
    states = {state: sum(row.state == state for row in own) for state in STATES}
    linked = ", ".join(f"{states[state]} {state}" for state in STATES[:-1] if states[state])
    named = f"{count(len(own), 'problem')}, named by {count(len(people), 'person', 'people')}."
    return (
        f"{named} Tied to runs: {linked}; {states[TALK]} to none."
        if linked
        else f"{named} None is tied to a run."
    )
