"""What became of texts, for people: sentences, answers token by token, tables of kinds, words and flips."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from takeback.draw.columns import Column, table_of
from takeback.draw.forest import forest
from takeback.draw.numbers import count, listing, number, percent, signed
from takeback.draw.page import Figure, Section, Table, Tinted
from takeback.draw.result import section_of
from takeback.draw.tokens import TokenLine, on_page, on_terminal, visible
from takeback.findings.explanation.changes import MOVED
from takeback.findings.explanation.intervention import ASKED, RANDOM
from takeback.findings.explanation.show import changes_table, forest_rows
from takeback.findings.explanation.texts import (
    ANSWER,
    FLIP,
    ITEM,
    KIND,
    MEASURE,
    TOKEN,
    WORD,
    TextExplanation,
    moved_most,
)
from takeback.findings.explanation.words import beside, ends, strongest
from takeback.measure.answers import EFFECTIVE, kind_of
from takeback.run.tables import records

MOST: Final = 3
"""Sentences of each sort at most."""

WORDS: Final = 12
"""Words of each direction in the table."""

LEAST_Z: Final = 2.0
"""Words that changed by fewer standard errors are not told."""

FULL: Final = 0.25
"""Nats at least by which a token has the full colour."""


@section_of.register
def _(found: TextExplanation) -> Section:
    """Draw it: what it says in sentences, then answers and tables."""
    told = tuple(_sentences(found))
    shown = list(_prompts(found))
    limit = max([FULL, *(line.largest for _, _, lines in shown for line in lines)])
    rows = list(_words(found))
    tables = [_words_table(rows)] if rows else []
    notes = (
        f"Each token is tinted by how its log-probability moved: blue rose, orange fell, the full colour at "
        f"{number(limit, 2)} nats. Before is {'base' if found.change.graft else 'tuned'}; prompts are those "
        "that changed most. Beside an answer: its weight among the prompt's listed answers before and after, "
        "what it is worth, and its kind.",
    )
    folded = (("Measures", changes_table(found.part(MEASURE, KIND))), ("Items", _items(found)))
    return Section(
        f"What {found.change} does",
        told,
        (*_kinds(found), *(Figure(title, on_page(lines, limit), note) for title, note, lines in shown)),
        (*tables, *([_flips(found)] if len(found.part(FLIP)) else [])),
        tuple((title, table) for title, table in folded if table.rows),
        notes,
        terminal=(
            f"{found.change.base} → {found.change.tuned}",
            *(f"• {sentence}" for sentence in told),
            *tables,
            *_in_letters(shown, limit),
        ),
    )


def _sentences(found: TextExplanation) -> Iterator[str]:
    """Say what changed beyond noise, strongest first."""
    yield _moved(found)
    left = float(found.after.effective().mean())
    if found.thin:
        yield (
            f"The hybrid is so far from both sides that its weights leave {percent(left)} of the pool: "
            "what is told of its answers rests on few; draw from it to be sure."
        )
    measures, kinds = found.part(MEASURE), found.part(KIND)
    telling = [one.name for one in found.measured if one.name != EFFECTIVE.name]
    strong = records(strongest(measures[measures["name"].isin(telling)]))
    for row in strong[:MOST]:
        way = "rises" if row["change"] > 0 else "falls"
        yield (
            f"'{row['name']}' {way} from {number(row['before'])} to {number(row['after'])}: "
            f"{signed(row['change'])} {ends(row)} ({beside(measures, row)})."
        )
    for row in records(strongest(kinds))[:MOST]:
        way = "gained" if row["change"] > 0 else "lost"
        yield (
            f"Answers of the kind {kind_of(row['name'])!r} are {way}: {percent(row['before'])} "
            f"before, {percent(row['after'])} after, {signed(row['change'])} {ends(row)} "
            f"({beside(kinds, row)})."
        )
    for row in records(found.part(FLIP)):
        if row["role"] == ASKED:
            yield (
                f"By {row['name']} {row['gained']} of {count(row['n'], 'item')} go from fail to pass and "
                f"{row['lost']} from pass to fail (exact McNemar p = {number(row['p'])}; passing is "
                f"{row['rule']})."
            )
    for way, sign in (("more", 1), ("less", -1)):
        words = [f"'{visible(row['name'])}'" for row in _words(found) if sign * row["z"] > 0][: 2 * MOST]
        if words:
            yield f"Said {way} often: {listing(words)}."
    if not strong and not len(strongest(kinds)):
        yield "No measure and no kind of answers changes beyond noise, corrected for how many were looked at."


def _moved(found: TextExplanation) -> str:
    rows = found.part(MEASURE)
    rows = rows[rows["name"] == MOVED]
    (asked,) = records(rows[rows["role"] == ASKED])
    what, drawn = str(found.change), rows.loc[rows["role"] == RANDOM, "after"]
    alike = " Random sets of its make-up do as much." if (drawn >= asked["after"]).any() else ""
    return (
        f"{what[:1].upper()}{what[1:]} moves {percent(asked['after'])} of a prompt's weight to other "
        f"answers: total variation {number(asked['after'])} {ends(asked)} "
        f"({beside(rows, asked, 'after', number)}), over {count(len(found.before), found.called.situation)}."
        f"{alike}"
    )


def _prompts(found: TextExplanation) -> Iterator[tuple[str, str, list[TokenLine]]]:
    """Yield title, note and answers of each prompt that changed most."""
    tokens, answers = found.part(TOKEN), found.part(ANSWER)
    for item in moved_most(found.before, found.after, found.boards):
        mine = tokens[tokens["item"] == item]
        about = {row["place"]: row for row in records(answers[answers["item"] == item])}
        lines: list[TokenLine] = []
        for place, some in mine.groupby("place", sort=False):
            row = about[place]
            way = "▲" if row["change"] > 0 else "▼"
            lead = f"{way} {percent(row['before'])} → {percent(row['after'])}"
            worth = [name for name, value in row.items() if name.startswith("worth ") and value is not None]
            lead += "".join(f" · {number(row[name], 2)}" for name in worth[:1])
            lead += f" · {row['kind']}" if row.get("kind") else ""
            spelled = [(one["name"], one["before"], one["after"]) for one in records(some)]
            lines.append(TokenLine(lead, tuple(spelled)))
        if lines:
            yield visible(found.before.situations[item]), "", lines


def _in_letters(shown: list[tuple[str, str, list[TokenLine]]], limit: float) -> Iterator[str | Tinted]:
    for title, _, lines in shown:
        yield f"  {title}"
        for line in lines:
            yield on_terminal(line, limit)


def _kinds(found: TextExplanation) -> Iterator[Figure]:
    if rows := forest_rows(found.part(KIND), "change"):
        title = "Kinds of answers gained and lost"
        yield Figure.of(title, forest(rows, 0, "change of share", None, title))


def _words(found: TextExplanation) -> Iterator[dict[str, Any]]:
    """Yield the words that changed most, those gained first, each direction by |z|."""
    if not len(rows := found.part(WORD)):
        return
    for sign in (1, -1):
        mine = rows[sign * rows["z"] >= LEAST_Z]
        yield from records(mine.head(WORDS))


def _words_table(rows: list[dict[str, Any]]) -> Table:
    return table_of(
        rows,
        Column("word", visible, "name", words=True),
        Column("before, ‰", number, "before", digits=1),
        Column("after, ‰", number, "after", digits=1),
        Column("log-odds", signed, "change", digits=2),
        Column("z", signed, digits=1),
    )


def _flips(found: TextExplanation) -> Table:
    rows = found.part(FLIP)
    return table_of(
        rows[rows["role"] != RANDOM],
        Column("set"),
        Column("passes", None, "rule"),
        Column("before", number, digits=0),
        Column("after", number, digits=0),
        Column("gained", str),
        Column("lost", str),
        Column("p", number),
    )


def _items(found: TextExplanation) -> Table:
    """Return the items that changed most; the Parquet file has all."""
    rows = found.part(ITEM)
    return table_of(
        rows.groupby("name", sort=False).head(2 * WORDS),
        Column("prompt", visible, "situation", words=True),
        Column("goal", None, "name"),
        Column("before", number),
        Column("after", number),
        Column("change", signed),
        Column("flip", None, "flip"),
    )
