"""YAML that people edit: read, with errors in one line, and written."""

from __future__ import annotations

from importlib.resources.abc import Traversable
from typing import Any

import yaml

from takeback.run.errors import TakebackError


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


def read_yaml(source: Traversable, missing: str) -> Any:
    """Return what a YAML file holds.

    Raises:
        TakebackError: it is not there, which `missing` says, or can't be read.
    """
    try:
        text = source.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TakebackError(missing) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(source, error) from None
    return parse_yaml(text, source)


def parse_yaml(text: str, source: object) -> Any:
    """Return what a text holds as YAML.

    Raises:
        TakebackError: it is no YAML; names the source.

    >>> parse_yaml("runs: [a, b]", "plan.yaml")
    {'runs': ['a', 'b']}
    """
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise _unreadable(source, error) from None


def _unreadable(source: object, error: Exception) -> TakebackError:
    return TakebackError(f"{source} can't be read as YAML: {' '.join(str(error).split())}")
