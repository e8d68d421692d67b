"""What a page selects: a set of components, what is done with it, and the situation that is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from takeback.anatomy import Anatomy
from takeback.component import ComponentSet
from takeback.findings.localise.shares import GRAFT, TAKE_BACK
from takeback.hybrid.sources import SOURCES
from takeback.measure.read import BASE, Ask
from takeback.run.errors import TakebackError, unknown_name

STRENGTHS: Final = (-2.0, 3.0)
"""How far beyond its ends the line from tuned to base is followed."""

LONGEST: Final = 100_000
"""Letters of a text that is typed or of a set, at most."""

CHECKPOINT: Final = "checkpoint"
OFFERED: Final = tuple(form for form in SOURCES if form.partition(":")[0] not in (CHECKPOINT, "strength"))
"""The sources that a page may name: no paths, and the strength has a field of its own."""


@dataclass(frozen=True)
class Selection:
    """A set of components and what is done with it.

    Attributes:
        components: the set.
        direction: `take back` or `graft`.
        source: where what is taken back comes from, as `Ask` takes it.
        situation: the place of the situation that is shown, None for none.
    """

    components: ComponentSet
    direction: str
    source: str
    situation: int | None

    @classmethod
    def read(cls, message: Mapping[str, Any], anatomy: Anatomy, arms: Mapping[str, str]) -> Selection:
        """Read a message; `arms` are other checkpoints that may stand in base's place, by their names.

        Raises:
            UnknownName: a component, direction or source is none.
            TakebackError: a field is of another type or out of range, or a graft is not a whole one.
        """
        components = anatomy.parse(text_of(message, "set"))
        direction = text_of(message, "direction", TAKE_BACK)
        if direction not in (TAKE_BACK, GRAFT):
            raise unknown_name("direction", direction, (TAKE_BACK, GRAFT))
        place, strength = message.get("situation"), message.get("strength", 1)
        if place is not None and (not isinstance(place, int) or isinstance(place, bool) or place < 0):
            raise TakebackError(f"situation {place!r} is no place in the list; it counts from 0")
        if isinstance(strength, bool) or not isinstance(strength, int | float) or not math.isfinite(strength):
            raise TakebackError(f"strength {strength!r} is no number")
        source = _source(text_of(message, "source", BASE), float(strength), arms)
        if direction == GRAFT and source != BASE:
            raise TakebackError("a graft comes from tuned, whole; take back for other sources and strengths")
        return cls(components, direction, source, place)

    @property
    def ask(self) -> Ask:
        """The hybrid."""
        if self.direction == GRAFT:
            return Ask.graft(self.components)
        return Ask(self.components, self.source)

    @property
    def side(self) -> str:
        """What its effects are relative to."""
        return "tuned" if self.direction == TAKE_BACK else "base"


def _source(name: str, strength: float, arms: Mapping[str, str]) -> str:
    if name in arms:
        return f"{CHECKPOINT}:{arms[name]}"
    if name.partition(":")[0] not in {form.partition(":")[0] for form in OFFERED}:
        raise unknown_name("source", name, (*OFFERED, *arms))
    if name != BASE or strength == 1:
        return name
    low, high = STRENGTHS
    return f"strength:{round(min(high, max(low, strength)), 2):g}"


def text_of(message: Mapping[str, Any], field: str, default: str | None = None) -> str:
    """Return a text of a message.

    Raises:
        TakebackError: it is missing, no text, or too long.
    """
    value = message.get(field, default)
    if not isinstance(value, str) or len(value) > LONGEST:
        raise TakebackError(f"{field} is no text of at most {LONGEST:,} letters")
    return value
