"""An explanation for people: sentences, boards and tables, on the terminal and on a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

import pandas as pd

from takeback.draw.board import BEFORE, Arrows, board
from takeback.draw.colour import ARMS
from takeback.draw.columns import Column, table_of, with_ends
from takeback.draw.forest import Dot, ForestRow, forest
from takeback.draw.numbers import interval, number, percent, range_of, signed
from takeback.draw.page import Figure, Section, Table
from takeback.draw.result import section_of
from takeback.findings.explanation.changes import MOVED
from takeback.findings.explanation.explanation import Explanation
from takeback.findings.explanation.intervention import ASKED, RANDOM
from takeback.findings.explanation.words import sentences
from takeback.measure.effects import Change as Moved
from takeback.measure.effects import most_changed
from takeback.run.tables import records

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


@section_of.register
def _(found: Explanation) -> Section:
    """Draw it: what it says in sentences, boards and tables."""
    told = sentences(found)
    changed = most_changed(found.before, found.after, found.boards)
    notes = (
        "Grey: random sets of the same make-up, and the range they span. Arrows: grey before, blue after, as "
        "wide as the probability. Before is "
        f"{'base' if found.change.graft else 'tuned'}; boards are the situations that changed most.",
    )
    return Section(
        f"What {found.change} does",
        told,
        (*_forests(found), *(_board(found, one) for one in changed)),
        (_kinds_table(found.kinds),),
        tuple((title, changes_table(found.tables[name])) for name, title in _TABLES.items()),
        notes,
        terminal=(
            f"{found.change.base} → {found.change.tuned}",
            *(f"• {sentence}" for sentence in told),
            *(_in_letters(found, one) for one in changed),
        ),
    )


def _in_letters(found: Explanation, one: Moved) -> str:
    """Draw a situation's board beside its answers; see `Section.terminal`."""
    pieces = found.pieces[one.situation]
    lines = zip_longest(text_board(pieces), _answers(one), fillvalue="")
    width = 17 if pieces else 0
    return "".join(f"\n  {left:<{width}}   {right}".rstrip(" ") for left, right in lines)


def text_board(pieces: Mapping[str, str]) -> list[str]:
    r"""Return the lines of a board in chess symbols; none where nothing stands on one.

    >>> print("\n".join(text_board({"a1": "K", "h8": "k"})[::7]))
    8 · · · · · · · ♚
    1 ♔ · · · · · · ·
    """
    if not pieces:
        return []
    drawn = {square: _PIECES.get(piece, piece) for square, piece in pieces.items()}
    rows = [
        f"{row} " + " ".join(drawn.get(f"{column}{row}", "·") for column in "abcdefgh")
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
        rows = forest_rows(table, column)
        if rows:
            yield Figure.of(title, forest(rows, 0, axis, None, title))


def forest_rows(table: pd.DataFrame, column: str) -> list[ForestRow]:
    """Return a row for each thing, largest first, the random sets' values as its controls."""
    asked = table[(table["role"] == ASKED) & (table[column] != 0)]
    asked = asked.sort_values(column, key=lambda values: -values.abs(), kind="stable").head(ROWS)
    rows: list[ForestRow] = []
    for row in records(asked):
        drawn = table.loc[(table["role"] == RANDOM) & (table["name"] == row["name"]), column].dropna()
        dot = Dot(row[column], row["low"], row["high"], f"{row['name']}: {with_ends(row, column, signed)}")
        rows.append(
            ForestRow(row["name"], (dot,), tuple(map(float, drawn)), "random sets of the same make-up")
        )
    return rows


def _kinds_table(table: pd.DataFrame) -> Table:
    """Return the asked set's kinds, those that hold first, then by size."""
    asked = table[table["role"] == ASKED]
    order = asked["difference"].abs().sort_values(ascending=False, kind="stable").index
    ordered = asked.loc[order].sort_values("holds", ascending=False, kind="stable").head(2 * ROWS)
    return table_of(
        _beside_random(table, ordered, "difference"),
        Column("kind of situation", None, "name"),
        Column("measure"),
        Column("there", number, "inside"),
        Column("elsewhere", number, "outside"),
        Column("difference", signed),
        Column("interval", interval, "low", "high"),
        Column("second half", signed, "second_half"),
        Column("random sets", str, "random"),
        Column("holds", lambda holds: "yes" if holds else "no", words=True),
    )


def changes_table(table: pd.DataFrame) -> Table:
    """Draw the asked set's changes beside what random sets do."""
    return table_of(
        _beside_random(table, table[table["role"] == ASKED], "change"),
        Column("name"),
        Column("before", number),
        Column("after", number),
        Column("change", signed),
        Column("interval", interval, "low", "high"),
        Column("random sets", str, "random"),
    )


def _beside_random(table: pd.DataFrame, rows: pd.DataFrame, column: str) -> Iterator[dict[str, Any]]:
    """Yield rows with the range that the random sets of the same name and measure span."""
    drawn = table[table["role"] == RANDOM]
    for row in records(rows):
        mine = drawn["name"] == row["name"]
        if "measure" in drawn:
            mine &= drawn["measure"] == row["measure"]
        yield {**row, "random": range_of(drawn.loc[mine, column].dropna(), signed)}
