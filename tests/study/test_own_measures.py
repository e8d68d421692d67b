"""A plan with a measure of its own: in every table, in what is localised and explained, and on the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from takeback.report import run_plan
from takeback.run.errors import TakebackError, UnknownName
from takeback.run.tables import read_table
from takeback.study.comparison import compare
from takeback.study.plan import Plan, check_plan

OWN = '''
import numpy as np

def sureness(readouts, context):
    """Probability of the likeliest legal action."""
    best = np.zeros(len(readouts))
    np.maximum.at(best, context.owner, readouts.probabilities)
    return best * FACTOR

FACTOR = 1.0
'''


def plan(file: Path) -> Plan:
    return check_plan(
        {
            "name": "own",
            "base": "endgame-mlp",
            "arms": {"sft": {"method": "sft", "goal": "win", "steps": 2, "learning_rate": 3e-3}},
            "situations": 6,
            "localise_situations": 6,
            "localise": {"sft": ["shares"]},
            "sets": ["each layer"],
            "controls": 1,
            "games": 0,
            "measures": [f"{file}:sureness"],
        }
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN, encoding="utf-8")
    return path


@pytest.mark.slow
def test_it_is_measured_everywhere_and_its_source_counts(file: Path, tmp_path: Path) -> None:
    name, run = f"{file}:sureness", tmp_path / "run"
    page = run_plan(plan(file), run)
    tables = ("behaviour/policies", "behaviour/shifts", "effects/sft-seed-0")
    before = {one: read_table(run / f"{one}.parquet").set_index("measure").loc[name] for one in tables}
    assert name in set(read_table(run / "localise" / "sft-seed-0" / "values.parquet")["measure"])
    (told,) = (
        one for one in json.loads((run / "manifest.json").read_text())["measures"] if one["name"] == name
    )
    assert told["words"] == "Probability of the likeliest legal action."
    assert "Probability of the likeliest legal action." in page.read_text(encoding="utf-8")
    means = compare([run], [name]).means.set_index("measure")
    assert means.loc[name, "value"] == pytest.approx(float(before["behaviour/shifts"]["effect"]))
    with pytest.raises(UnknownName, match="sureness"):
        compare([run], [f"{file}:surenes"])

    trained = (run / "arms" / "sft" / "seed-0" / "final" / "model.safetensors").stat().st_mtime_ns
    file.write_text(OWN.replace("FACTOR = 1.0", "FACTOR = 2.0"), encoding="utf-8")
    run_plan(plan(file), run)
    assert (run / "arms" / "sft" / "seed-0" / "final" / "model.safetensors").stat().st_mtime_ns == trained
    for one in tables:
        again = read_table(run / f"{one}.parquet").set_index("measure").loc[name]
        assert again["value"].tolist() == pytest.approx((2 * before[one]["value"]).tolist())


def test_a_plan_with_an_unknown_one_is_refused_before_any_work(file: Path, tmp_path: Path) -> None:
    with pytest.raises(TakebackError, match="did you mean"):
        run_plan(plan(file).model_copy(update={"measures": ("utility wim",)}), tmp_path / "run")
    assert not (tmp_path / "run" / "plan.yaml").exists()
