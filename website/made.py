"""Pages of the site that are made: of commands, of public names, of decisions, of files of the root."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DECISIONS = ROOT / "docs" / "decisions"
TUTORIALS = ROOT / "docs" / "tutorials"
COMMON = 4
"""An option that so many commands have is explained once."""

COPIED = {
    "extending/agents.md": "AGENTS.md",
    "extending/contributing.md": "CONTRIBUTING.md",
    "extending/changes.md": "CHANGELOG.md",
}
"""Pages that are files of the repository's root."""

GROUPS = {
    "Verbs": "What is called first; most are commands, too.",
    "Checkpoints and pairs": "takeback.checkpoint takeback.anatomy takeback.component",
    "Hybrids and coordinates": "takeback.hybrid takeback.gauge",
    "Asking": "takeback.measure takeback.policies takeback.arenas",
    "Findings": "takeback.findings takeback.weights takeback.report takeback.lab",
    "Training and studies": "takeback.training takeback.study",
    "Errors": "takeback.run.errors",
}


def pages() -> dict[str, str]:
    """Return every page that is made, by its place in the site."""
    copied = {uri: _copied(ROOT / name) for uri, name in COPIED.items() if (ROOT / name).exists()}
    return {
        **copied,
        **{f"tutorials/{path.stem}.md": tutorial(path) for path in sorted(TUTORIALS.glob("*.ipynb"))},
        "reference/commands.md": commands(),
        "reference/python.md": python(),
        "decisions/index.md": decided(),
    }


def tutorial(path: Path) -> str:
    """Return a notebook as a page, with a link to itself."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text: list[str] = []
    for cell in cells:
        source = "".join(cell["source"])
        text.append(f"```python\n{source}\n```" if cell["cell_type"] == "code" else source)
    title, _, rest = text[0].partition("\n")
    links = re.compile(r"(\]\([\w-]+)\.ipynb\)")
    got = f"[Download the notebook]({path.name}){{ .md-button download }}"
    return links.sub(r"\1.md)", "\n\n".join([title, got, rest, *text[1:]])) + "\n"


def decisions() -> list[Path]:
    """Return the pages of decisions in their order."""
    return sorted(DECISIONS.glob("[0-9]*.md"))


def decided() -> str:
    """Write the list of decisions."""
    rows = [f"| {page.name[:4]} | [{_title(page)}]({page.name}) |" for page in decisions()]
    head = "# Decisions\n\nA page for each hard choice: what was chosen, why, and which test guards it.\n\n"
    return head + "\n".join(["| | |", "| --- | --- |", *rows]) + "\n"


def _title(page: Path) -> str:
    first = page.read_text(encoding="utf-8").split("\n", 1)[0]
    return re.sub(r"^# (\d{4}[.:]? ?)?", "", first)


def _copied(path: Path) -> str:
    """Return a file of the root with its links to pages as they are seen from a folder of docs."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"\]\(docs/decisions/?\)", "](../decisions/index.md)", text)
    text = re.sub(r"\]\(docs/", "](../", text)
    return re.sub(r"\[([^\[\]]+)\]\((?!\.\./|https?:|#)[^)]+\)", r"\1", text)


def commands() -> str:
    """Write the reference of the command line."""
    every = dict(walk())
    shared = Counter(_key(one) for command in every.values() for one in options(command))
    common = {key for key, number in shared.items() if number >= COMMON}
    once: dict[str, Any] = {}
    for command in every.values():
        once |= {_key(one): one for one in options(command) if _key(one) in common}
    text = [
        "# Every command",
        "",
        "Made from the command line itself when the site is built: what `takeback COMMAND --help` says. "
        "What each is for, and what it prints, is on [commands in use](../commands.md).",
        "",
        "| command | |",
        "| --- | --- |",
        *(f"| [`{name}`](#{_slug(name)}) | {_first(one)} |" for name, one in every.items()),
        "",
        "## Options that commands share",
        "",
        *_table(sorted(once.values(), key=lambda one: one.opts[0])),
    ]
    for name, command in every.items():
        taken = options(command)
        own = [one for one in taken if _key(one) not in common]
        among = [f"`{one.opts[0]}`" for one in taken if _key(one) in common]
        places = [one for one in command.params if one.param_type_name == "argument"]
        usage = " ".join(["takeback", name, *map(_place, places), *(["[OPTIONS]"] if taken else [])])
        text += ["", f"## {name}", "", f"```console\n$ {usage}\n```", "", _paragraphs(command.help or "")]
        if places:
            text += ["", "| argument | |", "| --- | --- |"]
            text += [
                f"| `{_escaped(one.metavar or one.name)}` | {_escaped(one.help or '')} |" for one in places
            ]
        if own:
            text += ["", *_table(own)]
        if among:
            text += ["", f"And of the [shared options](#options-that-commands-share): {', '.join(among)}."]
    return "\n".join(text) + "\n"


def json_output() -> str:
    """Write the page on what commands print with --json, and on exit codes."""
    from takeback.cli.printed import EXITS, PRINTED

    text: list[str] = []
    for name, printed in PRINTED.items():
        text += [f"### {name}", "", "A list of objects." if printed.rows else "An object.", ""]
        text += ["| key | |", "| --- | --- |"]
        text += [f"| `{key}` | {_escaped(meaning)} |" for key, meaning in printed.keys.items()]
        text += [f"| `{key}` (not always) | {_escaped(meaning)} |" for key, meaning in printed.also.items()]
        text += [""]
    exits = "\n".join(f"| {code} | {meaning} |" for code, meaning in EXITS.items())
    page = (Path(__file__).parent / "json.md").read_text(encoding="utf-8")
    return page.replace("EXITS", exits).replace("COMMANDS", "\n".join(text).strip())


def walk() -> Iterator[tuple[str, Any]]:
    """Give every command by the words that call it."""
    from typer.main import get_command

    from takeback.cli import app

    def below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        inside = getattr(command, "commands", None)
        if inside is None:
            yield " ".join(words), command
            return
        for name, one in inside.items():
            yield from below(one, (*words, name))

    return below(get_command(app), ())


def options(command: Any) -> list[Any]:
    """Return the options of a command but --help."""
    return [one for one in command.params if one.param_type_name == "option" and one.name != "help"]


def _key(option: Any) -> str:
    return f"{option.opts[0]} {option.help}"


def _table(some: list[Any]) -> list[str]:
    return ["| option | | default |", "| --- | --- | --- |", *map(_row, some)]


def _row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    value = f" `{_escaped(option.metavar)}`" if option.metavar else ""
    default = "needed" if option.required else _default(option.default)
    return f"| {names}{value} | {_escaped(option.help or '')} | {default} |"


def _default(value: Any) -> str:
    if value is None or value is False or value == () or callable(value):
        return ""
    return f"`{_escaped(str(value))}`" if value != "" else ""


def _place(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    more = " …" if argument.nargs == -1 else ""
    return f"{name}{more}" if argument.required else f"[{name}]{more}"


def _first(command: Any) -> str:
    return " ".join(_escaped(command.help or "").split("\n\n")[0].split())


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(_escaped(one).split()) for one in text.split("\n\n"))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _slug(name: str) -> str:
    return name.replace(" ", "-")


def public() -> dict[str, str]:
    """Return the public names of the package by what they are called, with where each is defined.

    They are read from the imports of `takeback/__init__.py`, which type checkers see.
    """
    tree = ast.parse((ROOT / "src" / "takeback" / "__init__.py").read_text(encoding="utf-8"))
    return {
        one.asname: _defined(node.module, one.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module != "takeback"
        for one in node.names
        if one.asname and node.module.startswith("takeback.") and one.name != "lazy_names"
    }


def _defined(module: str, name: str) -> str:
    """Return where a name is defined that a package may only pass on."""
    path = ROOT / "src" / Path(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("takeback."):
            for one in node.names:
                if (one.asname or one.name) == name:
                    return _defined(node.module, one.name)
    return f"{module}.{name}"


def python() -> str:
    """Write the reference of Python: the docstring of every public name, by what it is about."""
    left = public()
    text = [
        "# Python, name by name",
        "",
        "Every public name of `takeback`, made from its docstring when the site is built. "
        "They are used, one after another, on [Python in use](../python.md).",
    ]
    for title, told in GROUPS.items():
        if title == "Verbs":
            chosen = [name for name in left if name[0].islower()]
        else:
            chosen = [name for name, where in left.items() if where.startswith(tuple(told.split()))]
        text += ["", f"## {title}", *(["", told] if title == "Verbs" else [])]
        text += [f"\n::: {left.pop(name)}" for name in sorted(chosen)]
    if left:
        raise ValueError(f"no part of the page on Python has {', '.join(left)}")
    return "\n".join(text) + "\n"


def style() -> str:
    """Return the style of the site: its own, and the colours that pictures name by day and by night."""
    from takeback.draw.colour import variables

    own = (Path(__file__).parent / "site.css").read_text(encoding="utf-8")
    day = f"[data-md-color-scheme=default] {{ {variables(dark=False)} }}\n"
    night = f"[data-md-color-scheme=slate] {{ {variables(dark=True)} }}\n"
    return day + night + own


if __name__ == "__main__":
    (ROOT / "docs" / "reference" / "json.md").write_text(json_output(), encoding="utf-8")
