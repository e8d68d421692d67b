"""What an arena of a user's own data is made of: where the rows are, and what their columns mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from takeback.arenas.rows.table import ENDINGS
from takeback.arenas.spec import TASKS, Spec
from takeback.run.errors import TakebackError
from takeback.run.limits import MOST_SEED
from takeback.run.yaml_text import as_yaml, parse_yaml, read_yaml

POOLED: Final = "pooled"
DRAWN: Final = "drawn"
"""The ways of reading an open arena."""

FAMILY: Final = "rows"
"""How the text of such an arena begins: `rows:FILE`."""


class RowsSpec(Spec):
    """Where rows are and what their columns mean; a text with {{ }} is a template of a row's columns.

    >>> RowsSpec.parse("rows:quiz.jsonl").data
    'quiz.jsonl'
    >>> RowsSpec.parse("rows:{data: quiz.jsonl, choices: options, answer: label}").choices
    'options'
    """

    data: str
    """A JSONL, JSON, CSV or Parquet file, a datasets folder, org/name:split, or reasoning-gym:NAME."""
    prompt: str | None = None
    """The column of the prompt, text or messages, or a template; by default prompt, messages or question."""
    chat: bool | None = None
    """Whether the tokenizer's chat template writes prompts; by default it writes those that are messages."""
    system: str | None = None
    """What the system says first, in chats."""
    template_arguments: dict[str, Any] = Field(default_factory=dict)
    """What the chat template is given besides, such as enable_thinking: false."""
    choices: str | tuple[str, ...] | None = None
    """The column of the answers to choose from, or the answers themselves (templates)."""
    answer: str | None = None
    """The column of the right choice: its number from 0, or its text."""
    worth: str | None = None
    """The column of what each choice is worth, a list of numbers."""
    separator: str | None = None
    """What stands between prompt and choice; by default a blank, in chats nothing."""
    normalisation: Literal["none", "token", "byte", "character", "unconditional"] = "none"
    """How log-probabilities of choices are made comparable, as lm-eval has it."""
    reference: str | None = None
    """The column of a reference answer, or a template: to read its log-probability, and to imitate."""
    rewards: tuple[str, ...] = ()
    """Reward functions, file.py:function or module:function, in TRL's or verl's signature."""
    kinds: str | None = None
    """A function that names the kinds of answers."""
    cluster: str | None = None
    """The column that says which rows belong together: standard errors are clustered by it."""
    held_out: str | float | None = None
    """A column that says which rows are held out, or their share; by default all, so none to train on."""
    limit: int | None = Field(None, gt=0)
    """At most so many rows are read."""
    answers: int = Field(8, ge=2)
    """How many answers each side draws for a prompt."""
    reading: Literal["pooled", "drawn"] = "pooled"
    """Whether hybrids are read on the pool, or draw answers of their own."""
    thin: float = Field(0.2, ge=0, le=1)
    """The effective share of the pool below which a hybrid is read by drawing anew."""
    max_tokens: int = Field(64, ge=1)
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    stop: tuple[str, ...] = ()
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Of the draws of answers."""

    @classmethod
    def parse(cls, text: str) -> RowsSpec:
        """Read the text of an arena: `rows:DATA`, `rows:FILE.yaml`, or `rows:{…}` with a mapping in braces.

        Raises:
            TakebackError: it is none of these, or a field is wrong.
        """
        rest = text.partition(":")[2].strip() if text.startswith(f"{FAMILY}:") else text
        if rest.startswith("{"):
            return cls.of(parse_yaml(rest, "the arena"), "the arena")
        if Path(rest).suffix in (".yaml", ".yml"):
            told = read_yaml(
                Path(rest), f"there is no file {rest}; name data or a YAML file that describes it"
            )
            if isinstance(told, dict) and isinstance(told.get("data"), str):
                told = {**told, "data": _beside(Path(rest), told["data"])}
            return cls.of(told, rest)
        if not rest:
            raise TakebackError("rows: names no data; write rows:FILE, such as rows:prompts.jsonl")
        return cls.of({"data": rest}, rest)

    @property
    def told(self) -> dict[str, Any]:
        """What was said of it, as plain values."""
        return self.model_dump(mode="json", exclude_unset=True)

    @property
    def text(self) -> str:
        """The text that names this arena, from which it can be made again in another process."""
        told = self.told
        if set(told) == {"data"}:
            return f"{FAMILY}:{self.data}"
        flow = as_yaml(told, flow=True).strip()
        return f"{FAMILY}:{flow}"

    @property
    def name(self) -> str:
        """What it is called in tables: its data, without folder and ending."""
        return self.data if ":" in self.data else Path(self.data).stem or self.data


def _beside(file: Path, data: str) -> str:
    """Return where data is that a file names: beside the file, where it is there."""
    beside = file.parent / data
    return str(beside) if beside.exists() else data


def files_of(text: str) -> list[Path]:
    """Return the files that an arena of rows is made of: its description, data, rewards and kinds.

    >>> [str(file) for file in files_of("rows:{data: quiz.jsonl, rewards: ['mine.py:short']}")]
    ['quiz.jsonl', 'mine.py']

    Raises:
        TakebackError: the text is no arena of rows.
    """
    spec, rest = RowsSpec.parse(text), text.removeprefix(f"{FAMILY}:").strip()
    described = [] if rest.startswith("{") or rest == spec.data else [Path(rest)]
    data = Path(spec.data)
    inside = sorted(data.rglob("*")) if data.is_dir() else []
    functions = [Path(one.rpartition(":")[0]) for one in (*spec.rewards, spec.kinds or "")]
    return [*described, data, *inside, *(file for file in functions if file.suffix == ".py")]


def with_settings(text: str, settings: Mapping[str, Any]) -> str:
    """Return the text of an arena of rows or evaluation tasks with some fields set; others have none to set.

    >>> with_settings("rows:quiz.jsonl", {"max_tokens": 8})
    'rows:{data: quiz.jsonl, max_tokens: 8}'

    Raises:
        TakebackError: it is another arena, or a field is wrong.
    """
    if not settings:
        return text
    if text.startswith(f"{TASKS}:"):
        from takeback.arenas.lm_eval.spec import EvalSpec

        return EvalSpec.parse(text).having(settings).text
    if not is_rows(text):
        name = next(iter(settings)).replace("_", " ")
        raise TakebackError(f"arena {text} has no {name} to set: that is for rows:FILE")
    spec = RowsSpec.parse(text)
    return RowsSpec.of({**spec.told, **settings}, text).text


def is_rows(text: str) -> bool:
    """Tell whether a text names an arena of rows: `rows:…`, or a file of rows.

    >>> is_rows("rows:quiz.jsonl"), is_rows("quiz.jsonl"), is_rows("endgames"), is_rows("lm-eval:quiz.yaml")
    (True, True, False, False)
    """
    if text.startswith(f"{TASKS}:"):
        return False
    return text.startswith(f"{FAMILY}:") or Path(text).suffix in (*ENDINGS, ".yaml", ".yml")


def arena_text(given: Any) -> Any:
    """Return the text that names an arena, where it is given as a mapping that describes rows.

    Raises:
        ValueError: the mapping describes none.
    """
    if not isinstance(given, dict):
        return given
    try:
        return RowsSpec.of(given, "arena").text
    except TakebackError as error:
        raise ValueError(str(error)) from None


ArenaText: TypeAlias = Annotated[str, BeforeValidator(arena_text)]
"""A field that names an arena, by a text or, of rows, by a mapping."""
