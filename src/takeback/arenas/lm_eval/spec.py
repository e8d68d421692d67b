"""Which evaluation tasks are asked and how, in lm-eval's own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from takeback.arenas.spec import TASKS as FAMILY
from takeback.arenas.spec import Spec
from takeback.run.errors import TakebackError
from takeback.run.yaml_text import as_yaml, parse_yaml


class EvalSpec(Spec):
    """Tasks, and arguments as lm-eval's `simple_evaluate` names them.

    >>> EvalSpec.parse("lm-eval:arc_easy,piqa").tasks
    ('arc_easy', 'piqa')
    >>> EvalSpec.parse("lm-eval:{tasks: quiz, include_path: my_tasks, num_fewshot: 2}").include_path
    'my_tasks'
    """

    tasks: tuple[str, ...]
    """Names of tasks, groups and tags, or paths of tasks' YAML files."""
    include_path: str | None = None
    """A folder of own tasks."""
    num_fewshot: int | None = Field(None, ge=0)
    """Examples that are shown first; by default as the task has it."""
    limit: float | None = Field(None, gt=0)
    """At most so many documents of each task, or their share if it is below 1."""
    apply_chat_template: bool = False
    """Whether the tokenizer's chat template writes prompts."""
    fewshot_as_multiturn: bool = True
    """Whether examples are turns of a chat."""
    system_instruction: str | None = None
    """What the system says first."""
    template_arguments: dict[str, Any] = Field({})
    """What the chat template is given besides, such as enable_thinking: false."""
    fewshot_random_seed: int = 1234
    """Of the choice of examples."""
    gen_kwargs: dict[str, Any] = Field({})
    """Of tasks whose answers are generated: what replaces the task's own generation arguments."""
    rewards: tuple[str, ...] = ()
    """Of tasks whose answers are generated: reward functions beside the task's own metrics."""
    kinds: str | None = None
    """Of tasks whose answers are generated: a function that names the kinds of answers."""
    answers: int = Field(8, ge=2)
    """Of tasks whose answers are generated: how many each side draws for a prompt."""
    temperature: float = Field(1.0, gt=0)
    """At which they are drawn and read; lm-eval itself mostly takes the likeliest tokens."""
    seed: int = Field(0, ge=0)
    """Of the draws of answers."""

    @field_validator("tasks", mode="before")
    @classmethod
    def _listed(cls, told: Any) -> Any:
        if isinstance(told, str):
            told = told.split(",")
        if isinstance(told, list) and all(isinstance(one, str) for one in told):
            return tuple(one.strip() for one in told if one.strip())
        return told

    @classmethod
    def parse(cls, text: str) -> EvalSpec:
        """Read the text of an arena: `lm-eval:TASK,TASK`, or `lm-eval:{…}` with a mapping in braces.

        Raises:
            TakebackError: it names no task, or a field is wrong.
        """
        rest = text.removeprefix(f"{FAMILY}:").strip()
        if rest.startswith("{"):
            told = parse_yaml(rest, "the arena")
            spec = cls.of(told, "the arena")
        else:
            spec = cls.of({"tasks": rest}, "the arena")
        if not spec.tasks:
            raise TakebackError(f"{FAMILY}: names no task; write {FAMILY}:TASK, such as {FAMILY}:arc_easy")
        return spec

    def having(self, settings: Mapping[str, Any]) -> EvalSpec:
        """Return the same with some fields set.

        Raises:
            UnknownName: there is no such field.
            TakebackError: a field is wrong.
        """
        return self.of(
            {**self.model_dump(mode="json", exclude_unset=True), **settings}, f"{FAMILY}:{self.name}"
        )

    @property
    def text(self) -> str:
        """The text that names this arena.

        >>> EvalSpec.parse("lm-eval:quiz").having({"answers": 4}).text
        'lm-eval:{tasks: [quiz], answers: 4}'
        """
        return f"{FAMILY}:{as_yaml(self.model_dump(mode='json', exclude_unset=True), flow=True).strip()}"

    @property
    def name(self) -> str:
        """What it is called in tables: its tasks."""
        return ",".join(self.tasks)
