"""Measures of one policy: a number for each situation first, then means with clustered standard errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from takeback.arenas import Featured, Readable, able
from takeback.policies.readout import UNDECIDED, Readouts
from takeback.run.errors import TakebackError
from takeback.run.grouping import sum_by
from takeback.run.stats import Estimate, cluster_codes, mean_estimate

if TYPE_CHECKING:
    import pandas as pd

    from takeback.arenas import Arena

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


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
class MeasureContext:
    """What measures need from the arena, as arrays over situations and over legal actions end to end.

    Attributes:
        owner: Each action's situation, shape (actions,).
        clusters: Each situation's cluster as a number, shape (n,).
        utilities: For each goal the utility of every action, shape (actions,).
        applies: For each goal the situations it applies to, shape (n,).
        features: For each feature which actions have it, shape (actions,).
        choice: For each feature the situations with actions that have it and actions that don't, shape (n,).
    """

    situations: tuple[str, ...]
    actions: tuple[tuple[str, ...], ...]
    owner: NDArray[np.int64]
    clusters: NDArray[np.int64]
    utilities: Mapping[str, Floats]
    applies: Mapping[str, Bools]
    features: Mapping[str, Floats]
    choice: Mapping[str, Bools]

    @classmethod
    def of(
        cls, readouts: Readouts, arena: Arena[Any], situations: Sequence[Any] | None = None
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
        told = arena.features(situations) if isinstance(arena, Featured) else {}
        features = {name: has.astype(np.float64) for name, has in told.items()}
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
        )

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


def measure_values(readouts: Readouts, context: MeasureContext) -> dict[str, Values]:
    """Compute every measure in every situation.

    - `legal`: mass of legal actions; `legal, greedy`: greedy decoding's answer is legal; `legal, drawn`:
      share of seeded random answers that are legal.
    - `illegal, CLASS`: mass of each class; `undecided`: what is in none.
    - `utility GOAL`: expected utility, illegal answers count 0; `utility GOAL, if legal`: given a legal
      answer. Situations to which a goal doesn't apply are left out.
    - `entropy`: over legal actions, illegality classes and the undecided rest, in nats; `entropy, if legal`:
      over legal actions, given a legal answer.
    - `FEATURE, if legal`: share of the legal mass on actions with a feature, where some legal action has it
      and some has not.

    Situations in which legal actions have no mass at all are left out of what is given a legal answer.
    """
    context.fits(readouts)
    n, owner, p = len(readouts), context.owner, readouts.probabilities
    legal = sum_by(owner, p, n)
    some = legal > 0
    given = p / np.where(some, legal, 1.0)[owner]

    def expected(weights: Floats, of: Floats) -> Floats:
        return sum_by(owner, weights * of, n)

    found = {
        "legal": Values.everywhere(legal),
        "legal, greedy": Values.everywhere(readouts.greedy >= 0),
        "legal, drawn": Values.everywhere(readouts.drawn_legal),
    }
    for number, name in enumerate(readouts.illegal):
        found[f"illegal, {name}"] = Values.everywhere(readouts.masses[:, number])
    found[UNDECIDED] = Values.everywhere(readouts.undecided)
    for goal, utility in context.utilities.items():
        applies = context.applies[goal]
        found[f"utility {goal}"] = Values(expected(p, utility), applies)
        found[f"utility {goal}, if legal"] = Values(expected(given, utility), applies & some)
    rest = entr(readouts.masses).sum(axis=1) + entr(readouts.undecided)
    found["entropy"] = Values.everywhere(sum_by(owner, entr(p), n) + rest)
    found["entropy, if legal"] = Values(sum_by(owner, entr(given), n), some)
    for name, has in context.features.items():
        found[f"{name}, if legal"] = Values(expected(given, has), context.choice[name] & some)
    return found


def measures(readouts: Readouts, arena: Arena[Any], context: MeasureContext | None = None) -> pd.DataFrame:
    """Measure a policy: a row for each of `measure_values` that applies to some situation.

    Columns: measure, value, se, low, high (95%), n. Errors are clustered by the situations' clusters; with
        one
    cluster only they are missing.
    """
    import pandas as pd

    context = context or MeasureContext.of(readouts, arena)
    rows = [
        {"measure": name, **estimate_row(mean_estimate(values.numbers[kept], context.clusters[kept]))}
        for name, values in measure_values(readouts, context).items()
        if (kept := values.applies).any()
    ]
    return typed(pd.DataFrame(rows), ("value", "se", "low", "high"))


def estimate_row(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate as the columns value, se, low, high, n."""
    return {
        "value": estimate.value,
        "se": estimate.se,
        "low": estimate.low,
        "high": estimate.high,
        "n": estimate.n,
    }


def typed(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Give columns the nullable float type, in which missing is not NaN."""
    return frame.astype(dict.fromkeys(columns, "Float64"))
