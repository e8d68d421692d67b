"""A person's own copy of a merged tree, to be extended."""

from __future__ import annotations

from dataclasses import replace

from takeback.planning.trees.tree import MERGED, STAGES, Front, Node, Tree
from takeback.run.errors import TakebackError, unknown_name


def extended(tree: Tree, author: str, date: str, stage: str = "after-reading") -> Tree:
    """Return a copy of a merged tree for one person to extend.

    It has the problems with their ids, and not who said them. Merged back beside the tree, what is new in it
    is its author's: problems, places, other wordings, notes and links; all else stays as it is.

    Raises:
        TakebackError: the tree is no merged one, or there is no such stage.

    Examples:
        >>> from takeback.planning.trees.tree import Own, Mention
        >>> said = (Mention("Ada", "before-reading", "ada.md", 6, "no idea"),)
        >>> top = Node(Own("no idea", "no-idea", said=said))
        >>> big = Tree(Front("Ada", "2026-11-20", MERGED), (top,), "big.md")
        >>> copy = extended(big, "Bob", "2026-11-21")
        >>> copy.front.extends, copy.nodes[0].id, copy.nodes[0].own.said
        ('big.md', 'no-idea', ())
    """
    stages = [one for one in STAGES if one != MERGED]
    if not tree.is_merged:
        raise TakebackError(f"{tree.name} is a tree of one person; extend a merged one (stage: {MERGED})")
    if stage not in stages:
        raise unknown_name("stage", stage, stages)
    front = Front(author, date, stage, extends=tree.name)
    return Tree(front, tuple(_unsaid(node) for node in tree.nodes))


def _unsaid(node: Node) -> Node:
    children = tuple(_unsaid(child) for child in node.children)
    return replace(node, own=node.own._replace(said=(), was=()), children=children, source=None)
