"""Names of a package that are imported when they are first used, so that a command loads what it needs."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any


def lazy_names(package: str) -> None:
    """Let a package import what its `__init__.py` declares under `if TYPE_CHECKING:` when it is asked for.

    Names are declared as type checkers read them, `from a.b import c as c`; `dir` shows these and no others.
    """
    sys.modules[package].__class__ = _LazyPackage


class _LazyPackage(ModuleType):
    """Is a package that may show a function under the name of a module of it, such as `takeback.hybrid`."""

    @cached_property
    def _homes(self) -> Mapping[str, str]:
        """The module of each public name, as the file of the package says it."""
        tree = ast.parse(Path(str(self.__file__)).read_text(encoding="utf-8"))
        lines = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
        return {one.name: str(line.module) for line in lines for one in line.names if one.asname == one.name}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._homes:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        home = self._homes[name]
        value = (
            import_module(f"{home}.{name}") if home == self.__name__ else getattr(import_module(home), name)
        )
        self.__dict__[name] = value
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep a function's name from the module of that name, which Python sets when it is imported."""
        if not isinstance(value, ModuleType) or self._homes.get(name, self.__name__) == self.__name__:
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted(self._homes)
