"""Tables of docs/findings/endgame.md from the kept records of both runs.

The second base's record lies beside the first; `python examples/pages.py --blocks docs/findings/endgame.md`
prints them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from takeback.draw.markdown import slug, table
from takeback.draw.numbers import ABSENT, interval, number, percent, signed
from takeback.run.crossed import crossed_estimate
from takeback.run.power import bound
from takeback.run.stats import Estimate
from takeback.run.tables import read_table
from takeback.study import load_plan
from takeback.study.by_situation import BEHAVIOUR, GAINED, LEGAL_GAINED, ON_SCALES, OWN
from takeback.study.conjectures.markdown import of_conjectures, of_scores
from takeback.study.contrasts.quantities import Contributions, quantities
from takeback.study.plan import Plan
from takeback.study.sums import weights_of

LEVEL = 0.05
MAIN = "optimiser"
WHOLE: Final = (GAINED, LEGAL_GAINED, *ON_SCALES.values())
ARM: Final = ("KL", *WHOLE, "optimisation power", "MEG")
INSIDE: Final = (
    ("weights", "share", "share of ‖Δ‖²"),
    ("take back", OWN, "utility of the own goal, when taken back"),
    ("take back", "legal", "legal mass, when taken back"),
    ("take back", "loss of signed pursuit share, if legal", "pursuit share lost, when taken back"),
)


class Record:
    """A kept record: its plan, its contrasts, and what each situation adds."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.plan = folder, load_plan(folder / "plan.yaml")
        self.contrasts = read_table(folder / "contrasts.parquet")
        self.measured = read_table(folder / "measured.parquet")
        situations = quantities(folder).situations
        assert isinstance(situations, Contributions)
        self.situations = situations

    def row(self, contrast: str, measure: str, source: str = BEHAVIOUR, component: str = "") -> Any:
        """Return one row of the contrasts, None where it has no number."""
        found = self.contrasts
        for column, wanted in zip(
            ("contrast", "source", "component", "measure"),
            (contrast, source, component, measure),
            strict=True,
        ):
            found = found[found[column] == wanted]
        return next(found.itertuples(), None)

    def each(self, weights: dict[str, float], measure: str) -> np.ndarray | None:
        """Return a weighted sum over arms of what situations add, shape (seeds, situations)."""
        arms = list(weights)
        seeds = [
            seed for seed in self.plan.seeds if {*arms} <= {*self.measured.query("seed == @seed")["arm"]}
        ]
        found = self.situations.of((BEHAVIOUR, measure), arms, seeds, [""]) if seeds else None
        return None if found is None else np.tensordot(list(weights.values()), found.values[:, :, 0], 1)


def blocks(record: Path) -> dict[str, str]:
    """Return the page's tables and numbers, as Markdown by key."""
    first = Record(record)
    told = {**_of(first, ""), **_numbers(first)}
    if (other := record.parent / "endgame-second").exists():
        told |= _of(Record(other), "second-") | _numbers(Record(other), "second-")
    return told


def _of(record: Record, prefix: str) -> dict[str, str]:
    columns = "estimate", "over runs alone", "p, table", "would be seen"
    tables = {
        "arms": (("arm", "runs", "steps", "at", *ARM), arms(record)),
        "contrasts": (("contrast", "is"), definitions(record.plan)),
        "whole": (("contrast", "measure", *columns), whole(record)),
        "halves": (("contrast", "measure", "first 256 positions", "other 256"), halves(record)),
        "inside": (
            ("contrast", "of each component", "stand out", "the others, no larger than"),
            inside(record),
        ),
    }
    told = {f"{prefix}{name}": table(*made) for name, made in tables.items()}
    if (path := record.folder / "conjectures.parquet").exists():
        decided = read_table(path)
        told[f"{prefix}conjectures"] = of_conjectures(decided)
        told |= {f"{prefix}{slug(key)}": text for key, text in of_scores(decided)}
    return told


def _numbers(record: Record, prefix: str = "") -> dict[str, str]:
    """Return single numbers for sentences."""
    own = {
        arm: each for arm in ("rl-win", "rft-win") if (each := record.each({arm: 1.0}, GAINED)) is not None
    }
    told: dict[str, str] = {f"{prefix}runs": str(len(record.measured))}
    for contrast in (
        MAIN,
        f"{MAIN}, win",
        f"{MAIN}, corner",
        "optimiser, no penalty",
        "penalty",
        "on-policy",
        "chance",
    ):
        if contrast not in record.plan.contrasts or contrast not in {*record.contrasts["contrast"]}:
            continue
        slug = contrast.replace(", ", "-").replace(" ", "-")
        for measure in WHOLE:
            if (row := record.row(contrast, measure)) is None:
                continue
            name = measure.replace(", ", "-").replace(" ", "-")
            told[f"{prefix}{slug}-{name}"] = cell(row)
            told[f"{prefix}{slug}-{name}-bound"] = _number(row.bound)
            told[f"{prefix}{slug}-{name}-seen"] = _number(row.detectable)
    if len(own) == 2:
        means = {arm: float(each.mean()) for arm, each in own.items()}
        told[f"{prefix}win-more"] = percent(means["rl-win"] / means["rft-win"] - 1)
    unembed = record.row(MAIN, "share", "weights", "UNEMBED")
    told[f"{prefix}unembed"] = cell(unembed)
    rows = record.contrasts[(record.contrasts["contrast"] == MAIN) & (record.contrasts["measure"] == OWN)]
    told[f"{prefix}own-bound"] = number(float(rows["bound"].max())) if rows["bound"].notna().any() else ABSENT
    told[f"{prefix}own-seen"] = number(_most(rows["detectable"]))
    return told


def arms(record: Record) -> Iterator[Sequence[str]]:
    """Give the mean of every measure of whole models over runs and situations, with its interval."""
    for arm in record.plan.arms:
        mine = record.measured[record.measured["arm"] == arm]
        if mine.empty:
            continue
        steps = sorted({*mine["step"], *mine["beside_step"].dropna().astype(int)})
        cells = [f"`{arm}`", str(len(mine)), f"{steps[0]}–{steps[-1]}", number(float(mine["at"].mean()))]
        for measure in ARM:
            each = record.each({arm: 1.0}, measure)
            cells.append(ABSENT if each is None else estimate(crossed_estimate(each).both))
        yield cells


def definitions(plan: Plan) -> Iterator[Sequence[str]]:
    """Say what each contrast is."""
    for name, weights in plan.contrasts.items():
        yield name, " ".join(f"{signed(w, 2)} `{arm}`" for arm, w in weights_of(weights).items())


def whole(record: Record) -> Iterator[Sequence[str]]:
    """Give each contrast of whole models, with what a difference must have been to be seen."""
    rows = record.contrasts[record.contrasts["component"] == ""]
    for row in rows[rows["measure"].isin(WHOLE)].itertuples():
        runs = ABSENT if pd.isna(row.low_runs) else interval(row.low_runs, row.high_runs)
        yield row.contrast, row.measure, cell(row), runs, _number(row.p_table, 2), _number(row.detectable)


def halves(record: Record) -> Iterator[Sequence[str]]:
    """Give the main contrasts on two disjoint sets of positions."""
    for contrast in [name for name in record.plan.contrasts if name.startswith((MAIN, "penalty"))]:
        for measure in WHOLE:
            each = record.each(weights_of(record.plan.contrasts[contrast]), measure)
            if each is not None:
                half = each.shape[1] // 2
                sides = each[:, :half], each[:, half:]
                yield contrast, measure, *(estimate(crossed_estimate(one).both) for one in sides)


def inside(record: Record) -> Iterator[Sequence[str]]:
    """Tell which components stand out over the whole table, and how large effects of the others can be."""
    for contrast in record.plan.contrasts:
        for source, measure, title in INSIDE:
            rows = record.contrasts[record.contrasts["contrast"] == contrast]
            rows = rows[(rows["source"] == source) & (rows["measure"] == measure) & (rows["component"] != "")]
            rows = rows.dropna(subset=["estimate"])
            if rows.empty:
                continue
            out = rows["p_table"] <= LEVEL
            some = rows[out].sort_values("estimate", key=abs, ascending=False)
            named = ", ".join(f"{row.component} {cell(row)}" for row in some.head(3).itertuples())
            rest = number(_most(rows[~out]["bound"])) if (~out).any() else ABSENT
            yield contrast, title, f"{len(some)} of {len(rows)}{': ' if named else ''}{named}", rest


def cell(row: Any) -> str:
    """Write an estimate with its interval."""
    if pd.isna(row.estimate):
        return ABSENT
    return (
        signed(row.estimate) if pd.isna(row.low) else f"{signed(row.estimate)} {interval(row.low, row.high)}"
    )


def estimate(found: Estimate) -> str:
    """Write an estimate with its interval, or the largest size that it does not rule out."""
    if found.low is None:
        return signed(found.value)
    told = f"{signed(found.value)} {interval(found.low, found.high)}"
    return told if bound(found) is not None else signed(found.value)


def _number(value: Any, digits: int = 3) -> str:
    return ABSENT if pd.isna(value) else number(float(value), digits)


def _most(values: pd.Series) -> float | None:
    return None if values.dropna().empty else float(values.max())
