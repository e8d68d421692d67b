"""What each situation adds to a training run's numbers, so that intervals can be over situations too.

All arms and seeds of a study are read on the same situations: how these were drawn is in every number, and
no spread between runs shows it. So the record keeps, of each number, the parts whose mean it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.findings.localise.shares import TAKE_BACK
from takeback.findings.sweep.run import Sweep
from takeback.measure.agency.agency import meg, optimisation_power
from takeback.measure.agency.pursuits import BEST_OF_N, BY_RANK, SIGNED, pursuit, signed_parts
from takeback.measure.alone import HeldOut
from takeback.measure.effects import differences
from takeback.measure.measure import MeasureContext
from takeback.measure.outcomes import Outcomes
from takeback.measure.shift import KL
from takeback.measure.standard import LEGAL, utility
from takeback.policies.readout import Readouts
from takeback.run.stats import parts
from takeback.run.tables import read_table, write_table
from takeback.study.pursuit import SHARE, takebacks

Floats = NDArray[np.float64]

FOLDER: Final = "by_situation"
ABOUT: Final = "situation"
"""The source of what is known of the situations themselves: the cluster of each, as a number."""
KEYS: Final = ["source", "component", "measure"]
"""What tells the numbers of a run apart."""
BEHAVIOUR: Final = "behaviour"
"""The source of a number of the whole model, as against a diff's, a takeback's or a graft's."""
OWN: Final = "utility of the arm's own goal"
"""The effect on the utility of whatever goal an arm has."""
GAINED, LEGAL_GAINED, DISTANCE = "utility gained", "legal mass gained", "KL"
PURSUED, POWER, DIRECTED = "pursuit share", "optimisation power", "MEG"
ON_SCALES: Final = {SIGNED: PURSUED, BY_RANK: f"{PURSUED}, by rank", BEST_OF_N: f"{PURSUED}, best of n"}
"""What pursuit's share of the change is called in comparisons, by its name among measures of agency."""


class Added(NamedTuple):
    """One number of a training run, by situation; the mean of the parts is the number, to first order."""

    source: str
    component: str
    measure: str
    each: Floats


def of_behaviour(
    before: Readouts, after: Readouts, context: MeasureContext, goal: str | None
) -> Iterator[Added]:
    """Give the parts of what a run gained: of every measure, and of agency toward its goal.

    Args:
        before: what it was trained from.
        after: the trained policy.
        context: what measures need of the arena.
        goal: the run's own; without one only measures that need none are given.
    """
    known = goal if goal in context.utilities else None
    named = {LEGAL.name: LEGAL_GAINED, KL.name: DISTANCE}
    if known is not None:
        named[utility(known).name] = GAINED
    for one in differences(before, after, context):
        each = parts(one.numbers, one.applies)
        yield Added(BEHAVIOUR, "", one.measure, each)
        if one.measure in named:
            yield Added(BEHAVIOUR, "", named[one.measure], each)
    if known is not None:
        given = Outcomes.of(before, after, context, (known,), if_legal=True)
        yield from (Added(BEHAVIOUR, "", name, each) for name, each in _agency(given))


def of_takebacks(
    ends: tuple[Readouts, Readouts],
    hybrids: Mapping[str, Readouts],
    context: MeasureContext,
    goal: str | None,
) -> Iterator[Added]:
    """Give the parts of what takebacks do: to every measure, and to the pursuit of the run's goal.

    Args:
        ends: base and tuned, read as the hybrids are.
        hybrids: tuned with a component taken back, by the component.
        context: what measures need of the arena.
        goal: the run's own.
    """
    (base, tuned), known = ends, goal if goal in context.utilities else None

    def signed(policy: Readouts) -> Floats | None:
        if known is None:
            return None
        return _signed(Outcomes.of(base, policy, context, (known,), if_legal=True))

    whole = signed(tuned)
    for component, hybrid in hybrids.items():
        for one in differences(tuned, hybrid, context):
            each = parts(one.numbers, one.applies)
            yield Added(TAKE_BACK, component, one.measure, each)
            if known is not None and one.measure == utility(known).name:
                yield Added(TAKE_BACK, component, OWN, each)
        if whole is not None and (rest := signed(hybrid)) is not None:
            yield Added(TAKE_BACK, component, SHARE, whole - rest)


def _agency(given: Outcomes) -> Iterator[tuple[str, Floats]]:
    if len(given):
        for name, each in signed_parts(given).items():
            if each is not None:
                yield ON_SCALES[name], parts(each, given.applies)
        yield POWER, parts(optimisation_power(given, "base", beyond_chance=True), given.applies)
        yield DIRECTED, parts(meg(given)[0], given.applies)


def _signed(given: Outcomes) -> Floats | None:
    each = pursuit(given).signed_parts if len(given) else None
    return None if each is None else parts(each, given.applies)


def write_parts(alone: HeldOut, swept: Sweep, goal: str | None, path: Path) -> None:
    """Write the parts of a run's numbers: source, component, measure, value, parts (float32, in order).

    Args:
        alone: what reads policies alone, as the whole model's numbers are read.
        swept: the sweep of every single component; what its bench's store holds is not read again.
        goal: the run's own.
        path: the file.
    """
    bench = swept.bench.about_all()
    before, after = (alone.read(side.ref) for side in (bench.pair.base, bench.pair.tuned))
    ends = bench.ends["base"], bench.ends["tuned"]
    found = [
        *of_behaviour(before, after, alone.context(after), goal),
        *of_takebacks(ends, takebacks(swept, bench), bench.context, goal),
        Added(ABOUT, "", "cluster", bench.context.clusters.astype(np.float64)),
    ]
    rows = [(*one[:3], float(one.each.mean()), one.each.astype(np.float32)) for one in found]
    write_table(pd.DataFrame(rows, columns=[*KEYS, "value", "parts"]), path)


def between(sides: Sequence[tuple[Path, float]]) -> pd.DataFrame | None:
    """Read the parts of a run's numbers, weighed by their shares where two snapshots were measured.

    Args:
        sides: for each snapshot the file that `write_parts` wrote, and its share.

    Returns:
        Columns source, component, measure, parts; None where a file is missing.
    """
    if not all(path.exists() for path, _ in sides):
        return None
    tables = [read_table(path).set_index(KEYS)["parts"] * share for path, share in sides]
    whole = pd.concat(tables, axis=1, join="inner")
    return whole.sum(axis=1).rename("parts").reset_index()
