"""Make the record of the page from what `run.py` kept, and decide the conjectures.

`python examples/weights-or-activations/score.py OUT RECORD` writes contrasts.parquet and conjectures.parquet
into RECORD. Only seeds of which every arm is there count.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from takeback.component import Component
from takeback.run.crossed import crossed_estimate
from takeback.run.power import bound, noncentrality
from takeback.run.sign_flips import flip_p_values
from takeback.run.stats import seeds_estimate
from takeback.run.tables import write_table
from takeback.study.conjectures import decided

Floats = NDArray[np.float64]

ARMS: Final = ("rl-win", "rft-win", "sft-win", "rl-corner")
GOAL: Final = {"rl-corner": 1}
"""Which goal is an arm's own, where it is not the first."""


@dataclass(frozen=True)
class Read:
    """What was read of one arm, in utility of its own goal on situations to which it applies.

    Attributes:
        ends: of tuned and base, [seeds, 2, situations].
        cells: [seeds, components, hosts, cells, situations].
        transplants: [seeds, sources, components, situations].
    """

    components: list[str]
    sources: list[str]
    applies: NDArray[np.bool_]
    clusters: NDArray[np.int64]
    ends: Floats
    cells: Floats
    transplants: Floats


def main() -> None:
    """Write the tables of a record."""
    out, record = map(Path, sys.argv[1:3])
    seeds = complete(out)
    rows: list[dict[str, Any]] = []
    for arm in ARMS:
        read = load(out, arm, seeds)
        rows += [*told(arm, read), *of_paths(arm, read, out / "paths", seeds)]
    found = with_p(pd.DataFrame(rows)).assign(seeds=len(seeds))
    record.mkdir(parents=True, exist_ok=True)
    write_table(found, record / "contrasts.parquet")
    outcomes = [decided(place, {"contrasts": found}) for place in (out, out / "paths")]
    write_table(pd.concat(outcomes, ignore_index=True), record / "conjectures.parquet")


def complete(out: Path) -> list[int]:
    """Return the seeds of which every arm has been read."""
    of = [
        {int(path.stem.split("-")[-1]) for path in (out / "read").glob(f"{arm}-seed-*.npz")} for arm in ARMS
    ]
    return sorted(set.intersection(*of))


def load(out: Path, arm: str, seeds: list[int]) -> Read:
    """Read what was kept of an arm."""
    kept = [np.load(out / "read" / f"{arm}-seed-{seed}.npz") for seed in seeds]
    goal = GOAL.get(arm, 0)
    applies = kept[0]["applies"][goal]

    def own(name: str) -> Floats:
        return np.stack([one[name][..., 1 + goal, :][..., applies] for one in kept]).astype(np.float64)

    return Read(
        kept[0]["components"].tolist(),
        kept[0]["sources"].tolist(),
        applies,
        kept[0]["clusters"][applies],
        own("ends"),
        own("cells"),
        own("transplants"),
    )


def parts(read: Read, host: int) -> dict[str, Floats]:
    """Return what each component's weights and inputs do in a host, [seeds, components, situations].

    In tuned all is what putting base's there loses, in base what putting tuned's there gains. With Y(w, x)
    the utility with weights w of the component at inputs x in this host, of tuned (t) and of base (b): own
    weights Y(t, b) − Y(b, b), inputs Y(b, t) − Y(b, b), interaction the rest of the patch Y(t, t) − Y(b, b).
    """
    same = read.ends[:, None, host]
    weights, activation, moved = (read.cells[:, :, host, cell] for cell in range(3))
    tt, bb = (same, activation) if host == 0 else (activation, same)
    bt, tb = (weights, moved) if host == 0 else (moved, weights)
    found = {"own weights": tb - bb, "inputs": bt - bb, "interaction": tt - tb - bt + bb, "patch": tt - bb}
    return found | ({"takeback": tt - bt} if host == 0 else {"graft": tb - bb})


def told(arm: str, read: Read) -> Iterator[dict[str, Any]]:
    """Tell all that is asked of an arm, a row for each component and part."""
    seeds = {**{key: parts(read, host) for host, key in enumerate(("in tuned", "in base"))}}
    whole = read.ends[:, 0] - read.ends[:, 1]
    yield _row(whole, read, {"contrast": "whole", "arm": arm, "measure": "gain"})
    for contrast, found in seeds.items():
        for measure, values in found.items():
            for place, name in enumerate(read.components):
                about = {"contrast": contrast, "arm": arm, "component": name, "layer": layer(name)}
                yield _row(values[:, place], read, about | {"measure": measure})
            inside = [place for place, name in enumerate(read.components) if layer(name)]
            mean = values[:, inside].mean(axis=1)
            yield _row(mean, read, {"contrast": f"mean {contrast}", "arm": arm, "measure": measure})
            for group in ("L0", "L1", "L2", "L3"):
                mine = [place for place, name in enumerate(read.components) if layer(name) == group]
                about = {"contrast": f"layer {contrast}", "arm": arm, "layer": group, "measure": measure}
                yield _row(values[:, mine].mean(axis=1), read, about)
    yield from _compared(arm, read, seeds["in tuned"])
    for source, name in enumerate(read.sources):
        lost = read.ends[:, None, 0] - read.transplants[:, source]
        more = lost - seeds["in tuned"]["takeback"]
        about = {"contrast": f"transplant from {name}", "arm": arm}
        for place, component in enumerate(read.components):
            own = about | {"component": component, "layer": layer(component)}
            yield _row(lost[:, place], read, own | {"measure": "loss"})
            yield _row(more[:, place], read, own | {"measure": "loss less takeback"})
        about["contrast"] = f"mean transplant from {name}"
        yield _row(lost.mean(axis=1), read, about | {"measure": "loss"})
        yield _row(more.mean(axis=1), read, about | {"measure": "loss less takeback"})


def of_paths(arm: str, read: Read, out: Path, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Tell what each reader loses by each path, and by all of them beyond the sum of the single ones."""
    kept = [np.load(out / "read" / f"{arm}-seed-{seed}.npz") for seed in seeds]
    goal = GOAL.get(arm, 0)
    cells = np.stack([one["cells"][:, 1 + goal][:, read.applies] for one in kept]).astype(np.float64)
    lost = read.ends[:, None, 0] - cells
    names = [(str(reader), str(name)) for reader, name in kept[0]["names"]]
    for place, (reader, name) in enumerate(names):
        about = {"contrast": f"path to {reader}", "arm": arm, "component": name, "measure": "path"}
        yield _row(lost[:, place], read, about)
    for reader in dict.fromkeys(reader for reader, _ in names):
        single = [n for n, (to, name) in enumerate(names) if to == reader and name in read.components]
        beyond = lost[:, names.index((reader, "all"))] - lost[:, single].sum(axis=1)
        about = {
            "contrast": f"path to {reader}",
            "arm": arm,
            "component": "beyond the sum",
            "measure": "path",
        }
        yield _row(beyond, read, about)


def _compared(arm: str, read: Read, found: dict[str, Floats]) -> Iterator[dict[str, Any]]:
    """Compare patches with takebacks: by how much MLPs lose more, and whether they order components alike."""
    mlps = [place for place, name in enumerate(read.components) if name.endswith("MLP")]
    more = (found["patch"] - found["takeback"])[:, mlps].mean(axis=1)
    yield _row(more, read, {"contrast": "patch less takeback", "arm": arm, "measure": "MLPs"})
    means = {name: values.mean(axis=2) for name, values in found.items()}
    for one, other in (("takeback", "patch"), ("takeback", "own weights")):
        pairs = zip(means[one], means[other], strict=True)
        ranks = seeds_estimate([float(stats.spearmanr(a, b).statistic) for a, b in pairs])
        about = {"contrast": "rank correlation", "arm": arm, "measure": f"{one} and {other}"}
        yield about | {"estimate": ranks.value, "low": ranks.low, "high": ranks.high}


def _row(values: Floats, read: Read, about: dict[str, Any]) -> dict[str, Any]:
    crossed = crossed_estimate(values, read.clusters)
    both, freedom = crossed.both, crossed.freedom or 1.0
    least = noncentrality(freedom, float(special.stdtrit(freedom, 0.975))) * (
        np.nan if both.se is None else both.se
    )
    ends = {"low": both.low, "high": both.high, "bound": bound(both), "detectable": least}
    return about | {"estimate": both.value, **ends, "runs": values.mean(axis=1).tolist()}


def with_p(found: pd.DataFrame) -> pd.DataFrame:
    """Add p by sign flips, right for all components and parts of all arms, for all transplants, all paths."""
    found["p_family"] = np.nan
    tested = found["component"].notna()
    carried = found["contrast"].str.startswith("transplant")
    paths = found["contrast"].str.startswith("path")
    moved = tested & carried & (found["measure"] == "loss less takeback")
    for family in (tested & ~carried & ~paths, moved, paths):
        values = np.array(found.loc[family, "runs"].tolist()).T
        found.loc[family, "p_family"] = flip_p_values(values).family
    numbers = dict.fromkeys(("low", "high", "bound", "detectable"), np.float64)
    return found.drop(columns="runs").fillna({"component": "", "layer": ""}).astype(numbers)


def layer(name: str) -> str:
    """Return the layer of a component, as in `L0`; empty outside the layers."""
    one = Component.parse(name)
    return "" if one.layer is None else f"L{one.layer}"


if __name__ == "__main__":
    main()
