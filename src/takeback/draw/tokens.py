"""Answers token by token, tinted by how far the log-probability of each moved; texts are never trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from takeback.draw.colour import paint, step_of
from takeback.draw.numbers import number, signed
from takeback.draw.page import Tinted

_MARKS: Final = {"\n": "↵", "\t": "⇥", "\r": "␍"}

_LINE = Markup(
    '<div style="display:grid;grid-template-columns:13em minmax(0,1fr);gap:0 .8em;margin:.4em 0">'
    '<span style="font-size:.85em;line-height:1.9;opacity:.75">{}</span>'
    '<span style="line-height:1.7;overflow-wrap:anywhere">{}</span></div>'
)
_BLOCK = Markup('<div style="width:38em;max-width:100%">{}</div>')
_TOKEN = Markup(
    '<span title="{}" style="background:{};color:{};border-radius:2px;padding:.1em 0;'
    'white-space:pre-wrap">{}</span>'
)


@dataclass(frozen=True)
class TokenLine:
    """An answer: what is said of it, and the text of each token with its log-probability before and after."""

    lead: str
    tokens: tuple[tuple[str, float, float], ...]

    @property
    def largest(self) -> float:
        """The largest move of a token, in nats."""
        return max((abs(after - before) for _, before, after in self.tokens), default=0.0)


def visible(text: str) -> str:
    r"""Return a text with a mark for what can't be seen, such as an end of a line.

    >>> visible("a\n\x1b[31mb")
    'a↵\\x1b[31mb'
    """
    return "".join(one if one.isprintable() else _MARKS.get(one) or _escaped(one) for one in text)


def _escaped(one: str) -> str:
    return one.encode("unicode_escape").decode()


def on_page(lines: Sequence[TokenLine], limit: float) -> Markup:
    """Draw answers for a page; a token that moved by `limit` nats or more has the full colour.

    >>> "&lt;b&gt;" in on_page([TokenLine("rises", (("<b>", -2.0, -1.0),))], 1.0)
    True
    """
    drawn = [
        _LINE.format(
            line.lead,
            Markup("").join(
                _TOKEN.format(
                    f"{number(before, 2)} → {number(after, 2)} nats ({signed(after - before, 2)})",
                    *paint("diverging", step_of(after - before, limit)),
                    visible(text),
                )
                for text, before, after in line.tokens
            ),
        )
        for line in lines
    ]
    return _BLOCK.format(Markup("").join(drawn))


def on_terminal(line: TokenLine, limit: float) -> Tinted:
    """Draw an answer for a terminal."""
    pieces = ((visible(text), step_of(after - before, limit)) for text, before, after in line.tokens)
    return Tinted(f"   {line.lead}  ", tuple(pieces))
