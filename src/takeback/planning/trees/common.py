"""Which problems many people and many branches share: a project that meets one helps in many places."""

from __future__ import annotations

from typing import NamedTuple

from takeback.planning.trees.graph import ProblemGraph
from takeback.planning.trees.tree import Tree


class Shared(NamedTuple):
    """A problem with what ranks it.

    Attributes:
        problem: its words.
        id: its name in the file, empty where it has none.
        people: how many distinct people named it.
        parents: how many distinct problems it makes hard at first hand.
        branches: how many of the problems right under the top ones it is or lies below.
        below: how many distinct problems hang on it.
        share: the fraction of all problems but the top ones that it and what hangs on it are.
        who: the people.
    """

    problem: str
    id: str
    people: int
    parents: int
    branches: int
    below: int
    share: float
    who: tuple[str, ...]


def common(tree: Tree) -> list[Shared]:
    r"""Rank problems: first by people, then by parents, then by what hangs on them, then by alphabet.

    The top problems are left out, since everything hangs on them.

    Raises:
        TakebackError: problems make each other hard in a circle.

    Examples:
        >>> from takeback.planning.trees.read import parse_tree
        >>> front = "---\nauthor: Ada\ndate: 2026-11-20\nstage: before-reading\n---\n"
        >>> ranked = common(parse_tree(front + "- top\n  - a\n    - c\n  - b\n    - c\n"))
        >>> [(one.problem, one.people, one.parents, one.branches, one.below) for one in ranked]
        [('c', 1, 2, 2, 0), ('a', 1, 1, 1, 1), ('b', 1, 1, 1, 1)]
    """
    graph = ProblemGraph.of(tree)
    roots = set(graph.roots)
    branches = {child for root in roots for child in graph.children[root]}
    ranked: list[Shared] = []
    for key, nodes in graph.nodes.items():
        if key in roots:
            continue
        who = people_of(tree, graph, key)
        below = len(graph.below(key))
        within = branches & (graph.above(key) | {key})
        share = (below + 1) / (len(graph.nodes) - len(roots))
        ids = [node.id for node in nodes if node.id]
        counts = (len(who), len(graph.parents[key]), len(within), below)
        ranked.append(Shared(nodes[0].words, ids[0] if ids else "", *counts, share, who))
    return sorted(ranked, key=lambda one: (-one.people, -one.parents, -one.below, one.problem))


def people_of(tree: Tree, graph: ProblemGraph, key: str) -> tuple[str, ...]:
    """Return who named a problem: those a merged tree lists, or the author of a plain one."""
    if not tree.is_merged:
        return (tree.front.author,)
    return tuple(sorted({said.author for node in graph.nodes[key] for said in node.own.said}))
