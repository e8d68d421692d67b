"""Loading tasks by lm-eval, as its own `simple_evaluate` does."""

from __future__ import annotations

import contextlib
import io
import logging
import random
import warnings
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from takeback.arenas.lm_eval.spec import FAMILY, EvalSpec
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.extras import needed

_SEEDS: Final = (0, 1234)
"""What lm-eval seeds Python's and NumPy's random numbers with; tasks may draw from them."""

_REMOTE: Final = (
    "OfflineModeIsEnabled",
    "Couldn't reach",
    "couldn't find",
    "DatasetNotFoundError",
    "ConnectionError",
    "ConnectError",
    "LocalEntryNotFoundError",
    "Max retries",
)
"""What errors say that come of a data set which is not here."""


@dataclass(frozen=True, eq=False)
class LoadedTasks:
    """Tasks by name in the order that was asked, with their requests, and the groups among them."""

    tasks: Mapping[str, Any]
    groups: Mapping[str, Any]

    @property
    def account(self) -> list[Any]:
        """What results depend on besides prompts: the tasks' configuration and its functions."""
        import lm_eval

        told: list[Any] = [lm_eval.__version__]
        for task in self.tasks.values():
            settings = task.dump_config()
            settings["metadata"] = {**(settings.get("metadata") or {}), "config_source": None}
            config = vars(task.config)
            held = [config, *(config.get("metric_list") or ())]
            told += [repr(settings), [one for some in held for one in some.values() if callable(one)]]
        return told


def load_tasks(spec: EvalSpec) -> LoadedTasks:
    """Load tasks with their documents, and let each write its requests; chats stay messages.

    Raises:
        UnknownName: there is no such task.
        TakebackError: lm-eval is not installed, a task needs the network, or it can't be read.
    """
    if missing := [name for name in spec.tasks if _is_file(name) and not Path(name).is_file()]:
        raise TakebackError(f"there is no task file {missing[0]}")
    with quiet(), seeded():
        manager = _manager(spec)
        try:
            loaded = manager.load(list(spec.tasks))
        except Exception as error:  # data sets, YAML, tasks' own code: each fails in its own way
            raise _unloadable(spec, error) from error
        for name, task in loaded["tasks"].items():
            _prepare(name, task, spec)
    return LoadedTasks(loaded["tasks"], loaded.get("groups") or {})


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Keep lm-eval's progress bars and log to itself."""
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger = logging.getLogger("lm_eval")
        before = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(before)


@contextlib.contextmanager
def seeded() -> Generator[None]:
    """Give tasks the random numbers that lm-eval gives them, and leave those of others as they were."""
    python, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(_SEEDS[0])  # noqa: TID251 lm-eval's tasks draw from the global generators
    np.random.seed(_SEEDS[1])  # noqa: NPY002, TID251
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)  # noqa: NPY002


def _manager(spec: EvalSpec) -> Any:
    """Return lm-eval's own index of tasks: of a user's folder alone where that has all, as it is faster."""
    manager = needed("lm_eval.tasks", "eval").TaskManager
    folder = spec.include_path
    if folder is not None and not Path(folder).is_dir():
        raise TakebackError(f"include_path: there is no folder {folder}")
    own = manager(include_path=folder, include_defaults=False)
    if all(name in own.task_index or _is_file(name) for name in spec.tasks):
        return own
    every = manager(include_path=folder)
    for name in spec.tasks:
        if name not in every.task_index and not _is_file(name):
            raise unknown_name("evaluation task", name, [*own.all_tasks, *every.all_tasks])
    return every


def _is_file(name: str) -> bool:
    return Path(name).suffix in (".yaml", ".yml")


def _unloadable(spec: EvalSpec, error: Exception) -> TakebackError:
    line = " ".join(str(error).split())[:200]
    told, which = f"{type(error).__name__}: {line}", ", ".join(spec.tasks)
    if any(mark in told for mark in _REMOTE):
        return TakebackError(
            f"{FAMILY}:{which} needs data that is not on this machine ({line}); load it once where there is "
            "a network, or give an own task whose data are local files"
        )
    return TakebackError(f"{FAMILY}:{which} can't be loaded: {told}")


def _prepare(name: str, task: Any, spec: EvalSpec) -> None:
    """Set up a task and let it write its requests, in the order in which lm-eval does it."""
    from lm_eval.evaluator_utils import get_sample_size

    if getattr(task, "MULTIMODAL", False):
        raise TakebackError(f"{FAMILY}:{name} shows pictures or sounds; only texts can be asked")
    if getattr(task, "UNSAFE_CODE", False):
        raise TakebackError(f"{FAMILY}:{name} runs what models write, which is not done here")
    if spec.gen_kwargs and task.get_config("output_type") == "generate_until":
        task.set_config(key="generation_kwargs", value=dict(spec.gen_kwargs), update=True)
    shots = task.get_config("num_fewshot")
    if spec.num_fewshot is not None and shots != 0:
        task.set_config(key="num_fewshot", value=spec.num_fewshot)
    elif shots is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=spec.fewshot_random_seed)
    try:
        task.build_all_requests(
            limit=get_sample_size(task, spec.limit),
            system_instruction=spec.system_instruction,
            apply_chat_template=spec.apply_chat_template,
            fewshot_as_multiturn=spec.fewshot_as_multiturn,
            chat_template=as_messages if spec.apply_chat_template else None,
        )
    except Exception as error:  # templates and tasks' own code fail in their own way
        line = " ".join(str(error).split())[:200]
        raise TakebackError(
            f"{FAMILY}:{name} can't write its prompts: {type(error).__name__}: {line}"
        ) from error


def as_messages(messages: list[dict[str, Any]], add_generation_prompt: bool = True) -> str:
    """Stand in for a chat template: keep the messages as they are, in JSON, until a tokenizer is known."""
    import json

    return json.dumps(messages)
