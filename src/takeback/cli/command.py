"""How a function becomes a command: with its options, alone with its output, and stopped in one line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import typer

Command = TypeVar("Command", bound=Callable[..., Any])

WRITTEN = object()
"""Marks a file or folder that a command writes, and so has to itself as long as it runs."""
RESUMED = object()
"""Marks the folder of a run, which sees to that itself and goes on wherever it was stopped."""
STOPPED = 130
"""The exit code of a command that was stopped by Ctrl-C."""


def command_of(app: typer.Typer, name: str | None = None) -> Callable[[Command], Command]:
    """Make a function a command of an app, with its own options and those that it takes together."""

    def added(command: Command) -> Command:
        words = (command.__doc__ or "").split("\n\n")[0]
        app.command(name, short_help=" ".join(words.split()))(spread(command))
        return command

    return added


def spread(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command, in the place of each dataclass that it takes, the options that are its fields.

    >>> from takeback.cli.options import PlaceOptions
    >>> def greet(name: str, place: PlaceOptions) -> None:
    ...     print(name, place.situations)
    >>> list(inspect.signature(spread(greet)).parameters)  # doctest: +ELLIPSIS
    ['name', 'rewards', ..., 'arena', 'situations', 'seed']
    >>> spread(greet)(name="Ada", situations=3)
    Ada 3
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    taken: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        taken |= (
            _spread(groups[name])
            if name in groups
            else {name: _keyword(name, hints[name], parameter.default)}
        )

    @functools.wraps(command)
    def called(**given: Any) -> Any:
        outputs = [given[name] for name, one in taken.items() if _is(WRITTEN, one) and given.get(name)]
        resumed = bool(outputs) or any(_is(RESUMED, one) for one in taken.values())
        made = {
            name: group(**{one.name: given.pop(one.name) for one in fields(group) if one.name in given})
            for name, group in groups.items()
        }
        try:
            with _alone([] if given.get("shard") else outputs):
                return command(**given, **made)
        except KeyboardInterrupt:
            kept = (
                "what was finished is kept, and the same command goes on"
                if resumed
                else "nothing was written"
            )
            typer.echo(f"takeback: stopped; {kept}", err=True)
            raise typer.Exit(STOPPED) from None

    called.__annotations__ = {name: parameter.annotation for name, parameter in taken.items()}
    vars(called)["__signature__"] = inspect.Signature(list(taken.values()))
    return called


def _is(mark: object, parameter: inspect.Parameter) -> bool:
    return any(told is mark for told in getattr(parameter.annotation, "__metadata__", ()))


@contextmanager
def _alone(outputs: Sequence[Path | list[Path]]) -> Generator[None]:
    """Let one command at a time write its outputs; jobs of an array share theirs."""
    from takeback.run.files import one_writer

    paths = {path for told in outputs for path in (told if isinstance(told, list) else [told])}
    with ExitStack() as stack:
        for path in sorted(paths):
            stack.enter_context(one_writer(path))
        yield


def _spread(group: Any) -> dict[str, inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return {
        one.name: _keyword(
            one.name, hints[one.name], inspect.Parameter.empty if one.default is MISSING else one.default
        )
        for one in fields(group)
    }


def _keyword(name: str, hint: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
