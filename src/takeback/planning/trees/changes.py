"""What became of a tree: problems added, dropped, moved and reworded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from takeback.planning.trees.graph import ProblemGraph
from takeback.planning.trees.tree import Tree
from takeback.planning.trees.wording import NEAR, near_pairs

KINDS: Final = ("added", "dropped", "moved", "reworded")


class TreeChange(NamedTuple):
    """One change of one problem; one that moved and was reworded has two.

    Attributes:
        kind: one of `KINDS`.
        problem: its words now, or before where it was dropped.
        before: its words before, empty where it was added.
        under_before, under: the problems it made and makes hard.
        line_before, line: where it stands in each file; 0 where it does not.
        likeness: of the two wordings where nothing but that tells they are one problem; else 1.
    """

    kind: str
    problem: str
    before: str
    under_before: tuple[str, ...]
    under: tuple[str, ...]
    line_before: int
    line: int
    likeness: float


def compare(before: Tree, after: Tree, near: float = NEAR) -> list[TreeChange]:
    r"""Tell what changed between two trees of one question.

    Problems are the same when their words are but for case, punctuation and spaces, or their ids, or else
    when they are the most alike of those left over, with a likeness of at least `near`.

    Raises:
        TakebackError: problems of a tree make each other hard in a circle.

    Examples:
        >>> from takeback.planning.trees.read import parse_tree
        >>> front = "---\nauthor: Ada\ndate: 2026-11-20\nstage: before-reading\n---\n"
        >>> old = parse_tree(front + "- top\n  - no names\n  - noise\n")
        >>> new = parse_tree(front + "- top\n  - no good names\n    - noise\n  - cost\n")
        >>> [(one.kind, one.problem, one.under) for one in compare(old, new)][:2]
        [('added', 'cost', ('top',)), ('moved', 'noise', ('no good names',))]
    """
    old, new = ProblemGraph.of(before), ProblemGraph.of(after)
    matched = _matched(old, new, near)
    now_of = {one: other for one, (other, _) in matched.items()}
    changes: list[TreeChange] = []
    for key in new.nodes:
        if key not in now_of.values():
            changes.append(_change("added", old, "", new, key, 1.0))
    for key in old.nodes:
        if key not in now_of:
            changes.append(_change("dropped", old, key, new, "", 1.0))
            continue
        now, likeness = matched[key]
        if {now_of.get(one, f"\n{one}") for one in old.parents[key]} != set(new.parents[now]):
            changes.append(_change("moved", old, key, new, now, likeness))
        if old.nodes[key][0].words != new.nodes[now][0].words:
            changes.append(_change("reworded", old, key, new, now, likeness))
    return sorted(changes, key=lambda one: (KINDS.index(one.kind), one.line or one.line_before, one.problem))


def _matched(old: ProblemGraph, new: ProblemGraph, near: float) -> Mapping[str, tuple[str, float]]:
    found = {key: (key, 1.0) for key in old.nodes if key in new.nodes}
    taken = set(found)
    by_id = {node.id: key for key, nodes in new.nodes.items() for node in nodes if node.id}
    for key, nodes in old.nodes.items():
        for other in (by_id.get(node.id) for node in nodes if node.id):
            if key not in found and other is not None and other not in taken:
                found[key] = (other, 1.0)
                taken.add(other)
    left = [key for key in old.nodes if key not in found]
    right = [key for key in new.nodes if key not in taken]
    pairs = [
        (-likeness, left[a], right[b - len(left)])
        for likeness, a, b in near_pairs([*left, *right], near)
        if a < len(left) <= b
    ]
    for likeness, key, other in sorted(pairs):
        if key not in found and other not in taken:
            found[key] = (other, -likeness)
            taken.add(other)
    return found


def _change(
    kind: str, old: ProblemGraph, before: str, new: ProblemGraph, after: str, likeness: float
) -> TreeChange:
    def words(graph: ProblemGraph, key: str) -> str:
        return graph.nodes[key][0].words if key else ""

    def under(graph: ProblemGraph, key: str) -> tuple[str, ...]:
        return tuple(words(graph, one) for one in graph.parents[key]) if key else ()

    return TreeChange(
        kind,
        words(new, after) or words(old, before),
        words(old, before),
        under(old, before),
        under(new, after),
        old.nodes[before][0].line if before else 0,
        new.nodes[after][0].line if after else 0,
        likeness,
    )
