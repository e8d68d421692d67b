"""What two policies say where they differ most: an answer of each, to look at beside the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from takeback.measure.drawn import answers_changed
from takeback.measure.shift import total_variation
from takeback.policies.answers import AnswerReadouts
from takeback.policies.drawn import DrawnReadouts
from takeback.policies.readout import Readouts

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Final[Mapping[str, str]] = {
    "situation": "the prompt or position",
    "before, after": "what a policy says: of drawn answers its first one, else its likeliest; empty where it "
    "has none",
    "moved": "how far apart the two are: total variation, of answers drawn anew the share that differ",
}
"""What the columns mean."""


def said(before: Readouts, after: Readouts) -> pd.DataFrame:
    """Return what two policies say in each situation, those farthest apart first.

    Returns:
        The columns of `COLUMNS`.

    Raises:
        TakebackError: the readouts are of different situations.
    """
    import pandas as pd

    if isinstance(before, DrawnReadouts) and isinstance(after, DrawnReadouts):
        moved = answers_changed(before, after)
    else:
        moved = total_variation(before, after)
    table = pd.DataFrame(
        {
            "situation": list(before.situations),
            "before": _answers(before, "base"),
            "after": _answers(after, "tuned"),
            "moved": moved,
        }
    )
    return table.iloc[np.argsort(-moved, kind="stable")].reset_index(drop=True)


def _answers(readouts: Readouts, side: str) -> list[str]:
    """Return one answer of a policy in each situation."""
    if isinstance(readouts, DrawnReadouts):
        return [str(answers[0]) for answers in readouts.answers]
    if isinstance(readouts, AnswerReadouts) and readouts.drawn.any():
        drawn = readouts.sides == side
        return [
            next((text for text, own in zip(texts, drawn[readouts.span(place)], strict=True) if own), "")
            for place, texts in enumerate(readouts.actions)
        ]
    return [
        texts[int(np.argmax(readouts.probabilities[readouts.span(place)]))] if texts else ""
        for place, texts in enumerate(readouts.actions)
    ]
