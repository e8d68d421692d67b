"""What a change does to texts: measures and kinds, items that flip, words, and answers token by token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from takeback.arenas.listed import some_answers
from takeback.arenas.words import Words
from takeback.draw.result import Result, as_table
from takeback.findings.explanation import changes
from takeback.findings.explanation.intervention import ASKED, Intervention
from takeback.findings.explanation.log_odds import log_odds
from takeback.measure.bench import Bench
from takeback.measure.flips import flipped_items, flips
from takeback.measure.measure import Measure, MeasureContext
from takeback.measure.measures import measures_in
from takeback.measure.read import Ask
from takeback.measure.shift import total_variation
from takeback.measure.thin import is_thin
from takeback.policies.answers import AnswerReadouts
from takeback.policies.readout import Readouts

MEASURE: Final = "measure"
KIND: Final = "kind"
FLIP: Final = "flip"
ITEM: Final = "item"
WORD: Final = "word"
ANSWER: Final = "answer"
TOKEN: Final = "token"

SPELLED: Final = 12
"""Prompts whose answers are read token by token: those that changed most."""

EACH_WAY: Final = 2
"""Answers of a prompt that are read token by token, among those that rose, and among those that fell."""

LEAST: Final = 0.001
"""Answers whose weight moves by less are not read token by token."""

COLUMNS: Final[Mapping[str, str]] = {
    "part": "what the row is of: measure, kind (of answers), flip, item, word, answer, token",
    "role, set": "asked: the set; everything: all components; random: controls; words, answers "
    "and tokens are of the asked set",
    "name": "the measure, the kind, the goal, the word, the answer or the token",
    "item, situation": "the prompt",
    "place": "of an answer or its tokens: its place among the prompt's answers",
    "token": "the place of a token in its answer",
    "side, kind": "of an answer: who drew it, and what kind it is",
    "before, after": "mean of a measure; passed items; worth of an item; times in a thousand words; weight "
    "of an answer; log-probability of a token",
    "logprob_before, logprob_after": "log-probability of an answer, in nats",
    "change": "after − before; of a word, of its log-odds",
    "se, low, high": "standard error and 95% interval over prompts; se of a word's log-odds",
    "z": "change of a word over its standard error: an order, no test",
    "sure": "the interval corrected for the number of a set's rows (Bonferroni) leaves out 0",
    "gained, lost": "of flips: items from fail to pass, and from pass to fail",
    "p": "of flips: the exact test of McNemar",
    "flip": "of an item: gained, lost or empty",
    "rule": "of flips: when an item passes",
    "worth GOAL": "of an answer: what it is worth",
}
"""What the columns mean."""

_WORDS: Final = ("part", "role", "set", "name", "situation", "side", "kind", "flip", "rule")
_INTEGERS: Final = ("item", "place", "token", "n", "gained", "lost")
_FLOATS: Final = (
    "before",
    "after",
    "logprob_before",
    "logprob_after",
    "change",
    "se",
    "low",
    "high",
    "z",
    "p",
)


@dataclass(frozen=True, eq=False, repr=False)
class TextExplanation(Result):
    """What a change of components did to texts.

    Attributes:
        change: what was done.
        before: what the model gives the answers that was changed.
        after: what the hybrid gives them.
        table: all rows; see `COLUMNS`.
        called: what the arena calls its things.
        measured: the measures, but for distances.
        thin: whether the hybrid's weights leave less of the pool than the arena asks for.
        boards: prompts that are drawn or printed, those that changed most; answers are spelled for `SPELLED`.
    """

    name = "explain"
    change: Intervention
    before: AnswerReadouts
    after: AnswerReadouts
    table: pd.DataFrame = field(metadata=as_table("explain", COLUMNS))
    called: Words
    measured: tuple[Measure, ...]
    thin: bool = False
    boards: int = 4

    def part(self, *names: str) -> pd.DataFrame:
        """Return the rows of some parts, without columns that say nothing there."""
        rows = self.table[self.table["part"].isin(names)]
        kept = ["role", "set", "name", "before", "after", "change", "se", "low", "high", "n", "sure"]
        return rows[[name for name in rows if name in kept or rows[name].notna().any()]]


def text_explanation(
    bench: Bench,
    change: Intervention,
    after: Mapping[tuple[str, str], Readouts],
    asks: tuple[Ask, Ask],
    own: tuple[Measure, ...] = (),
) -> TextExplanation:
    """Explain listed answers: those of the model that was changed, and after by role and name of a set.

    `asks` are the untouched model and the hybrid: their tokens are read for a few answers. `own` are measures
    beside the arena's.

    Raises:
        TakebackError: the pair are no language models.
    """
    before, *_ = bench.read([asks[0]])
    asked = next(readouts for (role, _), readouts in after.items() if role == ASKED)
    assert isinstance(before, AnswerReadouts)
    assert isinstance(asked, AnswerReadouts)
    context = MeasureContext.of(before, bench.arena, own, bench.situations)
    tables: list[pd.DataFrame] = []
    for (role, name), readouts in after.items():
        assert isinstance(readouts, AnswerReadouts)
        told = [_measured(before, readouts, context), _flips(before, readouts, context)]
        tables += [one.assign(role=role, set=name) for one in told]
    of_asked = [_items(before, asked, context), _answers(before, asked, context)]
    if before.drawn.any():
        words = log_odds(_texts(before), before.owner, before.weights, asked.weights, len(before))
        of_asked.append(words.assign(part=WORD))
    of_asked.append(_tokens(bench, before, asked, asks))
    tables += [one.assign(role=ASKED, set=change.components) for one in of_asked]
    return TextExplanation(
        f"{change.base} → {change.tuned}",
        change,
        before,
        asked,
        _joined(tables, context),
        called=bench.arena.words,
        measured=tuple(one for one in measures_in(before, context) if one.role != "divergence"),
        thin=is_thin(bench.arena, asked),
    )


def moved_most(before: AnswerReadouts, after: AnswerReadouts, number: int) -> list[int]:
    """Return the places of the prompts whose answers changed most, in total variation."""
    return np.argsort(-total_variation(before, after), kind="stable")[:number].tolist()


def _measured(before: AnswerReadouts, after: AnswerReadouts, context: MeasureContext) -> pd.DataFrame:
    table = changes.measured(before, after, context)
    kinds = {one.name for one in measures_in(before, context) if one.kind is not None}
    return table.assign(part=np.where(table["name"].isin(kinds), KIND, MEASURE))


def _flips(before: AnswerReadouts, after: AnswerReadouts, context: MeasureContext) -> pd.DataFrame:
    table = flips(before, after, context)
    named = {"goal": "name", "passed_before": "before", "passed_after": "after"}
    return table.rename(columns=named).assign(part=FLIP, change=table["gained"] - table["lost"])


def _items(before: AnswerReadouts, after: AnswerReadouts, context: MeasureContext) -> pd.DataFrame:
    table = flipped_items(before, after, context).rename(columns={"goal": "name"})
    return table.drop(columns="cluster").assign(part=ITEM)


def _answers(before: AnswerReadouts, after: AnswerReadouts, context: MeasureContext) -> pd.DataFrame:
    """Return a row for each listed answer of each prompt."""
    counts = np.bincount(before.owner, minlength=len(before))
    place = np.arange(len(before.owner)) - (np.cumsum(counts) - counts)[before.owner]
    worth = {
        f"worth {goal}": np.where(context.applies[goal][before.owner], numbers, np.nan)
        for goal, numbers in context.utilities.items()
    }
    return pd.DataFrame(
        {
            "part": ANSWER,
            "name": _texts(before),
            "item": before.owner,
            "situation": np.array(before.situations, object)[before.owner],
            "place": place,
            "side": before.sides,
            "kind": context.kinds,
            "before": before.probabilities,
            "after": after.probabilities,
            "change": after.probabilities - before.probabilities,
            "logprob_before": before.logprobs,
            "logprob_after": after.logprobs,
            **worth,
        }
    )


def _tokens(
    bench: Bench, before: AnswerReadouts, after: AnswerReadouts, asks: tuple[Ask, Ask]
) -> pd.DataFrame:
    """Read the answers that rose and fell most, in the prompts that changed most, token by token."""
    chosen = [(item, list(_chosen(before, after, item))) for item in moved_most(before, after, SPELLED)]
    some = some_answers(bench.arena)
    situations = [(bench.situations[item], places) for item, places in chosen]
    sides = [bench.by_token(ask, some, situations) for ask in asks]
    answers = [(item, place) for item, places in chosen for place in places]
    rows = [
        (TOKEN, text, item, before.situations[item], place, number, old, new, new - old)
        for (item, place), texts, first, second in zip(
            answers, sides[0].texts, *(side.logprobs for side in sides), strict=True
        )
        for number, (text, old, new) in enumerate(zip(texts, first.tolist(), second.tolist(), strict=True))
    ]
    names = ["part", "name", "item", "situation", "place", "token", "before", "after", "change"]
    return pd.DataFrame(rows, columns=names)


def _chosen(before: AnswerReadouts, after: AnswerReadouts, item: int) -> Iterator[int]:
    """Yield the places of the answers that rose most, then of those that fell most, each text once."""
    span = before.span(item)
    gain = (after.probabilities - before.probabilities)[span]
    texts, known = before.actions[item], set[str]()
    for way in (1, -1):
        mine = [at for at in np.argsort(-way * gain, kind="stable").tolist() if way * gain[at] > LEAST]
        fresh: list[int] = []
        for at in mine:
            if texts[at] not in known and len(fresh) < EACH_WAY:
                known.add(texts[at])
                fresh.append(at)
        yield from fresh


def _texts(readouts: AnswerReadouts) -> list[str]:
    return [text for some in readouts.actions for text in some]


def _joined(tables: Sequence[pd.DataFrame], context: MeasureContext) -> pd.DataFrame:
    """Put all rows under the same columns."""
    worths = tuple(f"worth {goal}" for goal in context.utilities)
    kinds: dict[str, Any] = {
        **dict.fromkeys(_WORDS, "string"),
        **dict.fromkeys(_INTEGERS, "Int64"),
        **dict.fromkeys((*_FLOATS, *worths), "Float64"),
        "sure": "boolean",
    }
    typed = [one.reindex(columns=list(kinds)).astype(kinds) for one in tables]
    return pd.concat(typed, ignore_index=True)
