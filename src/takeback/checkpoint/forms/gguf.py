"""GGUF files (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), dequantised by the package gguf.

Names, orders of rows and configs are turned back into those of transformers by its own reader of GGUF.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from takeback.checkpoint.config import checked_settings
from takeback.checkpoint.forms.form import Form
from takeback.checkpoint.forms.gguf_header import check_gguf
from takeback.checkpoint.made import Made
from takeback.run.errors import TakebackError
from takeback.run.extras import needed

if TYPE_CHECKING:
    import torch

_SPLIT = re.compile(r".*-[0-9]{5}-of-[0-9]{5}\.gguf")


@dataclass(frozen=True)
class _GgufFile:
    """Holds one file: its tensors, and how transformers calls and orders them."""

    path: Path

    @cached_property
    def tensors(self) -> dict[str, Any]:
        """The tensors by their names in the file, mapped."""
        return {tensor.name: tensor for tensor in self.reader.tensors}

    @cached_property
    def reader(self) -> Any:
        """The file as the package gguf reads it."""
        gguf = needed("gguf", "gguf", f" to read {self.path}")
        check_gguf(self.path)
        try:
            return gguf.GGUFReader(self.path)
        except Exception as error:  # the reader raises numpy's and Python's errors about a bent file
            why = " ".join(str(error).split()) or type(error).__name__
            raise TakebackError(f"{self.path} is no whole GGUF file: {why}") from error

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What config.json would hold."""
        assert self.reader is not None  # told of first where it is no such file
        from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

        try:
            found = dict(load_gguf_checkpoint(str(self.path), return_tensors=False)["config"])
        except Exception as error:  # the same
            why = " ".join(str(error).split()) or type(error).__name__
            raise TakebackError(f"transformers can't read {self.path}: {why}") from error
        return checked_settings(self.path, found)

    @cached_property
    def names(self) -> tuple[Any, dict[str, str], dict[str, tuple[int, ...]]]:
        """The reader's processor of tensors, the names of transformers by those in the file, and shapes."""
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM
        from transformers.modeling_gguf_pytorch_utils import (
            TENSOR_PROCESSORS,
            TensorProcessor,
            get_gguf_hf_weights_map,
        )

        settings = dict(self.settings)
        try:
            config = AutoConfig.for_model(settings.pop("model_type"), **settings)
            self._check_layers(getattr(config, "num_hidden_layers", None))
            with torch.device("meta"):
                model: Any = AutoModelForCausalLM.from_config(config)
            kind = TENSOR_PROCESSORS.get(self.architecture, TensorProcessor)
            processor = kind(config=config.to_dict())
            named = get_gguf_hf_weights_map(model, processor)
        except TakebackError:
            raise
        except Exception as error:  # transformers raises many kinds about a model it can't make
            why = " ".join(str(error).split()) or type(error).__name__
            raise TakebackError(f"transformers has no names for the tensors of {self.path}: {why}") from error
        return processor, named, {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}

    def _check_layers(self, layers: object) -> None:
        """Raise if there are more layers than tensors: names are made for each, which takes long."""
        if isinstance(layers, int) and layers > len(self.tensors):
            raise TakebackError(
                f"{self.path} says that its model has {layers} layers, and holds "
                f"{len(self.tensors)} tensors; fetch or save it again"
            )

    @property
    def architecture(self) -> str:
        """What the file says its model is."""
        field = self.reader.fields["general.architecture"]
        return bytes(field.parts[field.data[0]]).decode("utf-8")

    def read(self, name: str) -> torch.Tensor:
        """Dequantise one tensor to float32, its rows in the order of transformers."""
        import numpy as np
        import torch

        from gguf import dequantize

        processor, named, shapes = self.names
        tensor = self.tensors[name]
        try:
            numbers = dequantize(tensor.data, tensor.tensor_type)
            made = processor.process(numbers, name, tensor_key_mapping=named, parsed_parameters={})
        except (NotImplementedError, ValueError, KeyError, TypeError) as error:
            raise TakebackError(f"{self.path} has {name} as {tensor.tensor_type.name}: {error}") from error
        shape = shapes[named[name]]
        return torch.from_numpy(np.array(made.weights, np.float32, order="C")).reshape(shape)


@dataclass(frozen=True)
class _Dequantised(Made):
    """Is a tensor of a GGUF file."""

    opened: _GgufFile
    name: str

    def made(self) -> torch.Tensor:
        """Dequantise it."""
        return self.opened.read(self.name)


def _holds(folder: Path) -> bool:
    return folder.suffix == ".gguf" if folder.is_file() else any(folder.glob("*.gguf"))


def _file(folder: Path) -> _GgufFile:
    found = [folder] if folder.is_file() else sorted(folder.glob("*.gguf"))
    if _SPLIT.fullmatch(found[0].name):
        raise TakebackError(f"{found[0]} is one of several pieces; join them: llama-gguf-split --merge")
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:4])
        raise TakebackError(f"{folder} holds several GGUF files ({names}); name one of them")
    state = found[0].stat()
    return _opened(found[0], state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=2)
def _opened(path: Path, size: int, modified: int) -> _GgufFile:
    """Return the same file as long as it is the same: reading its header takes seconds."""
    del size, modified
    return _GgufFile(path)


def _entries(folder: Path) -> Mapping[str, Made]:
    opened = _file(folder)
    if stacked := next((name for name in opened.tensors if "_exps." in name), None):
        raise TakebackError(
            f"{opened.path} stacks its experts ({stacked}); load it with transformers and save that"
        )
    _, named, shapes = opened.names
    found: dict[str, Made] = {}
    for name, tensor in opened.tensors.items():
        if (own := named.get(name)) is None:
            continue
        if sorted(extent for extent in shapes[own] if extent > 1) != sorted(
            int(extent) for extent in tensor.shape if extent > 1
        ):
            raise TakebackError(
                f"{opened.path} has {name} of shape {tensor.shape.tolist()}, not {shapes[own]}"
            )
        found[own] = _Dequantised(opened.path, own, "float32", shapes[own], opened, name)
    return found


def _told(folder: Path) -> str:
    kinds = Counter(tensor.tensor_type.name for tensor in _file(folder).tensors.values())
    return f"GGUF ({', '.join(kind for kind, _ in kinds.most_common(4))}), dequantised"


def _settings(folder: Path) -> Mapping[str, Any]:
    return _file(folder).settings


GGUF = Form("GGUF", _holds, _entries, _told, _settings)
