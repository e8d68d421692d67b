"""How far the nulls of `--with spectra` and `--with circuits` vary from draw to draw, of which one is taken.

Run it with the environment's Python: `.venv/bin/python benchmarks/null_draws.py BASE TUNED --layers 3 7`.
Each measure's null is drawn again with other seeds; the spread is the standard deviation over the draws
relative to their mean, of each matrix, head or MLP, and its median and maximum over these. Beside it stands
how far the real change lies from the null, in standard deviations of it (median).
"""

from __future__ import annotations

import argparse
import re

import numpy as np
import pandas as pd
import torch

from takeback import open_pair
from takeback.weights.circuits import CircuitsWork
from takeback.weights.spectra import Options, SpectraWork

NULLS = ("gaussian", "permuted")


def told(name: str, draws: pd.DataFrame, real: pd.Series) -> None:
    """Print the spread of one null: a row of `draws` for each part, a column for each draw."""
    draws, real = draws[draws.mean(axis=1) > 0], real.astype(float)
    if draws.empty:
        return
    mean, spread = draws.mean(axis=1), draws.std(axis=1)
    relative = spread / mean
    away = ((real.loc[draws.index] - mean).abs() / spread.where(spread > 0)).median()
    print(f"{name:42} {len(draws):5} {relative.median():9.2%} {relative.max():9.2%} {away:12.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("base")
    parser.add_argument("tuned")
    parser.add_argument("--layers", type=int, nargs="+", default=[0])
    parser.add_argument("--draws", type=int, default=10)
    settings = parser.parse_args()
    torch.set_num_threads(1)
    pair = open_pair(settings.base, settings.tuned)
    inside = re.compile(rf"\.({'|'.join(map(str, settings.layers))})\.")
    seeds = range(settings.draws)
    print(f"{'null of':42} {'parts':>5} {'median':>9} {'largest':>9} {'real, in sd':>12}")
    tables = []
    for seed in seeds:
        work = CircuitsWork(pair, seed=seed)
        tables.append(pd.concat([work.rows(f"L{layer}") for layer in settings.layers], ignore_index=True))
    for circuit in tables[0]["circuit"].unique():
        rows = tables[0]["circuit"] == circuit
        for null in NULLS:
            draws = pd.DataFrame({seed: table[rows][null].astype(float) for seed, table in enumerate(tables)})
            told(f"circuits {circuit} {null}", draws, tables[0][rows]["change"])
    tables = []
    for seed in seeds:
        work = SpectraWork(pair, Options(seed=seed))
        names = [name for name in work.items() if inside.search(name)]
        tables.append(pd.concat([work.rows(name) for name in names], ignore_index=True))
    for role in ("whole", "part"):
        rows = tables[0]["role"] == role
        for measure in (
            name.removesuffix(f"_{NULLS[0]}") for name in tables[0] if name.endswith(f"_{NULLS[0]}")
        ):
            for null in NULLS:
                column = f"{measure}_{null}"
                draws = pd.DataFrame({seed: table[rows][column] for seed, table in enumerate(tables)})
                if not np.isclose(draws.std(axis=1).max(), 0):
                    told(f"{measure} {null} ({role})", draws, tables[0][rows][measure])


if __name__ == "__main__":
    main()
