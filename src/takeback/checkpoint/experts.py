"""Experts that a file holds stacked, as live modules do, seen one by one, as files on the hub hold them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from takeback.anatomy import Family
from takeback.checkpoint.shards import ITEM_SIZES, Entry


def unstacked(family: Family, entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return the entries, by canonical name, with a stacked tensor as the parts that a family's files hold.

    A part is a stretch of the file's bytes, so nothing is read or copied. What a family's files hold stacked
    too stays as it is.
    """
    found: dict[str, Entry] = {}
    for name, entry in entries.items():
        match = family.match(name)
        if match is None or not match.claim.stored or len(entry.shape) < 2:
            found[name] = entry
        else:
            found |= _parts(entry, [match.parts(index) for index in range(entry.shape[0])])
    return found


def _parts(entry: Entry, names: list[tuple[str, ...]]) -> Iterator[tuple[str, Entry]]:
    _, rows, *rest = entry.shape
    row = math.prod(rest) * ITEM_SIZES[entry.element]
    for place, parts in enumerate(names):
        width = rows // len(parts)
        for part, name in enumerate(parts):
            first = part * width
            yield (
                name,
                replace(
                    entry,
                    shape=(width, *rest),
                    offset=entry.offset + (place * rows + first) * row,
                    within=(place, first, first + width),
                ),
            )
