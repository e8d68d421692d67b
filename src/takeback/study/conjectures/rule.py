"""The language of rules: a small expression over the tables of a run that is true or false.

A rule is parsed with Python's grammar, and whatever is not listed here is refused; nothing is ever executed.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeGuard

from takeback.run.errors import TakebackError, unknown_name

Value = str | float | bool

FUNCTIONS: Final = ("mean", "least", "most", "count", "share", "abs")
"""What a rule may call; `abs` takes a number, the others read a table."""

TABLES: Final = (
    "policies",
    "shifts",
    "agency",
    "games",
    "effects",
    "components",
    "layers",
    "total",
    "contrasts",
    "carriers",
)
"""The tables that a rule may read; those of the weights may be written `diff.components` and so on."""

UNMIXED: Final = {
    "policies": (("measure",), ("last", "step", "measured")),
    "shifts": (("measure",),),
    "agency": (("measure",),),
    "effects": (("measure",), ("direction",)),
    "contrasts": (("measure",),),
}
"""For means of values: one filter of each group must be given, since a mean over all means nothing."""

VALUES: Final = ("value", "effect", "estimate", "se", "low", "high")
"""The columns whose numbers are in the units of the row's measure."""

LONGEST, DEEPEST = 4000, 60
"""Characters of a rule, and expressions inside each other."""

_SIGNS: Final[dict[type[ast.AST], str]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.And: "and",
    ast.Or: "or",
}


@dataclass(frozen=True, slots=True)
class ColumnName:
    """A column of the table that is read."""

    name: str


@dataclass(frozen=True, slots=True)
class Condition:
    """What `share` and `count` ask of each row: columns and values with signs between them."""

    operands: tuple[ColumnName | Value, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A number read from the rows that pass all filters: each is a column and its allowed values."""

    function: str
    table: str
    of: ColumnName | Condition | None
    filters: tuple[tuple[str, tuple[Value, ...]], ...]
    text: str


@dataclass(frozen=True, slots=True)
class Signed:
    """A number with `-` before it or within `abs`."""

    function: str
    of: Quantity


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Two numbers with +, -, * or / between them."""

    sign: str
    left: Quantity
    right: Quantity


Quantity = float | Aggregate | Signed | Arithmetic


@dataclass(frozen=True, slots=True)
class Relation:
    """A chain such as `0 < a < b`: all neighbours must compare as their sign says."""

    operands: tuple[Quantity, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Logic:
    """Statements joined by `and` or by `or`."""

    word: str
    parts: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a statement."""

    of: Statement


Statement = Relation | Logic | Not


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as it was written and what it says."""

    text: str
    statement: Statement

    def readings(self) -> Iterator[Aggregate]:
        """Yield everything that the rule reads, from left to right."""
        yield from _readings(self.statement)

    def contrasts(self, known: Iterable[str]) -> list[str]:
        """Return which of some contrasts it reads: those that its filters name, all where they name none."""
        some = [dict(one.filters).get("contrast") for one in self.readings() if one.table == "contrasts"]
        return [name for name in known if any(named is None or name in named for named in some)]


def parse_rule(text: str) -> Rule:
    """Read a rule.

    Raises:
        UnknownName: it calls a function or reads a table that there is not.
        TakebackError: it is no rule; the message says what is not allowed.

    Examples:
        >>> rule = parse_rule('mean(agency.value, arm=["rl", "rft"], measure="MEG") > 0.1')
        >>> [reading.table for reading in rule.readings()]
        ['agency']
        >>> parse_rule("open('x') > 1")
        Traceback (most recent call last):
        takeback.run.errors.UnknownName: unknown function in a rule 'open': ...
    """
    if len(text) > LONGEST:
        raise TakebackError(f"a rule has at most {LONGEST} characters, this one {len(text)}; split it")
    line = " ".join(text.splitlines()).strip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(line, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        told = error.msg if isinstance(error, SyntaxError) else "it can't be read"
        raise TakebackError(f"rule {_short(line)}: {told}; see docs/conjectures.md") from None
    return Rule(line, _statement(tree.body, DEEPEST))


def _statement(node: ast.expr, depth: int) -> Statement:
    _check_depth(depth)
    match node:
        case ast.BoolOp(op, values):
            return Logic(_SIGNS[type(op)], tuple(_statement(part, depth - 1) for part in values))
        case ast.UnaryOp(ast.Not(), operand):
            return Not(_statement(operand, depth - 1))
        case ast.Compare(left, ops, comparators):
            operands = tuple(_quantity(part, depth - 1) for part in (left, *comparators))
            return Relation(operands, _signs(node, ops))
        case _:
            raise TakebackError(
                f"{_short(node)} is not true or false; compare numbers with < <= > >= == !=, "
                "and join comparisons with and, or, not"
            )


def _quantity(node: ast.expr, depth: int) -> Quantity:
    _check_depth(depth)
    match node:
        case ast.Constant(value) if _is_number(value):
            return _number(node, value)
        case ast.UnaryOp(ast.USub(), operand):
            return Signed("-", _quantity(operand, depth - 1))
        case ast.UnaryOp(ast.UAdd(), operand):
            return _quantity(operand, depth - 1)
        case ast.BinOp(left, op, right) if type(op) in _SIGNS:
            return Arithmetic(_SIGNS[type(op)], _quantity(left, depth - 1), _quantity(right, depth - 1))
        case ast.Call(ast.Name("abs"), [operand], []):
            return Signed("abs", _quantity(operand, depth - 1))
        case ast.Call(ast.Name(name)):
            return _reading(node, name)
        case ast.Attribute():
            raise TakebackError(
                f"{_short(node)} is a whole column; read one number from it, such as mean({_short(node)})"
            )
        case _:
            raise TakebackError(
                f"{_short(node)} is no number; a rule has numbers, + - * / and calls of "
                f"{', '.join(FUNCTIONS)}"
            )


def _reading(node: ast.Call, name: str) -> Aggregate:
    if name not in FUNCTIONS:
        raise unknown_name("function in a rule", name, FUNCTIONS)
    text = _short(node, 300)
    if name == "abs":
        raise TakebackError(f"{text}: abs takes one number and no filters")
    if len(node.args) != 1 or isinstance(node.args[0], ast.Starred):
        raise TakebackError(f"{text}: {name} takes one TABLE.COLUMN; filters follow as column=value")
    table, of = _subject(node.args[0], name, text)
    filters: dict[str, tuple[Value, ...]] = {}
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in filters:
            raise TakebackError(f"{text}: each filter is column=value, and each column has one")
        filters[_plain(keyword.arg)] = _allowed(keyword.value)
    reading = Aggregate(name, table, of, tuple(filters.items()), text)
    _check_unmixed(reading)
    return reading


def _subject(node: ast.expr, function: str, text: str) -> tuple[str, ColumnName | Condition | None]:
    """Return the table, and the column or condition that a function is asked of."""
    if function in ("share", "count") and isinstance(node, ast.Compare):
        tables: set[str] = set()
        operands = tuple(_operand(part, tables) for part in (node.left, *node.comparators))
        if len(tables) != 1:
            raise TakebackError(f"{text}: a condition is about columns of one table")
        return tables.pop(), Condition(operands, _signs(node, node.ops))
    if function == "count":
        return _table(_path(node)), None
    if function == "share":
        raise TakebackError(f"{text}: share takes a condition, such as share(games.score > 0)")
    table, column = _place(node)
    return table, column


def _operand(node: ast.expr, tables: set[str]) -> ColumnName | Value:
    if isinstance(node, ast.Attribute):
        table, column = _place(node)
        tables.add(table)
        return column
    return _value(node)


def _place(node: ast.expr) -> tuple[str, ColumnName]:
    *table, column = _path(node)
    if not table:
        raise TakebackError(f"{_short(node)} is no column; write TABLE.COLUMN, such as agency.value")
    return _table(table), ColumnName(column)


def _path(node: ast.expr) -> list[str]:
    match node:
        case ast.Name(name):
            return [_plain(name)]
        case ast.Attribute(inner, name):
            return [*_path(inner), _plain(name)]
        case _:
            raise TakebackError(f"{_short(node)} is no column; write TABLE.COLUMN, such as agency.value")


def _table(path: list[str]) -> str:
    name = ".".join(path)
    short = name.removeprefix("diff.")
    if short not in TABLES:
        raise unknown_name("table in a rule", name, TABLES)
    return short


def _plain(name: str) -> str:
    if name.startswith("_"):
        raise TakebackError(f"{name!r} is no name in a rule; columns of the record don't start with _")
    return name


def _allowed(node: ast.expr) -> tuple[Value, ...]:
    """Return the values that a filter lets through."""
    if not isinstance(node, ast.List | ast.Tuple):
        return (_value(node),)
    if not node.elts:
        raise TakebackError("a filter with an empty list lets nothing through; give it values")
    return tuple(_value(part) for part in node.elts)


def _value(node: ast.expr) -> Value:
    match node:
        case ast.Constant(value) if isinstance(value, str | bool):
            return value
        case ast.Constant(value) if isinstance(value, int | float):
            return _number(node, value)
        case ast.UnaryOp(ast.USub(), ast.Constant(value)) if _is_number(value):
            return -_number(node, value)
        case _:
            raise TakebackError(f"{_short(node)} is no value; give a number, True, False or text in quotes")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(node: ast.expr, value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise TakebackError(f"{_short(node)} is too large a number")
    return number


def _signs(node: ast.expr, ops: list[ast.cmpop]) -> tuple[str, ...]:
    for op in ops:
        if type(op) not in _SIGNS:
            raise TakebackError(f"{_short(node)}: compare with < <= > >= == != only")
    return tuple(_SIGNS[type(op)] for op in ops)


def _check_unmixed(reading: Aggregate) -> None:
    """Raise for a mean over values of different measures, which has no meaning."""
    if reading.function != "mean" or not isinstance(reading.of, ColumnName) or reading.of.name not in VALUES:
        return
    given = {column for column, _ in reading.filters}
    for columns in UNMIXED.get(reading.table, ()):
        if given.isdisjoint(columns):
            raise TakebackError(
                f"{reading.text}: rows of {reading.table} differ in {' and '.join(columns)}, and a mean over "
                f"all of them means nothing; add {' or '.join(f'{column}=…' for column in columns)}"
            )


def _check_depth(depth: int) -> None:
    if depth <= 0:
        raise TakebackError(f"a rule has at most {DEEPEST} expressions inside each other; split it")


def _short(what: ast.expr | str, most: int = 80) -> str:
    try:
        text = what if isinstance(what, str) else ast.unparse(what)
    except (RecursionError, ValueError):  # numbers of thousands of digits can't be written
        text = "what is here"
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _readings(part: Statement | Quantity) -> Iterator[Aggregate]:
    match part:
        case Aggregate():
            yield part
        case Signed(_, of) | Not(of):
            yield from _readings(of)
        case Arithmetic(_, left, right):
            yield from _readings(left)
            yield from _readings(right)
        case Relation(parts, _) | Logic(_, parts):
            for one in parts:
                yield from _readings(one)
        case _:
            return
