"""Readouts: what a policy does in each situation, as values that go to and from a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, overload

import numpy as np
from numpy.typing import NDArray

from takeback.draw.page import Section, Table, fragment
from takeback.run.errors import TakebackError
from takeback.run.grouping import sum_by

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
UNDECIDED = "undecided"
TOLERANCE = 1e-3
"""Most mass of a situation that an exact readout leaves undecided."""
SAMPLES = 64
"""Answers drawn in each situation."""
_NOT_LEGAL = -1
_SHOWN = 10
"""Situations that a notebook lists at most."""


@dataclass(frozen=True)
class Readout:
    """What one policy does in one situation.

    Attributes:
        legal: The probability of each legal action.
        illegal: The mass of each illegality class.
        undecided: The mass of illegal answers whose class is not known (with a sampled readout, of answers).
        greedy: The legal action that greedy decoding gives, or None if it gives no legal one.
    """

    situation: str
    legal: Mapping[str, float]
    illegal: Mapping[str, float]
    undecided: float
    greedy: str | None


@dataclass(frozen=True, eq=False, repr=False)
class Readouts:
    """What one policy does in n situations; legal actions lie end to end, those of situation i in `span(i)`.

    Attributes:
        arena: The arena's name.
        situations: Each situation's compact prompt.
        clusters: Each situation's cluster, for standard errors.
        actions: Each situation's legal actions.
        probabilities: The probability of each legal action, shape (all actions,).
        illegal: The names of the illegality classes.
        masses: The mass of each class, shape (n, classes).
        undecided: Mass that is in no class and no listed legal action, shape (n,); all adds up to 1.
        greedy: The place of greedy decoding's answer among a situation's actions, -1 if not legal; shape
            (n,).
        drawn_legal: The share of seeded random answers that are legal, shape (n,).
        samples: Number of draws behind sampled class masses; 0 if they are exact.
        errors: Standard error of each class's mass from sampling, shape (n, classes); 0 if exact.
        lower_bound: True where not every spelling of a legal action was summed, shape (n,).

    `NUMBERS` are the arrays that a policy gives and a store keeps; `OF_ACTIONS` and `OF_SITUATIONS` are those
    with a number for each action and each situation.
    """

    NUMBERS: ClassVar[tuple[str, ...]] = (
        "probabilities",
        "masses",
        "undecided",
        "greedy",
        "drawn_legal",
        "errors",
        "lower_bound",
    )
    OF_ACTIONS: ClassVar[tuple[str, ...]] = ("probabilities",)
    OF_SITUATIONS: ClassVar[tuple[str, ...]] = NUMBERS[1:]

    arena: str
    situations: tuple[str, ...]
    clusters: tuple[str, ...]
    actions: tuple[tuple[str, ...], ...]
    probabilities: Floats
    illegal: tuple[str, ...]
    masses: Floats
    undecided: Floats
    greedy: NDArray[np.int64]
    drawn_legal: Floats
    samples: int
    errors: Floats
    lower_bound: NDArray[np.bool_]

    def __repr__(self) -> str:
        legal = f", {self.legal_mass.mean():.1%} of answers legal" if len(self) else ""
        return f"Readouts of {self.arena}: {len(self)} situations{legal}"

    def _repr_html_(self) -> str:
        rows: list[tuple[str, ...]] = []
        for one in islice(self, _SHOWN):
            best = max(one.legal, key=one.legal.__getitem__, default="–")
            sizes = sum(one.legal.values()), one.legal.get(best, 0.0)
            rows.append((one.situation, f"{sizes[0]:.3f}", best, f"{sizes[1]:.3f}"))
        heads = ("situation", "legal", "likeliest action", "its probability")
        table = Table(heads, tuple(rows), ("situation", "likeliest action"))
        note = f"The first {len(rows)} of {len(self)}."
        return fragment(Section(f"Readouts of {self.arena}", (repr(self), note), tables=(table,)))

    def __len__(self) -> int:
        return len(self.situations)

    @overload
    def __getitem__(self, which: int) -> Readout: ...
    @overload
    def __getitem__(self, which: slice | Sequence[int] | NDArray[np.int64]) -> Readouts: ...
    def __getitem__(self, which: int | slice | Sequence[int] | NDArray[np.int64]) -> Readout | Readouts:
        """Return one situation's readout, or the readouts of some situations."""
        if isinstance(which, int | np.integer):
            return self._one(range(len(self))[which])
        chosen = np.arange(len(self))[which]
        spans = [np.arange(len(self.probabilities))[self.span(i)] for i in chosen]
        actions = np.concatenate([np.zeros(0, np.int64), *spans])
        return replace(
            self,
            situations=tuple(self.situations[i] for i in chosen),
            clusters=tuple(self.clusters[i] for i in chosen),
            actions=tuple(self.actions[i] for i in chosen),
            **{name: getattr(self, name)[actions] for name in self.OF_ACTIONS},
            **{name: getattr(self, name)[chosen] for name in self.OF_SITUATIONS},
        )

    def __iter__(self) -> Iterator[Readout]:
        return (self._one(i) for i in range(len(self)))

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """The situation of each legal action, shape (all actions,)."""
        return np.repeat(np.arange(len(self)), [len(legal) for legal in self.actions])

    @property
    def legal_mass(self) -> Floats:
        """The probability of any legal action, shape (n,)."""
        return sum_by(self.owner, self.probabilities, len(self))

    def span(self, situation: int) -> slice:
        """Return where a situation's actions lie in `probabilities`."""
        start = sum(len(legal) for legal in self.actions[:situation])
        return slice(start, start + len(self.actions[situation]))

    def _one(self, i: int) -> Readout:
        place = int(self.greedy[i])
        return Readout(
            situation=self.situations[i],
            legal=dict(zip(self.actions[i], self.probabilities[self.span(i)].tolist(), strict=True)),
            illegal=dict(zip(self.illegal, self.masses[i].tolist(), strict=True)),
            undecided=float(self.undecided[i]),
            greedy=None if place == _NOT_LEGAL else self.actions[i][place],
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a tidy table with a row for each outcome of each situation.

        Columns: arena, item (the situation's place), situation, cluster, kind ("legal", "illegal" or
        "undecided"), outcome (action or class), probability, standard_error, greedy, drawn_legal, samples,
        lower_bound. Rows of one situation lie together: actions, then classes, then the undecided rest.
        """
        import pandas as pd

        n, classes = len(self), len(self.illegal)
        counts = np.array([len(legal) for legal in self.actions])
        item = np.concatenate([self.owner, np.repeat(np.arange(n), classes), np.arange(n)])
        place = np.concatenate([np.arange(len(self.owner)) - (np.cumsum(counts) - counts)[self.owner]])
        kinds = np.repeat(["legal", "illegal", UNDECIDED], [len(self.owner), n * classes, n])
        none = np.zeros(len(self.owner))
        frame = pd.DataFrame(
            {
                "arena": self.arena,
                "item": item,
                "situation": np.array(self.situations, dtype=object)[item],
                "cluster": np.array(self.clusters, dtype=object)[item],
                "kind": kinds,
                "outcome": [a for legal in self.actions for a in legal]
                + [*self.illegal] * n
                + [UNDECIDED] * n,
                "probability": np.concatenate([self.probabilities, self.masses.reshape(-1), self.undecided]),
                "standard_error": np.concatenate([none, self.errors.reshape(-1), np.zeros(n)]),
                "greedy": np.concatenate(
                    [place == self.greedy[self.owner], np.zeros(n * classes + n, np.bool_)]
                ),
                "drawn_legal": self.drawn_legal[item],
                "samples": self.samples,
                "lower_bound": self.lower_bound[item],
            }
        )
        return frame.sort_values("item", kind="stable", ignore_index=True)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Readouts:
        """Read the table that `to_frame` made, of one policy.

        Raises:
            TakebackError: the rows are not one policy's readouts.
        """
        rows = frame.sort_values("item", kind="stable")
        first = rows.drop_duplicates("item")
        legal = rows[rows["kind"] == "legal"]
        illegal = rows[rows["kind"] == "illegal"]
        rest = rows[rows["kind"] == UNDECIDED]
        n = len(first)
        names = tuple(illegal["outcome"].drop_duplicates())
        whole = len(rest) == n and len(illegal) == n * len(names) and first["arena"].nunique() == 1
        if not whole or tuple(illegal["outcome"]) != names * n or rows.duplicated(["item", "outcome"]).any():
            raise TakebackError(
                "the table holds no readouts of just one policy; choose one policy's rows first"
            )
        code = {item: i for i, item in enumerate(first["item"])}
        owner = np.array([code[item] for item in legal["item"]], dtype=np.int64)
        counts = np.bincount(owner, minlength=n)
        starts = np.cumsum(counts) - counts
        greedy = np.full(n, _NOT_LEGAL)
        chosen = np.flatnonzero(legal["greedy"].to_numpy(dtype=np.bool_))
        greedy[owner[chosen]] = chosen - starts[owner[chosen]]
        outcomes = legal["outcome"].tolist()
        return cls(
            arena=str(first["arena"].iloc[0]),
            situations=tuple(first["situation"]),
            clusters=tuple(first["cluster"]),
            actions=tuple(tuple(outcomes[s : s + c]) for s, c in zip(starts, counts, strict=True)),
            probabilities=legal["probability"].to_numpy(dtype=np.float64),
            illegal=names,
            masses=illegal["probability"].to_numpy(dtype=np.float64).reshape(n, -1),
            undecided=rest["probability"].to_numpy(dtype=np.float64),
            greedy=greedy,
            drawn_legal=first["drawn_legal"].to_numpy(dtype=np.float64),
            samples=int(first["samples"].iloc[0]),
            errors=illegal["standard_error"].to_numpy(dtype=np.float64).reshape(n, -1),
            lower_bound=first["lower_bound"].to_numpy(dtype=np.bool_),
        )


def drawn_legal(legal_mass: Floats, samples: int, seed: int) -> Floats:
    """Draw whether answers are legal, with the same uniform numbers for every policy; return the share."""
    return (_uniform(len(legal_mass), samples, seed) < legal_mass[:, None]).mean(axis=1)


@lru_cache(maxsize=1)
def _uniform(situations: int, samples: int, seed: int) -> Floats:
    return np.stack([np.random.default_rng([seed, place]).random(samples) for place in range(situations)])
