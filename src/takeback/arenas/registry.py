"""Arenas by name: those that come along, those that packages register, and a user's own."""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from takeback.arenas.protocol import Arena
from takeback.arenas.words import Words
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.identity import told
from takeback.run.own import is_reference, load_own

GROUP: Final = "takeback.arenas"
"""The entry point group in which packages register arenas: their names and where they are."""

_FAMILIES: Final[Mapping[str, str]] = {
    "gym": "takeback.arenas.gym:Gym",
    "lm-eval": "takeback.arenas.lm_eval:eval_arena",
    "rows": "takeback.arenas.rows:rows_arena",
}
"""What makes the arenas whose names begin so, from the whole name."""
_OURS: Final[Mapping[str, str]] = {"endgames": "takeback.arenas.endgames:Endgames"}
_FILES: Final = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".yaml", ".yml")
"""The endings of files that are arenas of rows, or describe one."""
_FORMS: Final = ("rows:FILE", "lm-eval:TASK", "gym:ENV", "package.module:object", "path/to/file.py:object")
_NEEDED: Final = ("name", "words", "kinds", "goals", "situations", "prompt", "legal", "classify", "cluster")


def arena(name: str) -> Arena[Any]:
    """Return the arena of this name, the same one in all of a process unless its files were edited.

    `rows:FILE` are prompts of your own: see `takeback.arenas.rows`. `lm-eval:TASK` are evaluation tasks: see
    `takeback.arenas.lm_eval`. `gym:ENV` is an environment of Gymnasium. `package.module:object` and
    `path/to/file.py:object` are an arena of your own, or a class or function that makes one without
    arguments. Packages register more by the entry point group `takeback.arenas`.

    >>> arena("endgames").goals.keys()
    dict_keys(['win', 'draw', 'check', 'corner', 'random'])

    Raises:
        UnknownName: There is no such arena, environment or object.
        TakebackError: It can't be imported, is no arena, or is an environment of a kind that is not
            supported.
    """
    return _arena(name, _stamps(name))


def _stamps(name: str) -> tuple[Any, ...]:
    """Return what tells the files that an arena is made of from what they were before."""
    if (family := _family(name)) is not None and family == _FAMILIES["rows"]:
        files = load_own("takeback.arenas.rows:files_of", "arena")(name)
    else:
        place = name.rpartition(":")[0]
        files = (Path(place),) if place.endswith(".py") else ()
    return tuple(_stamp(file) for file in files)


def _stamp(file: Path) -> Any:
    try:
        told = file.stat()
    except (OSError, ValueError):  # what is missing is refused where it is read
        return None
    return told.st_mtime_ns, told.st_size, told.st_ino


def _family(name: str) -> str | None:
    """Return what makes an arena of a family, None of any other."""
    family = _FAMILIES.get(name.partition(":")[0]) if ":" in name else None
    return _FAMILIES["rows"] if family is None and Path(name).suffix in _FILES else family


@cache
def _arena(name: str, stamps: tuple[Any, ...]) -> Arena[Any]:
    """Return an arena, the same one as long as its files stay as they are."""
    found = _made(name)
    lacking = [member for member in _NEEDED if not hasattr(found, member)]
    if lacking:
        raise TakebackError(f"{name} is no arena: {type(found).__name__} lacks {', '.join(lacking)}")
    _NAMES[id(found)] = name
    if told.dispatch(type(found)) is told.dispatch(object):
        told.register(type(found), _whole)
    copyreg.pickle(type(found), _by_name)
    return found


def _made(name: str) -> Any:
    if (family := _family(name)) is not None:
        return load_own(family, "arena")(name)
    registered = {} if name in _OURS else {entry.name: entry.value for entry in entry_points(group=GROUP)}
    place = {**registered, **_OURS}.get(name, name)
    if not is_reference(place):
        raise unknown_name("arena", name, (*_OURS, *registered, *_FORMS))
    found = load_own(place, "arena")
    if not isinstance(found, type) and (hasattr(found, "situations") or not callable(found)):
        return found
    try:
        return found()
    except TakebackError:
        raise
    except Exception as error:  # a class of somebody else's can fail in any way
        told = " ".join(str(error).split())[:200]
        raise TakebackError(f"could not make the arena {name}: {type(error).__name__}: {told}") from error


_NAMES: dict[int, str] = {}
"""The name of each arena that was asked for, by identity; they stay as long as the process."""


def _by_name(found: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Send an arena to another process by its name, as it may hold what can't be sent."""
    name = _NAMES.get(id(found))
    return found.__reduce_ex__(2) if name is None else (arena, (name,))


def _whole(found: Any) -> Any:
    """Tell an arena, for `identity`, by its class and what it holds, not by its name."""
    return [type(found), dict(vars(found))]


def words_of(name: str) -> Words:
    """Return the words of the arena of this name, plain ones where there is none any more."""
    try:
        return arena(name).words
    except TakebackError:
        return Words()
