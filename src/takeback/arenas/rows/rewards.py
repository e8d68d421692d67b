"""Users' functions of answers: rewards as TRL and verl call them, verifiers of reasoning-gym, kinds."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.listed import Shown
from takeback.arenas.rows.table import GYM, Columns, reasoning_gym
from takeback.run.errors import TakebackError
from takeback.run.own import is_reference, load_own

Floats = NDArray[np.float64]

CUT_OFF: Final = "cut off"
"""The kind of an answer that the length limit ended."""

_VERL: Final = {"solution_str", "ground_truth"}
_TRUTHS: Final = {"ground_truth", "reward_model"}
"""The fields of rows that verl's ground truth is in."""

_ANY: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_EXTRAS: Final[Mapping[str, Any]] = {
    "trainer_state": None,
    "log_extra": lambda *_, **__: None,
    "log_metric": lambda *_, **__: None,
}
"""What TRL gives reward functions beside texts and columns."""


@dataclass(frozen=True, eq=False)
class Answered:
    """Answers to score: what was shown, the row's columns, the answer's text and tokens, each shape (n,)."""

    shown: Sequence[Shown]
    columns: Sequence[Columns]
    texts: Sequence[str]
    tokens: Sequence[Sequence[int]]

    def arguments(self) -> dict[str, Any]:
        """Return them as TRL's keyword arguments: chats have messages as completions."""
        names = dict.fromkeys(name for row in self.columns for name in row)
        chats = [not isinstance(one, str) for one in self.shown]
        completions = [
            [{"role": "assistant", "content": text}] if chat else text
            for chat, text in zip(chats, self.texts, strict=True)
        ]
        prompts = [one if isinstance(one, str) else [dict(message) for message in one] for one in self.shown]
        columns = {name: [row.get(name) for row in self.columns] for name in names}
        own = {"prompts": prompts, "completions": completions, "completion_ids": list(map(list, self.tokens))}
        return {**columns, **own}


@dataclass(frozen=True)
class Reward:
    """A user's reward.

    Attributes:
        name: what it is called in tables.
        reference: where it is, `file.py:function` or `module:function`, or `reasoning-gym:DATASET`.
    """

    name: str
    reference: str

    @property
    def function(self) -> Any:
        """What is called, read anew where its file became another."""
        if self.reference.startswith(f"{GYM}:"):
            return reasoning_gym().get_score_answer_fn(self.reference.partition(":")[2])
        found = load_own(self.reference, "reward")
        if not callable(found):
            raise TakebackError(f"reward {self.reference!r} is no function but {type(found).__name__}")
        return found

    def check(self, columns: Sequence[Columns]) -> None:
        """Refuse a function that asks for what rows do not have, before any answer is drawn.

        Raises:
            TakebackError: it does, or can't be loaded or called by name.
        """
        if not self.reference.startswith(f"{GYM}:"):
            _check_asked("reward", self.reference, self.function, columns)

    def __call__(self, answered: Answered) -> Floats:
        """Return what each answer is worth, shape (n,); NaN where the reward says None: it does not apply.

        Raises:
            TakebackError: it raises, returns another number of numbers, or something that is no number.
        """
        function = self.function
        if self.reference.startswith(f"{GYM}:"):
            given = zip(answered.texts, answered.columns, strict=True)
            found = _called(self, lambda: [function(text, row["entry"]) for text, row in given])
        elif set(_parameters(function)) >= _VERL:
            found = _called(self, lambda: [_verl(function, one) for one in _each(answered)])
        else:
            found = _called(self, lambda: _trl(function, answered.arguments()))
        return _numbers(self, found, len(answered.texts))


def rewards_of(references: Sequence[str], data: str) -> tuple[Reward, ...]:
    """Return rewards by their references, and the verifier of the data where it has one.

    Raises:
        TakebackError: something is no reference to a function.
    """
    given = (*references, *([data] if data.startswith(f"{GYM}:") else []))
    for one in references:
        if not is_reference(one) and not one.startswith(f"{GYM}:"):
            raise TakebackError(
                f"reward {one!r} is no reference; write file.py:function, module:function or {GYM}:NAME"
            )
    short = {one: GYM if one.startswith(f"{GYM}:") else one.rpartition(":")[2] for one in given}
    often = Counter(short.values())
    return tuple(Reward(short[one] if often[short[one]] == 1 else one, one) for one in dict.fromkeys(given))


def check_kinds(reference: str | None, columns: Sequence[Columns]) -> None:
    """Refuse what names kinds if it asks for what rows do not have, before any answer is drawn.

    Raises:
        TakebackError: it does, is no function, or can't be loaded or called by name.
    """
    if reference is None:
        return
    function = load_own(reference, "kinds")
    if not callable(function):
        raise TakebackError(f"kinds {reference!r} is no function but {type(function).__name__}")
    _check_asked("kinds", reference, function, columns)


def _check_asked(what: str, reference: str, function: Any, columns: Sequence[Columns]) -> None:
    taken = _parameters(function, follow_wrapped=False)
    fields = dict.fromkeys(name for row in columns for name in row)
    known = {*fields, *_EXTRAS, "prompts", "completions", "completion_ids"}
    if what == "reward" and set(taken) >= _VERL:
        known = {*_VERL, "data_source", "extra_info"} if _TRUTHS & {*fields} else {"solution_str"}
    needed = [name for name, one in taken.items() if one.default is one.empty and one.kind not in _ANY]
    by_place = inspect.Parameter.POSITIONAL_ONLY
    if lost := [name for name in needed if name not in known or taken[name].kind is by_place]:
        raise TakebackError(
            f"{what} {reference!r} asks for {', '.join(map(repr, lost))}, and rows have "
            f"{', '.join(map(repr, fields)) or 'no fields'}; name a field of the rows"
        )


def refuse_silent(worth: Mapping[str, Floats]) -> None:
    """Refuse rewards that say nothing of any answer: what they are to measure is a null result of a mistake.

    Args:
        worth: what each reward gave all answers.

    Raises:
        TakebackError: one gave None for every answer.
    """
    for name, numbers in worth.items():
        if len(numbers) and np.isnan(numbers).all():
            raise TakebackError(
                f"reward {name!r} gave None for all {len(numbers)} answers, so it applies to none of them; "
                "leave it out, or see which columns it needs"
            )


def kinds_of(reference: str | None, answered: Answered, ended: Sequence[bool]) -> tuple[str, ...]:
    """Return the kind of each answer, empty for an ordinary one: what the user's function says, else cut off.

    The function has the signature of a reward and returns a name or None for each answer.

    Raises:
        TakebackError: it raises, or returns something else.
    """
    known = ["" if one else CUT_OFF for one in ended]
    if reference is None:
        return tuple(known)
    function = load_own(reference, "kinds")
    asked = Reward("kinds", reference)
    found = _called(asked, lambda: _trl(function, answered.arguments()), "kinds")
    if not isinstance(found, Sequence) or isinstance(found, str) or len(found) != len(known):
        raise TakebackError(f"kinds {reference!r} must return a list with a name or None for each answer")
    for one in found:
        if one is not None and not isinstance(one, str):
            raise TakebackError(f"kinds {reference!r} returned {one!r}; a kind is a name, or None")
    return tuple(own or cut for own, cut in zip(found, known, strict=True))


def _trl(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    taken = _parameters(function)
    every = {**_EXTRAS, **arguments}
    if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values()):
        every = {name: value for name, value in every.items() if name in taken}
    found = function(**every)
    return asyncio.run(_awaited(found)) if inspect.isawaitable(found) else found


def _parameters(function: Any, follow_wrapped: bool = True) -> Mapping[str, inspect.Parameter]:
    """Return what a user's function takes.

    Raises:
        TakebackError: it can't be told.
    """
    try:
        return inspect.signature(function, follow_wrapped=follow_wrapped).parameters
    except (TypeError, ValueError):
        raise TakebackError(
            f"what {function!r} takes can't be told; wrap it in a function of your own"
        ) from None


async def _awaited(found: Any) -> Any:
    return await found


def _verl(function: Callable[..., Any], one: tuple[Columns, str]) -> Any:
    row, text = one
    truth = row.get("ground_truth", (row.get("reward_model") or {}).get("ground_truth"))
    found = function(
        data_source=row.get("data_source"),
        solution_str=text,
        ground_truth=truth,
        extra_info=row.get("extra_info"),
    )
    return found["score"] if isinstance(found, Mapping) else found


def _each(answered: Answered) -> list[tuple[Columns, str]]:
    return list(zip(answered.columns, answered.texts, strict=True))


def _called(reward: Reward, call: Callable[[], Any], what: str = "reward") -> Any:
    try:
        return call()
    except TakebackError:
        raise
    except (Exception, SystemExit) as error:  # a user's own code: whatever it raises, its name and place help
        line = " ".join(str(error).split())[:200]
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        ours = trace is None or trace.tb_frame.f_code.co_filename == __file__
        where = "" if trace is None or ours else f" in line {trace.tb_lineno}"
        raise TakebackError(
            f"{what} {reward.reference!r} failed{where}: {type(error).__name__}: {line}"
        ) from error


def _numbers(reward: Reward, found: Any, n: int) -> Floats:
    found = found.tolist() if hasattr(found, "tolist") else found  # arrays and tensors
    told = list(found) if isinstance(found, Sequence) and not isinstance(found, str) else None
    if told is None or len(told) != n:
        what = type(found).__name__ if told is None else f"{len(told)} numbers"
        raise TakebackError(
            f"reward {reward.reference!r} must return {n} numbers, one for each answer, not {what}"
        )
    numbers = np.empty(n)
    for place, one in enumerate(told):
        try:
            numbers[place] = math.nan if one is None else float(one)
        except (TypeError, ValueError, OverflowError):
            numbers[place] = math.inf
        if one is not None and not math.isfinite(numbers[place]):
            raise TakebackError(
                f"reward {reward.reference!r} gave {one!r:.60} for answer {place}; give a finite number, or "
                "None where it does not apply"
            )
    return numbers
