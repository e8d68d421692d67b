"""What of this package's libraries is installed, and what each extra brings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PACKAGE: Final = "takeback"
GIVES: Final[Mapping[str, str]] = {
    "train": "training arms with TRL: train, study, demo; LoRA adapters",
    "chess": "python-chess, an outside check of the endgame rules (GPL-3.0-or-later)",
    "ray": "workers on a Ray cluster: --engine ray",
    "eval": "evaluation tasks as arenas: --arena lm-eval:TASK",
    "vllm": "drawing answers with vLLM: --draw-by vllm",
    "gguf": "reading GGUF files",
    "gym-reasoning": "prompts with verifiers: --arena reasoning-gym:NAME",
    "sb3": "agents of Stable-Baselines3 and environments: --arena gym:ENV",
    "lab": "the live page and the notebook widget: lab",
}
"""What each extra brings; `all` is most of them together."""


@dataclass(frozen=True)
class Library:
    """A library that is asked for: the version that is here, None if none is, and those that are allowed."""

    name: str
    version: str | None
    allowed: str

    @property
    def fits(self) -> bool:
        """Whether one is here whose version is allowed."""
        from packaging.specifiers import SpecifierSet

        return self.version is not None and SpecifierSet(self.allowed).contains(
            self.version, prereleases=True
        )


@dataclass(frozen=True)
class Extra:
    """An extra: what it gives, and its libraries."""

    name: str
    gives: str
    libraries: tuple[Library, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Its libraries that are not here in a version that is allowed."""
        return tuple(one.name for one in self.libraries if not one.fits)


def libraries() -> tuple[Library, ...]:
    """Return what the package itself asks for.

    >>> sorted(one.name for one in libraries() if one.name.startswith("t"))
    ['tokenizers', 'torch', 'transformers', 'typer']
    """
    return tuple(_library(one) for one in _requirements() if one.marker is None)


def extras() -> tuple[Extra, ...]:
    """Return the extras of the package as it was installed, each with what of it is here."""
    asked = [one for one in _requirements() if one.marker is not None]
    every = {
        name: tuple(_library(one) for one in asked if _of(one, name))
        for name in metadata(PACKAGE).get_all("Provides-Extra") or ()
    }
    return tuple(Extra(name, GIVES[name], here) for name, here in every.items() if name in GIVES)


def _of(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and requirement.name != PACKAGE


def _requirements() -> Iterator[Requirement]:
    from packaging.requirements import Requirement

    for one in requires(PACKAGE) or ():
        yield Requirement(one)


def _library(requirement: Requirement) -> Library:
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        found = None
    return Library(requirement.name, found, str(requirement.specifier))
