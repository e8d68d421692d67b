"""Pictures that a file holds: only what our own are made of gets into a page."""

from __future__ import annotations

import re

from markupsafe import Markup

from takeback.run.errors import TakebackError

ELEMENTS = frozenset(
    [
        *("svg", "g", "defs", "title", "desc", "text", "tspan", "line", "rect", "circle", "ellipse", "path"),
        *("polygon", "polyline", "use", "clipPath", "style", "pattern", "linearGradient", "stop", "marker"),
        *("div", "span", "strong", "b", "i", "em", "small", "br", "p", "code"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    ]
)
"""Elements that draw and do nothing else."""

_PIECE = re.compile(
    r"""[^<>]+ | </(?P<end>[a-zA-Z]+)\s*>
    | <(?P<tag>[a-zA-Z]+)(?P<attributes>(?:\s+[a-zA-Z][\w:-]*\s*=\s*(?:"[^"<>]*"|'[^'<>]*'))*)\s*/?>""",
    re.VERBOSE,
)
_ATTRIBUTE = re.compile(r"""([a-zA-Z][\w:-]*)\s*=\s*("[^"]*"|'[^']*')""")
_LOADS = ("src", "srcset", "srcdoc", "action", "formaction")
_LEADS_OUT = re.compile(r"(?i)url\s*\(\s*[\"']?(?!#)|@import|expression\s*\(|javascript:|\\")


def picture_of(text: object) -> Markup:
    """Return a picture that was written as text before, such as our own SVG.

    >>> picture_of('<svg><rect fill="red"/></svg>')
    Markup('<svg><rect fill="red"/></svg>')
    >>> picture_of("<svg><script>1</script></svg>")
    Traceback (most recent call last):
    takeback.run.errors.TakebackError: a picture holds '<script>1</script></svg>', which none of ours does

    Raises:
        TakebackError: it has something that runs, loads or leads anywhere.
    """
    if not isinstance(text, str):
        raise TakebackError(f"a picture is {type(text).__name__}, no text")
    place, styled = 0, False
    while place < len(text):
        piece = _PIECE.match(text, place)
        if piece is None or not _is_harmless(piece, styled):
            raise TakebackError(f"a picture holds {text[place : place + 60]!r}, which none of ours does")
        place, styled = piece.end(), piece["tag"] == "style"
    return Markup(text)


def _is_harmless(piece: re.Match[str], styled: bool) -> bool:
    """Tell whether a tag, or a text, which may be a style, does nothing but draw."""
    tag = piece["tag"] or piece["end"]
    if tag is None:
        return not (styled and _LEADS_OUT.search(piece[0]))
    for name, value in _ATTRIBUTE.findall(piece["attributes"] or ""):
        plain = name.lower()
        if plain.startswith("on") or plain in _LOADS:
            return False
        if plain.rpartition(":")[2] == "href" and not value[1:].startswith("#"):
            return False
    return tag in ELEMENTS and not _LEADS_OUT.search(piece["attributes"] or "")
