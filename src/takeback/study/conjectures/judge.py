"""Deciding a rule by the tables of a run: true, false, or why it can't be told."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import pandas as pd

from takeback.run.errors import TakebackError, unknown_name
from takeback.study.conjectures.rule import (
    Aggregate,
    Arithmetic,
    ColumnName,
    Condition,
    Logic,
    Not,
    Quantity,
    Relation,
    Rule,
    Signed,
    Statement,
    Value,
)

_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_COMBINE: Final[dict[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_SUMMARY: Final[dict[str, Callable[[np.ndarray], float]]] = {
    "mean": lambda values: math.fsum(values) / len(values),
    "least": lambda values: float(values.min()),
    "most": lambda values: float(values.max()),
}


class TableSource(Protocol):
    """Where a rule finds its tables."""

    @property
    def planned(self) -> Mapping[str, tuple[object, ...]]:
        """By column, values that will be there when the run is finished."""
        ...

    def get(self, name: str) -> pd.DataFrame | None:
        """Return a table, None where there is none yet."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a rule.

    Attributes:
        outcome: None where the record can't tell.
        why: the numbers on both sides, or what is missing.
        read: each number that was read, with the number of rows it is from.
    """

    outcome: bool | None
    why: str
    read: str


class _Untold(Exception):
    """The record has not what a rule needs."""


def judge(rule: Rule, tables: TableSource) -> Verdict:
    """Decide a rule.

    Every part of it is worked out, so that a wrong name shows wherever it stands; where any part can't be,
    the outcome is None.

    Raises:
        UnknownName: a table has no such column, or a column that is there never holds the value of a filter.
        TakebackError: words are used where numbers are needed, or the other way around.

    Examples:
        >>> from types import SimpleNamespace
        >>> from takeback.study.conjectures.rule import parse_rule
        >>> games = pd.DataFrame({"arm": ["rl", "rl", "base"], "score": [1.0, 0.0, 0.0]})
        >>> tables = SimpleNamespace(planned={}, get=lambda name: games)
        >>> rule = parse_rule('mean(games.score, arm="rl") > mean(games.score, arm="base")')
        >>> judge(rule, tables).why
        '0.5 > 0 is true'
    """
    judged = _Judge(tables, [], [])
    outcome, why = judged.statement(rule.statement)
    read = "; ".join(judged.read)
    if judged.untold:
        return Verdict(None, "; ".join(dict.fromkeys(judged.untold)), read)
    return Verdict(outcome, why, read)


def quantity_of(part: Quantity, tables: TableSource) -> float | None:
    """Work out one side of a rule; None where the record can't tell.

    Raises:
        UnknownName, TakebackError: as `judge`.
    """
    judged = _Judge(tables, [], [])
    value = judged.quantity(part)
    return None if judged.untold else value


@dataclass
class _Judge:
    tables: TableSource
    read: list[str]
    untold: list[str]

    def statement(self, part: Statement) -> tuple[bool, str]:
        """Return whether a statement holds, and its numbers in words."""
        match part:
            case Relation(operands, signs):
                values = [self.quantity(one) for one in operands]
                holds = all(_COMPARE[s](a, b) for a, s, b in zip(values, signs, values[1:], strict=False))
                written = _written(values)
                sides = " ".join(f"{sign} {value}" for sign, value in zip(signs, written[1:], strict=True))
                return holds, f"{written[0]} {sides} is {_word(holds)}"
            case Not(of):
                holds, why = self.statement(of)
                return not holds, f"not ({why})"
            case Logic(word, parts):
                told = [self.statement(one) for one in parts]
                holds = (all if word == "and" else any)(one for one, _ in told)
                inner = f" {word} ".join(
                    f"({why})" if isinstance(one, Logic) else why
                    for one, (_, why) in zip(parts, told, strict=True)
                )
                return holds, inner

    def quantity(self, part: Quantity) -> float:
        """Return a number, or NaN after noting why it can't be told."""
        match part:
            case Aggregate():
                try:
                    return self._reading(part)
                except _Untold as error:
                    self.untold.append(str(error))
                    return math.nan
            case Signed(function, of):
                value = self.quantity(of)
                return abs(value) if function == "abs" else -value
            case Arithmetic(sign, left, right):
                return self._combined(sign, self.quantity(left), self.quantity(right))
            case _:
                return part

    def _combined(self, sign: str, left: float, right: float) -> float:
        if math.isnan(left) or math.isnan(right):
            return math.nan
        if sign == "/" and right == 0:
            self.untold.append(f"{_number(left)} / 0 is no number")
            return math.nan
        value = _COMBINE[sign](left, right)
        if not math.isfinite(value):
            self.untold.append(f"{_number(left)} {sign} {_number(right)} is no finite number")
            return math.nan
        return value

    def _reading(self, reading: Aggregate) -> float:
        table = self.tables.get(reading.table)
        if table is None:
            raise _Untold(f"the record has no table {reading.table}")
        chosen = self._chosen(reading, table)
        rows = table[chosen]
        if isinstance(reading.of, ColumnName):
            values = _numbers(table, reading.of.name, reading.table)[chosen]
            value = _SUMMARY[reading.function](self._known(values, reading))
        elif reading.of is None:
            value = float(len(rows))
        else:
            holds = _holds(reading.of, table, reading.table)[chosen]
            held = self._known(holds, reading) if len(rows) or reading.function == "share" else np.array([])
            value = float(held.mean()) if reading.function == "share" else float(held.sum())
        if not math.isfinite(value):
            raise _Untold(f"{reading.text} is no finite number")
        self.read.append(f"{reading.text} = {_number(value)} of {len(rows)} rows")
        return value

    def _chosen(self, reading: Aggregate, table: pd.DataFrame) -> pd.Series:
        chosen = pd.Series(True, index=table.index)
        for column, allowed in reading.filters:
            _check_column(table, column, reading.table)
            chosen &= table[column].isin([self._found(value, table, column, reading) for value in allowed])
        return chosen

    def _found(self, value: Value, table: pd.DataFrame, column: str, reading: Aggregate) -> Value:
        """Return a filter's value when the column holds it somewhere.

        Raises:
            _Untold: it does not yet, but the plan says that it will.
            UnknownName: it does not.
        """
        if _occurs(value, table[column]):
            return value
        if value in self.tables.planned.get(column, ()):
            raise _Untold(f"{reading.table} has no rows of {column} {_shown(value)}")
        raise _unknown_value(value, table, column, reading.table)

    def _known(self, values: pd.Series, reading: Aggregate) -> np.ndarray:
        """Return values as numbers; all of them must be there."""
        if values.empty:
            told = ", ".join(f"{c}={' or '.join(map(_shown, v))}" for c, v in reading.filters)
            raise _Untold(f"no row of {reading.table} has {told}" if told else f"{reading.table} has no rows")
        if missing := int(values.isna().sum()):
            raise _Untold(f"{reading.text}: {missing} of {len(values)} values are missing")
        return values.to_numpy(dtype=np.float64)


def _holds(condition: Condition, table: pd.DataFrame, name: str) -> pd.Series:
    """Return which rows meet a condition, missing where a column that it needs is."""
    columns = [one.name for one in condition.operands if isinstance(one, ColumnName)]
    for column in columns:
        _check_column(table, column, name)
    words = {_is_words(table[column]) for column in columns}
    words |= {isinstance(one, str) for one in condition.operands if not isinstance(one, ColumnName)}
    if len(words) > 1 or (words == {True} and not set(condition.signs) <= {"==", "!="}):
        raise TakebackError(f"a condition on {name} compares words with numbers, or words by size")
    if words == {True}:
        for one in condition.operands:
            if isinstance(one, str) and not any(_occurs(one, table[column]) for column in columns):
                raise _unknown_value(one, table, columns[0], name)
    sides = [
        (table[one.name] if words == {True} else _numbers(table, one.name, name))
        if isinstance(one, ColumnName)
        else one
        for one in condition.operands
    ]
    holds = pd.Series(True, index=table.index)
    for left, sign, right in zip(sides, condition.signs, sides[1:], strict=False):
        holds &= _COMPARE[sign](left, right)  # pyright: ignore[reportArgumentType] # works on whole columns
    known = table[columns].notna().all(axis=1)
    return holds.astype("Float64").where(known)


def _check_column(table: pd.DataFrame, column: str, name: str) -> None:
    if column not in table.columns:
        raise unknown_name(f"column of {name}", column, table.columns)


def _numbers(table: pd.DataFrame, column: str, name: str) -> pd.Series:
    _check_column(table, column, name)
    if _is_words(table[column]):
        raise TakebackError(f"{name}.{column} holds words where a number is needed; count or share its rows")
    return table[column].astype("Float64")


def _is_words(values: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(values) and any(isinstance(one, str) for one in values.dropna())


def _occurs(value: Value, values: pd.Series) -> bool:
    """Tell whether a column knows a value: it holds it, or is of yes and no, which both are no typo."""
    if isinstance(value, bool) and pd.api.types.is_bool_dtype(values):
        return True
    if isinstance(value, str) != _is_words(values) and values.notna().any():
        return False
    return bool(values.isin([value]).any())


def _unknown_value(value: Value, table: pd.DataFrame, column: str, name: str) -> TakebackError:
    there = dict.fromkeys(map(_shown, table[column].dropna().unique()))
    return unknown_name(f"{column} of {name}", _shown(value), there)


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _word(holds: bool) -> str:
    return "true" if holds else "false"


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}g}"


def _written(values: Sequence[float]) -> list[str]:
    """Write numbers with as many digits as tell different ones apart.

    >>> _written([0.5, 0.25]), _written([0.123456, 0.123457])
    (['0.5', '0.25'], ['0.123456', '0.123457'])
    """
    for digits in range(4, 17):
        texts = [_number(value, digits) for value in values]
        if len(set(texts)) == len(set(values)):
            return texts
    return [repr(value) for value in values]
