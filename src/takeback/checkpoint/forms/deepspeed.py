"""DeepSpeed's checkpoints: the weights of stages 0 to 2 as one pickled file, stage 3 refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from takeback.checkpoint.forms.form import Form, allow_pickled
from takeback.checkpoint.forms.pickled import element_of, load_pickled, tensors_in
from takeback.checkpoint.forms.prefixes import model_names
from takeback.checkpoint.made import Made
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    import torch

_WHOLE = "mp_rank_00_model_states.pt"
_STAGE_3 = "zero_pp_rank_*_mp_rank_*_model_states.pt"


@dataclass(frozen=True)
class _States:
    """Holds the file, mapped when first asked."""

    file: Path

    @cached_property
    def module(self) -> dict[str, Any]:
        """The model's tensors by name."""
        module = load_pickled(self.file).get("module")
        if not isinstance(module, dict):
            raise TakebackError(f"{self.file} has no `module`, and is no checkpoint of DeepSpeed")
        return tensors_in(module)


@dataclass(frozen=True)
class _InStates(Made):
    """Is a tensor of the model that DeepSpeed has saved whole."""

    states: _States

    def made(self) -> torch.Tensor:
        """Read it."""
        return self.states.module[self.stored]


def _holds(folder: Path) -> bool:
    return (folder / _WHOLE).is_file() or any(folder.glob(_STAGE_3))


def _entries(folder: Path) -> Mapping[str, Made]:
    script = next((place for place in (folder, folder.parent) if (place / "zero_to_fp32.py").is_file()), None)
    where = script or folder.parent
    convert = f"python {where}/zero_to_fp32.py {where} NEW --safe_serialization --tag {folder.name}"
    if not (folder / _WHOLE).is_file():
        raise TakebackError(
            f"{folder} holds partitions of DeepSpeed ZeRO-3, which only DeepSpeed puts together: {convert}"
        )
    split = [file.name for file in folder.glob("mp_rank_*_model_states.pt") if file.name != _WHOLE]
    if split:
        raise TakebackError(f"{folder} holds tensors cut over {len(split) + 1} ranks; join them: {convert}")
    allow_pickled(f"{folder / _WHOLE}, of DeepSpeed,", convert)
    states = _States(folder / _WHOLE)
    found = {
        name: _InStates(states.file, name, element_of(value), tuple(value.shape), states)
        for name, value in states.module.items()
    }
    return model_names(found)


DEEPSPEED = Form("DeepSpeed's states, pickled", _holds, _entries)
