"""What a measure is: a value that gives a number for each situation and says of itself what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from takeback.arenas import Arena, Featured, Readable, able
from takeback.arenas.listed import Listed
from takeback.policies.answers import AnswerReadouts
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError
from takeback.run.grouping import sum_by
from takeback.run.own import load_own
from takeback.run.stats import cluster_codes

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

Role = Literal["share", "utility", "divergence", "number"]
"""A share of answers, the expected utility of a goal, a distance from another policy, or any other number."""

TOLERANCE = 0.05
"""Most illegal mass of a situation that may be of no kind where a measure asks for kinds."""

STEP = 1e-6
"""By how much a probability is moved to find the slope of a measure that has no formula for it."""


@dataclass(frozen=True, eq=False)
class Values:
    """One number for each situation, shape (n,), and for which situations it means something."""

    numbers: Floats
    applies: Bools

    @classmethod
    def everywhere(cls, numbers: NDArray[Any]) -> Values:
        """Take a measure that applies to every situation."""
        return cls(numbers.astype(np.float64), np.ones(len(numbers), np.bool_))


@dataclass(frozen=True, eq=False)
class Slopes:
    """The partial derivatives of one measure by outcome, each of its own situation's number.

    Attributes:
        legal: by the probability of each legal action, shape (all actions,).
        illegal: by the mass of each illegality class, shape (n, classes).
        undecided: by the undecided mass, shape (n,).
        logprobs: of listed answers, by the log-probability of each besides, shape (all answers,).
    """

    legal: Floats
    illegal: Floats
    undecided: Floats
    logprobs: Floats | None = None


@dataclass(frozen=True, eq=False)
class MeasureContext:
    """What measures need from the arena, as arrays over situations and over legal actions end to end.

    Attributes:
        owner: Each action's situation, shape (actions,).
        clusters: Each situation's cluster as a number, shape (n,).
        utilities: For each goal the utility of every action, shape (actions,).
        applies: For each goal the situations it applies to, shape (n,).
        features: For each feature which actions have it, 1 or 0, shape (actions,).
        choice: For each feature the situations with actions that have it and actions that don't, shape (n,).
        own: Measures that are taken beside those of the arena.
        before: What divergences are from, another policy's readouts of the same situations.
        listed: The arena, where it lists its answers.
        kinds: The kind of each listed answer, empty for an ordinary one, shape (actions,).
    """

    situations: tuple[str, ...]
    actions: tuple[tuple[str, ...], ...]
    owner: NDArray[np.int64]
    clusters: NDArray[np.int64]
    utilities: Mapping[str, Floats]
    applies: Mapping[str, Bools]
    features: Mapping[str, Floats]
    choice: Mapping[str, Bools]
    own: tuple[Measure, ...] = ()
    before: Readouts | None = None
    listed: Listed | None = None
    kinds: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, np.str_))

    @classmethod
    def of(
        cls,
        readouts: Readouts,
        arena: Arena[Any],
        own: tuple[Measure, ...] = (),
        situations: Sequence[Any] | None = None,
    ) -> MeasureContext:
        """Ask the arena once; the context serves every readout of the same situations.

        Without `situations` the arena reads them from the readouts' texts.

        Raises:
            TakebackError: the readouts are of another arena, or its legal actions are not theirs; or there
                are no situations and the arena can't read them.
        """
        if readouts.arena != arena.name:
            raise TakebackError(f"these readouts are of arena {readouts.arena!r}, not {arena.name!r}")
        if situations is None:
            situations = [able(arena, Readable).parse(text) for text in readouts.situations]
        for text, situation, actions in zip(readouts.situations, situations, readouts.actions, strict=True):
            if tuple(arena.legal(situation)) != actions:
                raise TakebackError(
                    f"the arena's legal actions in {text!r} are not those of the readout; read again"
                )
        n, owner = len(situations), readouts.owner
        count = np.bincount(owner, minlength=n)
        named = arena.features(situations) if isinstance(arena, Featured) else {}
        features = {name: has.astype(np.float64) for name, has in named.items()}
        having = {name: sum_by(owner, has, n) for name, has in features.items()}
        return cls(
            situations=readouts.situations,
            actions=readouts.actions,
            owner=owner,
            clusters=cluster_codes(readouts.clusters, n),
            utilities={name: goal.utility(situations) for name, goal in arena.goals.items()},
            applies={name: np.asarray(g.applies(situations), np.bool_) for name, g in arena.goals.items()},
            features=features,
            choice={name: (has > 0) & (has < count) for name, has in having.items()},
            own=own,
            **_listed(arena, situations),
        )

    def of_kind(self, kind: str) -> Floats:
        """Return 1 for listed answers of a kind, else 0, shape (actions,)."""
        return (self.kinds == kind).astype(np.float64)

    def fits(self, readouts: Readouts) -> MeasureContext:
        """Return this context if it is of the readouts' situations.

        Raises:
            TakebackError: it is of other situations.
        """
        if readouts.situations is not self.situations and readouts.situations != self.situations:
            raise TakebackError(
                "the measure context is of other situations than the readouts; make one of these"
            )
        return self

    def sums(self, of_actions: Floats) -> Floats:
        """Add up numbers of legal actions, shape (actions,), by situation, shape (n,)."""
        return sum_by(self.owner, of_actions, len(self.situations))


def _listed(arena: Arena[Any], situations: Sequence[Any]) -> dict[str, Any]:
    if not isinstance(arena, Listed):
        return {}
    kinds = [answer.kind for one in situations for answer in arena.listing(one).answers]
    return {"listed": arena, "kinds": np.array(kinds, np.str_)}


Numbers = Callable[[Readouts, MeasureContext], "Values | ArrayLike"]
SlopesOf = Callable[[Readouts, MeasureContext], Slopes]


@dataclass(frozen=True, eq=False)
class Measure:
    """A number for each situation: how it comes from readouts, and what it is.

    Attributes:
        name: what it is called in tables and asked for by.
        words: what it says, in words that tables and reports show.
        numbers: from readouts and their context one number for each situation, shape (n,); NaN, or `Values`
            that say so, where it does not apply.
        role: what sort of number it is.
        slopes: from readouts and their context its `Slopes`; without, they are found by small steps.
        jumps: whether it moves in jumps, so that it has no slopes at all.
        unsorted: the most illegal mass of a situation that may be of no known kind; 1 where kinds don't
            matter.
        goal: the goal it is of.
        feature: the feature of actions it is of.
        kind: the kind of illegal answers it is of.
        if_legal: whether it is given a legal answer.
        whole: the measure over all outcomes that it is, given a legal answer.
        reference: where a user's own one is, such as `package.module:function`.
    """

    name: str
    words: str
    numbers: Numbers = field(repr=False)
    role: Role = "number"
    slopes: SlopesOf | None = field(default=None, repr=False)
    jumps: bool = False
    unsorted: float = TOLERANCE
    goal: str | None = None
    feature: str | None = None
    kind: str | None = None
    if_legal: bool = False
    whole: str | None = None
    reference: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Send a user's own measure as its reference: what stands in a file can't be pickled otherwise."""
        if self.reference is not None:
            return own_measure, (self.reference,)
        return Measure, tuple(getattr(self, name) for name in self.__dataclass_fields__)

    @property
    def needs_kinds(self) -> bool:
        """Whether illegal answers must be sorted into kinds."""
        return self.unsorted < 1

    @property
    def account(self) -> dict[str, Any]:
        """What it says of itself, in plain values that a run's manifest keeps."""
        told = ("name", "words", "role", "goal", "feature", "kind", "if_legal", "reference")
        return {name: getattr(self, name) for name in told}

    def of(self, readouts: Readouts, context: MeasureContext) -> Values:
        """Return its number in each situation, and where it applies.

        Raises:
            TakebackError: the context is of other situations, or a user's function gives no such numbers.
        """
        found = self.numbers(readouts, context.fits(readouts))
        if isinstance(found, Values):
            return found
        try:
            numbers = np.asarray(found, np.float64)
        except (TypeError, ValueError):
            numbers = np.zeros(())
        if numbers.shape != (len(readouts),) or np.isinf(numbers).any():
            raise TakebackError(
                f"measure {self.name!r} must return a finite number or NaN for each of {len(readouts)} "
                f"situations, not {_told(found)}"
            )
        return Values(numbers, ~np.isnan(numbers))

    def slopes_at(self, readouts: Readouts, context: MeasureContext) -> Slopes:
        """Return its slopes at these readouts.

        Outcomes are taken as free of each other: that they add up to 1 is for the caller to see to. Slopes
        are 0 in situations that it leaves out.

        Raises:
            TakebackError: it moves in jumps.
        """
        if self.jumps:
            raise TakebackError(
                f"measure {self.name!r} moves in jumps and has no slopes; ask for its exact effects"
            )
        if self.slopes is not None:
            return self.slopes(readouts, context.fits(readouts))
        return self._by_steps(readouts, context)

    def _by_steps(self, readouts: Readouts, context: MeasureContext) -> Slopes:
        """Move one outcome of every situation at a time, toward the middle of what it can be."""
        if isinstance(readouts, AnswerReadouts):
            return self._by_answers(readouts, context)
        here, n = self.of(readouts, context), len(readouts)
        owner, counts = context.owner, np.bincount(context.owner, minlength=n)
        place = np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]

        def gains(part: str, cells: Any, of: NDArray[np.int64]) -> Floats:
            whole: Floats = getattr(readouts, part)
            moved, step = whole.copy(), np.where(whole[cells] < 0.5, STEP, -STEP)
            moved[cells] += step
            there = self.of(replace(readouts, **{part: moved}), context)
            known = here.applies & there.applies
            return np.where(known, there.numbers - here.numbers, 0.0)[of] / step

        legal, illegal, every = np.zeros(len(owner)), np.zeros_like(readouts.masses), np.arange(n)
        for number in range(counts.max(initial=0)):
            cells = place == number
            legal[cells] = gains("probabilities", cells, owner[cells])
        for number in range(illegal.shape[1]):
            illegal[:, number] = gains("masses", (slice(None), number), every)
        return Slopes(legal, illegal, gains("undecided", slice(None), every))

    def _by_answers(self, readouts: AnswerReadouts, context: MeasureContext) -> Slopes:
        """Move the log-probability of one answer of every situation at a time, up and down."""
        counts, total = np.bincount(context.owner, minlength=len(readouts)), len(context.owner)
        place = np.arange(total) - (np.cumsum(counts) - counts)[context.owner]
        slopes = np.zeros(total)
        for number in range(counts.max(initial=0)):
            cells = place == number
            step = np.where(cells, STEP, 0.0)
            up, down = (self.of(readouts.at(readouts.logprobs + one), context) for one in (step, -step))
            gains = np.where(up.applies & down.applies, up.numbers - down.numbers, 0.0) / (2 * STEP)
            slopes[cells] = gains[context.owner[cells]]
        n = len(readouts)
        return Slopes(np.zeros(total), np.zeros_like(readouts.masses), np.zeros(n), slopes)


def if_legal(name: str) -> str:
    """Return what a measure is called that is given a legal answer.

    >>> if_legal("utility win")
    'utility win, if legal'
    """
    return f"{name}, if legal"


def own_measure(own: str | Numbers | Measure) -> Measure:
    """Return a user's own measure: a function, a `Measure`, or a reference to one of these.

    A function takes readouts and their context and returns a number for each situation. It is called by its
    reference, and the first line of its docstring says what it is.

    >>> import numpy as np
    >>> def sureness(readouts, context):
    ...     '''How likely greedy decoding's answer is legal.'''
    ...     return readouts.greedy >= 0
    >>> own_measure(sureness).words
    "How likely greedy decoding's answer is legal."

    Raises:
        TakebackError: there is nothing to call at a reference.
    """
    if isinstance(own, Measure):
        return own
    if isinstance(own, str):
        found = load_own(own, "measure")
        if isinstance(found, Measure):
            return replace(found, reference=own)
        if not callable(found):
            raise TakebackError(f"measure {own!r} is {_told(found)}; it must be a function or a Measure")
        function: Any = found
        return replace(own_measure(function), name=own, reference=own)
    name = getattr(own, "__name__", type(own).__name__)
    lines = (own.__doc__ or "").strip().splitlines()
    return Measure(name, lines[0] if lines else f"what {name} gives", own)


def _told(found: object) -> str:
    shape = getattr(found, "shape", None)
    return f"{type(found).__name__}" + ("" if shape is None else f" of shape {tuple(shape)}")
