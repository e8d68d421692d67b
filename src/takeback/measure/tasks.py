"""The measures of evaluation tasks: their own metrics by document, and lm-eval's numbers of policies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.lm_eval import EvalTasks
from takeback.arenas.lm_eval.metrics import TaskMetric
from takeback.measure.measure import Measure, MeasureContext, Values
from takeback.policies.answers import AnswerReadouts
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError

Floats = NDArray[np.float64]

_KNOWN: WeakKeyDictionary[Readouts, dict[str, Floats]] = WeakKeyDictionary()
"""What the metrics say of readouts: a task computes all of them at once."""


def task_measures(arena: EvalTasks) -> tuple[Measure, ...]:
    """Return the metrics of tasks as measures, and the log-probability of texts that stand alone."""
    alone = any(len(one.choices) == 1 for one in arena.documents)
    return (*map(_of_metric, arena.metrics), *((TEXT,) if alone else ()))


def evaluated(arena: EvalTasks, readouts: Readouts) -> dict[str, dict[str, float]]:
    """Return what lm-eval's `simple_evaluate` gives in `results` for a policy, by task or group.

    Unlike measures, these are aggregated by lm-eval itself, whatever its way is; numbers are named
    `metric,filter` as there.

    Raises:
        TakebackError: the readouts are not of these tasks, or a task's own code fails.
    """
    return arena.results([arena.parse(text) for text in readouts.situations], _given(arena, readouts))


@cache
def _of_metric(metric: TaskMetric) -> Measure:
    def of(readouts: Readouts, context: MeasureContext) -> Values:
        numbers = _values(context.listed, readouts)[metric.name]
        return Values(np.nan_to_num(numbers), np.isfinite(numbers))

    return Measure(metric.name, metric.words, of, jumps=metric.jumps, unsorted=1.0)


def _values(arena: Any, readouts: Readouts) -> dict[str, Floats]:
    if readouts not in _KNOWN:
        documents = [arena.parse(text) for text in readouts.situations]
        _KNOWN[readouts] = arena.values(documents, _given(arena, readouts))
    return _KNOWN[readouts]


def _given(arena: EvalTasks, readouts: Readouts) -> list[Sequence[tuple[float, bool]]]:
    """Return for each document what lm-eval's requests give: texts after their prompts, then without."""
    if not isinstance(readouts, AnswerReadouts):
        raise TakebackError(f"these readouts are not of {arena.name}; read the tasks first")
    ends = np.cumsum(np.bincount(readouts.owner, minlength=len(readouts)))[:-1]
    parts = (np.split(one, ends) for one in (readouts.logprobs, readouts.followed, readouts.unconditional))
    given: list[Sequence[tuple[float, bool]]] = []
    for text, logs, greedy, bare in zip(readouts.situations, *parts, strict=True):
        asked = list(zip(map(float, logs), map(bool, greedy), strict=True))
        without = arena.parse(text).alone
        given.append([*asked, *((float(log), False) for log in bare[: len(without)])])
    return given


def _log_probability(readouts: Readouts, context: MeasureContext) -> Values:
    assert isinstance(readouts, AnswerReadouts)
    one = np.bincount(context.owner, minlength=len(readouts)) == 1
    return Values(np.where(one, context.sums(readouts.logprobs), 0.0), one)


TEXT = Measure("log p(text)", "log-probability of a document's text, in nats", _log_probability, unsorted=1.0)
