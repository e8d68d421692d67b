"""Contrasts of made-up studies, in which the truth is known."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import yaml
from typer.testing import CliRunner

from contrast_record import ARMS, CARRIER, CARRIERS, COMPONENTS, quantity_table, write_study
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.cli import app
from takeback.draw.numbers import signed
from takeback.draw.result import section_of
from takeback.findings.sweep import Sweep, squared_norms, sweep
from takeback.measure.agency.agency import agency
from takeback.measure.bench import Bench
from takeback.run.errors import TakebackError, UnknownName
from takeback.run.stats import max_permutation, permutation_test
from takeback.run.tables import read_table, write_table
from takeback.study import load_plan
from takeback.study.by_situation import OWN
from takeback.study.contrasts import contrasts, write_contrasts
from takeback.study.contrasts.carriers import carriers
from takeback.study.kept_losses import LossReader
from takeback.study.plan import check_plan
from takeback.study.pursuit import KL, LOSSES, PURSUIT, SHARE, losses
from takeback.study.sums import CarrierArms
from takeback.weights import diff
from validation.planted import POLICIES, noisy, planted, pursuer, world
from validation.simulate import NOISES, rates, rule_rates, scenarios, tables

pytestmark = pytest.mark.slow

BOTH = {"rl-win": 0.1, "rl-corner": 0.1}
RULE = CarrierArms.model_validate(CARRIERS)


@pytest.fixture(scope="module")
def planted_run(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study") / "run", BOTH)


@pytest.fixture(scope="module")
def found(planted_run):
    return contrasts(planted_run)


def test_the_planted_carrier_is_found_and_no_other(found):
    table = found.carriers
    assert table["component"].tolist() == COMPONENTS
    assert table.loc[table["carries"], "component"].tolist() == [CARRIER]
    row = table.set_index("component").loc[CARRIER]
    assert row["failed"] == ""
    assert row["n"] == 8
    assert row["more than rft-corner"] == pytest.approx(0.1, abs=0.02)
    other = table.set_index("component").loc["L3.MLP"]
    assert "more than rft-win" in other["failed"]
    assert other["costs rl-win"] > 0, "it costs as much in the control"


@pytest.mark.parametrize(
    ("extra", "failed"),
    [
        ({}, "more than rft-win"),
        ({"rl-win": 0.1}, "more than rft-corner"),
        ({**BOTH, "rft-win": 0.1, "rft-corner": 0.1}, "more than rft-win; more than rft-corner"),
        ({**BOTH, "rft-win": 0.1}, "more than rft-win"),
        ({"rl-win": -0.2, "rl-corner": -0.2}, "costs rl-win"),
    ],
)  # fmt: skip
def test_each_condition_can_fail(extra, failed):
    table = carriers(quantity_table(extra), RULE).table.set_index("component")
    assert not table["carries"].any()
    assert failed in table.loc[CARRIER, "failed"]


def test_probes_of_the_record_are_contrasted(tmp_path):
    found = contrasts(write_study(tmp_path / "run", BOTH, seeds=[0, 1], probe=True))
    assert set(rows_of(found, "alone", "take back", "probe mate in one")["n"]) == {2}


def test_the_conditions_are_those_of_its_contrasts(found):
    """What a component costs is its effect on the own goal's utility; p is that of the family."""
    table = found.carriers.set_index("component")
    alone, both = (rows_of(found, name, "take back", OWN).loc[COMPONENTS] for name in ("alone", "optimiser"))
    np.testing.assert_allclose(table["costs rl-win"], -alone["estimate"].astype(float))
    np.testing.assert_allclose(table["p: costs rl-win"], alone["p_family"].astype(float))
    np.testing.assert_allclose(table["more than rft-win"], -both["estimate"].astype(float))
    np.testing.assert_allclose(table["p: more than rft-win"], both["p_family_flips"].astype(float))


def test_what_no_component_reaches_is_bounded():
    """The bound of a condition that fails everywhere is the highest end of Student's intervals over runs."""
    table = quantity_table({})
    told = carriers(table, RULE).words
    wide = table.pivot(index="seed", columns=["arm", "component"], values="value")
    more = wide["rft-win"] - wide["rl-win"]
    highest = max(scipy.stats.ttest_1samp(more[one], 0).confidence_interval().high for one in COMPONENTS)
    line = next(word for word in told if word.startswith("more than rft-win"))
    assert f"no larger than {signed(highest)} (95%)" in line


def rows_of(found, contrast, source, measure):
    table = found.contrasts
    keys = (table["contrast"] == contrast) & (table["source"] == source) & (table["measure"] == measure)
    return table[keys].set_index("component")


def losses_in(run, arm, seeds=range(8)):
    tables = [read_table(run / "pursuit" / f"{arm}-seed-{seed}.parquet") for seed in seeds]
    return np.array([table.loc[table["measure"] == SHARE, "loss"] for table in tables])


def test_two_arms_are_dealt_out_by_hand(found, planted_run):
    one, other = (losses_in(planted_run, arm) for arm in ("rl-win", "rft-win"))
    rows = rows_of(found, "optimiser", "take back", SHARE).loc[COMPONENTS]
    assert rows["estimate"].tolist() == pytest.approx((one - other).mean(axis=0))
    np.testing.assert_allclose(rows["p_family"].to_numpy(float), max_permutation(one, other))
    place = COMPONENTS.index(CARRIER)
    row = rows.loc[CARRIER]
    assert row["p"] == permutation_test(one[:, place], other[:, place])
    assert row["test"] == "permutation"
    assert row["smallest_p"] == pytest.approx(2 / 12870)
    interval = scipy.stats.ttest_1samp(one[:, place] - other[:, place], 0).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx(tuple(interval))
    spread = np.sqrt((one.var(axis=0, ddof=1) + other.var(axis=0, ddof=1)) / 2)
    assert rows["between_seeds"].tolist() == pytest.approx(spread)
    assert rows["floor"].tolist() == pytest.approx(spread * np.sqrt(2 / 8))


def test_four_arms_are_flipped(found, planted_run):
    arms = [losses_in(planted_run, arm) for pair in CARRIERS.values() for arm in pair]
    sums = (arms[0] + arms[1] - arms[2] - arms[3]) / 2
    rows = rows_of(found, "optimisers", "take back", SHARE).loc[COMPONENTS]
    assert rows["estimate"].tolist() == pytest.approx(sums.mean(axis=0))
    assert set(rows["test"]) == {"sign flips"}
    assert set(rows["smallest_p"]) == {2 / 256}
    assert rows.loc[CARRIER, "p_family"] == 2 / 256
    for component in (CARRIER, "L3.MLP"):
        test = scipy.stats.permutation_test(
            (sums[:, COMPONENTS.index(component)],),
            lambda x, axis: np.abs(x.mean(axis=axis)),
            permutation_type="samples",
            alternative="greater",
            n_resamples=np.inf,
        )
        assert rows.loc[component, "p"] == pytest.approx(test.pvalue)


def test_every_source_is_there(found):
    table = found.quantities
    assert set(table["source"]) == {"weights", "take back", "graft", "behaviour"}
    assert not table.duplicated(["arm", "seed", "source", "component", "measure"]).any()
    measures = {source: set(rows["measure"]) for source, rows in table.groupby("source")}
    assert {"relative", "share", "half of ‖Δ‖²"} <= measures["weights"]
    assert {*LOSSES, "legal", OWN} <= measures["take back"]
    assert {"utility gained", "legal mass gained", "utility win"} <= measures["behaviour"]
    assert set(table.loc[table["source"] == "behaviour", "component"]) == {""}
    own = table[(table["measure"] == OWN) & (table["source"] == "take back")]
    assert set(own["arm"]) == set(ARMS)
    assert (table.loc[(table["measure"] == "legal") & (table["component"] == ""), "value"] == 0).all(), (
        "rounding"
    )


def test_random_sets_stand_beside_as_a_floor(found):
    rows = rows_of(found, "alone", "take back", "legal")
    assert rows["random_sets"].tolist() == pytest.approx([0.3] * len(rows)), "of random sets only"
    assert rows_of(found, "alone", "graft", "legal")["random_sets"].isna().all()
    assert "L0.H0 L1.H0" not in rows.index


def test_what_is_not_there_yet_is_left_out_and_told(tmp_path):
    run = write_study(tmp_path / "run", BOTH)
    (run / "effects" / "rft-win-seed-3.parquet").unlink()
    (run / "pursuit" / "rft-win-seed-3.parquet").unlink()
    for seed in range(8):
        (run / "pursuit" / f"sft-win-seed-{seed}.parquet").unlink()
    found = contrasts(run)
    assert "seeds that are not there yet: rft-win 3" in found.words
    assert any("sft-win" in word and "no readouts" in word for word in found.words)
    rows = rows_of(found, "optimiser", "take back", SHARE)
    assert set(rows["n"]) == {7}
    seeds = [seed for seed in range(8) if seed != 3]
    one, other = (losses_in(run, arm, seeds) for arm in ("rl-win", "rft-win"))
    assert rows.loc[COMPONENTS, "estimate"].tolist() == pytest.approx((one - other).mean(axis=0))
    assert set(rows_of(found, "optimiser", "weights", "relative")["n"]) == {8}
    assert "7 to 8 seeds, by measure: optimiser, optimisers" in found.words
    assert "8 seeds: alone" in found.words
    assert set(found.carriers["n"]) == {7}


def test_one_seed_has_no_interval_and_no_significance(tmp_path):
    found = contrasts(write_study(tmp_path / "run", BOTH, seeds=[4]))
    rows = rows_of(found, "optimiser", "take back", SHARE)
    assert rows["low"].isna().all()
    assert rows["between_seeds"].isna().all()
    assert set(rows["p_family"]) == {1.0}
    assert not found.carriers["carries"].any()
    assert any("costs rl-win holds for no component, smallest p 1" in word for word in found.words)


def test_a_component_that_a_run_lacks_is_in_no_family(tmp_path):
    run = write_study(tmp_path / "run", BOTH)
    path = run / "pursuit" / "rl-win-seed-2.parquet"
    table = read_table(path)
    write_table(table[table["component"] != "L0.H0"], path)
    rows = rows_of(contrasts(run), "optimiser", "take back", SHARE)
    assert "L0.H0" not in rows.index
    assert set(rows["components"]) == {len(COMPONENTS) - 1}


def test_contrasts_of_another_plan_are_taken(planted_run, tmp_path):
    plan = load_plan(
        planted_run / "plan.yaml", contrasts={"skill": {"sft-win": 1, "rft-win": -1}}, carriers=None
    )
    found = contrasts(planted_run, plan)
    assert set(found.contrasts["contrast"]) == {"skill"}
    assert "carriers" not in found.tables
    with pytest.raises(TakebackError, match="no contrasts"):
        contrasts(planted_run, plan.model_copy(update={"contrasts": {}}))
    with pytest.raises(UnknownName, match="'rl-wim'"):
        contrasts(planted_run, plan.model_copy(update={"contrasts": {"a": {"rl-wim": 1}}}))


def test_the_command_writes_tables_and_a_page(planted_run, tmp_path):
    run = CliRunner().invoke(app, ["contrasts", str(planted_run), "-o", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    assert "carries the gain" in run.stdout
    for name in ("contrasts", "quantities", "carriers"):
        assert len(read_table(tmp_path / "out" / f"{name}.parquet"))
    page = (tmp_path / "out" / "contrasts.html").read_text(encoding="utf-8")
    assert f"take back: {SHARE}" in page
    assert "optimiser, L1.H1: +0.1" in page
    told = CliRunner().invoke(app, ["contrasts", str(planted_run), "-o", str(tmp_path / "out"), "--json"])
    assert {"contrasts", "quantities", "carriers"} <= json.loads(told.stdout)["contrasts"].keys()


def test_the_picture_marks_the_carrier_alone(found):
    figure = next(one for one in section_of(found).figures if one.title == f"take back: {SHARE}")
    frames = figure.picture.count('stroke-width="1.6"')
    rows = found.contrasts
    shown = rows[(rows["measure"] == SHARE) & (rows["p_table"] <= 0.05)]
    assert frames == len(shown) < (rows.loc[rows["measure"] == SHARE, "p_family"] <= 0.05).sum()
    assert ">floor<" in figure.picture


def test_the_same_record_gives_the_same_bytes(planted_run, found):
    pd.testing.assert_frame_equal(contrasts(planted_run).contrasts, found.contrasts)


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "unchanged"])
def test_losses_are_differences_of_the_measures_of_agency(name):
    made = world(60)
    tuned, hybrid = pursuer(made, beta=2.0), planted(name, made)
    found = losses(made.base, tuned, {"L0.H0": hybrid}, made.context, "wanted").set_index("measure")["loss"]
    whole, rest = (
        agency(made.base, after, made.context, ["wanted"]).set_index("measure")["value"]
        for after in (tuned, hybrid)
    )
    share = "signed pursuit share, if legal"
    if pd.isna(rest[share]):
        assert pd.isna(found[SHARE])
    else:
        assert found[SHARE] == pytest.approx(whole[share] - rest[share])


def test_losses_in_nats_are_beta_times_utilities_and_of_all_outcomes_for_kl():
    made = world(60)
    tuned, hybrid = pursuer(made, beta=2.0), noisy(made)
    found = losses(made.base, tuned, {"x": hybrid, "same": tuned}, made.context, "wanted")
    found = found.set_index(["component", "measure"])["loss"]

    def utility(side):
        weights = side.probabilities * made.context.utilities["wanted"]
        owner = made.context.owner
        return np.mean(np.bincount(owner, weights) / np.bincount(owner, side.probabilities))

    assert found["x", PURSUIT] == pytest.approx(2.0 * (utility(tuned) - utility(hybrid)), rel=1e-4)
    p, q, mass = hybrid.probabilities, made.base.probabilities, (hybrid.masses, made.base.masses)
    distance = (p * np.log(p / q)).sum() + (mass[0] * np.log(mass[0] / mass[1])).sum()
    p, mass = tuned.probabilities, (tuned.masses, made.base.masses)
    whole = (p * np.log(p / q)).sum() + (mass[0] * np.log(mass[0] / mass[1])).sum()
    assert found["x", KL] == pytest.approx((whole - distance) / 60)
    assert found["same"].abs().max() < 1e-12


def test_an_arm_without_a_goal_has_only_a_distance():
    made = world(20)
    found = losses(made.base, noisy(made), {"x": made.base}, made.context, None)
    assert found["measure"].tolist() == [KL]
    assert found["loss"][0] > 0


@pytest.mark.slow
def test_estimators_hold_their_level_where_they_should():
    """Sign flips hold with symmetric noise, and not for one skewed arm; intervals cover normal noise."""
    families = 300
    margin = 4 * np.sqrt(0.05 * 0.95 / families)
    for weights in [(0.5, 0.5, -0.5, -0.5), (1.0,)]:
        for law in ("normal", "heavy tails (t, 3 df)"):
            tried = rates(weights, NOISES[law], 1.0, families, seed=1)
            assert tried.error <= 0.05 + margin
        normal = rates(weights, NOISES["normal"], 1.0, families, seed=1)
        assert normal.coverage == pytest.approx(0.95, abs=margin)
        assert normal.power > 0.2
    skewed = rates((1.0,), NOISES["skewed (exponential)"], 1.0, families, seed=1)
    assert skewed.error > 0.05 + margin / 2


@pytest.mark.slow
def test_the_rule_names_the_planted_carrier_and_nothing_else():
    for name, scenario in scenarios().items():
        rest, first = rule_rates(scenario, 25, seed=1)
        assert rest <= 0.12
        if name.endswith("3 SD, runs paired"):
            assert first > 0.8
        elif not name.startswith("the first"):
            assert first <= 0.12


def test_the_tables_of_the_simulation_are_markdown():
    lines = list(tables(1, 0))
    assert len({line.count("|") for line in lines[2:19]}) <= 2


def test_runs_at_another_distance_are_named(tmp_path):
    run = write_study(tmp_path / "run", {}, seeds=[0, 1])
    path = run / "behaviour" / "rl-win-seed-1" / "shifts.parquet"
    far = pd.array([False, False], "boolean")
    write_table(read_table(path).assign(matched=far, kl=0.123), path)
    told = contrasts(run).words
    assert [word for word in told if "the plan's KL" in word] == [
        "rl-win seed 1 is measured at 0.12 nats, not at the plan's KL"
    ]


def test_a_run_writes_its_contrasts_where_its_plan_has_some(planted_run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(planted_run, copy)
    write_contrasts(copy)
    assert len(read_table(copy / "contrasts.parquet"))
    assert (copy / "contrasts.html").exists()
    plan = yaml.safe_load((copy / "plan.yaml").read_text())
    (copy / "contrasts.parquet").unlink()
    (copy / "plan.yaml").write_text(yaml.safe_dump({**plan, "contrasts": {}}))
    write_contrasts(copy)
    assert not (copy / "contrasts.parquet").exists()


@pytest.mark.slow
def test_losses_of_a_sweep_are_those_of_its_hybrids_read_anew(players, tmp_path):
    base, tuned = players
    run = tmp_path / "run"
    arm = {"method": "sft", "goal": "win", "steps": 2, "learning_rate": 1e-3}
    plan = check_plan({"name": "x", "base": base, "arms": {"a": arm}, "situations": 16})
    situations = arena("endgames").situations("held-out", 16, 0)
    pair, sets = open_pair(base, tuned), ["L0.H1", "L1.MLP", "L0.H0 L0.H1"]
    bench = Bench(pair, arena("endgames"), situations)
    what = Sweep(bench, squared_norms(diff(pair)), sets, 1)
    sweep(what, run / "effects" / "a-seed-0.parquet")
    found = LossReader(plan, run).of("a", 0)
    assert found["component"].unique().tolist() == ["L0.H1", "L1.MLP"]
    before = [bench.ends[side] for side in ("base", "tuned")]
    parts = [pair.anatomy().parse(name) for name in ("L0.H1", "L1.MLP")]
    hybrids = dict(zip(("L0.H1", "L1.MLP"), bench.read(parts), strict=True))
    expected = losses(*before, hybrids, bench.context, "win")
    np.testing.assert_allclose(found["loss"].to_numpy(float), expected["loss"].to_numpy(float), atol=1e-5)
    kept = run / "pursuit" / "a-seed-0.parquet"
    write_table(read_table(kept).assign(loss=7.0), kept)
    assert set(LossReader(plan, run).of("a", 0)["loss"]) == {7.0}, "it is kept"
    other = plan.model_copy(update={"arms": {"a": {**arm, "goal": "corner"}}})
    assert 7.0 not in set(LossReader(other, run).of("a", 0)["loss"]), "of another goal it is measured anew"
    few = plan.model_copy(update={"situations": 8, "arms": {"a": {**arm, "goal": "check"}}})
    with pytest.raises(TakebackError, match="not of the plan's situations"):
        LossReader(few, run).of("a", 0)
