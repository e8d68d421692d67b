"""Evaluation tasks that ask for log-probabilities as an arena: every policy is read exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.listed import ListedAnswer, Listing, Spelling
from takeback.arenas.lm_eval.documents import GENERATED, Document, documents_of
from takeback.arenas.lm_eval.generation import GeneratedTasks
from takeback.arenas.lm_eval.load import LoadedTasks, load_tasks
from takeback.arenas.lm_eval.metrics import Given, TaskMetric, aggregated, numbers_of, scored, task_metrics
from takeback.arenas.lm_eval.spec import FAMILY, EvalSpec
from takeback.arenas.lm_eval.spelling import spell
from takeback.arenas.protocol import LEGAL, Goal
from takeback.arenas.words import Words
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.identity import told

Floats = NDArray[np.float64]

RIGHT = "right"
"""The goal of the right choice."""


class EvalTasks:
    """Tasks of lm-eval whose texts are listed: choices, and texts of which the log-probability is asked.

    Attributes:
        spec: which tasks, and how they are asked.
        documents: the tasks' documents, task after task.
    """

    words = Words(action="answer", situation="document", starts="a document", cluster="document", outcomes=())
    kinds: tuple[str, ...] = ()
    normalisation = "none"
    temperature = 1.0

    def __init__(self, spec: EvalSpec, loaded: LoadedTasks, documents: Sequence[Document]) -> None:
        self.spec, self.name, self.documents = spec, spec.name, tuple(documents)
        self.loaded = loaded

    @property
    def template_arguments(self) -> Mapping[str, Any]:
        """What the tokenizer's chat template is given besides the messages."""
        return self.spec.template_arguments

    @cached_property
    def goals(self) -> dict[str, Goal[Document]]:
        """The right choice, where documents have choices."""
        if not any(len(one.choices) > 1 and one.right for one in self.documents):
            return {}
        return {RIGHT: Goal(RIGHT, _right, _has_right, "the right choice")}

    @cached_property
    def metrics(self) -> tuple[TaskMetric, ...]:
        """The tasks' own metrics that are means over documents, those of groups last."""
        return task_metrics(self.loaded, self.documents)

    def situations(self, split: str, n: int, seed: int, goal: str | None = None) -> list[Document]:
        """Draw documents: n, or all if there are fewer; an evaluation has none to train on.

        Raises:
            TakebackError: the split is another one than `held-out`.
        """
        if split != "held-out":
            raise TakebackError(f"documents of {FAMILY}:{self.name} are held out; train on other data")
        order = np.random.default_rng(seed).permutation(len(self.documents))[:n]
        return [self.documents[place] for place in order]

    def prompt(self, situation: Document) -> str:
        """Return what tables call a document: its task, its number and how its prompt ends."""
        return str(situation)

    def parse(self, prompt: str) -> Document:
        """Return the document that tables call so.

        Raises:
            UnknownName: there is none.
        """
        try:
            return self._by_name[prompt]
        except KeyError:
            raise unknown_name("document", prompt, self._by_name) from None

    def legal(self, situation: Document) -> tuple[str, ...]:
        """Return what the answers are called."""
        return situation.choices

    def classify(self, situation: Document, text: str) -> str:
        """Return `legal` of an answer that is listed, else `other`."""
        return LEGAL if text.strip() in [one.strip() for one in situation.choices] else "other"

    def cluster(self, situation: Document) -> str:
        """Return the document itself."""
        return f"{situation.task} #{situation.number}"

    def listing(self, situation: Document) -> Listing:
        """Return a document with its texts."""
        first = situation.questions[0]
        return Listing(first.shown, tuple(ListedAnswer(one.text) for one in situation.questions))

    def spell(self, situation: Document, tokenizer: Any, config: Any) -> Sequence[Spelling]:
        """Return a document's texts in tokens, as lm-eval writes them."""
        return spell(situation, tokenizer, config, dict(self.spec.template_arguments))

    def values(self, documents: Sequence[Document], given: Given) -> dict[str, Floats]:
        """Return each of the metrics of documents, NaN where one says nothing of a document.

        Args:
            documents: some documents.
            given: for each its texts' log-probabilities and whether greedy decoding gives them; those without
                a prompt last.
        """
        return numbers_of(self.loaded, self.metrics, scored(self.loaded, documents, given), len(documents))

    def results(self, documents: Sequence[Document], given: Given) -> dict[str, dict[str, float]]:
        """Return lm-eval's own results by task or group and then `metric,filter`; see `values`."""
        return aggregated(self.loaded, scored(self.loaded, documents, given))

    @cached_property
    def _by_name(self) -> dict[str, Document]:
        return {str(one): one for one in self.documents}


@told.register(EvalTasks)
def _(found: EvalTasks) -> Any:
    return [type(found).__name__, found.loaded.account, found.spec.model_dump(exclude={"include_path"})]


def eval_arena(text: str) -> EvalTasks | GeneratedTasks:
    """Make the arena of the evaluation tasks that a text names: see `EvalSpec.parse`.

    Raises:
        UnknownName: there is no such task.
        TakebackError: lm-eval is not installed, a task can't be loaded, or tasks are asked in different ways.
    """
    spec = EvalSpec.parse(text)
    loaded = load_tasks(spec)
    documents = [
        one
        for name, task in loaded.tasks.items()
        for one in documents_of(name, task, spec.apply_chat_template)
    ]
    generated = {one.task for one in documents if one.kind == GENERATED}
    if not generated and (spec.rewards or spec.kinds):
        raise TakebackError(
            f"no answers to {FAMILY}:{spec.name} are generated, so rewards and kinds have nothing to read"
        )
    if not generated:
        return EvalTasks(spec, loaded, documents)
    if read := [name for name in loaded.tasks if name not in generated]:
        raise TakebackError(
            f"answers to {', '.join(sorted(generated))} are generated, those to {', '.join(read)} are read: "
            "ask for them apart"
        )
    return GeneratedTasks(spec, loaded, documents)


def _right(situations: Sequence[Document]) -> Floats:
    worth = [float(place in one.right) for one in situations for place in range(len(one.choices))]
    return np.array(worth, np.float64)


def _has_right(situations: Sequence[Document]) -> NDArray[np.bool_]:
    return np.array([len(one.choices) > 1 and bool(one.right) for one in situations], np.bool_)
