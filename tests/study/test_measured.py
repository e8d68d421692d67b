"""Which snapshot is measured: by hand, and in a run that is killed."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from takeback.checkpoint import open_checkpoint
from takeback.planning.checkin.known import facts_of
from takeback.run.errors import TakebackError
from takeback.run.tables import read_table
from takeback.study import run_plan
from takeback.study.by_situation import between as between_sides
from takeback.study.conjectures.record import unfinished
from takeback.study.contrasts import contrasts
from takeback.study.contrasts.quantities import quantities
from takeback.study.kept import keep_record
from takeback.study.measured import Snapshot, between, choose, measured_model, nearest, read_measured
from takeback.study.plan import check_plan, dump_plan, load_plan

ARM = {"method": "rl", "goal": "win", "steps": 4, "learning_rate": 1e-3, "prompts": 4, "completions": 2}
FIELDS = {
    "name": "matched",
    "base": "endgame-mlp",
    "arms": {"rl-win": {**ARM, "snapshots": [1, 2, 3]}},
    "situations": 8,
    "games": 2,
    "moves": 4,
    "sets": ["each layer", "each kind"],
    "controls": 1,
}
NAMED = ["L0.U0", "L0.U1", "L1.U3"]


def test_the_nearest_is_nearest_in_its_logarithm_and_matched_within_half_as_much_again():
    kl = {1: 0.1, 2: 0.35, 3: 0.9, 4: 0.45}
    assert nearest(kl, 0.4) == (4, True), "0.45 is 1.125 times 0.4, and 0.35 a 1.143rd part of it"
    assert nearest(kl, 0.2) == (2, False), "0.35 is 1.75 times 0.2, 0.1 half of it"
    assert nearest(kl, 0.6) == (4, True), "0.45 is 0.75 of it, 0.9 three halves"
    assert nearest({1: 0.6}, 0.4) == (1, True), "1.5 times is just within"
    assert nearest({1: 0.601}, 0.4) == (1, False)
    assert nearest({1: 0.0, 2: 40.0}, 0.4) == (2, False), "what has not moved is infinitely far"
    assert nearest({2: 0.0, 1: 0.0}, 0.4) == (1, False)


@given(st.dictionaries(st.integers(1, 50), st.floats(1e-6, 1e3), min_size=1), st.floats(1e-6, 1e3))
def test_no_other_snapshot_is_nearer_by_ratio(kl, wanted):
    step, matched = nearest(kl, wanted)

    def ratio(value):
        return max(value / wanted, wanted / value)

    assert ratio(kl[step]) <= min(map(ratio, kl.values())) * (1 + 1e-9)
    if abs(ratio(kl[step]) - 1.5) > 1e-6:
        assert matched == (ratio(kl[step]) < 1.5)


def test_what_was_chosen_is_written_down_and_found_again(tmp_path):
    last, at = check_plan(FIELDS), check_plan({**FIELDS, "measure_at": {"kl": 0.4}})
    kl = {1: 0.1, 2: 0.3, 4: 2.0}
    run = tmp_path / "arms" / "rl-win" / "seed-0"
    with pytest.raises(TakebackError, match="run the plan, it goes on"):
        measured_model(at, "rl-win", 0, tmp_path)
    assert measured_model(last, "rl-win", 0, tmp_path) == run / "final"
    assert read_measured("rl-win", 0, tmp_path) is None
    found = choose(at, "rl-win", 0, tmp_path, kl)
    assert (found.folder, found.step, found.kl, found.matched) == ("step-2", 2, 0.3, True)
    assert read_measured("rl-win", 0, tmp_path) == found
    assert measured_model(at, "rl-win", 0, tmp_path) == run / "step-2"
    found = choose(last, "rl-win", 0, tmp_path, kl)
    assert (found.folder, found.step, found.matched) == ("final", 4, None)
    assert measured_model(last, "rl-win", 0, tmp_path) == run / "final"


def test_both_snapshots_around_the_first_passing_are_found_with_their_shares(tmp_path):
    plan = check_plan({**FIELDS, "measure_at": {"kl": 0.4}})
    found = choose(plan, "rl-win", 0, tmp_path, {1: 0.1, 2: 0.3, 3: 0.7, 4: 0.2})
    assert (found.folder, found.beside) == ("step-2", Snapshot("step-3", 3, 0.7))
    assert found.share == pytest.approx(0.75)
    assert found.at == pytest.approx(0.4)
    assert read_measured("rl-win", 0, tmp_path) == found
    found = choose(plan, "rl-win", 0, tmp_path, {1: 0.1, 2: 0.39, 4: 0.39})
    assert found.beside is None, "it is nowhere passed"
    assert between({1: 0.5, 2: 0.3, 3: 0.5}, 0.4) == (2, 3), "passed on the way out"
    assert between({1: 0.4, 2: 0.4, 3: 0.5}, 0.4) == (2, 3), "equal ends have nothing between them"


@given(st.lists(st.floats(1e-3, 10), min_size=2, max_size=8), st.floats(1e-3, 10))
def test_what_lies_between_has_the_wanted_kl_exactly(tmp_path_factory, path, wanted):
    plan = check_plan({**FIELDS, "measure_at": {"kl": wanted}})
    kl = dict(enumerate(path, 1))
    found = choose(plan, "rl-win", 0, tmp_path_factory.mktemp("chosen"), kl)
    if found.beside is not None:
        assert found.at == pytest.approx(wanted)
        assert 0 <= found.share <= 1
        assert abs(found.step - found.beside.step) == 1


@pytest.mark.parametrize("value", ["first", {"kl": 0}, {"kl": 1, "step": 3}, {}])
def test_a_plan_measures_at_the_last_model_or_at_a_positive_kl(value):
    with pytest.raises(TakebackError, match="measure_at"):
        check_plan({**FIELDS, "measure_at": value})


def test_the_field_survives_writing(tmp_path):
    from takeback.study import load_plan

    plan = check_plan({**FIELDS, "measure_at": {"kl": 0.4}})
    (tmp_path / "plan.yaml").write_text(dump_plan(plan))
    assert load_plan(tmp_path / "plan.yaml") == plan
    assert check_plan(FIELDS).measure_at == "last"


@pytest.fixture(scope="module")
def last(tmp_path_factory):
    out = tmp_path_factory.mktemp("last") / "run"
    run_plan(check_plan(FIELDS), out)
    return out


@pytest.mark.slow
def test_the_last_model_is_measured_unless_another_is_wanted(last):
    policies = read_table(last / "behaviour" / "policies.parquet")
    assert (policies["measured"] == policies["last"]).all()
    shifts = read_table(last / "behaviour" / "shifts.parquet")
    assert set(shifts["step"]) == {4}
    assert shifts["matched"].isna().all()


@pytest.mark.slow
def test_everything_is_measured_of_the_snapshot_at_the_wanted_kl(last, tmp_path):
    curve = read_table(last / "behaviour" / "policies.parquet")
    kl = curve[curve["measure"] == "KL(after || before)"].set_index("step")["value"]
    assert list(kl.index) == [1, 2, 3, 4], "base has none"
    wanted = float(kl[2]) * 1.01
    assert nearest(kl.to_dict(), wanted) == (2, True)
    out = tmp_path / "run"
    run_plan(check_plan({**FIELDS, "measure_at": {"kl": wanted}}), out)
    snapshot = open_checkpoint(out / "arms" / "rl-win" / "seed-0" / "step-2")
    assert snapshot.digest == open_checkpoint(last / "arms" / "rl-win" / "seed-0" / "step-2").digest

    for name in ("shifts", "agency"):
        table = read_table(out / "behaviour" / f"{name}.parquet")
        assert set(table["step"]) == {2}
        assert set(table["kl"]) == {kl[2]}
        assert table["matched"].all()
    shifts = read_table(out / "behaviour" / "shifts.parquet").set_index("measure")
    assert shifts.loc["KL(after || before)", "value"] == kl[2]
    at = curve[curve["step"] == 2].set_index("measure")["value"]
    assert shifts.loc["utility win", "value"] == at["utility win"]
    policies = read_table(out / "behaviour" / "policies.parquet")
    assert set(policies[policies["measured"]]["step"]) == {0, 2}
    assert set(policies[policies["last"]]["step"]) == {0, 4}
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["measured"]["rl-win/seed-0"]["digest"] == snapshot.digest
    assert manifest["measured"]["rl-win/seed-0"]["step"] == 2
    final = open_checkpoint(out / "arms" / "rl-win" / "seed-0" / "final")
    assert manifest["checkpoints"]["rl-win/seed-0"] == final.digest != snapshot.digest
    swept = json.loads((out / "effects" / "rl-win-seed-0.sweep.json").read_text())
    assert swept["tuned"]["digest"] == snapshot.digest


@pytest.mark.slow
def test_numbers_lie_between_two_snapshots_and_are_the_means_of_their_parts(last, tmp_path):
    kl = read_table(last / "behaviour" / "policies.parquet")
    kl = kl[kl["measure"] == "KL(after || before)"].set_index("step")["value"]
    wanted = float(0.3 * kl[2] + 0.7 * kl[3])
    out = tmp_path / "run"
    arms = {"rl-win": {**ARM, "snapshots": [1, 2, 3]}}
    plan = {**FIELDS, "measure_at": {"kl": wanted}, "contrasts": {"gain": {"rl-win": 1}}, "arms": arms}
    run_plan(check_plan({**plan, "sets": NAMED}), out)
    found = quantities(out)
    table = found.table.set_index(["source", "component", "measure"])["value"]
    assert table["behaviour", "", "KL"] == pytest.approx(wanted, rel=1e-9)
    near, beyond = (
        read_table(out / place / "behaviour" / "rl-win-seed-0" / "shifts.parquet").set_index("measure")
        for place in ("beside", "")
    )
    assert {near["step"].iloc[0], beyond["step"].iloc[0]} == {2, 3}
    share = {2: 0.3, 3: 0.7}
    mixed = sum(share[side["step"].iloc[0]] * side.loc["utility win", "effect"] for side in (near, beyond))
    assert table["behaviour", "", "utility gained"] == pytest.approx(mixed)
    sides = [
        (out / place / "by_situation" / "rl-win-seed-0.parquet", share[side["step"].iloc[0]])
        for place, side in (("beside", near), ("", beyond))
    ]
    parts = between_sides(sides).set_index(["source", "component", "measure"])["parts"]
    means = parts.map(lambda each: each.mean(dtype=np.float64))
    shared = means.index.intersection(table.index)
    assert {source for source, *_ in shared} == {"behaviour", "take back"}
    off = (means[shared] - table[shared].astype(float)).abs()
    assert off.max() < 2e-6, off[off > 2e-6]
    assert all(len(each) == FIELDS["situations"] for each in parts)
    again = sorted(path.relative_to(out) for path in out.rglob("*.parquet"))
    run_plan(check_plan({**plan, "sets": NAMED}), out)
    assert again == sorted(path.relative_to(out) for path in out.rglob("*.parquet"))

    told = (out / "plan.yaml").read_text(encoding="utf-8")
    (out / "plan.yaml").write_text(
        told.replace("project: null", f"project: {tmp_path / 'own.md'}"), encoding="utf-8"
    )
    kept = keep_record(out, tmp_path / "kept")
    assert load_plan(out / "plan.yaml").project
    assert str(tmp_path) not in (kept / "plan.yaml").read_text(encoding="utf-8")
    before, after = contrasts(out), contrasts(kept)
    drawn = before.contrasts[before.contrasts["table"] != "other measures"].reset_index(drop=True)
    shown = after.contrasts.reset_index(drop=True)
    keys = ["contrast", "source", "measure", "component"]
    whole = drawn.merge(shown, on=keys, suffixes=("", " kept"))
    assert len(whole) == len(drawn) == len(shown)
    for column in ("estimate", "p_table"):
        one, other = (
            whole[name].astype("Float64").to_numpy(float, na_value=-1) for name in (column, f"{column} kept")
        )
        np.testing.assert_allclose(one, other)
    asked = ("behaviour", "utility gained"), ["rl-win"], [0], [""]
    one, other = (quantities(of).situations.of(*asked).values for of in (out, kept))
    np.testing.assert_array_equal(one, other)
    assert not list(kept.rglob("*.safetensors"))
    assert facts_of(kept).work == pytest.approx(facts_of(out).work)
    assert not unfinished(kept)
    with pytest.raises(TakebackError, match="is there already"):
        keep_record(out, kept)
    with pytest.raises(TakebackError, match="a kept record already"):
        keep_record(kept, tmp_path / "again")
