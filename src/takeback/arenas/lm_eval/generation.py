"""Evaluation tasks whose answers are generated: the task's own filters and metrics are rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.lm_eval.documents import Document
from takeback.arenas.lm_eval.load import LoadedTasks
from takeback.arenas.lm_eval.metrics import TaskMetric, numbers_of, scored, task_metrics
from takeback.arenas.lm_eval.spec import FAMILY, EvalSpec
from takeback.arenas.rows.rewards import Answered, Reward, rewards_of
from takeback.arenas.rows.row import Row
from takeback.arenas.rows.rows import OpenRows
from takeback.arenas.rows.sampling import Sampling
from takeback.arenas.rows.spec import RowsSpec
from takeback.run.errors import TakebackError
from takeback.run.identity import identity

DOCUMENT: Final = "document"
"""The column of a row that holds the task's document."""

_LONGEST: Final = 256
"""Most tokens of an answer where a task does not say it, as lm-eval has it."""


@dataclass(frozen=True)
class MetricReward(Reward):
    """What a task's metric gives an answer, after the task's own filters."""

    metric: TaskMetric
    loaded: LoadedTasks = field(repr=False)

    @property
    def function(self) -> Any:
        """What computes it; what tasks say of themselves, the arena tells."""
        return scored

    def __call__(self, answered: Answered) -> NDArray[np.float64]:
        """Return the metric of each answer, shape (n,); NaN for documents of other tasks.

        Raises:
            TakebackError: the task's own code fails.
        """
        documents = [row[DOCUMENT] for row in answered.columns]
        values = scored(self.loaded, documents, [[text] for text in answered.texts])
        return numbers_of(self.loaded, [self.metric], values, len(documents))[self.name]


class GeneratedTasks(OpenRows):
    """Tasks of lm-eval that any text may answer: policies are read on a pool of answers that they drew.

    Attributes:
        asked: which tasks, and how they are asked.
        loaded: the tasks.
    """

    def __init__(self, asked: EvalSpec, loaded: LoadedTasks, documents: Sequence[Document]) -> None:
        self.asked, self.loaded, self.name = asked, loaded, asked.name
        ways = [_generation(loaded.tasks[name], asked) for name in loaded.tasks]
        if any(way != ways[0] for way in ways):
            raise TakebackError(
                f"{', '.join(loaded.tasks)} differ in length or stop strings of answers: ask for them apart"
            )
        self.sampling = ways[0]
        told = {
            "data": f"{FAMILY}:{asked.name}",
            "template_arguments": asked.template_arguments,
            "answers": asked.answers,
            "max_tokens": self.sampling.max_tokens,
            "temperature": asked.temperature,
            "stop": self.sampling.stop,
            "seed": asked.seed,
            "kinds": asked.kinds,
        }
        self.spec = RowsSpec.of(told, asked.name)
        self.rows = tuple(_row(number, one, loaded) for number, one in enumerate(documents))
        self._held_out = [True] * len(self.rows)
        metrics = task_metrics(loaded, documents)
        if not metrics:
            raise TakebackError(
                f"no metric of {FAMILY}:{asked.name} is a number for each answer; name another task"
            )
        own = tuple(MetricReward(one.name, f"{FAMILY}:{one.name}", one, loaded) for one in metrics)
        self.rewards = (*own, *rewards_of(asked.rewards, ""))

    @property
    def draws(self) -> str:
        """The identity of what is drawn and what it is worth, apart from who draws."""
        return identity([super().draws, self.loaded.account, self.asked.model_dump(exclude={"include_path"})])


def _row(number: int, one: Document, loaded: LoadedTasks) -> Row:
    task, chat = loaded.tasks[one.task], not isinstance(one.questions[0].shown, str)
    try:
        target: Any = task.doc_to_target(one.doc)
    except Exception:  # a task with metrics of its own need not have a target
        target = None
    before = "" if chat else str(task.get_config("target_delimiter") or "")
    reference = before + target if isinstance(target, str) and target.strip() else None
    columns = {**(one.doc if isinstance(one.doc, dict) else {}), DOCUMENT: one}
    return Row(number, one.questions[0].shown, columns, (), reference, f"{one.task} #{one.number}")


def _generation(task: Any, asked: EvalSpec) -> Sampling:
    """Return how answers are drawn: with a task's length and stop strings, at the temperature asked for."""
    from lm_eval.models.utils import normalize_gen_kwargs

    told: Mapping[str, Any] = {**normalize_gen_kwargs(task.instances[0].args[1], _LONGEST)}
    stop = tuple(one for one in told.get("until") or () if one)
    return Sampling(int(told["max_gen_toks"]), asked.temperature, 1.0, stop)
