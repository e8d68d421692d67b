"""Adding a conjecture to a plan's file or to the folder of a run that has not begun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file
from takeback.run.reading import read_text
from takeback.run.yaml_text import as_yaml, parse_yaml, yaml_nodes
from takeback.study.conjectures.conjecture import Conjecture, check_conjectures
from takeback.study.conjectures.lock import ADDED, LOCK, present, read_lock

FIELD = "conjectures"


def add(conjecture: Conjecture, where: str | Path) -> Path:
    """Add a conjecture to a plan's YAML file, or to a run folder before it is locked; return the file.

    Comments and layout of the file stay as they are. A run folder may be one that the run will make.

    Raises:
        TakebackError: the run is locked, its name is taken, or the file can't be read or added to.

    Examples:
        >>> import tempfile
        >>> told = {"sentence": "RL wins.", "rule": "count(games) > 3", "probability": 0.8, "author": "Ada"}
        >>> print(add(Conjecture.model_validate(told), Path(tempfile.mkdtemp()) / "run").name)
        conjectures.yaml
    """
    where = Path(where)
    if where.is_file() or where.suffix in (".yaml", ".yml"):
        return _add_to_plan(conjecture, where)
    if (where / LOCK).exists():
        time = read_lock(where).time
        raise TakebackError(
            f"{where} locked its conjectures at {time}; what is written now would be after the fact"
        )
    if any(one.name == conjecture.name for one in present(where)):
        raise _taken(conjecture, where)
    path = where / ADDED
    _append(path, read_text(path) if path.exists() else "", conjecture)
    return path


def _add_to_plan(conjecture: Conjecture, path: Path) -> Path:
    if not path.exists():
        raise TakebackError(f"no plan at {path}; give a plan's YAML file or a run folder")
    text = read_text(path)
    fields = parse_yaml(text, path)
    if not isinstance(fields, dict):
        raise TakebackError(f"{path} is no plan: it has no fields")
    if isinstance(named := fields.get(FIELD), str):
        path = path.parent / named
        text = read_text(path) if path.exists() else ""
    _append(path, text, conjecture)
    return path


def _append(path: Path, text: str, conjecture: Conjecture) -> None:
    """Write a file's text with one conjecture more, once it is known to read back so."""
    before = parse_yaml(text, path)
    whole = before if isinstance(before, list) else (before or {}).get(FIELD) or []
    known = check_conjectures(whole, str(path))
    if any(one.name == conjecture.name for one in known):
        raise _taken(conjecture, path)
    fields = conjecture.model_dump(mode="json")
    grown = [*whole, fields]
    wanted = {**before, FIELD: grown} if isinstance(before, dict) else grown
    item = as_yaml([fields])
    new = _grown(text, item, isinstance(before, dict))
    if parse_yaml(new, path) != wanted:
        raise TakebackError(f"{path}: its conjectures are laid out so that none can be added; do it by hand")
    with atomic_file(path) as draft:
        draft.write_text(new, encoding="utf-8")


def _grown(text: str, item: str, is_plan: bool) -> str:
    """Return a YAML text with an item after the last one of its list of conjectures."""
    top = yaml_nodes(text, "the conjectures")
    listed = top
    if is_plan and isinstance(top, yaml.MappingNode):
        listed = next((value for key, value in top.value if key.value == FIELD), None)
    whole = text if text.endswith("\n") or not text else f"{text}\n"
    if not isinstance(listed, yaml.SequenceNode):
        return whole + (f"{FIELD}:\n{item}" if is_plan else item)
    if listed.flow_style or not listed.value:
        return text  # does not read back with the item in it, which is told
    indent = " " * listed.start_mark.column
    end = whole.find("\n", _end(listed.value[-1])) + 1
    lines = "".join(f"{indent}{line}\n" for line in item.splitlines())
    return whole[:end] + lines + whole[end:]


def _end(node: yaml.Node) -> int:
    """Return where the last value within a node ends."""
    while node.value and isinstance(node, yaml.MappingNode | yaml.SequenceNode) and not node.flow_style:
        last: Any = node.value[-1]
        node = last[1] if isinstance(node, yaml.MappingNode) else last
    end = node.end_mark.index
    return end - 1 if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">") else end


def _taken(conjecture: Conjecture, where: Path) -> TakebackError:
    return TakebackError(f"{where} has a conjecture named {conjecture.name!r}; give this one another --name")
