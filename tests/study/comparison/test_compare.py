"""Runs side by side, on a record made by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.spatial
import scipy.stats
import yaml

from takeback.checkpoint import Network, NetworkConfig
from takeback.draw.result import section_of
from takeback.run.errors import TakebackError
from takeback.run.stats import permutation_test
from takeback.run.tables import write_table
from takeback.study.comparison import compare
from takeback.study.comparison.beside import welch
from takeback.study.comparison.measures import pseudo_values

CONFIG = NetworkConfig(activation="relu")
GAINS = {"rl-win": [0.2, 0.3, 0.25], "sft-win": [0.1, 0.0, 0.05]}
SHARES = {"rl-win": [0.4, 0.5, 0.6], "sft-win": [0.1, 0.2, 0.3]}
COMPONENTS = ["L0.U0", "L0.U1", "L1.U0", "L1.U1"]


def write_run(folder, name="tiny"):
    common = {"goal": "win", "steps": 4, "learning_rate": 1e-3}
    arms = {"rl-win": {"method": "rl", **common}, "sft-win": {"method": "sft", **common}}
    base = folder / "base" / "final"
    base.mkdir(parents=True)
    Network.fresh([3, 2, 2], CONFIG, seed=0).save_pretrained(base)
    plan = {"name": name, "base": str(base), "seeds": [0, 1, 2], "arms": arms}
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    for arm in arms:
        for seed in range(3):
            write_arm(folder, arm, seed)
    return folder


def write_arm(folder, arm, seed):
    final, name = folder / "arms" / arm / f"seed-{seed}" / "final", f"{arm}-seed-{seed}"
    final.mkdir(parents=True)
    Network.fresh([3, 2, 2], CONFIG, seed=10 + seed).save_pretrained(final)
    shifts = [("utility win", GAINS[arm][seed]), ("legal", 1e-17), ("KL(after || before)", 1.0)]
    write_table(
        pd.DataFrame(shifts, columns=["measure", "effect"]), folder / "behaviour" / name / "shifts.parquet"
    )
    agency = [
        ("signed pursuit share, if legal", "win", SHARES[arm][seed]),
        ("signed pursuit share, if legal", "draw", -1.0),
        ("MEG, if legal", "win", None),
    ]
    frame = pd.DataFrame(agency, columns=["measure", "goal", "value"]).astype({"value": "Float64"})
    write_table(frame, folder / "behaviour" / name / "agency.parquet")
    moved = pd.DataFrame({"component": COMPONENTS, "share": [0.1, 0.2, 0.3, 0.4]})
    write_table(moved, folder / "diff" / name / "components.parquet")
    effects = pd.DataFrame(
        {
            "measure": "utility win",
            "direction": "take back",
            "family": "each unit",
            "set": COMPONENTS,
            "effect": np.roll([-0.3, -0.1, 0.0, 0.2], seed),
        }
    )
    write_table(effects, folder / "effects" / f"{name}.parquet")
    carriers = pd.DataFrame(
        {
            "direction": ["take back", "graft", "graft"],
            "order": ["exact effect", "exact effect", "‖Δ‖"],
            "n_components": [3, 2, 1],
            "of": 4,
            "carried": [0.9, 0.95, 0.91],
        }
    )
    if arm == "rl-win":
        write_table(carriers, folder / "localise" / name / "carriers.parquet")


def test_means_over_seeds_are_of_the_record(tmp_path):
    found = compare([write_run(tmp_path / "run")])
    means = found.means.set_index(["arm", "measure"])
    assert means.loc[("rl-win", "utility gained"), "value"] == pytest.approx(0.25)
    interval = scipy.stats.t.interval(0.95, 2, 0.25, 0.05 / 3**0.5)
    assert means.loc[("rl-win", "utility gained"), ["low", "high"]].tolist() == pytest.approx(interval)
    assert means.loc[("rl-win", "legal mass gained"), "value"] == 0.0
    assert means.loc[("rl-win", "pursuit share"), "value"] == pytest.approx(0.5)
    assert means.loc[("rl-win", "half of ‖Δ‖²"), "value"] == pytest.approx(1 / 2), "of 0.1 and 0.2 the larger"
    assert means.loc[("rl-win", "‖Δ‖² at the outputs"), "value"] == pytest.approx(0.7)
    assert means.loc[("rl-win", "needed for 90%"), "value"] == pytest.approx(3 / 4)
    assert means.loc[("rl-win", "enough for 90%"), "value"] == pytest.approx(1 / 4)
    assert ("sft-win", "enough for 90%") not in means.index, "what was not localised has no row"
    assert ("rl-win", "MEG") not in means.index, "what is missing is missing"
    rolled = [np.roll([-0.3, -0.1, 0.0, 0.2], seed) for seed in range(3)]
    ranks = [scipy.stats.spearmanr(one, other).statistic for one, other in itertools.combinations(rolled, 2)]
    assert means.loc[("rl-win", "effects between seeds"), "value"] == pytest.approx(np.mean(ranks))
    assert set(means["parameters"]) == {3 * 2 + 2 + 2 * 2 + 2}
    assert set(means["components"]) == {4}


def test_rl_stands_beside_its_control(tmp_path):
    table = compare([write_run(tmp_path / "run")]).contrasts.set_index("measure")
    row = table.loc["utility gained"]
    assert (row["one"], row["other"], row["seeds"]) == ("rl-win", "sft-win", 3)
    assert row["difference"] == pytest.approx(0.2)
    assert row["p"] == permutation_test(GAINS["rl-win"], GAINS["sft-win"]) == pytest.approx(0.1)
    assert row["smallest_p"] == pytest.approx(0.1)
    test = scipy.stats.ttest_ind(GAINS["rl-win"], GAINS["sft-win"], equal_var=False)
    assert [row["low"], row["high"]] == pytest.approx(list(test.confidence_interval(0.95)))


def test_welch_s_interval_is_scipy_s():
    random = np.random.default_rng(0)
    one, other = random.normal(size=5).tolist(), (3 * random.normal(size=8)).tolist()
    interval = scipy.stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert 2 * welch(one, other) == pytest.approx(interval.high - interval.low)


def test_jackknife_values_have_the_mean_and_the_error_of_the_pairs():
    random = np.random.default_rng(1)
    vectors = {seed: random.normal(size=6) + 1 for seed in range(5)}
    cosines = {
        pair: 1 - scipy.spatial.distance.cosine(vectors[pair[0]], vectors[pair[1]])
        for pair in itertools.combinations(vectors, 2)
    }
    found = pseudo_values(vectors)
    assert np.mean(list(found.values())) == pytest.approx(np.mean(list(cosines.values())))
    without = [np.mean([c for pair, c in cosines.items() if seed not in pair]) for seed in vectors]
    error = (4 / 5 * np.sum((without - np.mean(without)) ** 2)) ** 0.5
    assert np.std(list(found.values()), ddof=1) / 5**0.5 == pytest.approx(error)


def test_runs_of_one_name_and_folders_that_are_no_runs_are_refused(tmp_path):
    one, other = (write_run(tmp_path / name) for name in ("one", "other"))
    with pytest.raises(TakebackError, match="same name"):
        compare([one, other])
    with pytest.raises(TakebackError, match="no plan"):
        compare([tmp_path / "nowhere"])


def test_it_is_drawn_and_printed(tmp_path, capsys):
    found = compare([write_run(tmp_path / "run")])
    section = section_of(found)
    assert {"utility gained", "pursuit share"} <= {figure.title for figure in section.figures}
    found.print()
    told = capsys.readouterr().out
    assert "tiny: 14 parameters in 4 components" in told
    assert "rl-win −" in told
