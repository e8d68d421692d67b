"""How the source is built: lines by package, circles, arrows back, names and hybrids used twice.

`make tree` prints it; `test_architecture.py` holds the tree to it.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from readings import read_twice

SOURCE = Path(__file__).parents[1] / "src" / "takeback"

ORDER = (
    "run",
    "component",
    "draw",
    "anatomy",
    "checkpoint",
    "weights",
    "gauge",
    "hybrid",
    "arenas",
    "policies",
    "measure",
    "findings",
    "training",
    "study",
    "planning",
    "report",
    "lab",
    "cli",
)
"""The packages; each may import only itself and those before it. The root's `__init__.py` is free."""

FREE = ("takeback", "takeback.__main__")


@dataclass(frozen=True)
class Module:
    """A file of the tree: its dotted name, the text's lines, and its syntax."""

    name: str
    path: Path
    lines: int
    syntax: ast.Module

    @property
    def package(self) -> str:
        """The package, or module, directly under the root that it stands in."""
        return self.name.split(".")[1] if "." in self.name else ""

    @property
    def is_init(self) -> bool:
        """Whether it is a package's `__init__.py`."""
        return self.path.name == "__init__.py"

    def imports(self) -> Iterator[tuple[str, str]]:
        """Give what it imports of the tree, wherever in the file: a module and a name in it, or none."""
        for node in ast.walk(self.syntax):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "takeback":
                yield from ((str(node.module), alias.name) for alias in node.names)
            elif isinstance(node, ast.Import):
                yield from ((a.name, "") for a in node.names if a.name.split(".")[0] == "takeback")


@dataclass(frozen=True)
class Tree:
    """The modules of a source folder by name."""

    modules: Mapping[str, Module]

    @classmethod
    def read(cls, source: Path = SOURCE) -> Tree:
        """Read every file below a source folder."""
        found: dict[str, Module] = {}
        for path in sorted(source.rglob("*.py")):
            parts = path.relative_to(source.parent).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = path.read_text(encoding="utf-8")
            found[name] = Module(name, path, text.count("\n"), ast.parse(text))
        return cls(found)

    def home(self, module: str, name: str) -> str:
        """Return the module in which a name is defined that is imported from a module, through packages."""
        if module not in self.modules:
            return module.rpartition(".")[0]
        if self.modules[module].is_init:
            for origin, given in self._given(module):
                if given == name and origin != module:
                    return self.home(origin, name)
            if f"{module}.{name}" in self.modules:
                return f"{module}.{name}"
        return module

    def _given(self, package: str) -> list[tuple[str, str]]:
        return list(self.modules[package].imports())

    @cached_property
    def arrows(self) -> dict[str, set[str]]:
        """The files that each file imports, seen through `__init__.py` to where a name is defined."""
        found: dict[str, set[str]] = {}
        for module in self.modules.values():
            if not module.is_init:
                homes = {self.home(*given) for given in module.imports()}
                found[module.name] = homes - {module.name}
        return found

    def circles(self) -> list[tuple[str, ...]]:
        """Return the groups of files that import each other, directly or around (Tarjan 1972)."""
        index: dict[str, int] = {}
        low: dict[str, int] = {}
        stack: list[str] = []
        groups: list[tuple[str, ...]] = []

        def visit(name: str) -> None:
            index[name] = low[name] = len(index)
            stack.append(name)
            for other in sorted(self.arrows.get(name, ())):
                if other not in index:
                    visit(other)
                    low[name] = min(low[name], low[other])
                elif other in stack:
                    low[name] = min(low[name], index[other])
            if low[name] == index[name]:
                cut = stack.index(name)
                groups.append(tuple(sorted(stack[cut:])))
                del stack[cut:]

        for name in sorted(self.arrows):
            if name not in index:
                visit(name)
        return [group for group in groups if len(group) > 1]

    def backward(self) -> list[tuple[str, str]]:
        """Return the arrows against the order: what imports a package that does not stand before its own."""
        place = {name: number for number, name in enumerate(ORDER)}
        found: set[tuple[str, str]] = set()
        for module in self.modules.values():
            if module.name in FREE:
                continue
            for given in module.imports():
                home = self.home(*given)
                package = home.split(".")[1] if "." in home else "takeback"
                if place.get(package, len(ORDER)) > place.get(module.package, -1):
                    found.add((module.name, home))
        return sorted(found)

    def classes_used_twice(self) -> dict[str, list[str]]:
        """Return the names of classes that several modules define at their top."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for module in self.modules.values():
            for node in module.syntax.body:
                if isinstance(node, ast.ClassDef):
                    found[node.name].append(module.name)
        return {name: homes for name, homes in sorted(found.items()) if len(homes) > 1}

    def lines(self) -> Counter[str]:
        """Return the lines of each package, blank ones and docstrings included."""
        counts: Counter[str] = Counter()
        for module in self.modules.values():
            counts[module.package or "takeback"] += module.lines
        return counts


def main() -> None:
    """Print what the tree is like."""
    tree = Tree.read()
    counts = tree.lines()
    for name in (*ORDER, *sorted(set(counts) - set(ORDER))):
        print(f"{name:12} {counts[name]:7,}")
    print(f"{'in all':12} {counts.total():7,}\n")
    circles, backward, twice = tree.circles(), tree.backward(), tree.classes_used_twice()
    for title, rows in (
        ("circles of imports", [" ".join(group) for group in circles]),
        ("arrows against the order", [f"{one} -> {other}" for one, other in backward]),
        ("class names used twice", [f"{name}: {' '.join(homes)}" for name, homes in twice.items()]),
    ):
        print(f"{title}: {len(rows)}", *rows, sep="\n  ")
    hybrids, twice_read = read_twice()
    print(f"hybrids read twice in a study: {twice_read} (of {hybrids})")


if __name__ == "__main__":
    main()
