"""An explanation for people: sentences, boards and tables, on the terminal and on a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from takeback.draw.board import BEFORE, Arrows, board
from takeback.draw.colour import ARMS
from takeback.draw.forest import Dot, Row, forest
from takeback.draw.numbers import interval, number, percent, signed
from takeback.draw.page import Figure, Section, Table
from takeback.findings.explanation.changes import MOVED
from takeback.findings.explanation.explanation import ASKED, RANDOM, Explanation
from takeback.findings.explanation.words import rows_of, sentences
from takeback.measure.shift import Change as Moved
from takeback.measure.shift import most_changed

LISTED = 6
"""Answers that stand beside a board."""

LEAST = 0.01
"""Change in probability from which an answer stands beside a board."""

ROWS = 12
"""Rows of a figure."""

_PIECES = dict(zip("KQRBNPkqrbnp", "♔♕♖♗♘♙♚♛♜♝♞♟", strict=True))
_TABLES = {
    "moves": "Kinds of moves",
    "illegal": "Classes of illegal answers",
    "measures": "Measures",
}


def as_section(found: Explanation) -> Section:
    """Draw an explanation; see `Explanation.section`."""
    changed = most_changed(found.before, found.after, found.boards)
    notes = (
        "Grey: random sets of the same make-up, and the range they span. Arrows: grey before, blue after, as "
        "wide as the probability. Before is "
        f"{'base' if found.change.graft else 'tuned'}; boards are the situations that changed most.",
    )
    return Section(
        f"What {found.change} does",
        sentences(found),
        (*_forests(found), *(_board(found, one) for one in changed)),
        (_kinds_table(found.kinds),),
        tuple((title, _changes_table(found.tables[name])) for name, title in _TABLES.items()),
        notes,
    )


def print_explanation(found: Explanation) -> None:
    """Print an explanation; see `Explanation.print`."""
    from rich.console import Console

    console = Console()
    plain = not console.encoding.lower().startswith("utf")
    console.print(f"{found.change.base} → {found.change.tuned}", style="bold", markup=False, highlight=False)
    for sentence in sentences(found):
        console.print(f"{'-' if plain else '•'} {sentence}", markup=False, highlight=False)
    for one in most_changed(found.before, found.after, found.boards):
        console.print()
        pieces = found.pieces[one.situation]
        for line in _beside_each_other(text_board(pieces, plain), list(_answers(one))):
            console.print(line, markup=False, highlight=False, no_wrap=True)


def text_board(pieces: Mapping[str, str], plain: bool = False) -> list[str]:
    r"""Return the lines of a board, in chess symbols or plain letters; none where nothing stands on one.

    >>> print("\n".join(text_board({"a1": "K", "h8": "k"}, plain=True)[::7]))
    8 . . . . . . . k
    1 K . . . . . . .
    """
    if not pieces:
        return []
    empty = "." if plain else "·"
    drawn = pieces if plain else {square: _PIECES.get(piece, piece) for square, piece in pieces.items()}
    rows = [
        f"{row} " + " ".join(drawn.get(f"{column}{row}", empty) for column in "abcdefgh")
        for row in range(8, 0, -1)
    ]
    return [*rows, "  a b c d e f g h"]


def _answers(one: Moved) -> Iterator[str]:
    """Yield a heading and the answers whose probability changed most, likeliest before or after first."""
    yield f"{one.situation}  ({percent(one.distance)} moved)"
    for name, before, after in _changed(one):
        way = "▲" if after > before else "▼"
        yield f"{way} {name:<18} {percent(before):>6} → {percent(after)}"


def _changed(one: Moved) -> list[tuple[str, float, float]]:
    """Return answers with their probabilities on both sides, those that changed most."""
    pairs = [(action, before, one.after.legal[action]) for action, before in one.before.legal.items()]
    pairs += [
        (f"illegal: {name}", mass, one.after.illegal[name]) for name, mass in one.before.illegal.items()
    ]
    kept = [pair for pair in pairs if abs(pair[2] - pair[1]) >= LEAST]
    return sorted(kept, key=lambda pair: (-abs(pair[2] - pair[1]), pair[0]))[:LISTED]


def _beside_each_other(left: list[str], right: list[str]) -> Iterator[str]:
    width = max(map(len, left), default=0)
    for place in range(max(len(left), len(right))):
        first, second = (lines[place] if place < len(lines) else "" for lines in (left, right))
        yield f"  {first:<{width}}   {second}".rstrip()


def _board(found: Explanation, one: Moved) -> Figure:
    pieces = found.pieces[one.situation]
    arrows = [
        Arrows(one.arrows("before"), BEFORE, "before", -1),
        Arrows(one.arrows("after"), ARMS[0], "after", 1),
    ]
    told = "; ".join(
        f"{name} {percent(before)} → {percent(after)}" for name, before, after in _changed(one)[:4]
    )
    picture = board(pieces, arrows, f"situation {one.situation}") if pieces else ""
    return Figure.of(one.situation, picture, f"{percent(one.distance)} moved. {told}.")


def _forests(found: Explanation) -> Iterator[Figure]:
    moved = found.kinds[found.kinds["measure"] == MOVED]
    for title, table, column, axis in (
        ("Where: moved more than elsewhere", moved, "difference", "total variation there − elsewhere"),
        ("Kinds of moves", found.moves, "change", "change of probability"),
        ("Illegal answers", found.illegal, "change", "change of probability"),
    ):
        rows = _rows(table, column)
        if rows:
            yield Figure.of(title, forest(rows, 0, axis, None, title))


def _rows(table: pd.DataFrame, column: str) -> list[Row]:
    """Return a row for each thing, largest first, the random sets' values as its controls."""
    asked = table[(table["role"] == ASKED) & (table[column] != 0)]
    asked = asked.sort_values(column, key=lambda values: -values.abs(), kind="stable").head(ROWS)
    rows: list[Row] = []
    for row in rows_of(asked):
        drawn = table.loc[(table["role"] == RANDOM) & (table["name"] == row["name"]), column].dropna()
        title = f"{row['name']}: {signed(row[column])} {interval(row['low'], row['high'])}"
        dot = Dot(row[column], row["low"], row["high"], title)
        rows.append(Row(row["name"], (dot,), tuple(map(float, drawn)), "random sets of the same make-up"))
    return rows


def _kinds_table(table: pd.DataFrame) -> Table:
    """Return the asked set's kinds, those that hold first, then by size."""
    asked = table[table["role"] == ASKED]
    order = asked["difference"].abs().sort_values(ascending=False, kind="stable").index
    ordered = asked.loc[order].sort_values("holds", ascending=False, kind="stable").head(2 * ROWS)
    rows = tuple(
        (
            row["name"],
            row["measure"],
            number(row["inside"]),
            number(row["outside"]),
            signed(row["difference"]),
            interval(row["low"], row["high"]),
            signed(row["second_half"]),
            _range(table[table["measure"] == row["measure"]], row["name"], "difference"),
            "yes" if row["holds"] else "no",
        )
        for row in rows_of(ordered)
    )
    head = ("kind of situation", "measure", "there", "elsewhere", "difference", "interval")
    return Table((*head, "second half", "random sets", "holds"), rows, (*head[:2], "holds"))


def _changes_table(table: pd.DataFrame) -> Table:
    rows = tuple(
        (
            row["name"],
            number(row["before"]),
            number(row["after"]),
            signed(row["change"]),
            interval(row["low"], row["high"]),
            _range(table, row["name"], "change"),
        )
        for row in rows_of(table[table["role"] == ASKED])
    )
    return Table(("name", "before", "after", "change", "interval", "random sets"), rows, ("name",))


def _range(table: pd.DataFrame, name: str, column: str) -> str:
    drawn = table.loc[(table["role"] == RANDOM) & (table["name"] == name), column].dropna()
    return f"{signed(float(drawn.min()))} to {signed(float(drawn.max()))}" if len(drawn) else number(None)
