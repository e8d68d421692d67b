"""Arenas of a user's own rows: choices that are read as they stand, or prompts that any text may answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.listed import ListedAnswer, Listing, Shown
from takeback.arenas.protocol import LEGAL, Goal
from takeback.arenas.rows.rewards import Answered, Reward, check_kinds, kinds_of, rewards_of
from takeback.arenas.rows.row import Floats, Row, held_out_rows, right_choice, rows_of, told_worth
from takeback.arenas.rows.sampling import Sampling
from takeback.arenas.rows.spec import RowsSpec
from takeback.arenas.words import Words
from takeback.run.errors import TakebackError
from takeback.run.identity import identity, told
from takeback.run.own import load_own

RIGHT: Final = "right"
"""The goal of the right choice."""

WORTH: Final = "worth"
"""The goal of what choices are worth."""

REFERENCE: Final = "reference"
"""The kind of an answer that the data gives."""


class Rows:
    """What arenas of rows have in common; `rows_arena` makes one of a text."""

    words = Words(
        action="answer",
        situation="prompt",
        starts="a held-out prompt",
        cluster="group of rows",
        outcomes=(),
        reward="the reward as it is",
    )
    kinds: tuple[str, ...] = ()

    def __init__(self, spec: RowsSpec) -> None:
        self.spec, self.name = spec, spec.name
        self.rewards: tuple[Reward, ...] = rewards_of(spec.rewards, spec.data)
        self.rows: tuple[Row, ...] = rows_of(spec)
        columns = [row.columns for row in self.rows]
        for reward in self.rewards:
            reward.check(columns)
        check_kinds(spec.kinds, columns)
        self._held_out = held_out_rows(spec, self.rows)

    @property
    def template_arguments(self) -> Mapping[str, Any]:
        """What the tokenizer's chat template is given besides the messages."""
        return self.spec.template_arguments

    @property
    def learned_from(self) -> list[Any]:
        """What training on these rows depends on, for `identity`: rows, the split, functions, draws."""
        functions = [reward.function for reward in self.rewards]
        spec = self.spec
        drawn = [spec.seed, spec.answers, spec.max_tokens, spec.temperature, spec.top_p, spec.stop]
        told = [spec.answer, spec.worth, spec.separator]
        return [self.rows, self._held_out, functions, drawn, told]

    def situations(self, split: str, n: int, seed: int, goal: str | None = None) -> list[Row]:
        """Draw rows of the split `train` or `held-out`: n, or all if there are fewer.

        Raises:
            TakebackError: the split has none.
        """
        held = split == "held-out"
        some = [row for row, out in zip(self.rows, self._held_out, strict=True) if out == held]
        if not some:
            told = "are held out, so there is nothing to train on" if not held else "are to train on"
            raise TakebackError(
                f"all rows of {self.name} {told}; say which are with held_out: (a column or a share)"
            )
        order = np.random.default_rng(seed).permutation(len(some))[:n]
        return [some[place] for place in order]

    def prompt(self, situation: Row) -> str:
        """Return what tables call a row: its number and how its prompt begins."""
        return str(situation)

    def cluster(self, situation: Row) -> str:
        """Return what a row counts as one by."""
        return situation.cluster or f"#{situation.number}"

    def shown(self, situation: Row) -> Shown:
        """Return what a model is shown."""
        return situation.shown

    def score(
        self, rows: Sequence[Row], texts: Sequence[str], tokens: Sequence[Sequence[int]]
    ) -> dict[str, Floats]:
        """Return each reward of answers, one a row, shape (n,); NaN where it does not apply.

        Raises:
            TakebackError: a reward fails.
        """
        answered = Answered([row.shown for row in rows], [row.columns for row in rows], texts, tokens)
        return {reward.name: reward(answered) for reward in self.rewards}


class ChoiceRows(Rows):
    """Rows with answers to choose from: every policy's probability of each is read exactly."""

    temperature = 1.0

    @property
    def normalisation(self) -> str:
        """How log-probabilities of choices are made comparable."""
        return self.spec.normalisation

    @property
    def goals(self) -> Mapping[str, Goal[Row]]:
        """What choices are worth: as the data says, and each reward."""
        return self._goals

    @cached_property
    def _goals(self) -> dict[str, Goal[Row]]:
        names = [*([RIGHT] if self.spec.answer else []), *([WORTH] if self.spec.worth else [])]
        meanings = {RIGHT: "the right choice", WORTH: "what the data says a choice is worth"}
        names += [reward.name for reward in self.rewards]
        return {
            name: Goal(
                name,
                partial(self._worth, name),
                partial(self._applies, name),
                meanings.get(name, f"reward {name}"),
            )
            for name in names
        }

    def legal(self, situation: Row) -> tuple[str, ...]:
        """Return the choices, in the order of the data."""
        return situation.choices

    def classify(self, situation: Row, text: str) -> str:
        """Return `legal` of a choice, else `other`."""
        return LEGAL if text.strip() in [one.strip() for one in situation.choices] else "other"

    def listing(self, situation: Row) -> Listing:
        """Return a row with its choices."""
        chat = not isinstance(situation.shown, str)
        separator = self.spec.separator
        between = ("" if chat else " ") if separator is None else separator
        return Listing(situation.shown, tuple(ListedAnswer(between + choice) for choice in situation.choices))

    @cached_property
    def _all_worth(self) -> dict[str, list[Floats]]:
        """What each choice of each row is worth, by goal."""
        found: dict[str, list[Floats]] = {}
        if self.spec.answer:
            found[RIGHT] = [right_choice(row, self.spec.answer, self.name) for row in self.rows]
        if self.spec.worth:
            found[WORTH] = [told_worth(row, self.spec.worth, self.name) for row in self.rows]
        if self.rewards:
            every = [(row, choice) for row in self.rows for choice in row.choices]
            scored = self.score([row for row, _ in every], [choice for _, choice in every], [()] * len(every))
            ends = np.cumsum([len(row.choices) for row in self.rows])[:-1]
            found |= {name: np.split(numbers, ends) for name, numbers in scored.items()}
        return found

    def _worth(self, name: str, situations: Sequence[Row]) -> Floats:
        return np.nan_to_num(
            np.concatenate([np.zeros(0), *(self._all_worth[name][row.number] for row in situations)])
        )

    def _applies(self, name: str, situations: Sequence[Row]) -> NDArray[np.bool_]:
        return np.array(
            [bool(np.isfinite(self._all_worth[name][row.number]).all()) for row in situations], np.bool_
        )


class OpenRows(Rows):
    """Rows that any text may answer: policies are read on a pool of answers that they drew.

    Attributes:
        sampling: how answers are drawn.
    """

    def __init__(self, spec: RowsSpec) -> None:
        super().__init__(spec)
        self.sampling = Sampling(spec.max_tokens, spec.temperature, spec.top_p, spec.stop)

    @property
    def goals(self) -> Mapping[str, Goal[Row]]:
        """The rewards by name; what an answer is worth is known once it is drawn."""
        return self._goals

    @cached_property
    def _goals(self) -> dict[str, Goal[Row]]:
        return {
            reward.name: Goal(reward.name, partial(_undrawn, reward.name), meaning=f"reward {reward.name}")
            for reward in self.rewards
        }

    def legal(self, situation: Row) -> tuple[str, ...]:
        """Return the reference answer, if there is one."""
        return () if situation.reference is None else (situation.reference,)

    def classify(self, situation: Row, text: str) -> str:
        """Return `legal`: any text is an answer."""
        return LEGAL

    def sort(
        self,
        rows: Sequence[Row],
        texts: Sequence[str],
        tokens: Sequence[Sequence[int]],
        ended: Sequence[bool],
    ) -> tuple[str, ...]:
        """Return the kind of each answer, empty for an ordinary one."""
        answered = Answered([row.shown for row in rows], [row.columns for row in rows], texts, tokens)
        return kinds_of(self.spec.kinds, answered, ended)

    @property
    def draws(self) -> str:
        """The identity of what is drawn and what it is worth, apart from who draws."""
        functions = [reward.function for reward in self.rewards]
        return identity(
            [self.spec.seed, self.spec.answers, self.sampling, functions, _kinds_function(self.spec)]
        )


def rows_arena(text: str) -> ChoiceRows | OpenRows:
    """Make the arena that a text names: see `RowsSpec.parse`.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "quiz.jsonl"
    >>> _ = path.write_text('{"prompt": "2+2=", "choices": ["4", "5"], "answer": 0}')
    >>> arena = rows_arena(f"rows:{{data: {path}, choices: choices, answer: answer}}")
    >>> arena.legal(arena.rows[0])
    ('4', '5')

    Raises:
        TakebackError: the data or what is said of it can't be used.
    """
    spec = RowsSpec.parse(text)
    made = ChoiceRows(spec) if spec.choices is not None else OpenRows(spec)
    if isinstance(made, ChoiceRows) and not made.goals:
        raise TakebackError(
            f"rows of {made.name} have choices, but nothing says what they are worth; name answer: or worth: "
            "(columns), or a reward"
        )
    return made


@told.register(Rows)
def _(found: Rows) -> Any:
    spec = found.spec
    return [type(found).__name__, spec.normalisation, spec.temperature, spec.template_arguments]


def _undrawn(name: str, _: Sequence[Row]) -> Floats:
    raise TakebackError(
        f"what answers are worth by {name!r} is known once they are drawn; read a pool of them"
    )


def _kinds_function(spec: RowsSpec) -> Any:
    return None if spec.kinds is None else load_own(spec.kinds, "kinds")
