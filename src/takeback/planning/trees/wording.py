"""When two problems are said in nearly the same words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

NEAR = 0.75
"""Least likeness of a proposal."""


def normalised(words: str) -> str:
    """Return words without case, accents' encoding, punctuation and extra spaces.

    Words of nothing but signs stay as they are.

    >>> normalised("  The weights, all of them: MOVED! "), normalised("?!")
    ('the weights all of them moved', '?!')
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", words).casefold())
    return " ".join(re.findall(r"\w+", folded.replace("'", "").replace("’", ""))) or " ".join(folded.split())


MOST_PAIRS = 5_000
"""So many pairs are proposed at once, those most alike; nobody decides on more."""


def near_pairs(
    keys: Sequence[str], least: float = NEAR, most: int = MOST_PAIRS
) -> Iterator[tuple[float, int, int]]:
    """Yield the `most` pairs of normalised wordings that are most alike, with their likeness and places.

    It is from `least` to 1; of pairs that are equally alike the earlier ones count.

    Likeness is 1 − d / (n + m), of the wordings with their words sorted: d is the least number of letters
    to insert or delete to make the one of n letters into the other of m (RapidFuzz's `token_sort_ratio`).

    >>> [(round(s, 2), a, b) for s, a, b in near_pairs(["all weights moved", "weights moved", "no goal"])]
    [(0.87, 0, 1)]
    """
    import numpy as np
    from rapidfuzz import fuzz, process

    if len(keys) < 2:
        return
    ordered = [" ".join(sorted(key.split())) for key in keys]
    block = 512
    held = np.empty((0, 3))
    for start in range(0, len(ordered), block):
        found = process.cdist(
            ordered[start : start + block], ordered, scorer=fuzz.ratio, score_cutoff=100 * least,
            dtype=np.float64,
        )  # fmt: skip
        rows, columns = np.nonzero(np.triu(found, start + 1))
        new = np.stack([found[rows, columns] / 100, rows + start, columns], axis=1)
        held = np.concatenate([held, new])
        if len(held) > most:
            least_held = np.partition(held[:, 0], -most)[-most]
            kept = held[:, 0] > least_held
            kept[np.flatnonzero(held[:, 0] == least_held)[: most - kept.sum()]] = True
            held = held[kept]
    for likeness, one, other in held.tolist():
        yield likeness, int(one), int(other)
