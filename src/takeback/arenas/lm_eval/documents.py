"""Documents of evaluation tasks as situations: what is asked about each, and which answer is right."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from takeback.arenas.listed import Shown
from takeback.arenas.lm_eval.spec import FAMILY
from takeback.run.errors import TakebackError
from takeback.run.identity import told

ROLLING: Final = "loglikelihood_rolling"
GENERATED: Final = "generate_until"

_SHOWN: Final = 60


@dataclass(frozen=True, eq=False)
class Question:
    """A text whose log-probability is asked for, after what is shown."""

    shown: Shown
    text: str


@dataclass(frozen=True, eq=False)
class Document:
    """A document of a task.

    Attributes:
        task: the task's name.
        number: its place among the task's documents.
        doc: what the data says.
        kind: what is asked, in lm-eval's words: `loglikelihood` (choices as well), `loglikelihood_rolling` or
            `generate_until`.
        questions: what is asked of a policy.
        alone: the same texts without a prompt, where a metric asks for them.
        choices: what the answers are called.
        right: the places of right choices; none where that is not known.
    """

    task: str
    number: int
    doc: Any = field(repr=False)
    kind: str
    questions: tuple[Question, ...] = field(repr=False)
    alone: tuple[Question, ...] = field(repr=False)
    choices: tuple[str, ...]
    right: tuple[int, ...]

    def __str__(self) -> str:
        shown = self.questions[0].shown
        if not isinstance(shown, str):
            shown = str(shown[-1].get("content", ""))
        line = " ".join((shown or self.questions[0].text).split())
        return f"{self.task} #{self.number} {'…' if len(line) > _SHOWN else ''}{line[-_SHOWN:]}"


@told.register(Document)
def _(one: Document) -> Any:
    asked = [[question.shown, question.text] for question in (*one.questions, *one.alone)]
    return [one.task, one.number, one.kind, asked, one.choices, one.right]


def documents_of(name: str, task: Any, chat: bool) -> Iterator[Document]:
    """Return the documents of a task that has written its requests.

    Raises:
        TakebackError: it asks for something else than log-probabilities or texts, or for both at once.
    """
    by_number: dict[int, list[Any]] = defaultdict(list)
    for instance in task.instances:
        by_number[instance.doc_id].append(instance)
    for number, some in by_number.items():
        some.sort(key=lambda one: one.idx)
        kinds = {one.request_type for one in some}
        if len(kinds) > 1 or not kinds <= {"loglikelihood", ROLLING, GENERATED}:
            raise TakebackError(
                f"{FAMILY}:{name} asks for {' and '.join(sorted(kinds))}, which is not supported"
            )
        asked = [_question(name, one, chat) for one in some]
        choices = _choices(task, some[0].doc)
        count = len(choices) if len(asked) == 2 * len(choices) else len(asked)
        names = choices if len(choices) == count else [one.text for one in asked[:count]]
        right = _right(task, some[0].doc, choices) if len(choices) == count else ()
        yield Document(
            task=name,
            number=number,
            doc=some[0].doc,
            kind=kinds.pop(),
            questions=tuple(asked[:count]),
            alone=tuple(asked[count:]),
            choices=_apart(names),
            right=right,
        )


def _question(name: str, instance: Any, chat: bool) -> Question:
    if instance.request_type == ROLLING:
        return Question("", str(instance.args[0]))
    shown, text = instance.args[0], instance.args[1] if instance.request_type != GENERATED else ""
    if chat and shown:
        try:
            return Question(tuple(json.loads(shown)), text)
        except (ValueError, TypeError):
            raise TakebackError(
                f"{FAMILY}:{name} writes its prompts past the chat template; leave out apply_chat_template"
            ) from None
    return Question(shown, text)


def _choices(task: Any, doc: Any) -> list[str]:
    """Return the choices of a document, none where the task has none."""
    if task.OUTPUT_TYPE == "multiple_choice":
        return [str(one) for one in task.doc_to_choice(doc)]
    is_dict = isinstance(doc, dict) and task.OUTPUT_TYPE == "loglikelihood"
    return [str(one) for one in doc["choices"]] if is_dict and "choices" in doc and "gold" in doc else []


def _right(task: Any, doc: Any, choices: list[str]) -> tuple[int, ...]:
    """Return the places of the right choices, as lm-eval's own metrics find them."""
    try:
        if task.OUTPUT_TYPE != "multiple_choice":
            gold = doc["gold"]
        else:
            gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    except Exception:  # a task with metrics of its own need not say which choice is right
        return ()
    every = gold if isinstance(gold, list) else [gold]
    places = [choices.index(one) if isinstance(one, str) and one in choices else one for one in every]
    known = [one for one in places if isinstance(one, int) and -len(choices) <= one < len(choices)]
    return tuple(sorted({one % len(choices) for one in known})) if len(known) == len(places) else ()


def _apart(names: list[str]) -> tuple[str, ...]:
    """Give equal names numbers, so that each is another one."""
    seen: dict[str, int] = defaultdict(int)
    found: list[str] = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(found)
