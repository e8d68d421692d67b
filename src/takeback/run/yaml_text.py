"""YAML that people edit: read, with errors in one line, and written."""

from __future__ import annotations

from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from takeback.run.reading import MOST_DIGITS, MOST_LEVELS, read_text, unreadable

MOST_YAML = 1 << 22
"""YAML has this many bytes at most."""

MOST_NODES = 100_000
"""YAML has this many texts, lists and mappings at most, which take a few seconds to read."""

MOST_COPIED = 100_000
"""What aliases stand for has this many letters and nodes at most, all together."""


def as_yaml(value: Any, flow: bool = False) -> str:
    r"""Write plain values as YAML, in their own letters where that reads back, else with escapes.

    With `flow` it is one line, with braces and brackets.

    >>> as_yaml([{"statement": "Ada fragt, ob es Zufall ist — ja?"}])
    '- statement: Ada fragt, ob es Zufall ist — ja?\n'
    >>> as_yaml(["one\x85two"])
    '- "one\\Ntwo"\n'
    """
    style: dict[str, Any] = {"sort_keys": False, "width": 1_000_000, "default_flow_style": flow}
    told = yaml.safe_dump(value, allow_unicode=True, **style)
    try:
        same = yaml.safe_load(told) == value
    except yaml.YAMLError:
        same = False
    return told if same else yaml.safe_dump(value, **style)


def read_yaml(source: str | Path | Traversable, missing: str = "") -> Any:
    """Return what a YAML file holds; see `parse_yaml`.

    Raises:
        Missing: it is not there, which `missing` may say.
        Unreadable: it is no regular file, is too long, or is no such YAML.
    """
    return parse_yaml(read_text(source, missing, MOST_YAML), source)


def parse_yaml(text: str, source: object) -> Any:
    """Return what a text holds as YAML.

    Raises:
        Unreadable: it is no YAML, nests too deeply, its aliases stand for too much, or a number has too many
            digits; names the source, and has the line.

    >>> parse_yaml("runs: [a, b]", "plan.yaml")
    {'runs': ['a', 'b']}
    >>> parse_yaml("a: !!int x", "plan.yaml")
    Traceback (most recent call last):
    takeback.run.reading.Unreadable: plan.yaml can't be read as YAML: 'x' is no int (line 1)
    """
    return _read(text, source, whole=True)


def yaml_nodes(text: str, source: object) -> yaml.Node | None:
    """Return the nodes of a text, which know their places, as `parse_yaml` accepts it; None of an empty one.

    Raises:
        Unreadable: as `parse_yaml`.
    """
    return _read(text, source, whole=False)


class _Bounded(yaml.SafeLoader):
    """Reads plain values, refusing what would be larger than it looks."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._open: list[tuple[int, int]] = []  # size and levels of the nodes that are being read
        self._done: dict[int, tuple[int, int]] = {}
        self._copied = 0
        self._halves = any(escape in text.lower() for escape in ("\\ud", "\\u0000d"))

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        """Read a node, and how large it is with its aliases written out."""
        alias = self.check_event(yaml.AliasEvent)
        mark: Any = self.peek_event().start_mark
        if not alias:
            self._check(len(self._open) < MOST_LEVELS, f"nests deeper than {MOST_LEVELS} levels", mark)
            self._check(len(self._done) < MOST_NODES, f"holds more than {MOST_NODES:,} values", mark)
            self._open.append((1, 1))
        node: Any = super().compose_node(parent, index)
        if alias:
            self._check(id(node) in self._done, "holds an alias of what it is part of", mark)
            size, levels = self._done[id(node)]
            self._copied += size
            told = f"has aliases that stand for more than {MOST_COPIED:,} letters"
            self._check(self._copied <= MOST_COPIED, told, mark)
        else:
            size, levels = self._open.pop()
            size += len(node.value) if isinstance(node, yaml.ScalarNode) else 0
            self._done[id(node)] = size, levels
        self._check(len(self._open) + levels <= MOST_LEVELS, f"nests deeper than {MOST_LEVELS} levels", mark)
        if self._open:
            before = self._open[-1]
            self._open[-1] = before[0] + size, max(before[1], levels + 1)
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Make the value of a node."""
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
                raise ValueError
            if isinstance(value, str) and self._halves:
                value.encode()
        except (ValueError, KeyError, AttributeError, TypeError, OverflowError):
            shown = repr(node.value) if isinstance(node.value, str) else "this"
            shown = shown if len(shown) < 60 else f"{shown[:60]}…"
            told = f"{shown} is no {node.tag.rpartition(':')[2]}"
            raise ConstructorError(None, None, told, node.start_mark) from None
        return value

    @staticmethod
    def _check(fits: bool, told: str, mark: Any) -> None:
        if not fits:
            raise ComposerError(None, None, f"it {told}", mark)


def _read(text: str, source: object, whole: bool) -> Any:
    try:
        loader = _Bounded(text)
        try:
            return loader.get_single_data() if whole else loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        told = ", ".join(part for part in (error.context, error.problem) if part)
        raise unreadable(source, f"{told} (line {line})", "YAML", line) from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise unreadable(source, error, "YAML") from None
