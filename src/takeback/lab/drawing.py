"""What a page types, and answers that policies draw while it watches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from takeback.arenas import Readable
from takeback.arenas.rows import DrawnRows, PooledRows, Row
from takeback.arenas.rows.rows import ChoiceRows
from takeback.lab.situations import drawn_of, situation_of
from takeback.lab.stage import Message, Stage
from takeback.measure.pool import with_answers
from takeback.policies.language.drawn import draw_slowly
from takeback.policies.language.generate import DrawnAnswer
from takeback.run.errors import TakebackError

MOST: Final = 64
"""Situations that can be typed, and answers that can be drawn at once."""


def typed(stage: Stage, text: str, shown: Any) -> Iterator[Message]:
    """Make a situation of what was typed, and tell it; one of choices takes those of the situation shown.

    Raises:
        TakebackError: it can't be read, or there are too many.
    """
    if not text.strip():
        raise TakebackError("nothing was typed; type a situation")
    if len(stage.typed) >= MOST:
        raise TakebackError(f"{MOST} situations were typed; start the lab again for more")
    bench, arena = stage.bench, stage.bench.arena
    if isinstance(arena, Readable):
        place, situation = arena, arena.parse(text.strip())
    elif isinstance(arena, PooledRows):
        row = _row(arena.open, text, stage.count + len(stage.typed))
        yield {"type": "progress", "doing": "drawing answers of both sides", "done": 0, "of": 1}
        sides = {"base": bench.pair.base, "tuned": bench.pair.tuned}
        place, (situation,) = with_answers(arena.open, [row], sides, replace(bench.sharing, out=None))
    elif isinstance(arena, ChoiceRows):
        like = bench.situations[shown if isinstance(shown, int) and 0 <= shown < stage.count else 0]
        place, situation = (
            arena,
            replace(_row(arena, text, like.number), choices=like.choices, columns=like.columns),
        )
    elif isinstance(arena, DrawnRows):
        place, situation = arena, _row(arena.open, text, stage.count + len(stage.typed))
    else:
        raise TakebackError(f"arena {arena.name} reads no situations from texts")
    stage.typed.append(bench.on(place, [situation]))
    number = stage.count + len(stage.typed) - 1
    yield {"type": "situation", "situation": situation_of(place, situation, number)}


def _row(arena: Any, text: str, number: int) -> Row:
    """Return a row of a text; where the data's prompts are chats it is what the user says last."""
    like = arena.rows[0].shown
    shown: Any = text if isinstance(like, str) else (*_system(like), {"role": "user", "content": text})
    return Row(number, shown, {})


def _system(messages: Any) -> list[Mapping[str, Any]]:
    return [one for one in messages if one.get("role") == "system"]


def draw(stage: Stage, message: Mapping[str, Any]) -> Iterator[Message]:
    """Let both sides and the hybrid that is selected answer a prompt, one answer after the other.

    Raises:
        TakebackError: the arena is not open, or no situation or number of answers is named.
    """
    asked, arena = stage.selection(message), stage.bench.arena
    number = message.get("n", 1)
    if asked.situation is None or not isinstance(arena, PooledRows | DrawnRows):
        raise TakebackError("answers are drawn to prompts of an open arena; choose one")
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MOST:
        raise TakebackError(f"{number!r} answers can't be drawn; ask for 1 to {MOST}")
    (one,) = stage.one(asked.situation).situations
    rows = DrawnRows(arena.open, number)
    bench = stage.bench.on(rows, [getattr(one, "row", one)])
    for side, ask in {"hybrid": asked.ask, "tuned": stage.nothing, "base": stage.everything}.items():
        about = {"type": "drawn", "side": side, "situation": asked.situation}
        answers: list[DrawnAnswer] = []
        for answers in draw_slowly(bench.view(ask), bench.plan):
            yield {**about, "answers": [_growing(one) for one in answers]}
        yield {**about, "answers": drawn_of(bench.plan.scored([answers]), 0)}


def _growing(answer: DrawnAnswer) -> dict[str, Any]:
    return {"text": answer.text, "kind": "", "rewards": {}, "ended": answer.ended}
