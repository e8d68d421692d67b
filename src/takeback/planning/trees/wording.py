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


def near_pairs(keys: Sequence[str], least: float = NEAR) -> Iterator[tuple[float, int, int]]:
    """Yield pairs of normalised wordings that are alike, with their likeness from `least` to 1 and places.

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
    for start in range(0, len(ordered), block):
        found = process.cdist(
            ordered[start : start + block], ordered, scorer=fuzz.ratio, score_cutoff=100 * least,
            dtype=np.float64,
        )  # fmt: skip
        for row, column in zip(*np.nonzero(found), strict=True):
            one, other = start + int(row), int(column)
            if one < other:
                yield float(found[row, column]) / 100, one, other
