"""How fast `takeback.weights.diff` is, beside a torch loop, other packages and a bare XOR on the same memory.

Run it with the environment's Python: `.venv/bin/python benchmarks/diff.py`. It writes a synthetic Llama pair
in bfloat16 (two folders of four shards, a fifth of the entries moved) into a temporary folder, and measures
every contender in a process of its own, in turn, so that what else the machine does strikes all alike. The
files are in the page cache. `modeldelta` and `weightscope` take part where they can be imported.

GB/s counts the bytes of both sides, by CPU seconds (of all threads) and by the wall clock; ratios are of CPU
seconds and of wall clock times with the same number of threads. `peak` is the most anonymous memory of the
process, imports included; `first` is the first run, which may compile.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HIDDEN, INNER, VOCABULARY, HEADS, SHARDS = 2048, 5632, 32000, 16, 4
MOVED = 0.2
"""Share of the entries that training moves, each by about a twentieth of the spread of the weights."""

Found = dict[str, float]


def takeback(folder: Path) -> Found:
    """Measure every moment of every tensor and head by the public call."""
    from takeback import open_pair
    from takeback.weights import diff

    row = diff(open_pair(folder / "base", folder / "tuned")).total.iloc[0]
    changed = round(row["changed_bitwise"] * row["parameters"])
    return {"delta": row["delta_norm"], "base": row["base_norm"], "changed": changed}


def torch_loop(folder: Path) -> Found:
    """Measure norms and the number of changed entries, as people write it."""
    import torch

    squares, changed = [0.0, 0.0], 0
    for before, after in _tensors(folder):
        w, v = before.float(), after.float()
        delta = v - w
        squares[0] += delta.norm().item() ** 2
        squares[1] += w.norm().item() ** 2
        v.norm(), delta.abs().max()
        changed += int(torch.count_nonzero(delta))
    return {"delta": math.sqrt(squares[0]), "base": math.sqrt(squares[1]), "changed": changed}


def modeldelta(folder: Path) -> Found:
    """Measure its norms, cosine and sparsity; of flat tensors, for which it leaves out its spectra."""
    from modeldelta.core.weight_diff import analyze_delta

    rows = [analyze_delta(before.flatten(), after.flatten()) for before, after in _tensors(folder)]
    return {"delta": math.sqrt(sum(row["frob_norm"] ** 2 for row in rows))}


def weightscope(folder: Path) -> Found:
    """Measure its number of changed entries, largest and mean change of each tensor."""
    from weightscope.diff import diff_models

    found = diff_models(str(folder / "base"), str(folder / "tuned"), threshold=0.0)
    return {"changed": found.total_changed}


def xor(folder: Path) -> Found:
    """Count the entries whose bits differ, in the same mapped memory: what reading alone costs."""
    import numpy as np
    import torch
    from numba import njit

    from takeback import open_pair

    @njit(nogil=True)
    def count(before: Any, after: Any) -> Any:
        changed = np.int32(0)
        for place in range(before.size):
            changed = np.int32(changed + np.int32((before[place] ^ after[place]) != 0))
        return changed

    def both(block: tuple[str, int, int]) -> int:
        name, start, stop = block
        return int(count(*(side[name].block(start, stop) for side in sides)))

    pair = open_pair(folder / "base", folder / "tuned")
    sides = [{name: side.flat(name) for name in side.shapes} for side in (pair.base, pair.tuned)]
    sizes = {name: math.prod(shape) for name, shape in pair.base.shapes.items()}
    step = 1 << 21
    blocks = [
        (name, start, min(start + step, size))
        for name, size in sizes.items()
        for start in range(0, size, step)
    ]
    _compiled.setdefault("xor", count)
    count = _compiled["xor"]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return {"changed": sum(pool.map(both, blocks))}


_compiled: dict[str, Any] = {}
CONTENDERS: dict[str, Callable[[Path], Found]] = {
    "takeback": takeback,
    "XOR and count": xor,
    "torch loop": torch_loop,
    "modeldelta": modeldelta,
    "weightscope": weightscope,
}


def _tensors(folder: Path) -> Iterator[tuple[Any, Any]]:
    from safetensors import safe_open

    for shard in sorted((folder / "base").glob("*.safetensors")):
        with safe_open(shard, "pt") as base, safe_open(folder / "tuned" / shard.name, "pt") as tuned:
            for name in base.keys():  # noqa: SIM118 an open file is no mapping
                yield base.get_tensor(name), tuned.get_tensor(name)


def write_pair(folder: Path, layers: int) -> None:
    """Write both sides shard by shard; the same numbers every time."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    names: dict[str, str] = {}
    for number in range(SHARDS):
        file = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
        base, tuned = {}, {}
        for name, shape in _shapes(layers, number).items():
            weight = torch.randn(shape, generator=generator) * 0.02
            step = torch.randn(shape, generator=generator) * 1e-3
            moved = torch.rand(shape, generator=generator) < MOVED
            base[name] = weight.bfloat16()
            tuned[name] = (base[name].float() + step * moved).bfloat16()
            names[name] = file
        for side, tensors in (("base", base), ("tuned", tuned)):
            (folder / side).mkdir(parents=True, exist_ok=True)
            save_file(tensors, folder / side / file, {"format": "pt"})
    config = {
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "vocab_size": VOCABULARY,
        "tie_word_embeddings": False,
    }
    for side in ("base", "tuned"):
        (folder / side / "config.json").write_text(json.dumps(config))
        (folder / side / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def _shapes(layers: int, shard: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    if shard == 0:
        found["model.embed_tokens.weight"] = (VOCABULARY, HIDDEN)
    for layer in range(layers):
        if layer * SHARDS // layers == shard:
            place = f"model.layers.{layer}."
            for name in "qkvo":
                found[f"{place}self_attn.{name}_proj.weight"] = (HIDDEN, HIDDEN)
            for name in ("gate", "up"):
                found[f"{place}mlp.{name}_proj.weight"] = (INNER, HIDDEN)
            found[f"{place}mlp.down_proj.weight"] = (HIDDEN, INNER)
            for name in ("input_layernorm", "post_attention_layernorm"):
                found[f"{place}{name}.weight"] = (HIDDEN,)
    if shard == SHARDS - 1:
        found |= {"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}
    return found


def work(name: str, threads: int, folder: Path) -> None:
    """Measure one contender each time that a line comes in, and write what was found as a line."""
    import torch

    torch.set_num_threads(threads)
    peak = [0]
    if sys.platform == "linux":
        threading.Thread(target=_watch, args=(peak,), daemon=True).start()
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        found = CONTENDERS[name](folder)
        times = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        print(json.dumps({**times, "peak": peak[0], "found": found}), flush=True)


def _watch(peak: list[int]) -> None:
    """Keep the highest anonymous memory of this process, in kB."""
    while True:
        status = Path("/proc/self/status").read_text()
        peak[0] = max(peak[0], int(status.split("RssAnon:")[1].split()[0]))
        time.sleep(0.005)


class Contestant:
    """A contender in a process of its own, which does its work when told."""

    def __init__(self, name: str, threads: int, folder: Path) -> None:
        command = [sys.executable, __file__, "--work", name, "--threads", str(threads), "--folder", folder]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=environment, text=True, **pipes)
        self.name, self.threads, self.runs = name, threads, list[dict[str, Any]]()

    def run(self) -> bool:
        """Do the work once; False where the package is not there."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            error = self.process.communicate()[1].strip().splitlines()[-1]
            print(f"{self.name} is left out: {error}")
            return False
        self.runs.append(json.loads(line))
        return True

    def median(self, time_of: str) -> float:
        """Return the median time of all runs but the first, which warms up."""
        return statistics.median(run[time_of] for run in self.runs[1:])


def truth(folder: Path) -> Found:
    """Sum everything in float64."""
    squares, changed = [0.0, 0.0], 0
    for before, after in _tensors(folder):
        blocks = (side.flatten().split(1 << 20) for side in (before, after))
        for w, v in zip(*((part.double() for part in side) for side in blocks), strict=True):
            squares[0] += float((v - w).square().sum())
            squares[1] += float(w.square().sum())
            changed += int((v != w).sum())
    return {"delta": math.sqrt(squares[0]), "base": math.sqrt(squares[1]), "changed": changed}


def report(teams: list[Contestant], folder: Path) -> None:
    """Print a row for each contender and number of threads."""
    exact, size = truth(folder), sum(file.stat().st_size for file in folder.glob("*/*.safetensors")) / 1e9
    print(f"\n{size:.2f} GB in all; {_machine()}\n")
    print(
        f"{'':14} threads  first s   CPU s  wall s  GB/CPU-s   GB/s  × torch (CPU, wall)  of XOR (CPU, wall)"
        "  peak MB  errors"
    )
    for team in teams:
        rivals = {other.name: other for other in teams if other.threads == team.threads}
        times = {clock: team.median(clock) for clock in ("cpu", "wall")}
        faster = [rivals["torch loop"].median(clock) / time for clock, time in times.items()]
        share = [rivals["XOR and count"].median(clock) / time for clock, time in times.items()]
        last = team.runs[-1]
        errors = [
            f"{name} {'exact' if value == exact[name] else f'{abs(value / exact[name] - 1):.0e}'}"
            for name, value in last["found"].items()
        ]
        print(
            f"{team.name:14} {team.threads:7} {team.runs[0]['wall']:8.2f} {times['cpu']:7.2f} "
            f"{times['wall']:7.2f} {size / times['cpu']:9.2f} {size / times['wall']:6.2f} {faster[0]:11.1f} "
            f"{faster[1]:7.1f} {share[0]:12.0%} {share[1]:6.0%} {last['peak'] / 1024:8.0f}  "
            + ", ".join(errors)
        )


def _machine() -> str:
    names = {"numba", "numpy", "torch"}
    versions = ", ".join(f"{name} {__import__(name).__version__}" for name in sorted(names))
    kind = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        kind = next((line.split(": ")[1] for line in lines if line.startswith("model name")), kind)
    return (
        f"{kind}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, {versions}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=float, default=1.2, help="GB of each side")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the pair is, or is to be kept")
    parser.add_argument("--work", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.work:
        work(settings.work, settings.threads, settings.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = settings.folder or Path(temporary)
        layer = 2 * sum(math.prod(shape) for shape in _shapes(SHARDS, 1).values())
        outside = 2 * 2 * VOCABULARY * HIDDEN
        if not (folder / "tuned" / "config.json").exists():
            write_pair(folder, max(SHARDS, round((settings.size * 1e9 - outside) / layer)))
        counts = sorted({1, os.cpu_count() or 1})
        teams = [Contestant(name, threads, folder) for threads in counts for name in CONTENDERS]
        teams = [team for team in teams if team.run()]
        for _ in range(settings.repeats):
            for team in teams:
                team.run()
        report(teams, folder)
        for team in teams:
            team.process.communicate()


if __name__ == "__main__":
    main()
