"""How long packing a run of checkpoints and reading a step of it takes, beside copying full checkpoints.

`python benchmarks/stream.py` makes a random llama in bf16 of which each step changes 1% of the entries, as RL
at its usual learning rates does, packs the run, and reads the last step whole. Beside each stands what one
does without: copying the checkpoints, and reading the last one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers

from takeback.checkpoint import open_checkpoint
from takeback.run.threads import cpu_threads
from takeback.weights import pack


def save_run(folder: Path, steps: int, width: int, share: float) -> None:
    """Save a base and a run that changes a share of the entries at each step."""
    config = transformers.LlamaConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=8,
        num_attention_heads=8,
        vocab_size=16_000,
    )
    generator = torch.Generator().manual_seed(0)
    model = transformers.LlamaForCausalLM(config).bfloat16()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.02, generator=generator)
    model.save_pretrained(folder / "base")
    for step in range(1, steps + 1):
        for parameter in model.parameters():
            chosen = torch.rand(parameter.shape, generator=generator) < share
            parameter.data = torch.where(chosen, parameter.data * 1.01 + 1e-3, parameter.data)
        model.save_pretrained(folder / "run" / f"checkpoint-{step}")


def copy(source: Path, target: Path) -> None:
    """Copy a run and see that it is on the disk."""
    shutil.copytree(source, target)
    for file in target.rglob("*.safetensors"):
        with file.open("r+b") as stream:
            os.fsync(stream.fileno())


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def read(ref: str) -> None:
    """Read a checkpoint tensor by tensor."""
    checkpoint = open_checkpoint(ref)
    for name in checkpoint.shapes:
        checkpoint.read(name).view(torch.int16).sum()


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--width", type=int, default=512)
    options.add_argument("--share", type=float, default=0.01, help="of the entries, changed by a step")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as name, cpu_threads(1):
        folder = Path(name)
        save_run(folder, asked.steps, asked.width, asked.share)
        copied = seconds(lambda: copy(folder / "run", folder / "copied"))
        packed = seconds(lambda: print(pack(folder / "run", folder / "packed", folder / "base")))
        print(f"copying {copied:.1f} s, packing and reading back {packed:.1f} s")
        plain, streamed = (
            min(seconds(lambda ref=ref: read(ref)) for _ in range(3))
            for ref in (str(folder / f"run/checkpoint-{asked.steps}"), f"{folder / 'packed'}@step=last")
        )
        print(f"reading the last checkpoint {plain:.2f} s, its step {streamed:.2f} s")


if __name__ == "__main__":
    main()
