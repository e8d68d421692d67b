"""Words that one policy says more than another: log-odds ratios with an informative prior.

Monroe, Colaresi and Quinn 2008, "Fightin' Words", Political Analysis 16(4), equations 15 to 22. The prior is
what all answers of the pool say, as many words of it as there are different ones.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.run.grouping import sum_by

Floats = NDArray[np.float64]

_WORD = re.compile(r"\w+|[^\w\s]")


def words_of(text: str) -> list[str]:
    """Return the words of a text, as they are written, and its signs.

    >>> words_of("Yes, it's 4!")
    ['Yes', ',', 'it', "'", 's', '4', '!']
    """
    return _WORD.findall(text)


def log_odds(
    texts: Sequence[str], owner: NDArray[np.int64], before: Floats, after: Floats, n: int
) -> pd.DataFrame:
    """Return for each word how its odds changed between two weightings of the same answers.

    A prompt counts for as many answers as its weights leave, (Σ w)² / Σ w². Words of one answer are not
    independent, so that z puts words in an order and is no test.

    Args:
        texts: the answers.
        owner: the prompt of each.
        before: the weight of each, which add up to 1 by prompt.
        after: the same for the other policy.
        n: how many prompts there are.

    Returns:
        Columns name, before and after (times in a thousand words), change (of the log-odds), se, z; the
        largest |z| first.
    """
    counts = [Counter(words_of(text)) for text in texts]
    vocabulary = sorted({word for some in counts for word in some})
    place = {word: number for number, word in enumerate(vocabulary)}
    sides = np.zeros((2, len(vocabulary)))
    whole = np.zeros(len(vocabulary))
    weights = [_counted(one, owner, n) for one in (before, after)]
    for number, some in enumerate(counts):
        for word, times in some.items():
            sides[:, place[word]] += [one[number] * times for one in weights]
            whole[place[word]] += times
    prior = whole / max(whole.sum(), 1) * len(vocabulary)
    spoken = sides + prior
    rest = spoken.sum(axis=1, keepdims=True) - spoken
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = np.log(spoken) - np.log(rest)
        change, error = odds[1] - odds[0], np.sqrt((1 / spoken).sum(axis=0))
    change = np.where(np.isfinite(change), change, 0.0)
    rates = 1000 * sides / np.maximum(sides.sum(axis=1, keepdims=True), 1e-12)
    table = pd.DataFrame(
        {
            "name": vocabulary,
            "before": rates[0],
            "after": rates[1],
            "change": change,
            "se": error,
            "z": change / error,
        }
    )
    order = table["z"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)


def _counted(weights: Floats, owner: NDArray[np.int64], n: int) -> Floats:
    """Return weights that add up to the effective number of answers of each prompt."""
    squares = sum_by(owner, weights**2, n)
    return weights / np.where(squares > 0, squares, 1.0)[owner]
