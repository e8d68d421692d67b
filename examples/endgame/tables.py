"""Print the tables of docs/findings/endgame.md from a run of the core design.

`python examples/endgame/tables.py RUN`, after `takeback study run examples/endgame/core.yaml -o RUN`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from takeback.draw.numbers import ABSENT, interval, number, signed
from takeback.run.stats import seeds_estimate
from takeback.run.tables import read_table
from takeback.study import load_plan
from takeback.study.measured import read_measured
from takeback.study.sums import weights_of

LEVEL = 0.05
WHOLE = ("KL", "utility gained", "legal mass gained", "pursuit share", "optimisation power", "MEG")
INSIDE = (
    ("weights", "share"),
    ("weights", "relative"),
    ("take back", "loss of signed pursuit share, if legal"),
    ("take back", "loss of pursuit at tuned's β, if legal"),
    ("take back", "utility of the arm's own goal"),
    ("take back", "legal"),
)


def main() -> None:
    """Print arms, contrasts of whole models and of components, the rule of the gain, and conjectures."""
    run = Path(sys.argv[1])
    table(("arm", "runs", "step", "matched", *WHOLE), arms(run))
    plan = load_plan(run / "plan.yaml")
    found = read_table(run / "contrasts.parquet")
    table(("contrast", "is"), ((name, formula(weights)) for name, weights in plan.contrasts.items()))
    table(("contrast", "measure", "estimate", "p", "floor"), whole(found))
    table(("contrast", "measure", "differ", "which, largest first", "floor"), inside(found))
    if (run / "carriers.parquet").exists():
        table(*rule(read_table(run / "carriers.parquet")))
    if (run / "conjectures.parquet").exists():
        decided = read_table(run / "conjectures.parquet")
        table(
            ("conjecture", "probability", "came out", "numbers"),
            ((r.sentence, f"{r.probability:g}", outcome(r.outcome), r.why) for r in decided.itertuples()),
        )
        scores = read_table(run / "conjecture_scores.parquet")
        table(
            tuple(scores.columns),
            ([number(v) if isinstance(v, float) else str(v) for v in row] for row in scores.values),
        )


def arms(run: Path) -> Iterable[Sequence[str]]:
    """Give the mean of every whole-model measure over the training runs of each arm, with its interval."""
    quantities = read_table(run / "quantities.parquet")
    quantities = quantities[quantities["component"] == ""]
    plan = load_plan(run / "plan.yaml")
    for arm in plan.arms:
        mine = quantities[quantities["arm"] == arm]
        measured = [one for seed in plan.seeds if (one := read_measured(arm, seed, run)) is not None]
        steps = sorted({one.step for one in measured})
        cells = [arm, str(len(measured)), "–".join(map(str, dict.fromkeys((steps[0], steps[-1]))))]
        cells.append(f"{sum(bool(one.matched) for one in measured)} of {len(measured)}")
        for measure in WHOLE:
            values = mine[mine["measure"] == measure]["value"].to_numpy()
            estimate = seeds_estimate(values) if len(values) else None
            cells.append(
                ABSENT
                if estimate is None
                else f"{signed(estimate.value)} {interval(estimate.low, estimate.high)}"
            )
        yield cells


def formula(weights: dict[str, float | str]) -> str:
    """Write a contrast as a sum over arms."""
    return " ".join(f"{signed(weight, 2)} `{arm}`" for arm, weight in weights_of(weights).items())


def whole(found: pd.DataFrame) -> Iterable[Sequence[str]]:
    """Give each contrast of whole models."""
    rows = found[(found["component"] == "") & found["measure"].isin(WHOLE)]
    for row in rows.itertuples():
        yield row.contrast, row.measure, _estimate(row), number(row.p, 4), number(row.floor)


def inside(found: pd.DataFrame) -> Iterable[Sequence[str]]:
    """Tell of each contrast and measure which components stand out from chance over all of them."""
    for contrast in dict.fromkeys(found["contrast"]):
        for source, measure in INSIDE:
            rows = found[
                (found["contrast"] == contrast)
                & (found["source"] == source)
                & (found["measure"] == measure)
                & (found["component"] != "")
            ].dropna(subset=["estimate"])
            some = rows[rows["p_family"] <= LEVEL].sort_values("estimate", key=abs, ascending=False)
            told = ", ".join(f"{row.component} {_estimate(row)}" for row in some.head(3).itertuples())
            title = f"{source}: {measure}"
            yield contrast, title, f"{len(some)} of {len(rows)}", told, number(rows["floor"].max())


def rule(carriers: pd.DataFrame) -> tuple[Sequence[str], Iterable[Sequence[str]]]:
    """List the components that meet most conditions of the rule *carries the gain*."""
    conditions = [name.removeprefix("p: ") for name in carriers if name.startswith("p: ")]
    met = len(conditions) - carriers["failed"].fillna("").map(
        lambda text: len([one for one in text.split("; ") if one])
    )
    order = met.sort_values(ascending=False, kind="stable").index[:8]
    rows = (
        [
            carriers.loc[place, "component"],
            "yes" if carriers.loc[place, "carries"] else "no",
            *(
                f"{signed(carriers.loc[place, name])} ({number(carriers.loc[place, f'p: {name}'])})"
                for name in conditions
            ),
        ]
        for place in order
    )
    return ("component", "carries the gain", *conditions), rows


def outcome(value: object) -> str:
    """Write what came out."""
    return "undecided" if pd.isna(value) else "true" if value else "**false**"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in Markdown."""
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |")
    print()


def _estimate(row: object) -> str:
    estimate, low, high = (getattr(row, name) for name in ("estimate", "low", "high"))
    if pd.isna(estimate):
        return ABSENT
    return f"{signed(estimate)} {interval(low, high)}" if not pd.isna(low) else signed(estimate)


if __name__ == "__main__":
    main()
