"""Values as YAML that people edit."""

from __future__ import annotations

from typing import Any

import yaml


def as_yaml(value: Any) -> str:
    r"""Write plain values as YAML, in their own letters where that reads back, else with escapes.

    >>> as_yaml([{"statement": "Ada fragt, ob es Zufall ist — ja?"}])
    '- statement: Ada fragt, ob es Zufall ist — ja?\n'
    >>> as_yaml(["one\x85two"])
    '- "one\\Ntwo"\n'
    """
    told = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1_000_000)
    try:
        same = yaml.safe_load(told) == value
    except yaml.YAMLError:
        same = False
    return told if same else yaml.safe_dump(value, sort_keys=False, width=1_000_000)
