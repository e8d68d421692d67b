"""How much CPU `takeback diff --with all` takes beside direct decompositions, on the same tensors in one run.

Run it with the environment's Python: `.venv/bin/python benchmarks/measures.py BASE TUNED --layers 3 7`. The
direct way is what the measures say, written down with torch and numpy: every matrix, every head's part and
every random Δ is decomposed by a singular value decomposition in float64, shares of permuted Δ come from 20
draws, the steps of bfloat16 from sorting. Both are measured tensor by tensor in turn, by CPU seconds of all
threads of the process, so that what else the machine does matters little. Circuits are measured alone.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from takeback import open_pair
from takeback.checkpoint import Pair
from takeback.weights.circuits import CircuitsWork
from takeback.weights.entries import UlpsWork
from takeback.weights.published import PublishedWork
from takeback.weights.spectra import SpectraWork
from takeback.weights.spectra.matrices import matrices_of, sides_of
from takeback.weights.spectra.subspaces import principal_angles


def steps(pair: Pair, name: str) -> None:
    """Count steps of bfloat16 by sorting, a million entries at a time."""
    sides = [side.read(name).flatten().split(1 << 20) for side in (pair.base, pair.tuned)]
    for before, after in zip(*sides, strict=True):
        places = []
        for part in (before, after):
            bits = part.to(torch.bfloat16).view(torch.int16).numpy().astype(np.int64)
            places.append(np.where(bits < 0, -(bits & 0x7FFF), bits))
        exponents = np.frexp(before.double().numpy())[1].astype(np.int64)
        np.unique(np.stack([exponents, np.abs(places[1] - places[0])]), axis=1, return_counts=True)


def shapes(pair: Pair, name: str) -> None:
    """Decompose every matrix of a tensor and its null changes directly."""
    rng = np.random.default_rng(0)
    for matrix in matrices_of(pair.anatomy("heads"), name):
        base, tuned = sides_of(pair, matrix)
        delta = tuned - base
        left, values, right = torch.linalg.svd(base, full_matrices=False)
        k = int(np.searchsorted(np.cumsum(values.numpy() ** 2), 0.5 * float(values.square().sum()))) + 1
        torch.linalg.svdvals(delta)
        permuted = [torch.from_numpy(rng.permuted(delta.numpy(), axis=None)) for _ in range(20)]
        for change in (delta, *permuted):
            torch.linalg.vector_norm(left[:, :k].T @ change @ right[:k].T)
            torch.linalg.vector_norm(change @ right[:k].T)
        for change in (delta, *permuted[:3], *(torch.randn_like(delta) * delta.std() for _ in range(3))):
            one, _, other = torch.linalg.svd(base + change, full_matrices=False)
            principal_angles(left[:, :k], one[:, :k])
            principal_angles(right[:k].T, other[:k].T)
        for change in permuted[:3]:
            torch.linalg.svdvals(change)


def definitions(pair: Pair, name: str) -> None:
    """Take the rank as published code does, and the singular values of the change."""
    base, tuned = pair.base.read(name), pair.tuned.read(name)
    torch.linalg.matrix_rank((tuned.to(torch.bfloat16) - base.to(torch.bfloat16)).float())
    torch.linalg.svdvals(tuned.double() - base.double())


def cpu(call: Callable[..., Any], *arguments: Any) -> float:
    """Return the CPU seconds of a call."""
    began = time.process_time()
    call(*arguments)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base")
    parser.add_argument("tuned")
    parser.add_argument("--layers", type=int, nargs="+", default=[0], help="which layers")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    pair = open_pair(settings.base, settings.tuned)
    inside = re.compile(rf"\.({'|'.join(map(str, settings.layers))})\.")
    spectra, published, circuits = SpectraWork(pair), PublishedWork(pair), CircuitsWork(pair)
    names = [name for name in spectra.items() if inside.search(name)]
    ways: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "ulps": (steps, UlpsWork(pair).rows),
        "spectra": (shapes, spectra.rows),
        "published": (definitions, published.rows),
    }
    for _, fast in ways.values():  # compile, load
        fast(names[0])
    print(f"{len(names)} matrices of {len(settings.layers)} layers, one thread, CPU seconds")
    totals = np.zeros(2)
    for measure, (slow, fast) in ways.items():
        times = np.array([(cpu(slow, pair, name), cpu(fast, name)) for name in names]).sum(0)
        totals += times
        print(f"{measure:10} direct {times[0]:8.2f}   takeback {times[1]:7.2f}   × {times[0] / times[1]:.1f}")
    print(
        f"{'together':10} direct {totals[0]:8.2f}   takeback {totals[1]:7.2f}   × {totals[0] / totals[1]:.1f}"
    )
    each = sum(cpu(circuits.rows, f"L{layer}") for layer in settings.layers)
    print(f"{'circuits':10} {'':15}   takeback {each:7.2f}")


if __name__ == "__main__":
    main()
