"""What files hold otherwise than live modules: experts stacked or apart, tensors that no module has."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from takeback.anatomy import Family
from takeback.anatomy.families import compiled
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


def without_leftovers(
    family: Family, settings: Mapping[str, Any], entries: Mapping[str, Entry]
) -> dict[str, Entry]:
    """Return the entries, by canonical name, but for those that transformers leaves out when it loads them.

    They are those of layers beyond the config's, which predict further tokens (MTP), and keys and values of
    layers that read those of others.
    """
    if not family.leftovers:
        return dict(entries)
    layers = next((settings[key] for key in family.config["layers"] if key in settings), None)
    if not isinstance(layers, int):
        return dict(entries)
    first = {
        pattern: layers - (0 if key == "beyond" else settings.get(key) or 0)
        for pattern, key in family.leftovers
    }

    def is_left(name: str) -> bool:
        found = ((compiled(pattern).fullmatch(name), start) for pattern, start in first.items())
        return any(match is not None and int(match["l"]) >= start for match, start in found)

    return {name: entry for name, entry in entries.items() if not is_left(name)}
