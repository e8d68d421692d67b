"""Run a recipe: train, keep snapshots, resume after a kill, leave ordinary checkpoint folders.

A run folder holds `recipe.yaml`, `step-N/` and `final/` (model and tokenizer, fp32), `log.parquet` (a row per
step), for RL `completions/*.parquet` (every answer that was rewarded), and while it runs `checkpoints/`.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL reports its use otherwise

import pandas as pd
from torch import nn
from transformers import PrinterCallback, Trainer, TrainerCallback
from transformers.utils import logging as transformers_logging

from takeback.arenas import arena
from takeback.checkpoint import load_tokenizer, open_checkpoint
from takeback.run.extras import needed
from takeback.run.files import atomic_file, atomic_folder, full_disk_told, only_one
from takeback.run.progress import Display, no_library_bars
from takeback.run.tables import write_table
from takeback.run.threads import cpu_threads
from takeback.training.agents import train_agent
from takeback.training.claim import claim_of, refuse_other, write_claim
from takeback.training.free import EVERYTHING, free_only
from takeback.training.lora import save_adapter
from takeback.training.networks import fresh_network
from takeback.training.recipe import Agent, Common, Fresh, Recipe, Tuned
from takeback.training.reward import Rewarder

Progress = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""

_COMPLETE = "complete"
_OF_THE_PROCESS = ("runtime", "per_second", "step_time", "flos", "profiling/", "num_tokens")
"""Logged columns that tell of this process, not of the training: a resumed run would have other ones."""


def train(recipe: Recipe, out: str | Path, progress: Progress | None = None) -> Path:
    """Train as the recipe says and return the folder of the final model.

    A run that was killed goes on from its last complete checkpoint and ends with the same weights, bit for
    bit, as one that was not; a run that is done returns at once.

    Args:
        recipe: what to train.
        out: the run folder.
        progress: told after every step; without it a progress bar with an ETA is drawn.

    Raises:
        TakebackError: `out` holds a run of another recipe or reward, another process trains there, or the
            arena, goal or parent is unknown.
    """
    out = Path(out)
    with only_one(out):
        claim = claim_of(recipe)
        refuse_other(out, claim)
        if not (out / "final").exists():
            with full_disk_told(out, "the same command goes on from the last whole checkpoint"):
                _make(recipe, out, claim, progress)
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return out / "final"


def _make(recipe: Recipe, out: Path, claim: str, progress: Progress | None) -> None:
    if isinstance(recipe, Fresh):
        network = fresh_network(recipe.architecture, arena(recipe.arena), recipe.seed)
        write_claim(out, claim)
        with atomic_folder(out / "final") as draft:
            network.save_pretrained(draft)
        return
    assert isinstance(recipe, Common)
    with cpu_threads(recipe.threads), _quiet(), _bar(recipe.steps, progress) as told:
        if isinstance(recipe, Agent):
            train_agent(recipe, out, told, lambda: write_claim(out, claim))
        else:
            _train(recipe, out, claim, told)


def _train(recipe: Common, out: Path, claim: str, progress: Progress) -> None:
    for library in ("trl", "datasets", "accelerate"):
        needed(library, "train")
    from takeback.training.build import build_trainer

    keeper = _Keeper(out, recipe.snapshots, progress)
    begin = partial(write_claim, out, claim)
    trainer, keeper.rewards = build_trainer(recipe, out / "checkpoints", keeper, begin)
    keeper.saver = saver = _Saver(recipe, _tokenizer(recipe, trainer))
    if isinstance(recipe, Tuned) and recipe.only != EVERYTHING:
        assert isinstance(trainer.model, nn.Module)
        trainer.add_callback(free_only(trainer.model, recipe.only))
    begin()
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=_last_complete(out / "checkpoints"))
    _write_log(trainer, out / "log.parquet")
    with atomic_folder(out / "final") as draft:
        saver.save(trainer.model, draft)


@dataclass(frozen=True, eq=False)
class _Saver:
    """Saves what a recipe trains: a whole model, or an adapter of its parent."""

    recipe: Common
    tokenizer: Any

    def save(self, model: Any, folder: Path) -> None:
        """Write a folder."""
        if isinstance(self.recipe, Tuned) and self.recipe.lora is not None:
            save_adapter(model, folder, self.recipe.parent)
        else:
            model.save_pretrained(folder)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)


def _tokenizer(recipe: Common, trainer: Trainer) -> Any:
    """Return the tokenizer that is saved: the parent's own, as TRL may give its own one another pad token."""
    own: Any = trainer.processing_class
    return load_tokenizer(open_checkpoint(recipe.parent)) if own and isinstance(recipe, Tuned) else own


class _Keeper(TrainerCallback):
    """Keeps snapshots, marks checkpoints as complete and passes the progress on."""

    def __init__(self, out: Path, snapshots: tuple[int, ...], progress: Progress) -> None:
        self._out, self._snapshots, self._progress = out, snapshots, progress
        self.rewards: Rewarder | None = None
        self.saver: _Saver | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in self._snapshots:
            assert self.saver is not None
            with atomic_folder(self._out / f"step-{state.global_step}", replace=True) as draft:
                self.saver.save(kwargs["model"], draft)
        self._progress(state.global_step, state.max_steps)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.rewards is not None and (seen := self.rewards.take_seen()):
            name = f"completions_{state.global_step:05d}.parquet"
            write_table(pd.DataFrame(seen), self._out / "completions" / name)
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        with atomic_file(checkpoint / _COMPLETE) as draft:
            draft.touch()


def _last_complete(checkpoints: Path) -> str | None:
    """Return the newest whole checkpoint and remove what a kill left half-written."""
    steps: dict[int, Path] = {}
    for folder in checkpoints.glob("checkpoint-*"):
        if (folder / _COMPLETE).exists():
            steps[int(folder.name.split("-")[1])] = folder
        else:
            shutil.rmtree(folder)
    return str(steps[max(steps)]) if steps else None


def _write_log(trainer: Trainer, path: Path) -> None:
    rows = [row for row in trainer.state.log_history if "train_runtime" not in row]
    names = {name for row in rows for name in row if not any(word in name for word in _OF_THE_PROCESS)}
    write_table(pd.DataFrame(rows, columns=["step", *sorted(names - {"step"})]), path)


@contextmanager
def _bar(steps: int, progress: Progress | None) -> Generator[Progress]:
    """Give the caller's function for progress, or one that draws a bar."""
    if progress is not None:
        yield progress
        return
    with Display(["training"]) as display:
        yield lambda done, total: display.show("training", f"{steps} steps", done, total)


@contextmanager
def _quiet() -> Generator[None]:
    """Silence what no user can act on: libraries' notes about one another, bars for saving."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    with warnings.catch_warnings(), no_library_bars():
        for category in (FutureWarning, UserWarning):
            warnings.filterwarnings(
                "ignore", category=category, module=r"(trl|transformers|accelerate|torch)\b.*"
            )
        warnings.filterwarnings("ignore", "You are using 'rollout_func'")  # blamed on the line that calls TRL
        try:
            yield
        finally:
            transformers_logging.set_verbosity(verbosity)
