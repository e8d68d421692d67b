"""The metrics of evaluation tasks, computed by the tasks themselves from what a policy gave each text."""

from __future__ import annotations

import math
import numbers
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.lm_eval.documents import GENERATED, ROLLING, Document
from takeback.arenas.lm_eval.load import LoadedTasks, quiet
from takeback.arenas.lm_eval.spec import FAMILY
from takeback.run.errors import TakebackError, warned

Floats = NDArray[np.float64]
Key: TypeAlias = tuple[str, str, str]
"""A task, its metric, and the filter that answers went through before."""

Given: TypeAlias = Sequence[Sequence[Any]]
"""For each document what each request gives: a text, or its log-probability and whether it is followed."""

PLAIN_FILTER: Final = "none"
"""The filter of tasks that have none."""


@dataclass(frozen=True)
class TaskMetric:
    """A metric of a task or group as a mean over documents.

    Attributes:
        name: what it is called: metric, task and, where there are several, filter.
        words: what it says.
        weights: for each task's metric by what its documents' numbers are multiplied.
        jumps: whether it is not known to be smooth in log-probabilities.
    """

    name: str
    words: str
    weights: tuple[tuple[Key, float], ...]
    jumps: bool = True


def scored(loaded: LoadedTasks, documents: Sequence[Document], given: Given) -> dict[Key, list[Any]]:
    """Return what each task's metrics say of documents, in their order; None where one says nothing.

    Raises:
        TakebackError: a task's own code fails.
    """
    found: dict[Key, list[Any]] = defaultdict(lambda: [None] * len(documents))
    for name, task in loaded.tasks.items():
        mine = [place for place, one in enumerate(documents) if one.task == name]
        if not mine:
            continue
        try:
            with quiet():
                _score(name, task, [(place, documents[place], given[place]) for place in mine], found)
        except Exception as error:  # a task's own code: whatever it raises, its name helps
            line = " ".join(str(error).split())[:200]
            raise TakebackError(
                f"the metrics of {FAMILY}:{name} fail: {type(error).__name__}: {line}"
            ) from error
    return dict(found)


def _score(
    name: str,
    task: Any,
    asked: Sequence[tuple[int, Document, Sequence[Any]]],
    found: dict[Key, list[Any]],
) -> None:
    from lm_eval.api.instance import Instance

    instances = [
        [
            Instance(
                cast(Any, one.kind), one.doc, (), number, (name, one.number, 1), [_response(one, response)]
            )
            for number, response in enumerate(responses)
        ]
        for _, one, responses in asked
    ]
    task._instances = [instance for some in instances for instance in some]
    task.apply_filters()
    for way in task._instances[0].filtered_resps:
        for (place, one, _), some in zip(asked, instances, strict=True):
            told = task.process_results(one.doc, [instance.filtered_resps[way] for instance in some])
            for metric, value in told.items():
                found[name, metric, way][place] = value


def _response(one: Document, response: Any) -> Any:
    return response[0] if one.kind == ROLLING else response


def aggregated(loaded: LoadedTasks, values: Mapping[Key, Sequence[Any]]) -> dict[str, dict[str, float]]:
    """Return lm-eval's own numbers, by task or group and then by `metric,filter`, of all that was asked."""
    found: dict[str, dict[str, Any]] = {}
    with quiet():
        for (name, metric, way), some in values.items():
            told = [one for one in some if one is not None]
            how = loaded.tasks[name].aggregation().get(metric) or _named("mean")
            mine = found.setdefault(name, {"sample_len": 0})
            mine["sample_len"] = max(mine["sample_len"], len(told))
            mine |= {f"{metric},{way}": how(told), f"{metric}_stderr,{way}": "N/A"}
        found |= {name: group.aggregate(found) for name, group in loaded.groups.items()}
    return {
        name: {key: value for key, value in some.items() if "," in key and "_stderr," not in key}
        for name, some in found.items()
    }


def task_metrics(loaded: LoadedTasks, documents: Sequence[Document]) -> tuple[TaskMetric, ...]:
    """Return the metrics that are means over documents; a warning names those that are not.

    Raises:
        TakebackError: a task's own code fails.
    """
    firsts = [next(one for one in documents if one.task == name) for name in loaded.tasks]
    probe = [_probe(one) for one in firsts]
    values = {
        key: next(v for v in some if v is not None) for key, some in scored(loaded, firsts, probe).items()
    }
    means: dict[Key, TaskMetric] = {}
    left: list[str] = []
    for key, value in values.items():
        form = _form(loaded.tasks[key[0]], key[1], value)
        if form is None:
            left.append(f"{key[1]} of {key[0]} ({_aggregation(loaded.tasks[key[0]], key[1])})")
            continue
        means[key] = _as_mean(loaded, documents, key, form)
    if left:
        warned(f"no means over documents, so no measures here: {', '.join(left)}; `evaluated` has them")
    return (*means.values(), *_of_groups(loaded, documents, means))


def _probe(one: Document) -> Sequence[Any]:
    """Return what some policy might give a document, to see what the task says of it."""
    if one.kind == GENERATED:
        return [""]
    return [(-1.0 - place, False) for place in range(len(one.questions) + len(one.alone))]


def number_of(aggregation: str, value: Any) -> float:
    """Return a document's number: what lm-eval's aggregate is a mean of, or its logarithm's is.

    A pair is a log-probability with a count of words or bytes; it is divided by the mean count afterwards.
    """
    match aggregation:
        case "perplexity":
            return -float(value)
        case "weighted_perplexity":
            return -float(value[0])
        case "bits_per_byte":
            return -float(value[0]) / math.log(2)
        case "brier_score":
            return float(_named("brier_score")([value]))
        case _:
            return float(value)


def numbers_of(
    loaded: LoadedTasks, metrics: Sequence[TaskMetric], values: Mapping[Key, Sequence[Any]], n: int
) -> dict[str, Floats]:
    """Return each metric's number of each of n documents; NaN where it says nothing of one."""
    found: dict[str, Floats] = {}
    for metric in metrics:
        whole = np.full(n, np.nan)
        for key, weight in metric.weights:
            how = _aggregation(loaded.tasks[key[0]], key[1])
            for place, value in enumerate(values.get(key, ())):
                if value is not None:
                    whole[place] = weight * number_of(how, value)
        found[metric.name] = whole
    return found


def _form(task: Any, metric: str, value: Any) -> str | None:
    """Return how lm-eval aggregates a metric, None where that is no mean over documents."""
    how = _aggregation(task, metric)
    plain = isinstance(value, numbers.Real | np.number | np.bool_)
    pair = isinstance(value, tuple) and len(value) == 2
    fits = plain if how in ("mean", "nanmean", "perplexity") else pair
    return how if how in _MEANS and fits else None


_MEANS: Final = ("mean", "nanmean", "brier_score", "perplexity", "weighted_perplexity", "bits_per_byte")


def _as_mean(loaded: LoadedTasks, documents: Sequence[Document], key: Key, how: str) -> TaskMetric:
    name, metric, way = key
    task = loaded.tasks[name]
    several = len(task._filters) > 1 or way != PLAIN_FILTER
    called = f"{metric} {name}" + (f", {way}" if several else "")
    words = f"{metric} of the evaluation task {name}"
    if how in ("weighted_perplexity", "bits_per_byte"):
        counts = task.count_words if metric == "word_perplexity" else task.count_bytes
        mean = float(np.mean([counts(task.doc_to_target(one.doc)) for one in documents if one.task == name]))
        unit = "word" if metric == "word_perplexity" else "byte"
        if how == "bits_per_byte":
            words = f"{words}: bits for each byte of a document of mean length"
        else:
            called, words = (
                f"log {called}",
                f"logarithm of {words}: nats for each {unit} of a document of mean length",
            )
        return TaskMetric(called, words, ((key, 1 / mean),), jumps=False)
    if how == "perplexity":
        called, words = f"log {called}", f"logarithm of {words}: nats a document"
    return TaskMetric(called, words, ((key, 1.0),), jumps=how not in ("perplexity", "brier_score"))


def _of_groups(
    loaded: LoadedTasks, documents: Sequence[Document], means: Mapping[Key, TaskMetric]
) -> list[TaskMetric]:
    """Return the metrics of groups that are means of their tasks' numbers."""
    sizes = {name: sum(one.task == name for one in documents) for name in loaded.tasks}
    found: list[TaskMetric] = []
    for group in loaded.groups.values():
        members = [task.task_name for task in group.get_all_tasks()]
        for one in group.aggregate_metric_list or ():
            ways = one.filter_list or sorted({k[2] for k in means if k[0] in members and k[1] == one.metric})
            for way in ways:
                keys = [key for name in members if (key := (name, one.metric, way)) in means]
                plain = all(means[key].name.startswith(f"{one.metric} ") for key in keys)
                if not keys or not plain or one.aggregation != "mean":
                    continue
                whole = sum(sizes[key[0]] for key in keys)
                weights = tuple(
                    (key, 1.0 if one.weight_by_size else whole / len(keys) / sizes[key[0]]) for key in keys
                )
                called = f"{one.metric} {group.name}" + (f", {way}" if way != PLAIN_FILTER else "")
                words = f"{one.metric} of the group of evaluation tasks {group.name}"
                found.append(TaskMetric(called, words, weights, any(means[key].jumps for key in keys)))
    return found


def _aggregation(task: Any, metric: str) -> str:
    """Return the name under which lm-eval knows how a metric is aggregated."""
    how = task.aggregation().get(metric)
    return "mean" if how is None else _names().get(how, getattr(how, "__name__", "own code"))


@cache
def _names() -> dict[Any, str]:
    from lm_eval.api.registry import AGGREGATION_REGISTRY

    return {how: name for name, how in AGGREGATION_REGISTRY.items()}


def _named(name: str) -> Any:
    return next(how for how, known in _names().items() if known == name)
