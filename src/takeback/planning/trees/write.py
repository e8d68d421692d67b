"""Writing a tree: what was read and not changed is written byte for byte as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from takeback.planning.trees.tree import Front, Node, Own, Tree
from takeback.run.files import atomic_file
from takeback.run.yaml_text import as_yaml

STEP = 2
"""Columns by which new problems are indented."""


def write_tree(tree: Tree, path: str | Path) -> None:
    """Write a tree into a file, whole or not at all.

    Raises:
        TakebackError: the disk refuses.
    """
    with atomic_file(path) as draft:
        draft.write_bytes(format_tree(tree).encode("utf-8"))


def format_tree(tree: Tree) -> str:
    r"""Return the text of a tree's file.

    >>> from takeback.planning.trees.read import parse_tree
    >>> text = "---\nauthor: Ada\ndate: 2026-11-20\nstage: before-reading\n---\n* a\n     * b {#b}\n\n* c\n"
    >>> format_tree(parse_tree(text)) == text
    True
    """
    parts: list[str] = [_head(tree)]
    stack = [(node, indent) for node, indent in _placed(tree.nodes, -1)][::-1]
    while stack:
        node, indent = stack.pop()
        if not parts[-1].endswith("\n"):
            parts.append(tree.newline)
        parts.append(_text(node, indent, tree.newline))
        stack.extend(list(_placed(node.children, indent))[::-1])
    return "".join(parts)


def _placed(nodes: tuple[Node, ...], above: int) -> Iterator[tuple[Node, int]]:
    """Return siblings with their indentation: that of the first that was read and still fits."""
    known = (node.source.indent for node in nodes if node.source)
    indent = next((one for one in known if one > above), above + STEP if above >= 0 else 0)
    return ((node, indent) for node in nodes)


def _text(node: Node, indent: int, newline: str) -> str:
    source = node.source
    if source is not None and source.own == node.own and source.indent == indent:
        return source.text
    return "".join(line + newline for line in _lines(node.own, " " * indent))


def _lines(own: Own, margin: str) -> Iterator[str]:
    if own.refers:
        yield f"{margin}- [{own.words}](#{own.id})"
        return
    yield f"{margin}- {own.words}" + (f" {{#{own.id}}}" if own.id else "")
    below = margin + " " * STEP
    for place, note in enumerate(own.notes):
        if place:
            yield f"{below}>"
        yield from (f"{below}> {line}" for line in note.splitlines())
    yield from (f"{below}see: {link}" for link in own.see)
    yield from (f"{below}{link.kind}: {link}" for link in own.links)
    yield from (f"{below}hat: {hat}" for hat in own.hats)
    yield from (f"{below}was: {name}" for name in own.was)
    yield from (f"{below}said: {said}" for said in own.said)


def _head(tree: Tree) -> str:
    front, after = "", ""
    if tree.head is not None:
        front, after, own = tree.head
        if own == tree.front:
            return front + after
    return _front(tree.front, tree.newline) + after


def _front(front: Front, newline: str) -> str:
    fields = {name: value for name, value in front._asdict().items() if value}
    if front.of:
        fields["of"] = list(front.of)
    told = as_yaml(fields)
    told = told.replace(f"date: '{front.date}'", f"date: {front.date}")
    return f"---\n{told}---\n".replace("\n", newline)
