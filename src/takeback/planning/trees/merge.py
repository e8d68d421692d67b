"""Merging trees: what says the same becomes one problem, and keeps who said it and where."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from takeback.planning.trees.graph import cycle_in, reached, told_cycle
from takeback.planning.trees.proposals import (
    BETWEEN,
    DIFFERENT,
    OPEN,
    SAME,
    MergeDecisions,
    Pair,
    Proposal,
    pair_of,
)
from takeback.planning.trees.tree import MERGED, Front, Mention, Node, Own, Tree
from takeback.planning.trees.wording import MOST_PAIRS, NEAR, near_pairs, normalised
from takeback.run.errors import TakebackError

LONGEST_ID: Final = 40
NOBODY: Final = MergeDecisions()


@dataclass(frozen=True)
class Merge:
    """What merging gave.

    Attributes:
        tree: the merged tree; a problem under several others stands under one and is named under the rest.
        proposals: what may be the same and was not decided, most alike first.
        idle: pairs decided to be the same of which no tree has both wordings.
    """

    tree: Tree
    proposals: tuple[Proposal, ...]
    idle: tuple[Pair, ...]


def merge(trees: Iterable[Tree], decisions: MergeDecisions = NOBODY, near: float = NEAR) -> Merge:
    r"""Merge trees, in whatever order they come.

    Problems are one when their words are equal but for case, punctuation and spaces, when a merged tree among
    them says so already, or when `decisions` do. What is only alike is proposed, never merged.

    Args:
        trees: of people, and trees merged before; copies made by `extended` need the latter beside them.
        decisions: what a person said of earlier proposals; at most 5,000 pairs are proposed at once.
        near: the least likeness of a proposal, from 0 to 1.

    Raises:
        TakebackError: problems make each other hard in a circle, or a copy comes without its merged tree.

    Examples:
        >>> from takeback.planning.trees.read import parse_tree
        >>> front = "---\nauthor: {}\ndate: 2026-11-20\nstage: before-reading\n---\n"
        >>> ada = parse_tree(front.format("Ada") + "- no idea\n  - No names.\n", "ada.md")
        >>> bob = parse_tree(front.format("Bob") + "- no idea\n  - no name\n  - no names\n", "bob.md")
        >>> merged = merge([ada, bob])
        >>> [(node.words, len(node.own.said)) for node in merged.tree.walk()]
        [('no idea', 2), ('No names.', 2), ('no name', 1)]
        >>> [(one.one, one.other) for one in merged.proposals]
        [('no name', 'No names.')]
    """
    trees = list(trees)
    if not trees:
        raise TakebackError("no trees to merge")
    entries = _entries(trees)
    groups = _groups(entries, decisions)
    _check_cycles(groups)
    problems = [_problem(group) for group in groups.members]
    _name(problems, groups)
    tree = Tree(_front(trees), _nodes(problems, groups))
    wordings = {key for group in groups.members for entry in group for key in entry.keys}
    same = decisions.pairs(SAME)
    return Merge(
        tree,
        tuple(_proposals(problems, groups, decisions, near)),
        tuple(pair for pair in same if not wordings.issuperset(pair)),
    )


@dataclass(eq=False)
class _Placed:
    """A node of one of the trees."""

    tree: Tree
    node: Node
    keys: tuple[str, ...]
    children: list[tuple[_Placed, int]]


@dataclass
class _Groups:
    """Entries that are one problem, and which groups make which hard, with where that is said."""

    members: list[list[_Placed]]
    children: list[dict[int, str]]


def _entries(trees: Sequence[Tree]) -> list[_Placed]:
    found: list[_Placed] = []
    merged = [tree for tree in trees if tree.is_merged]
    for tree in trees:
        if tree.front.extends and not merged:
            told = f"{tree.name} is a copy of {tree.front.extends} to extend; merge it together with that"
            raise TakebackError(told)
        own: dict[int, _Placed] = {}
        by_id: dict[str, _Placed] = {}
        for node in tree.walk():
            if not node.own.refers:
                keys = (node.words, *(said.words for said in node.own.said))
                entry = _Placed(tree, node, tuple(dict.fromkeys(map(normalised, keys))), [])
                own[id(node)] = entry
                if node.id:
                    by_id[node.id] = entry
                found.append(entry)
        for node in tree.walk():
            if not node.own.refers:
                own[id(node)].children = [
                    (by_id[child.id] if child.own.refers else own[id(child)], child.line)
                    for child in node.children
                ]
    return found


class _Same:
    """Which wordings are of one problem."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def top(self, key: str) -> str:
        """Return the wording that stands for all that are the same as one."""
        while (up := self._above.setdefault(key, key)) != key:
            self._above[key] = self._above[up]
            key = up
        return key

    def unite(self, one: str, other: str) -> None:
        self._above[self.top(one)] = self.top(other)

    def __contains__(self, key: str) -> bool:
        return key in self._above


def _same(entries: Sequence[_Placed], decisions: MergeDecisions) -> _Same:
    """Unite wordings of one node, by the id of a merged tree in copies of it, and by decision."""
    same = _Same()
    ids: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        for key in entry.keys:
            same.unite(key, entry.keys[0])
        if entry.tree.is_merged:
            for name in (entry.node.id, *entry.node.own.was):
                ids[name].append(entry.keys[0])
    for entry in entries:
        if entry.tree.front.extends and entry.node.id:
            for key in ids[entry.node.id]:
                same.unite(entry.keys[0], key)
    for one, other in decisions.pairs(SAME):
        if one in same and other in same:
            same.unite(one, other)
    return same


def _groups(entries: Sequence[_Placed], decisions: MergeDecisions) -> _Groups:
    """Gather the entries of each problem, and which problems stand under which."""
    same = _same(entries, decisions)
    members: dict[str, list[_Placed]] = defaultdict(list)
    for entry in entries:
        members[same.top(entry.keys[0])].append(entry)
    listed = sorted(members.values(), key=lambda group: min(entry.keys[0] for entry in group))
    place = {id(entry): number for number, group in enumerate(listed) for entry in group}
    children: list[dict[int, str]] = [{} for _ in listed]
    for entry in entries:
        below = children[place[id(entry)]]
        for child, line in entry.children:
            number, said = place[id(child)], f"{entry.tree.name}:{line}"
            below[number] = min(said, below.get(number, said))
    return _Groups(listed, children)


def _check_cycles(groups: _Groups) -> None:
    circle = cycle_in({number: sorted(below) for number, below in enumerate(groups.children)})
    if circle:
        raise told_cycle(
            [(_problem(groups.members[a]).words, groups.children[a][b]) for a, b in pairwise(circle)]
        )


def _problem(group: Sequence[_Placed]) -> Own:
    """Return what a group says as one node; its id is that of a merged tree, or none yet."""
    merged = [entry for entry in group if entry.tree.is_merged]
    known = {key for entry in merged for key in entry.keys}
    noted = {note for entry in merged for note in entry.node.own.notes}
    notes = set(noted)
    said: list[Mention] = [one for entry in merged for one in entry.node.own.said]
    fresh: list[Mention] = []
    for entry in group:
        if entry.tree.is_merged:
            continue
        front = entry.tree.front
        if not (front.extends and entry.keys[0] in known):
            fresh.append(
                Mention(front.author, front.stage, entry.tree.name, entry.node.line, entry.node.words)
            )
        notes |= {f"{note} ({front.author})" for note in entry.node.own.notes if note not in noted}
    every = _distinct(said, fresh)
    ids = sorted({entry.node.id for entry in merged if entry.node.id})
    was = {name for entry in merged for name in entry.node.own.was} | set(ids[1:])
    return Own(
        _words([entry.node.own for entry in merged], every),
        ids[0] if ids else "",
        notes=tuple(sorted(notes)),
        see=_union(entry.node.own.see for entry in group),
        links=tuple(sorted({link for entry in group for link in entry.node.own.links})),
        hats=_union(entry.node.own.hats for entry in group),
        was=tuple(sorted(was)),
        said=every,
    )


def _union(parts: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(sorted({one for part in parts for one in part}))


def _distinct(recorded: Sequence[Mention], fresh: Sequence[Mention]) -> tuple[Mention, ...]:
    """Return who said it, once each; a file that is there knows its lines better than an older record."""
    found: dict[tuple[str, ...], Mention] = {}
    for part in (recorded, fresh):
        lines: dict[tuple[str, ...], Mention] = {}
        for one in part:
            key = (one.author, one.stage, one.file, one.words)
            lines[key] = min(one, lines.get(key, one))
        found |= lines
    return tuple(sorted(found.values()))


def _words(merged: Sequence[Own], said: Sequence[Mention]) -> str:
    """Choose a problem's words: a merged tree's, else those of most people, else the first by alphabet."""
    voices: dict[str, set[str]] = defaultdict(set)
    for own in merged:
        voices[own.words] |= {one.author for one in own.said}
    if not merged:
        for one in said:
            voices[one.words].add(one.author)
    return min(voices, key=lambda words: (-len(voices[words]), words))


def _name(problems: list[Own], groups: _Groups) -> None:
    """Give every problem an id: the one it has, one that an author gave, or its first words."""
    taken = {own.id for own in problems} | {name for own in problems for name in own.was}
    for number in sorted(range(len(problems)), key=lambda k: (normalised(problems[k].words), k)):
        if problems[number].id:
            continue
        given = sorted(entry.node.id for entry in groups.members[number] if entry.node.id)
        wanted = given[0] if given else _slug(problems[number].words)
        name, count = wanted, 1
        while name in taken:
            count += 1
            name = f"{wanted}-{count}"
        taken.add(name)
        problems[number] = problems[number]._replace(id=name)


def _slug(words: str) -> str:
    slug = ""
    for word in re.findall(r"\w+", words.lower().replace("'", "").replace("’", "")):
        if slug and len(slug) + 1 + len(word) > LONGEST_ID:
            break
        slug = f"{slug}-{word}" if slug else word
    return slug or "problem"


def _nodes(problems: Sequence[Own], groups: _Groups) -> tuple[Node, ...]:
    """Lay the problems out as a list, those of most people first; each is in full where it comes first."""
    under = {child for below in groups.children for child in below}

    def order(numbers: Iterable[int]) -> list[int]:
        people = {k: len({one.author for one in problems[k].said}) for k in numbers}
        return sorted(people, key=lambda k: (-people[k], normalised(problems[k].words), problems[k].id))

    tops = order(k for k in range(len(problems)) if k not in under)
    laid: dict[int, list[tuple[int, bool]]] = {}
    seen: set[int] = set(tops)
    stack = tops[::-1]
    visited: list[int] = []
    while stack:
        visited.append(number := stack.pop())
        laid[number] = []
        full: list[int] = []
        for child in order(groups.children[number]):
            laid[number].append((child, child in seen))
            if child not in seen:
                seen.add(child)
                full.append(child)
        stack += full[::-1]
    made: dict[int, Node] = {}
    for number in reversed(visited):
        children = tuple(
            Node(Own(problems[child].words, problems[child].id, refers=True)) if again else made[child]
            for child, again in laid[number]
        )
        made[number] = Node(problems[number], children)
    return tuple(made[number] for number in tops)


def _front(trees: Sequence[Tree]) -> Front:
    fronts = [tree.front for tree in trees]
    people = {one.author for one in fronts if one.stage != MERGED}
    people |= {
        said.author for tree in trees if tree.is_merged for node in tree.walk() for said in node.own.said
    }
    files = {tree.name for tree in trees if not tree.is_merged} | {name for one in fronts for name in one.of}
    return Front(", ".join(sorted(people)), max(one.date for one in fronts), MERGED, of=tuple(sorted(files)))


def _proposals(
    problems: Sequence[Own], groups: _Groups, decisions: MergeDecisions, near: float
) -> Iterable[Proposal]:
    """Return the pairs of problems that are alike, once each; not those of which one hangs on the other."""
    place = {key: k for k, group in enumerate(groups.members) for entry in group for key in entry.keys}
    wording: dict[str, str] = {}
    for own in problems:
        for words in (own.words, *(one.words for one in own.said)):
            key = normalised(words)
            wording[key] = min(words, wording.get(key, words))
    keys = sorted(place)
    different = set(decisions.pairs(DIFFERENT))
    best: dict[tuple[int, int], Proposal] = {}
    refused: set[tuple[int, int]] = set()
    for likeness, a, b in near_pairs(keys, near, MOST_PAIRS + len(different)):
        one, other = sorted((place[keys[a]], place[keys[b]]))
        if one == other:
            continue
        if pair_of(keys[a], keys[b]) in different:
            refused.add((one, other))
            continue
        found = best.get((one, other))
        if found is None or (-likeness, keys[a], keys[b]) < (-found.likeness, *found.pair):
            said = (*problems[place[keys[a]]].said[:1], *problems[place[keys[b]]].said[:1])
            first, second = (wording[key].replace(BETWEEN.strip(), " ") for key in (keys[a], keys[b]))
            best[one, other] = Proposal(OPEN, likeness, first, second, said)
    return _apart(best, refused, groups.children)


def _apart(
    best: Mapping[tuple[int, int], Proposal],
    refused: set[tuple[int, int]],
    children: Sequence[Mapping[int, str]],
) -> list[Proposal]:
    steps = dict(enumerate(children))
    below = {k: reached(steps, k) for k in {k for pair in best for k in pair}}
    kept = [
        proposal
        for (one, other), proposal in best.items()
        if (one, other) not in refused and other not in below[one] and one not in below[other]
    ]
    return sorted(kept, key=lambda one: (-round(one.likeness, 2), *one.pair))
