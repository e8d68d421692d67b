"""Everything that taking a set back (or grafting it) does to behaviour, situation by situation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.arenas import Arena
from takeback.arenas.listed import Listed
from takeback.component import ComponentSet
from takeback.draw.result import Result, as_table
from takeback.findings.explanation import changes
from takeback.findings.explanation.intervention import ASKED, EVERYTHING, RANDOM, Intervention
from takeback.findings.explanation.kinds import Facts, facts_of, kinds_of
from takeback.findings.explanation.texts import TextExplanation, text_explanation
from takeback.findings.localise.shares import Controls
from takeback.findings.sweep.run import squared_norms
from takeback.findings.sweep.sets import NamedSet
from takeback.measure.bench import Bench
from takeback.measure.measure import Measure, MeasureContext
from takeback.measure.measures import measure_values, measures_in, measures_of
from takeback.measure.read import BASE, Ask
from takeback.measure.shift import shift
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError
from takeback.weights import diff

COLUMNS: Final[Mapping[str, str]] = {
    "item": "the situation's place",
    "kind": "legal, illegal or undecided",
    "before": "probability, or mean of a measure, of the model that was changed",
    "after": "the same of the hybrid",
    "change": "after − before; of a distance between the two, the distance",
    "se": "clustered standard error",
    "low, high": "95% interval over situations; of kinds of situations, for all of a measure together",
    "sure": "the interval corrected for the number of a set's rows (Bonferroni) leaves out 0",
    "greedy_before, greedy_after": "greedy decoding gives this action",
    "feature NAME": "the action has the feature; missing for illegal answers",
    "utility GOAL": "the action's utility; missing for illegal answers and where the goal does not apply",
    "material, distance, legal_moves, cluster": "what the arena says of the situation",
    "role": "asked: the set; everything: all components; random: controls of the set's make-up",
    "inside, outside": "mean change in situations of the kind, and in the others",
    "difference": "inside − outside",
    "members": "situations of the kind",
    "first_half, second_half": "the difference in either half of the situations",
    "second_low, second_high": "95% interval of the difference in the second half",
    "holds": "the corrected interval leaves out 0, and the second half's, on the first's side",
    "grew_most_in, grew_by": "the situation in which the class gained most, and how much",
}
"""What the columns mean."""


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Result):
    """What a change of components did to behaviour.

    Attributes:
        change: what was done.
        pieces: which piece stands on which square, by situation; of an arena without boards nothing.
        before: what the model did that was changed.
        after: what the hybrid does.
        outcomes: a row for each action and class of illegal answers in each situation.
        situations: a row for each situation: facts, the kinds it is of, and distances between the two.
        values: a row for each measure in each situation.
        measures: a row for each set and measure.
        kinds: a row for each set, kind of situation and measure.
        moves: a row for each set and kind of move.
        illegal: a row for each set and class of illegal answers.
        words: how a sentence says each kind of situation.
        measured: the measures, but for distances.
        boards: situations that are drawn or printed, those that changed most.
    """

    name = "explain"
    change: Intervention
    pieces: Mapping[str, Mapping[str, str]]
    before: Readouts
    after: Readouts
    outcomes: pd.DataFrame = field(metadata=as_table("outcomes", COLUMNS))
    situations: pd.DataFrame = field(metadata=as_table("situations"))
    values: pd.DataFrame = field(metadata=as_table("values"))
    measures: pd.DataFrame = field(metadata=as_table("measures"))
    kinds: pd.DataFrame = field(metadata=as_table("kinds"))
    moves: pd.DataFrame = field(metadata=as_table("moves"))
    illegal: pd.DataFrame = field(metadata=as_table("illegal"))
    words: Mapping[str, str]
    measured: tuple[Measure, ...]
    boards: int = 4


def explain(
    bench: Bench,
    components: ComponentSet,
    graft: bool = False,
    source: str = BASE,
    controls: int = 5,
    seed: int = 0,
) -> Explanation | TextExplanation:
    """Tell everything that taking a set back does, or grafting it, beside random sets of its make-up.

    Where answers are listed, it tells what becomes of texts; see `TextExplanation`.

    Args:
        bench: the pair, and the situations.
        components: the set.
        graft: put it from tuned into base, instead of from the source into tuned.
        source: what the set is taken from; see `source_of`.
        controls: random sets, the same number of components of each kind.
        seed: of the random sets and of the halves that kinds of situations are checked on.

    Raises:
        TakebackError: the source does not fit, or a checkpoint can't be loaded.
    """
    bench, side = bench.about_all(), "base" if graft else "tuned"
    if graft and source != BASE:
        raise TakebackError(f"{source!r} takes the place of base in tuned, not of tuned in base")
    named = NamedSet("by name", str(components) or "nothing", components)
    norms = squared_norms(diff(bench.pair))
    drawn = Controls(norms, controls, seed).beside(bench.anatomy, [named])[:controls]
    sets = [named, NamedSet(EVERYTHING, "*", bench.anatomy.universe), *drawn]
    read = bench.read(Ask.graft(one.components) if graft else Ask(one.components, source) for one in sets)
    roles = (ASKED, EVERYTHING, *[RANDOM] * len(drawn))
    after = {(role, one.name): readouts for role, one, readouts in zip(roles, sets, read, strict=True)}
    change = Intervention(bench.pair.base.ref, bench.pair.tuned.ref, named.name, graft, source)
    where, arenas = (bench.arena, bench.situations), {one.name for one in measures_of(bench.arena)}
    own = tuple(one for one in bench.asked.values() if one.name not in arenas)
    if isinstance(bench.arena, Listed):
        untouched = bench.anatomy.universe if graft else bench.nothing
        ask = Ask.graft(components) if graft else Ask(components, source)
        return text_explanation(bench, change, after, (Ask(untouched), ask), own)
    return explanation(change, where, bench.ends[side], after, bench.halves(seed), own)


def explanation(
    change: Intervention,
    where: tuple[Arena[Any], Sequence[Any]],
    before: Readouts,
    after: Mapping[tuple[str, str], Readouts],
    halves: tuple[NDArray[np.int64], NDArray[np.int64]],
    own: tuple[Measure, ...] = (),
) -> Explanation:
    """Explain readouts: those before, and after by role and name of a set, the asked one among them.

    `where` is the arena, and the situations that were read; `own` are measures beside the arena's.

    Raises:
        TakebackError: the readouts are of different situations.
    """
    context = MeasureContext.of(before, where[0], own, where[1])
    asked = next(readouts for (role, _), readouts in after.items() if role == ASKED)
    facts = facts_of(*where)
    kinds = kinds_of(facts, context)
    members = {f"kind {kind.name}": kind.members for kind in kinds}
    told = _facts_table(before, facts)

    def each(table: Callable[[Readouts], pd.DataFrame]) -> pd.DataFrame:
        tables = [table(readouts).assign(role=role, set=name) for (role, name), readouts in after.items()]
        joined = pd.concat(tables, ignore_index=True).astype({"role": "string", "set": "string"})
        return joined[["role", "set", *joined.columns.drop(["role", "set"])]]

    return Explanation(
        f"{change.base} → {change.tuned}",
        change,
        dict(zip(before.situations, (fact.pieces for fact in facts), strict=True)),
        before,
        asked,
        outcomes=_outcomes(before, asked, context).merge(told.drop(columns="situation"), on="item"),
        situations=told.assign(**members, **shift(before, asked)),
        values=_values(before, asked, context),
        measures=each(lambda readouts: changes.measured(before, readouts, context)),
        kinds=each(lambda readouts: changes.by_kind(before, readouts, context, kinds, halves)),
        moves=each(lambda readouts: changes.moves(before, readouts, context)),
        illegal=each(lambda readouts: changes.illegal(before, readouts, context)),
        words={kind.name: kind.words for kind in kinds},
        measured=tuple(one for one in measures_in(before, context) if one.role != "divergence"),
    )


def _facts_table(readouts: Readouts, facts: list[Facts]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "item": np.arange(len(readouts)),
            "situation": readouts.situations,
            "material": [fact.material for fact in facts],
            "distance": pd.array([fact.distance for fact in facts], "Int64"),
            "legal_moves": [fact.legal for fact in facts],
            "cluster": readouts.clusters,
        }
    )


def _outcomes(before: Readouts, after: Readouts, context: MeasureContext) -> pd.DataFrame:
    """Return each outcome's probability on both sides, with the features and utilities of actions."""
    old, new = before.to_frame(), after.to_frame()
    table = old[["item", "situation", "kind", "outcome"]].assign(
        before=old["probability"],
        after=new["probability"],
        change=new["probability"] - old["probability"],
        greedy_before=old["greedy"],
        greedy_after=new["greedy"],
    )
    legal = np.flatnonzero(old["kind"] == "legal")
    for name, has in context.features.items():
        table[f"feature {name}"] = pd.Series(has > 0, legal, "boolean").reindex(table.index)
    for goal, utility in context.utilities.items():
        applies = context.applies[goal][context.owner]
        known = pd.Series(utility[applies], legal[applies], "Float64")
        table[f"utility {goal}"] = known.reindex(table.index)
    return table


def _values(before: Readouts, after: Readouts, context: MeasureContext) -> pd.DataFrame:
    """Return every measure in every situation it applies to on both sides."""
    old, new = measure_values(before, context), measure_values(after, context)
    tables: list[pd.DataFrame] = []
    for name, values in new.items():
        kept = np.flatnonzero(values.applies & old[name].applies)
        sides = {"before": old[name].numbers[kept], "after": values.numbers[kept]}
        tables.append(pd.DataFrame({"item": kept, "measure": name, **sides}))
    table = pd.concat(tables, ignore_index=True)
    table.insert(1, "situation", np.array(before.situations, object)[table["item"]])
    return table.assign(change=table["after"] - table["before"])
