"""Trees on the terminal: what is shared, what changed, what runs say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from takeback.draw.columns import Column, table_of
from takeback.draw.numbers import ABSENT, count, listing, percent
from takeback.draw.page import Section, Table
from takeback.draw.terminal import print_section
from takeback.planning.trees.changes import KINDS, TreeChange
from takeback.planning.trees.common import Shared
from takeback.planning.trees.evidence import STATES, Branch, Evidence, state_of
from takeback.planning.trees.graph import ProblemGraph
from takeback.planning.trees.merge import Merge
from takeback.planning.trees.tree import Tree
from takeback.planning.trees.view import spread_of

Found = Mapping[str, tuple[Evidence, ...]]


def merge_words(merge: Merge, path: str, proposals: str) -> list[str]:
    """Return what merging gave, in sentences."""
    nodes = [node for node in merge.tree.walk() if not node.own.refers]
    people = sorted({said.author for node in nodes for said in node.own.said})
    said = sum(len(node.own.said) for node in nodes)
    told = [f"{path}: {count(len(nodes), 'problem')}, named {count(said, 'time')} by {listing(people)}"]
    if merge.proposals:
        may = count(len(merge.proposals), "pair")
        told.append(
            f"{proposals}: {may} may be the same; write same or different for each ?, and merge again"
        )
    told += [f"decided but in no tree: {one!r} and {other!r}" for one, other in merge.idle]
    return told


def print_common(tree: Tree, ranked: Sequence[Shared], found: Found, most: int) -> None:
    """Print the problems that most people and branches share."""
    states = _states(tree, found)
    numbers = [Column(name, str) for name in ("people", "parents", "branches", "below")]
    evidence = Column("evidence", lambda problem: states.get(problem, ABSENT), "problem", words=True)
    columns = [Column("problem"), *numbers, Column("share", percent), evidence]
    table = table_of([one._asdict() for one in ranked[:most]], columns)
    words = f"{len(table.rows)} of {count(len(ranked), 'problem')}, without the top ones."
    print_section(Section(f"What is shared in {tree.name}", (words,), tables=(table,)))


def print_changes(before: Tree, after: Tree, changes: Sequence[TreeChange]) -> None:
    """Print what became of a tree."""
    head = ("change", "problem", "before", "line before", "line")
    rows = tuple(
        (one.kind, one.problem, _before(one), str(one.line_before or ABSENT), str(one.line or ABSENT))
        for one in changes
    )
    counts = [f"{sum(one.kind == kind for one in changes)} {kind}" for kind in KINDS]
    tables = (Table(head, rows, ("change", "problem", "before")),) if rows else ()
    print_section(Section(f"From {before.name} to {after.name}", (f"{listing(counts)}.",), tables=tables))


def _before(one: TreeChange) -> str:
    if one.kind == "moved":
        before, now = (" and ".join(names) or "nothing" for names in (one.under_before, one.under))
        return f"under {before}; now under {now}"
    if one.kind == "reworded":
        return one.before + (f" (likeness {one.likeness:.2f})" if one.likeness < 1 else "")
    return ABSENT


def print_evidence(tree: Tree, found: Found, told: Sequence[Branch]) -> None:
    """Print each problem that is tied to a run, and for each branch how much of it is."""
    graph = ProblemGraph.of(tree)
    rows = tuple(
        (
            graph.nodes[key][0].words,
            f"{one.link.kind} {one.link}",
            one.state,
            one.told,
            spread_of(one) or ABSENT,
        )
        for key, every in found.items()
        for one in every
    )
    head = ("problem", "tied to", "state", "why", "95% interval")
    linked = (Table(head, rows, head),) if rows else ()
    states = [state for state in STATES if any(branch.states[state] for branch in told)]
    branches = tuple(
        (
            one.problem,
            str(one.problems),
            *(str(one.states[state]) for state in states),
            "talk alone" if one.is_talk else "",
        )
        for one in told
    )
    words = (f"{count(len(rows), 'link')} of {count(len(graph.nodes), 'problem')} to runs.",)
    table = Table(("branch", "problems", *states, "rests on"), branches, ("branch", "rests on"))
    print_section(Section(f"Contact with reality of {tree.name}", words, tables=(*linked, table)))


def plain_common(tree: Tree, ranked: Sequence[Shared], found: Found) -> list[dict[str, Any]]:
    """Return the ranking as values for JSON."""
    states = _states(tree, found)
    return [{**one._asdict(), "who": list(one.who), "state": states.get(one.problem)} for one in ranked]


def plain_evidence(tree: Tree, found: Found, told: Sequence[Branch]) -> dict[str, Any]:
    """Return what runs say as values for JSON."""
    graph = ProblemGraph.of(tree)
    links = [
        {
            "problem": graph.nodes[key][0].words,
            **one.link._asdict(),
            "state": one.state,
            "why": one.told,
            "interval": one.interval and one.interval._asdict(),
        }
        for key, every in found.items()
        for one in every
    ]
    branches = [
        {"problem": one.problem, "problems": one.problems, "states": dict(one.states), "talk": one.is_talk}
        for one in told
    ]
    return {"links": links, "branches": branches}


def _states(tree: Tree, found: Found) -> dict[str, str]:
    nodes = ProblemGraph.of(tree).nodes
    return {nodes[key][0].words: state_of(every) for key, every in found.items()}
