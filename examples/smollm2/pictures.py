"""Draw the pictures of the page on SmolLM2: `python examples/smollm2/pictures.py RECORD FOLDER`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from takeback.component import Component
from takeback.draw.bars import Bar, Bars, bar_plot
from takeback.draw.heatmap import Cell, Ends, heat_map, limit_of
from takeback.draw.numbers import percent, signed
from takeback.draw.result import section_of
from takeback.findings.repair import Repaired
from takeback.run.tables import read_table

ARM, SKILL = "rl-seed-0", "utility right"
MARGIN = 0.1
"""The share of the gain that the repair could lose."""
WAYS = {"take back": -1.0, "graft": 1.0}
"""What a set does to the gain: taken back it loses a share, grafted onto base it brings one."""


def pictures(record: Path) -> Iterator[tuple[str, str]]:
    """Give each picture as SVG by name."""
    read = read_table(record / "read.parquet")
    own = read[(read["arm"] == ARM) & (read["arena"] == "task") & (read["measure"] == SKILL)]
    gain = float(own["effect"].iloc[0])
    told = read_table(record / "effects.parquet")
    told = told[(told["arm"] == ARM) & (told["arena"] == "task") & (told["measure"] == SKILL)]
    layers = told[told["family"] == "each layer"]["set"].unique()
    rows = [
        Bars(str(name).removesuffix(".*"), tuple(_bar(told, way, str(name), gain) for way in WAYS))
        for name in layers
    ]
    label = "Share of what RL gained that each layer loses when taken back, and brings when grafted"
    names = ["lost when the layer is taken back", "brought when it is grafted onto base"]
    yield "smollm2-layers", bar_plot(rows, names, "share of the gain; ticks: random sets", label)
    single = told[(told["direction"] == "graft") & told["family"].isin(["each head", "each mlp"])]
    cells = {
        Component.parse(str(row.components)): Cell(row.effect, f"{row.set}: {signed(row.effect)}", "")
        for row in single.itertuples()
    }
    limit = limit_of(cell.value for cell in cells.values())
    ends = Ends(limit, signed(limit), signed(-limit))
    yield "smollm2-graft", heat_map(cells, ends, "diverging", "Right answers when one head or MLP is grafted")
    judged = read_table(record / "repair.parquet").query("arm == @ARM")
    told = Repaired(ARM, judged, judged[:0], "the last digit", "the middle digit", MARGIN, None)
    yield "smollm2-repair", section_of(told).figures[0].picture


def _bar(told: pd.DataFrame, way: str, name: str, gain: float) -> Bar | None:
    some = told[told["direction"] == way]
    found = some[(some["set"] == name) & (some["family"] == "each layer")]
    if not len(found):
        return None
    row: Any = next(found.itertuples())
    sign = WAYS[way] / gain
    random = some[some["matches"].fillna("").str.split("; ").map(lambda names: name in names)]
    low, high = sorted((row.low * sign, row.high * sign))
    controls = tuple(float(one) * sign for one in random["effect"])
    return Bar(row.effect * sign, low, high, f"{name}: {percent(row.effect * sign)}", controls)


if __name__ == "__main__":
    for name, picture in pictures(Path(sys.argv[1])):
        (Path(sys.argv[2]) / f"{name}.svg").write_text(picture + "\n", encoding="utf-8")
