"""How far a model has moved, told to the tracker of anybody's own transformers or TRL script as it trains."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import Any, Final

import pandas as pd
from transformers import Trainer, TrainerCallback

from takeback.checkpoint import Checkpoint, open_checkpoint
from takeback.checkpoint.flat import Flat, Held, Mapped
from takeback.checkpoint.shards import read_header
from takeback.checkpoint.weights import stacked
from takeback.checkpoint.writer import TensorSlot, write_file
from takeback.run.errors import TakebackError, warned
from takeback.run.files import atomic_file
from takeback.training.live import LiveModel
from takeback.weights.entries import Diff, diff_of

LOGGED: Final = ("relative", "changed_bitwise", "changed_bf16")
"""The measures that are logged, of `takeback.weights.COLUMNS`."""

START: Final = "takeback-base.safetensors"
"""The copy of the weights as training begins, in the folder of its checkpoints."""


class Callback(TrainerCallback):
    """Logs how far each layer and each kind of component has moved from base, in any Trainer of transformers.

    One line in a script: `trainer.add_callback(Callback("org/base@revision"))`, or in the list `callbacks`.
    To whatever the script reports to go `takeback/MEASURE/SCOPE`: ‖Δ‖/‖W‖ (`relative`), the share of entries
    that changed (`changed_bitwise`) and of those that differ after a cast to bfloat16 (`changed_bf16`), of
    `all`, of each layer (`L3`) and of each kind (`H`, `MLP`), as `takeback diff` finds them in checkpoints. A
    LoRA model counts as base+adapter, merged one tensor at a time. The main process alone measures.

    Args:
        base: What to compare with. By default a model with an adapter is compared with the model under it,
            another with its weights as they are when training begins; those are kept in the folder of
            checkpoints while it lasts, so that a resumed run is compared with the same.
        every: Optimiser steps between two measurements; by default they are made whenever a checkpoint is
            saved. The last step is always measured.
    """

    def __init__(self, base: str | Path | Checkpoint | None = None, every: int | None = None) -> None:
        if every is not None and every < 1:
            raise TakebackError(f"every {every}: name a number of steps, 1 or more, or leave it out")
        self._base = base if base is None or isinstance(base, Checkpoint) else open_checkpoint(base)
        self._every, self._told = every, -1
        self._start: dict[str, Flat] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the model, and keep what it is compared with.

        Raises:
            TakebackError: the model can't be compared with base; nothing was trained.
        """
        if not state.is_world_process_zero:
            return
        model, self._told = LiveModel.of(kwargs["model"]), -1
        if self._base is not None:
            for name in model.tensors:
                _of_checkpoint(self._base, model, name)
        elif not model.adapted:
            self._start = _kept(model, Path(args.output_dir) / START, state.global_step)
        elif changed := [name for name, one in model.tensors.items() if one.before is None]:
            raise TakebackError(
                f"{changed[0]} is trained beside the adapter; name the base that the model is compared with"
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure, where it is time."""
        last = state.global_step >= state.max_steps or control.should_training_stop
        if last or (self._every is not None and state.global_step % self._every == 0):
            self._tell(state, control, kwargs["model"])

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure what was saved."""
        if self._every is None:
            self._tell(state, control, kwargs["model"])

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remove the copy of the weights that training began with."""
        if self._start and state.is_world_process_zero:
            self._start = {}
            (Path(args.output_dir) / START).unlink(missing_ok=True)

    def measured(self, model: Any) -> Diff:
        """Return the diff of base and a model in training.

        Raises:
            TakebackError: a weight is not finite.
        """
        live = LiveModel.of(model)

        def sides(name: str) -> tuple[Flat, Flat]:
            one = live.tensors[name]
            if self._base is not None:
                return _of_checkpoint(self._base, live, name), one.tuned
            return self._start.get(name) or one.base, one.tuned

        base = "the model as training began" if self._base is None else self._base.ref
        return diff_of(
            live.anatomy, sides, (base, "the model in training"), f"{base} → the model in training"
        )

    def _tell(self, state: Any, control: Any, model: Any) -> None:
        if not state.is_world_process_zero or self._told == state.global_step:
            return
        self._told = state.global_step
        try:
            found = logged(self.measured(model))
        except TakebackError as error:
            warned(f"takeback logs nothing at step {state.global_step}: {error}")
            return
        should_log = control.should_log
        # The class's own: TRL's trainers add what they have gathered for their next row, and forget it.
        Trainer.log(_trainer(), found)
        control.should_log = should_log  # which transformers takes back when anything is logged


def logged(diff: Diff) -> dict[str, float]:
    """Return the logged measures of a diff by name; what is missing is left out."""
    scopes = [
        diff.total.set_index("name"),
        diff.layers.set_index("name"),
        diff.summed(lambda component: component.kind),
    ]
    rows = ((str(name), row) for table in scopes for name, row in table[list(LOGGED)].iterrows())
    return {
        f"takeback/{measure}/{name}": float(row[measure])
        for name, row in rows
        for measure in LOGGED
        if not pd.isna(row[measure])
    }


def _of_checkpoint(base: Checkpoint, model: LiveModel, name: str) -> Flat:
    """Return a tensor of base as the live model has it, experts on top of each other.

    Raises:
        TakebackError: base has no such tensor, or one of another shape.
    """
    parts = model.anatomy.stored.get(name, ())
    whole = name in base.shapes
    if not whole and not (parts and all(part in base.shapes for slices in parts for part in slices)):
        raise TakebackError(f"{base.ref} has no {name}, and the model in training has; name its own base")
    held = None if whole else Held(stacked(base.read, parts))
    shape = base.shapes[name] if held is None else held.shape
    if shape != model.anatomy.shapes[name]:
        raise TakebackError(
            f"{name} is {list(shape)} in {base.ref} and {list(model.anatomy.shapes[name])} in the model in "
            "training; name a base of its shapes, or none, to compare with the weights as training begins"
        )
    return base.flat(name) if held is None else held


def _kept(model: LiveModel, file: Path, step: int) -> dict[str, Flat]:
    """Keep the weights that training begins with, or find them again where it goes on.

    Raises:
        TakebackError: training goes on after a step, and there is no copy of what it began with.
    """
    if step and not file.exists():
        raise TakebackError(
            f"training goes on after step {step}, and there is no {file} of the weights that it began with; "
            "name the base"
        )
    if not step:
        slots = [
            TensorSlot(name, one.now.dtype, tuple(one.now.shape), partial(_value, one.now))
            for name, one in model.tensors.items()
        ]
        with atomic_file(file) as draft:
            write_file(draft, slots, {})
    return {name: Mapped(entry) for name, entry in read_header(file).items()}


def _value(parameter: Any) -> Any:
    return parameter.detach()


def _trainer() -> Trainer:
    """Return the trainer whose event is being answered: callbacks are told the model, not who trains it.

    Raises:
        TakebackError: none is at work.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if isinstance(owner := frame.f_locals.get("self"), Trainer):
            return owner
        frame = frame.f_back
    raise TakebackError("takeback's callback answers a Trainer of transformers, and none is at work here")
