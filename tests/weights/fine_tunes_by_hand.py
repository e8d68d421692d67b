"""Several sparse fine-tunes of one tiny model, and the slow way to compare them: everything at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

import models
from takeback.checkpoint import open_checkpoint


def save_fine_tunes(
    name: str, folder: Path, count: int = 3, dtype: torch.dtype = torch.float32
) -> list[Path]:
    """Save `base` and `tuned-0` …, each changed in a part of its entries, half of it the same for all."""
    shared = torch.Generator().manual_seed(50)
    model = models.build(name).to(dtype)
    model.save_pretrained(folder / "base")
    start = [parameter.detach().clone() for parameter in model.parameters()]
    common = [torch.randn(one.shape, generator=shared) * 0.01 for one in start]
    for place in range(count):
        own = torch.Generator().manual_seed(place)
        with torch.no_grad():
            for parameter, before, same in zip(model.parameters(), start, common, strict=True):
                mask = torch.rand(before.shape, generator=own) < 0.4
                noise = torch.randn(before.shape, generator=own) * 0.01
                parameter.copy_(before + ((same + noise) * mask).to(dtype))
        model.save_pretrained(folder / f"tuned-{place}")
    return [folder / f"tuned-{place}" for place in range(count)]


def pieces(base: Path, tuned: list[Path]) -> Iterator[tuple[str, str, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield tensor, component, W, all Δ and which bf16 shows, for each owner of each tensor."""
    sides = [open_checkpoint(one) for one in (base, *tuned)]
    anatomy = sides[0].anatomy()
    for tensor in sides[0].shapes:
        for component, region in anatomy.of_tensor(tensor):
            read = [side.read(tensor)[region.index] for side in sides]
            wide = [one.double().numpy() for one in read]
            halves = [one.bfloat16().float().numpy() for one in read]
            yield (
                tensor,
                str(component),
                wide[0],
                np.stack([one - wide[0] for one in wide[1:]]),
                np.stack([one != halves[0] for one in halves[1:]]),
            )


def compare(found: list[tuple[Any, ...]], i: int, j: int) -> dict[str, float]:
    """Compare two fine-tunes on some pieces by the definitions, strata by strata with scipy."""
    flat = [np.concatenate([piece[3][which].ravel() for piece in found]) for which in (i, j)]
    norms = [np.linalg.norm(one) for one in flat]
    expected = {
        "cosine": over(flat[0] @ flat[1], norms[0] * norms[1]),
        "norm_i": norms[0],
        "norm_j": norms[1],
    }
    for definition in ("stored", "bf16"):
        both = mean = variance = 0.0
        sizes = np.zeros(2)
        for piece in found:
            marks = piece[3] != 0 if definition == "stored" else piece[4]
            one, other = marks[i].ravel(), marks[j].ravel()
            both += np.sum(one & other)
            sizes += one.sum(), other.sum()
            for place in strata(piece[2]):
                law = moments(len(place), one[place].sum(), other[place].sum())
                mean, variance = mean + law[0], variance + law[1]
        expected |= {
            f"overlap_i_{definition}": over(both, sizes[0]),
            f"overlap_j_{definition}": over(both, sizes[1]),
            f"jaccard_{definition}": over(both, sizes.sum() - both),
            f"expected_i_{definition}": over(mean, sizes[0]),
            f"lift_{definition}": over(both, mean),
            f"z_{definition}": over(both - mean, np.sqrt(variance)),
            f"uniform_i_{definition}": sizes[1] / len(flat[0]),
        }
    return expected | signs(found, i, j)


def over(top: float, bottom: float) -> float:
    return top / bottom if bottom else np.nan


def signs(found: list[tuple[Any, ...]], i: int, j: int) -> dict[str, float]:
    agree = both = mean = variance = 0.0
    for piece in found:
        one, other = piece[3][i].ravel(), piece[3][j].ravel()
        for place in strata(piece[2]):
            changed = place[(one[place] != 0) & (other[place] != 0)]
            up = one[changed] > 0, other[changed] > 0
            both += len(changed)
            agree += np.sum(up[0] == up[1])
            if len(changed):
                law = moments(len(changed), up[0].sum(), up[1].sum())
                mean += 2 * law[0] + len(changed) - up[0].sum() - up[1].sum()
                variance += 4 * law[1]
    return {
        "agreement": over(agree, both),
        "agreement_expected": over(mean, both),
        "agreement_z": over(agree - mean, np.sqrt(variance)),
    }


def moments(entries: int, first: int, second: int) -> tuple[float, float]:
    """Return mean and variance of a hypergeometric law by scipy, which divides by 0 where all is certain."""
    with np.errstate(all="ignore"):
        mean, variance = stats.hypergeom.stats(entries, first, second, moments="mv")
    return float(mean), float(np.nan_to_num(variance))


def strata(weights: np.ndarray) -> list[np.ndarray]:
    """Return the places of the entries of each binary exponent."""
    size = np.abs(weights.ravel())
    exponents = np.full(size.shape, 10_000.0)
    exponents[size > 0] = np.floor(np.log2(size[size > 0]))
    return [np.flatnonzero(exponents == one) for one in np.unique(exponents)]


def subspaces(deltas: list[np.ndarray], i: int, j: int, energy: float) -> dict[str, float]:
    """Compare leading subspaces over several matrices, (fine-tunes, rows, columns) each."""
    sums = dict.fromkeys(
        ("k", "left", "left_null", "right", "inside_i", "inside_j", "inside_j_null", "energy_i", "energy_j"),
        0.0,
    )
    for delta in deltas:
        (u, s, v), (x, t, y) = (np.linalg.svd(delta[which]) for which in (i, j))
        ranks = [int(np.argmax(np.cumsum(one**2) >= energy * np.sum(one**2))) + 1 for one in (s, t)]
        k = min(ranks)
        a, b = ranks
        sums["k"] += k
        sums["left"] += np.sum((u[:, :k].T @ x[:, :k]) ** 2)
        sums["left_null"] += k * k / len(u)
        sums["right"] += np.sum((v[:k] @ y[:k].T) ** 2)
        sums["inside_i"] += np.sum((x[:, :b].T @ delta[i] @ y[:b].T) ** 2)
        sums["inside_j"] += np.sum((u[:, :a].T @ delta[j] @ v[:a].T) ** 2)
        sums["inside_j_null"] += np.sum(t**2) * a * a / delta[0].size
        sums["energy_i"] += np.sum(s**2)
        sums["energy_j"] += np.sum(t**2)
    return {
        "directions": sums["k"] / len(deltas),
        "left": sums["left"] / sums["k"],
        "left_null": sums["left_null"] / sums["k"],
        "right": sums["right"] / sums["k"],
        "inside_i": sums["inside_i"] / sums["energy_i"],
        "inside_j": sums["inside_j"] / sums["energy_j"],
        "inside_j_null": sums["inside_j_null"] / sums["energy_j"],
    }
