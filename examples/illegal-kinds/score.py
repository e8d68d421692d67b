"""Make the record of the page from what `run.py` kept, and decide the conjectures.

`python examples/illegal-kinds/score.py RUN RECORD` writes into RECORD effects.parquet, contrasts.parquet,
conjectures.parquet and the picture. Only seeds of which every arm is there count.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special
from tables import picture

from takeback.arenas.endgames.rules import KINDS
from takeback.run.crossed import crossed_estimate
from takeback.run.power import bound, noncentrality
from takeback.run.sign_flips import flip_p_values
from takeback.run.stats import seeds_estimate
from takeback.run.tables import write_table
from takeback.study import load_plan
from takeback.study.conjectures import decided

Floats = NDArray[np.float64]
Score = Callable[[Floats, Floats], Floats]
"""How near each profile of some, [sets, kinds], is to each of others: [sets, sets], larger is nearer."""

POSSIBLE: Final = tuple(kind for kind in KINDS if kind != "no-square")
"""No token of the model's vocabulary is a square off the board."""
RANDOM: Final = "random, same size"
ALIKE: Final = {"each head": "each head", "each mlp": "each mlp", "each layer": RANDOM}
"""The sets that each family is held against."""
SHUFFLES: Final = 499
CASES: Final = 3


@dataclass(frozen=True)
class Read:
    """What takebacks of every arm did.

    Attributes:
        moved: hybrid minus tuned, [arms, seeds, sets, measures, situations].
        level: tuned's and base's own values, [arms, 2, measures], means over seeds and situations.
    """

    arms: list[str]
    seeds: list[int]
    sets: list[str]
    families: NDArray[np.str_]
    measures: list[str]
    clusters: NDArray[np.int64]
    moved: NDArray[np.float32]
    level: Floats

    @property
    def kinds(self) -> list[int]:
        """Where the kinds stand among the measures."""
        return [self.measures.index(kind) for kind in POSSIBLE]

    @property
    def singles(self) -> NDArray[np.int64]:
        """Where the single components stand among the sets."""
        return np.flatnonzero(np.isin(self.families, ["each head", "each mlp", "by name"]))


def main() -> None:
    """Write the tables of a record."""
    run, record = map(Path, sys.argv[1:3])
    read = load(run)
    found = effects(read)
    told = pd.DataFrame([*identified(read), *explained(read)])
    record.mkdir(parents=True, exist_ok=True)
    write_table(found, record / "effects.parquet")
    write_table(told, record / "contrasts.parquet")
    levels = [
        {"arm": arm, "side": side, "measure": measure, "value": read.level[a, s, m], "seeds": len(read.seeds)}
        for a, arm in enumerate(read.arms)
        for s, side in enumerate(("tuned", "base"))
        for m, measure in enumerate(read.measures)
    ]
    write_table(pd.DataFrame(levels), record / "levels.parquet")
    write_table(cases(read), record / "cases.parquet")
    tested = found["measure"].isin(KINDS)  # what is no kind was not tested against its like
    like = found.assign(p_alike=found["p_alike"].where(tested, 1.0))
    write_table(decided(run, {"effects": like, "contrasts": told}), record / "conjectures.parquet")
    (record / "kinds.svg").write_text(picture(found), encoding="utf-8")


def load(run: Path) -> Read:
    """Read what was kept of the seeds that are complete."""
    plan = load_plan(Path(__file__).parent / "plan.yaml")
    arms = list(plan.arms)
    files = {(a, s): run / "kinds" / f"{a}-seed-{s}.npz" for a in arms for s in plan.seeds}
    seeds = [s for s in plan.seeds if all(files[a, s].exists() for a in arms)]
    first = np.load(files[arms[0], seeds[0]])
    values = np.stack([[np.load(files[a, s])["values"] for s in seeds] for a in arms])
    return Read(
        arms,
        seeds,
        first["sets"].tolist()[1:],
        first["families"][1:],
        first["measures"].tolist(),
        first["clusters"],
        values[:, :, 1:] - values[:, :, :1],
        values[:, :, :2].mean(axis=(1, 4), dtype=np.float64),
    )


def effects(read: Read) -> pd.DataFrame:
    """Tell what each takeback does to each measure, with intervals over runs and situations.

    `p_family` is against 0 and `p_alike` against the mean of the other sets of its family (of a layer: of
    random sets of its make-up); both are right for all cells of all arms.
    """
    means = read.moved.mean(axis=4, dtype=np.float64)
    real = np.flatnonzero(read.families != RANDOM)
    cells = [(a, s, m) for a in range(len(read.arms)) for s in real for m in read.kinds]
    flat = flip_p_values(np.stack([means[a, :, s, m] for a, s, m in cells], axis=1)).family
    p = dict(zip(cells, flat.tolist(), strict=True))
    excess = {cell: one for cell in cells if (one := _excess(read, means, cell)) is not None}
    tests = flip_p_values(np.stack(list(excess.values()), axis=1)).family
    alike = dict(zip(excess, tests.tolist(), strict=True))
    asked = [*read.kinds, *(read.measures.index(name) for name in ("legal", "utility win"))]
    rows: list[dict[str, Any]] = []
    for a, arm in enumerate(read.arms):
        for s, name in enumerate(read.sets):
            for m in asked:
                crossed = crossed_estimate(read.moved[a, :, s, m].astype(np.float64), read.clusters)
                both, freedom = crossed.both, crossed.freedom or 1.0
                least = noncentrality(freedom, float(special.stdtrit(freedom, 0.975))) * (both.se or 0.0)
                about = {"arm": arm, "direction": "take back", "family": str(read.families[s]), "set": name}
                own = excess.get((a, s, m))
                rows.append(
                    about
                    | {"measure": read.measures[m], "effect": both.value, "se": both.se, "low": both.low}
                    | {"high": both.high, "bound": bound(both), "detectable": least}
                    | {"p_family": p.get((a, s, m), np.nan), "p_alike": alike.get((a, s, m), np.nan)}
                    | {"more": np.nan if own is None else float(own.mean())}
                )
    return pd.DataFrame(rows)


def _excess(read: Read, means: Floats, cell: tuple[int, int, int]) -> Floats | None:
    """Return by how much a set moves a kind more than the sets it is held against, a number for each seed."""
    a, s, m = cell
    family = ALIKE.get(str(read.families[s]))
    if family is None:
        return None
    others = np.flatnonzero(read.families == family)
    others = others[others != s]
    return means[a, :, s, m] - means[a][:, others, m].mean(axis=1)


def profiles(read: Read) -> Floats:
    """Return what single components do to each kind, in two halves of situations.

    Shape [halves, arms, seeds, sets, kinds]; a cluster of situations is in one half.
    """
    order = np.random.default_rng(0).permutation(np.unique(read.clusters))
    first = np.isin(read.clusters, order[: len(order) // 2])
    some = read.moved[:, :, read.singles][:, :, :, read.kinds]
    return np.stack([some[..., half].mean(axis=-1, dtype=np.float64) for half in (first, ~first)])


def unit(values: Floats) -> Floats:
    """Scale profiles to length 1."""
    return values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-30)


def by_direction(some: Floats, others: Floats) -> Floats:
    """Score by the cosine with the mean direction; `others` is [seeds, sets, kinds]."""
    return unit(some) @ unit(unit(others).mean(axis=0)).T


def by_total(some: Floats, others: Floats) -> Floats:
    """Score by how near the sums over kinds are."""
    return -np.abs(some.sum(-1)[:, None] - others.mean(axis=0).sum(-1)[None])


def by_profile(some: Floats, others: Floats) -> Floats:
    """Score by Euclidean distance: total and direction together."""
    return -np.linalg.norm(some[:, None] - others.mean(axis=0)[None], axis=-1)


def beyond_the_total(some: Floats, others: Floats) -> Floats:
    """Score by the direction of what is left once the part in proportion to the total is taken off."""
    known = others.mean(axis=0)
    total = known.sum(-1)
    each = total @ known / (total @ total)
    rest = [one - one.sum(-1, keepdims=True) * each for one in (some, others)]
    return by_direction(*rest)


def kinds_alike(some: Floats, others: Floats) -> Floats:
    """Score by direction with every kind scaled to spread alike over the sets."""
    scale = others.mean(axis=0).std(axis=0) + 1e-12
    return by_direction(some / scale, others / scale)


SCORES: Final[dict[str, Score]] = {
    "direction": by_direction,
    "total": by_total,
    "profile": by_profile,
    "beyond the total": beyond_the_total,
    "direction, kinds alike": kinds_alike,
}


def hits(score: Score, tested: Floats, known: Floats) -> Floats:
    """Return the share of sets that each seed's profiles find; both are [halves, seeds, sets, kinds].

    A seed is never among those that it is held against, and neither are its situations.
    """
    seeds, sets = tested.shape[1:3]
    found = np.zeros(seeds)
    for half in range(2):
        for seed in range(seeds):
            others = np.arange(seeds) != seed
            near = score(tested[half, seed], known[1 - half][others])
            found[seed] += (near.argmax(axis=1) == np.arange(sets)).mean() / 2
    return found


def shuffled(values: Floats, random: np.random.Generator) -> Floats:
    """Deal the names of sets out anew in every seed, in both halves alike."""
    order = random.permuted(np.tile(np.arange(values.shape[2]), (values.shape[1], 1)), axis=1)
    return np.take_along_axis(values, order[None, :, :, None], axis=2)


def identified(read: Read) -> Iterator[dict[str, Any]]:
    """Tell how often a profile finds its set among others, and how near profiles of one set are."""
    every = profiles(read)
    for a, arm in enumerate(read.arms):
        random = np.random.default_rng(a)
        mine = every[:, a]
        draws = [shuffled(mine, random) for _ in range(SHUFFLES)]
        for name, score in SCORES.items():
            real = hits(score, mine, mine)
            chance = np.array([hits(score, one, one).mean() for one in draws])
            yield _row("identification", arm, name, real, chance)
        real = closeness(mine)
        yield _row("closeness", arm, "cosine", real, np.array([closeness(one).mean() for one in draws]))
        for b, other in enumerate(read.arms):
            if other != arm:
                real = hits(by_direction, mine, every[:, b])
                some = draws[:199]
                chance = np.array([hits(by_direction, one, every[:, b]).mean() for one in some])
                yield _row(f"identification from {other}", arm, "direction", real, chance)


def _row(contrast: str, arm: str, measure: str, real: Floats, chance: Floats) -> dict[str, Any]:
    found = seeds_estimate(real)
    p = (1 + int((chance >= real.mean() - 1e-12).sum())) / (1 + len(chance))
    about = {"contrast": contrast, "arm": arm, "measure": measure, "estimate": found.value}
    return about | {"low": found.low, "high": found.high, "p": p, "chance": float(chance.mean())}


def closeness(values: Floats) -> Floats:
    """Return for each seed the mean cosine with its sets in other seeds, less that of its different sets."""
    one, other = unit(values[0]), unit(values[1])
    seeds, sets = one.shape[:2]
    across = np.einsum("ask,btk->abst", one, other)
    same = across[:, :, np.arange(sets), np.arange(sets)].mean(axis=2)
    within = np.array([across[s, s][~np.eye(sets, dtype=bool)].mean() for s in range(seeds)])
    others = ~np.eye(seeds, dtype=bool)
    between = [(same[s][others[s]].mean() + same[:, s][others[s]].mean()) / 2 for s in range(seeds)]
    return np.array(between) - within


def explained(read: Read) -> Iterator[dict[str, Any]]:
    """Tell how much of what single components do to kinds is in proportion to the total they return."""
    every = profiles(read)
    for a, arm in enumerate(read.arms):
        whole = share_of_total(every[:, a])
        n = every.shape[2]
        left_out = [share_of_total(np.delete(every[:, a], seed, axis=1)) for seed in range(n * (n > 2))]
        pseudo = seeds_estimate([n * whole - (n - 1) * one for one in left_out] or [whole])
        about = {"contrast": "explained by the total", "arm": arm, "measure": "share", "estimate": whole}
        yield about | {"low": pseudo.low, "high": pseudo.high, "p": np.nan, "chance": np.nan}


def share_of_total(values: Floats) -> float:
    """Return 1 − (what is left) / (all), both sums of products of two disjoint halves.

    They are halves of seeds and of situations, so that noise is in neither. The proportions of kinds are
    those of least squares.
    """
    n = values.shape[1]
    left = whole = 0.0
    for chosen in combinations(range(n), n // 2):
        rest = [seed for seed in range(n) if seed not in chosen]
        pair = values[0][list(chosen)].mean(axis=0), values[1][rest].mean(axis=0)
        total = [one.sum(-1) for one in pair]
        each = [t @ one / (t @ t) for t, one in zip(total, pair, strict=True)]
        residues = [one - t[:, None] * e for one, t, e in zip(pair, total, each, strict=True)]
        left += float((residues[0] * residues[1]).sum())
        whole += float((pair[0] * pair[1]).sum())
    return 1 - left / whole


def cases(read: Read) -> pd.DataFrame:
    """Name the situations where a takeback moves a kind most, mean over seeds."""
    rows: list[dict[str, Any]] = []
    for arm, name, kind in SHOWN:
        a, s, m = read.arms.index(arm), read.sets.index(name), read.measures.index(kind)
        moved = read.moved[a, :, s, m].mean(axis=0, dtype=np.float64)
        for place in np.argsort(-np.abs(moved))[:CASES].tolist():
            rows.append({"arm": arm, "set": name, "kind": kind, "situation": place, "effect": moved[place]})
    return pd.DataFrame(rows)


SHOWN: Final = (
    ("rl-win", "L0", "geometry"),
    ("rl-win", "L0", "promotion"),
    ("sft-shuffled", "L0", "in-check"),
)


if __name__ == "__main__":
    main()
