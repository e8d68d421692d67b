"""The pool of an open arena: answers drawn once, scored once and frozen; then the arena lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.listed import GIVEN, ListedAnswer, Listing
from takeback.arenas.protocol import LEGAL, Goal
from takeback.arenas.rows.row import Row
from takeback.arenas.rows.rows import OpenRows
from takeback.arenas.words import Words
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

REWARD: Final = "reward "
"""How columns of rewards begin in a pool's table."""

LOG: Final = "log "
"""How columns of log-probabilities begin, with the side they are under."""

COLUMNS: Final[Mapping[str, str]] = {
    "item": "the number of the row, from 0",
    "situation": "what tables call it",
    "side": "who drew the answer: base, tuned, or given by the data",
    "draw": "its number among the side's answers",
    "answer": "what it says",
    "tokens": "how it is written",
    "ended": "whether it ended before the length limit",
    "kind": "what sort of answer it is; empty for an ordinary one",
    f"{REWARD}NAME": "what a reward gives it; missing where that does not apply",
    f"{LOG}SIDE": "its log-probability under a side, in nats",
}


@dataclass(frozen=True, eq=False)
class PooledRow:
    """A row with its pool of answers and what each is worth, by reward."""

    row: Row
    answers: tuple[ListedAnswer, ...] = field(repr=False)
    worth: Mapping[str, tuple[float, ...]] = field(repr=False)


class PooledRows:
    """An open arena whose answers were drawn; `pooled_rows` makes one of a table.

    Attributes:
        open: the arena that was asked.
        sides: who drew the answers.
        members: the rows that have answers.
        kinds_drawn: the kinds that answers are of.
    """

    words: Words = OpenRows.words
    kinds: tuple[str, ...] = ()
    normalisation = "none"

    def __init__(self, arena: OpenRows, sides: tuple[str, ...], members: Sequence[PooledRow]) -> None:
        self.open, self.sides, self.members = arena, sides, tuple(members)
        self.name = arena.name
        found = {answer.kind for one in members for answer in one.answers if answer.kind}
        self.kinds_drawn: tuple[str, ...] = tuple(sorted(found))

    @property
    def temperature(self) -> float:
        """The temperature at which answers were drawn and are read."""
        return self.open.sampling.temperature

    @property
    def template_arguments(self) -> Mapping[str, Any]:
        """What the tokenizer's chat template is given besides the messages."""
        return self.open.template_arguments

    @property
    def goals(self) -> Mapping[str, Goal[PooledRow]]:
        """The rewards: what they gave each answer."""
        return self._goals

    @cached_property
    def _goals(self) -> dict[str, Goal[PooledRow]]:
        return {
            reward.name: Goal(
                reward.name,
                partial(_worth, reward.name),
                partial(_applies, reward.name),
                f"reward {reward.name}",
            )
            for reward in self.open.rewards
        }

    def situations(self, split: str, n: int, seed: int, goal: str | None = None) -> list[PooledRow]:
        """Return the rows that have answers: the first n of them."""
        return list(self.members[:n])

    def prompt(self, situation: PooledRow) -> str:
        """Return what tables call a row."""
        return self.open.prompt(situation.row)

    def cluster(self, situation: PooledRow) -> str:
        """Return what a row counts as one by."""
        return self.open.cluster(situation.row)

    def legal(self, situation: PooledRow) -> tuple[str, ...]:
        """Return the answers of a row's pool."""
        return tuple(answer.text for answer in situation.answers)

    def classify(self, situation: PooledRow, text: str) -> str:
        """Return `legal`: any text is an answer."""
        return LEGAL

    def listing(self, situation: PooledRow) -> Listing:
        """Return a row with its pool of answers."""
        return Listing(situation.row.shown, situation.answers)


def pooled_rows(arena: OpenRows, rows: Sequence[Row], table: pd.DataFrame) -> PooledRows:
    """Return an arena with the pool of answers that a table holds for some of its rows.

    A table of columns `item` and `answer` alone is a file of given answers, which none drew.

    Args:
        arena: the open arena.
        rows: the rows that were asked, in their order.
        table: a row for each answer; see `COLUMNS`.

    Raises:
        TakebackError: a row has no answers there, or the table lacks a reward's column.
    """
    sides = tuple(name.removeprefix(LOG) for name in map(str, table) if name.startswith(LOG))
    for reward in arena.rewards:
        if f"{REWARD}{reward.name}" not in table:
            raise TakebackError(
                f"the pool has no column {REWARD + reward.name!r}; draw it anew with that reward"
            )
    by_row: dict[Any, pd.DataFrame] = dict(iter(table.groupby("item", sort=False)))
    if missing := [row for row in rows if row.number not in by_row]:
        raise TakebackError(f"the pool has no answers to {missing[0]}; draw it on these rows")
    return PooledRows(arena, sides, [_pooled(arena, row, by_row[row.number], sides) for row in rows])


def _pooled(arena: OpenRows, row: Row, table: pd.DataFrame, sides: tuple[str, ...]) -> PooledRow:
    logs = table[[f"{LOG}{side}" for side in sides]].to_numpy(np.float64)
    mixture = np.logaddexp.reduce(logs, axis=1) - np.log(len(sides))
    own = [
        logs[place, sides.index(side)] if side in sides else 0.0 for place, side in enumerate(table["side"])
    ]
    columns = (table["answer"], table["tokens"], table["side"], mixture, own, table["kind"])
    answers = tuple(
        ListedAnswer(text, tuple(map(int, tokens)), side, float(log), float(alone), kind)
        for text, tokens, side, log, alone, kind in zip(*columns, strict=True)
    )
    rewards = {
        reward.name: table[f"{REWARD}{reward.name}"].to_numpy(np.float64, na_value=np.nan)
        for reward in arena.rewards
    }
    return PooledRow(row, answers, {name: tuple(numbers.tolist()) for name, numbers in rewards.items()})


def _worth(name: str, situations: Sequence[PooledRow]) -> Floats:
    """Return what a reward gave each answer, 0 where it does not apply."""
    return np.nan_to_num(np.array([worth for one in situations for worth in one.worth[name]], np.float64))


def _applies(name: str, situations: Sequence[PooledRow]) -> NDArray[np.bool_]:
    """Tell in which rows a reward applies to every answer that was drawn."""

    def applies(one: PooledRow) -> bool:
        pairs = zip(one.answers, one.worth[name], strict=True)
        return all(np.isfinite(worth) for answer, worth in pairs if answer.side != GIVEN)

    return np.array([applies(one) for one in situations], np.bool_)
