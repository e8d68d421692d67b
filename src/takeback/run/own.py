"""What a user brings in a module of their own: `package.module:object` or `path/to/file.py:object`."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from takeback.run.errors import TakebackError, unknown_name


def is_own(reference: str) -> bool:
    """Tell whether a name has the form of an own object's.

    >>> [is_own(text) for text in ("my.module:thing", "here/my.py:thing", "my.py", "gym:CartPole-v1", "win")]
    [True, True, False, False, False]
    """
    place, colon, name = reference.rpartition(":")
    return bool(colon) and name.isidentifier() and (place.endswith(".py") or _is_module(place))


def own_object(reference: str, what: str) -> Any:
    """Import a user's own object; `what` says in errors what it is meant to be.

    Modules are looked for where Python does and in the working folder; the folder of a file joins where
    Python looks, at the end, so that processes that are started later find the file's module, too.

    >>> own_object("json:dumps", "function")([1])
    '[1]'

    Raises:
        UnknownName: the module has nothing of this name.
        TakebackError: there is no such file, or its module can't be imported.
    """
    place, _, name = reference.rpartition(":")
    told = f"{what} {reference!r}"
    module = _from_file(Path(place), told) if place.endswith(".py") else _imported(place, Path(), told)
    if not hasattr(module, name):
        own = [key for key, one in vars(module).items() if getattr(one, "__module__", "") == module.__name__]
        raise unknown_name(f"{what} of {place}", name, own)
    return getattr(module, name)


def _is_module(text: str) -> bool:
    return re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", text) is not None


def _from_file(path: Path, told: str) -> ModuleType:
    if not path.is_file():
        raise TakebackError(f"no file {path} for the {told}; name one as path/to/file.py:object")
    if not path.stem.isidentifier():
        raise TakebackError(f"{path.name} is no module's name; call the file with letters, digits and _")
    module = _imported(path.stem, path.parent, told)
    found = getattr(module, "__file__", None)
    if found is None or Path(found).resolve() != path.resolve():
        raise TakebackError(
            f"{path} is hidden by another module {path.stem}, {found}; call the file otherwise"
        )
    return module


def _imported(name: str, folder: Path, told: str) -> ModuleType:
    if (place := str(folder.resolve())) not in sys.path:
        sys.path.append(place)
        importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except Exception as error:  # a module of somebody else's can fail in any way
        line = " ".join(str(error).split())[:200]
        raise TakebackError(
            f"could not import {name} for the {told}: {type(error).__name__}: {line}"
        ) from error
