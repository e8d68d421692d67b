"""What taking back each component does to what can be read off the model's hidden states."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from takeback.component import ComponentSet
from takeback.hybrid.live import taken_back
from takeback.measure.agency.probes import Exam, Floats, Probes
from takeback.measure.bench import Bench
from takeback.measure.measures import estimate_row, typed
from takeback.run.progress import Report
from takeback.run.stats import mean_estimate, paired_difference

MOVES = 3
"""Moves of each situation that a hybrid is asked to tell apart: up to three pairs."""
DIRECTION = "take back"


def probe_hybrids(
    bench: Bench,
    sets: Iterable[ComponentSet] | None = None,
    seed: int = 0,
    report: Report | None = None,
) -> pd.DataFrame:
    """Take each component (or each of some sets) back and ask the hybrid what tuned's probes ask.

    The probes are fitted on tuned's hidden states in training situations; what they say of a hybrid's states
    in the given ones tells what tuned's later parts would still find there. So a fall can mean that a fact is
    gone or that it is written differently. Columns: set, components, direction (`take back`), measure
    (`probe board`, …, `probe better move`), value (the hybrid's score), effect (hybrid minus tuned), se, low,
    high (of the effect, 95%, clustered over situations of this one run), n (situations).

    Args:
        bench: the pair, an arena that tells facts, and the held-out situations to ask about.
        sets: what is taken back; by default each component alone.
        seed: of the training situations, of the moves asked about, and of even draws.
        report: told how many hybrids are done of how many.

    Raises:
        TakebackError: the arena tells no facts, or a model can't be loaded.
    """
    asked = Exam.of(bench.arena, bench.situations, "held-out", seed, most=MOVES)
    tuned, base, anatomy = bench.policy("tuned"), bench.policy("base"), bench.anatomy
    probes = Probes.learnt(tuned, bench.arena, len(bench.situations), seed)
    before = probes.scores(tuned, asked)
    every = anatomy.universe
    wanted = [ComponentSet([one], every) for one in every] if sets is None else list(sets)
    rows: list[dict[str, Any]] = []
    for done, components in enumerate(wanted):
        if report is not None:
            report("probing hybrids", done, len(wanted))
        with taken_back(tuned.model, base.model, components, anatomy):
            after = probes.scores(tuned, asked)
        rows += _rows(str(components), asked, before, after)
    return typed(pd.DataFrame(rows), ("value", "effect", "se", "low", "high"))


def _rows(
    name: str, asked: Exam, before: dict[str, Floats], after: dict[str, Floats]
) -> Iterable[dict[str, Any]]:
    for measure in asked.measures:
        clusters = asked.scored(measure)
        about = {"set": name, "components": name, "direction": DIRECTION, "measure": f"probe {measure}"}
        if not len(clusters):
            yield {**about, **dict.fromkeys(("value", "effect", "se", "low", "high")), "n": 0}
            continue
        effect = estimate_row(paired_difference(after[measure], before[measure], clusters))
        value = mean_estimate(after[measure], clusters).value
        yield {**about, "value": value, "effect": effect.pop("value"), **effect}
