"""The measures that an arena has, by name; their numbers in every situation, and means as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from takeback.arenas import Featured
from takeback.arenas.listed import Listed
from takeback.arenas.rows import DrawnRows, OpenRows
from takeback.arenas.rows.spec import DRAWN
from takeback.measure.answers import answer_measures, kind_of, kind_share
from takeback.measure.drawn import CHANGED, drawn_measures, drawn_share
from takeback.measure.measure import Measure, MeasureContext, Numbers, Slopes, Values, own_measure
from takeback.measure.shift import DIVERGENCES
from takeback.measure.standard import standard
from takeback.policies.drawn import DrawnReadouts
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.own import is_reference
from takeback.run.stats import Estimate, mean_estimate

if TYPE_CHECKING:
    import pandas as pd

    from takeback.arenas import Arena


def measures_of(arena: Arena[Any]) -> tuple[Measure, ...]:
    """Return all measures of an arena, those relative to another policy last.

    >>> from takeback.arenas import arena
    >>> [measure.name for measure in measures_of(arena("endgames")) if measure.role == "utility"][:2]
    ['utility win', 'utility win, if legal']
    """
    if isinstance(arena, DrawnRows) or (isinstance(arena, OpenRows) and arena.spec.reading == DRAWN):
        return drawn_measures(tuple(arena.goals))
    if isinstance(arena, Listed | OpenRows):
        return (*answer_measures(arena), *DIVERGENCES)
    features = tuple(arena.features([])) if isinstance(arena, Featured) else ()
    return (*standard(arena.kinds, tuple(arena.goals), features), *DIVERGENCES)


def find_measures(wanted: Iterable[str | Numbers | Measure], arena: Arena[Any]) -> tuple[Measure, ...]:
    """Find measures of an arena by name, and users' own: a function, a `Measure`, or where one is.

    Each is returned once, in the order asked.

    >>> from takeback.arenas import arena
    >>> [measure.role for measure in find_measures(["legal", "utility win"], arena("endgames"))]
    ['share', 'utility']

    Raises:
        UnknownName: there is no measure of a name.
        TakebackError: a user's own one can't be had, or two have one name.
    """
    known = {measure.name: measure for measure in measures_of(arena)}
    found: dict[str, Measure] = {}
    for one in wanted:
        if isinstance(one, str) and one in known:
            measure = known[one]
        elif isinstance(one, str) and isinstance(arena, DrawnRows) and (kind := kind_of(one)):
            measure = drawn_share(kind)
        elif isinstance(one, str) and isinstance(arena, OpenRows) and (kind := kind_of(one)):
            measure = kind_share(kind)
        elif isinstance(one, str) and not is_reference(one):
            raise unknown_name("measure", one, ("package.module:function", *known))
        else:
            measure = own_measure(one)
        name, other = measure.name, found.get(measure.name) or known.get(measure.name)
        if other is not None and other.numbers is not measure.numbers:
            raise TakebackError(f"two measures are called {name!r}; give your own another name")
        found[name] = measure
    return tuple(found.values())


def measures_in(readouts: Readouts, context: MeasureContext) -> tuple[Measure, ...]:
    """Return the measures that readouts have in a context: the arena's, and the context's own."""
    if isinstance(readouts, DrawnReadouts):
        given = tuple(one for one in drawn_measures(readouts.rewards) if one is not CHANGED)
    elif context.listed is not None:
        given = answer_measures(context.listed)
    else:
        given = standard(readouts.illegal, tuple(context.utilities), tuple(context.features))
    names = {measure.name for measure in (*given, *DIVERGENCES, CHANGED)}
    return (*given, *(measure for measure in context.own if measure.name not in names))


def measure_values(readouts: Readouts, context: MeasureContext) -> dict[str, Values]:
    """Compute every measure in every situation, but for those that are relative to another policy.

    - `legal`: mass of legal actions; `legal, greedy`: greedy decoding's answer is legal; `legal, drawn`:
      share of seeded random answers that are legal.
    - `illegal, CLASS`: mass of each class; `undecided`: what is in none.
    - `utility GOAL`: expected utility, illegal answers count 0; `utility GOAL, if legal`: given a legal
      answer. Situations to which a goal doesn't apply are left out.
    - `entropy`: over legal actions, illegality classes and the undecided rest, in nats; `entropy, if legal`:
      over legal actions, given a legal answer.
    - `FEATURE, if legal`: share of the legal mass on actions with a feature, where some legal action has it
      and some has not.
    - the context's own measures.

    Situations in which legal actions have no mass at all are left out of what is given a legal answer.
    """
    found = measures_in(readouts, context.fits(readouts))
    return {one.name: one.of(readouts, context) for one in found if one.role != "divergence"}


def divergence_values(before: Readouts, after: Readouts, context: MeasureContext) -> dict[str, Values]:
    """Compute every measure that is relative to another policy, `before`, in every situation.

    Raises:
        TakebackError: the readouts are of different situations.
    """
    told = replace(context.fits(after), before=before)
    own = (measure for measure in measures_in(after, context) if measure.role == "divergence")
    given = (CHANGED,) if isinstance(after, DrawnReadouts) else DIVERGENCES
    return {measure.name: measure.of(after, told) for measure in (*given, *own)}


def measure_slopes(readouts: Readouts, context: MeasureContext, names: Sequence[str]) -> dict[str, Slopes]:
    """Return the slopes of some measures at these readouts; see `Measure.slopes_at`.

    Raises:
        UnknownName: there is no such measure.
        TakebackError: a measure moves in jumps.
    """
    every = {measure.name: measure for measure in measures_in(readouts, context.fits(readouts))}
    for name in names:
        if name not in every:
            raise unknown_name("measure with slopes", name, every)
    return {name: every[name].slopes_at(readouts, context) for name in names}


def measures(readouts: Readouts, arena: Arena[Any], context: MeasureContext | None = None) -> pd.DataFrame:
    """Measure a policy: a row for each of `measure_values` that applies to some situation.

    Columns: measure, value, se, low, high (95%), n. Errors are clustered by the situations' clusters; with
    one cluster only they are missing.
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
