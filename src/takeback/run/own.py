"""What users bring: an object of a module or of a file, by a reference such as `package.module:function`."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from takeback.run.errors import TakebackError, unknown_name
from takeback.run.reading import read_text

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_reference(text: str) -> bool:
    """Tell whether a text is `package.module:name` or `path/to/file.py:name`.

    >>> is_reference("mine.words:nerve"), is_reference("own/mine.py:nerve"), is_reference("utility win")
    (True, True, False)
    """
    place, colon, name = text.rpartition(":")
    return bool(colon and name.isidentifier() and (place.endswith(".py") or _MODULE.fullmatch(place)))


def load_own(reference: str, what: str) -> Any:
    """Return the object that a reference is of; `what` says in errors what it was wanted for.

    Modules are looked for where Python looks, and then in the working folder.

    >>> load_own("math:tau", "number")
    6.283185307179586

    Raises:
        UnknownName: the module or file has nothing of this name.
        TakebackError: it is no reference, or the module or file is missing or fails when it is imported.
    """
    if not is_reference(reference):
        raise TakebackError(
            f"{what} {reference!r} is no reference; write package.module:name or path/to/file.py:name"
        )
    place, _, name = reference.rpartition(":")
    try:
        module = _file(Path(place)) if place.endswith(".py") else _module(place)
    except (Exception, SystemExit) as error:  # a user's own code: whatever it raises, the place is what helps
        line = " ".join(str(error).split())
        raise TakebackError(
            f"could not import {place} for the {what} {reference!r}: {type(error).__name__}: {line}"
        ) from error
    if not hasattr(module, name):
        known = [
            one
            for one, value in vars(module).items()
            if not one.startswith("_") and not isinstance(value, ModuleType)
        ]
        raise unknown_name(f"name in {place}", name, known)
    return getattr(module, name)


def _module(name: str) -> ModuleType:
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # processes that are started later look here, too
    return importlib.import_module(name)


def _file(path: Path) -> ModuleType:
    """Import a file, again where its text became another, under a name that no module has.

    The name has no dots: by it values of the file are pickled.
    """
    name, text = str(path.resolve()).replace(".", "·"), read_text(path)
    if name in sys.modules and vars(sys.modules[name]).get("__text__") == text:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    vars(module)["__text__"] = text
    sys.modules[name] = module
    try:
        exec(compile(text, str(path), "exec"), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module
