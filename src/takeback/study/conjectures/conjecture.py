"""Conjectures: what somebody expects of a run, with a rule that decides it and a probability."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from takeback.run.errors import TakebackError, unknown_name
from takeback.run.yaml_text import read_yaml
from takeback.study.conjectures.rule import Rule, parse_rule

Words = Annotated[str, Field(min_length=1)]

OF_ARMS = ("policies", "shifts", "agency", "games", "effects", "components", "layers", "total")
"""The tables whose column `arm` holds arms of the plan, or base."""


class Conjecture(BaseModel):
    """A sentence, the rule that decides it, and how probable its author holds it before the run.

    >>> told = {"sentence": "RL wins more.", "rule": "count(games) > 3", "probability": 0.8, "author": "Ada"}
    >>> Conjecture.model_validate(told).name
    'rl-wins-more'
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, str_strip_whitespace=True)

    name: Words
    """Without one, the first words of the sentence."""
    sentence: Words
    rule: Words
    probability: Annotated[float, Field(gt=0, lt=1)]
    """That the rule turns out true: above 0 and below 1, since a log score can't forgive certainty."""
    author: Words

    @model_validator(mode="before")
    @classmethod
    def _named(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and not fields.get("name") and isinstance(fields.get("sentence"), str):
            return {**fields, "name": slug(fields["sentence"])}
        return fields

    @field_validator("rule")
    @classmethod
    def _is_a_rule(cls, text: str) -> str:
        return parse_rule(text).text

    @property
    def parsed(self) -> Rule:
        """The rule, read."""
        return parse_rule(self.rule)

    def canonical(self) -> str:
        """Return the conjecture as one line of JSON with its fields in a fixed order."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)


def digest_of(conjectures: Iterable[Conjecture]) -> str:
    """Return the SHA-256 of conjectures as hexadecimal digits; their order does not matter."""
    text = "\n".join(sorted(one.canonical() for one in conjectures))
    return hashlib.sha256(text.encode()).hexdigest()


def check_conjectures(fields: Any, origin: str = "conjectures") -> tuple[Conjecture, ...]:
    """Build conjectures from a plain list.

    Raises:
        TakebackError: it is no list, a field is wrong, or two have one name.
    """
    if not isinstance(fields, list):
        raise TakebackError(
            f"{origin}: conjectures are a list, each with sentence, rule, probability, author"
        )
    found: list[Conjecture] = []
    for place, one in enumerate(fields):
        try:
            found.append(Conjecture.model_validate(one))
        except ValidationError as error:
            told = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'conjecture'}: {e['msg'].removeprefix('Value error, ')}"
                for e in error.errors()
            )
            raise TakebackError(f"{origin}: conjecture {place + 1}: {told}") from None
    check_names(found, origin)
    return tuple(found)


def check_names(conjectures: Sequence[Conjecture], origin: str) -> None:
    """Raise for two conjectures of one name."""
    names = [one.name for one in conjectures]
    for name in names:
        if names.count(name) > 1:
            raise TakebackError(f"{origin}: two conjectures are named {name!r}; give each its own name")


def check_arms(conjectures: Iterable[Conjecture], arms: Collection[str], seeds: Collection[int]) -> None:
    """Raise for rules that name an arm or a seed that the plan does not have.

    Raises:
        UnknownName: names the conjecture, and the nearest names that there are.
    """
    for one in conjectures:
        for reading in one.parsed.readings():
            filters = dict(reading.filters) if reading.table in OF_ARMS else {}
            for column, known in (("arm", [*arms, "base"]), ("seed", [0, *seeds])):
                for value in filters.get(column, ()):
                    if value not in known:
                        kind = f"{column} in the rule of conjecture {one.name!r}:"
                        shown = value if isinstance(value, str) else f"{value:g}"
                        raise unknown_name(kind, shown, dict.fromkeys(map(str, known)))


def load_conjectures(path: str | Path) -> tuple[Conjecture, ...]:
    """Read conjectures from a YAML file: a list, or a mapping whose `conjectures` is one.

    Raises:
        TakebackError: the file is missing or can't be read, or a conjecture is wrong.
    """
    fields = read_list(path)
    return check_conjectures(fields, str(path))


def read_list(path: str | Path) -> Any:
    """Return the list of conjectures in a YAML file, unchecked.

    Raises:
        TakebackError: the file is missing or can't be read.
    """
    found = read_yaml(Path(path), f"no conjectures at {path}; give a YAML file with a list of them")
    return found.get("conjectures") or [] if isinstance(found, dict) else found


def slug(sentence: str) -> str:
    """Return the first words of a sentence as a name.

    >>> slug("RL wins more.")
    'rl-wins-more'
    """
    words = re.findall(r"\w+", sentence.lower())
    slug = ""
    for word in words:
        if slug and len(slug) + 1 + len(word) > 48:
            break
        slug = f"{slug}-{word}" if slug else word
    return slug or "conjecture"
