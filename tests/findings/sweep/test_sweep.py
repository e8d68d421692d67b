import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from kill import run_and_kill
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.findings.sweep import Sweep, squared_norms, sweep, sweep_shard
from takeback.hybrid import hybrid, write_hybrid
from takeback.measure.bench import Bench
from takeback.measure.effects import effects
from takeback.measure.layout import PART
from takeback.measure.measure import TOLERANCE
from takeback.measure.measures import measures
from takeback.measure.read import Reader
from takeback.measure.setup import Setup
from takeback.policies.language import ReadoutPlan, read_plan
from takeback.policies.language.forward import next_token_logprobs, ready
from takeback.policies.language.read import read_each
from takeback.policies.language.rounds import ModelScores
from takeback.policies.load import load_policy
from takeback.run.errors import TakebackError
from takeback.run.parts import Shard
from takeback.run.tables import read_table
from takeback.weights import diff

ENDGAMES = arena("endgames")
LABELS = {"arm": "rl", "seed": 0}
REQUESTS = ("each mlp", "heads of each layer", "L0.H0 L1.MLP", "*", "")


def prepared(players, situations=None, workers=1, threads=1, **more):
    pair = open_pair(*players)
    situations = situations or ENDGAMES.situations("held-out", 6, 0)
    bench = Bench(pair, ENDGAMES, situations, setup=Setup(workers=workers, threads=threads))
    return Sweep(bench, squared_norms(diff(pair)), REQUESTS, controls=2, **more)


def plan_of(players):
    policy = load_policy(players[1], ENDGAMES)
    return ReadoutPlan.prepare(ENDGAMES, prepared(players).bench.situations, policy.tokenizer, policy.style)


class Plain:
    """Scores rows with base and tuned, each run as a whole."""

    policies = 2

    def __init__(self, players):
        self.models = [load_policy(side, ENDGAMES).model for side in players]

    def __call__(self, rows, which):
        with torch.inference_mode():
            return [(side, next_token_logprobs(self.models[side], rows)) for side in which]


def sides_read_together(players):
    return read_each(Plain(players), plan_of(players), tolerance=TOLERANCE)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def swept(players, tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep") / "effects.parquet"
    sweep(prepared(players), out, LABELS)
    return out


@pytest.mark.slow
def test_the_ends_are_the_two_sides(swept, players):
    table = read_table(swept).set_index(["direction", "set", "measure"]).sort_index()
    for direction, nothing, everything in (("take back", "", "*"), ("graft", "", "*")):
        unchanged = table.loc[(direction, nothing)]
        assert unchanged["effect"].abs().max() == 0.0
        swapped = table.loc[(direction, everything)]
        assert swapped.loc["total variation", "effect"] > 0.1
    sides, _ = sides_read_together(players)
    for direction, alone in zip(("take back", "graft"), sides, strict=True):
        expected = measures(alone, ENDGAMES).set_index("measure")["value"].astype(float)
        found = table.loc[(direction, "*")].loc[expected.index, "value"].astype(float)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    back, grafted = table.loc[("take back", "*")], table.loc[("graft", "*")]
    signed = [name for name in back.index if name.startswith(("legal", "illegal", "utility"))]
    np.testing.assert_allclose(
        back.loc[signed, "effect"].astype(float), -grafted.loc[signed, "effect"].astype(float), atol=1e-6
    )


def test_effects_equal_those_of_hybrids_written_to_disk_and_read_alone(swept, players, tmp_path):
    table = read_table(swept)
    pair = open_pair(*players)
    chosen = pair.anatomy().parse("L0.H0 L1.MLP")
    sides, steps = sides_read_together(players)
    plan = plan_of(players)
    for direction, members, side in (("take back", chosen, "tuned"), ("graft", ~chosen, "base")):
        write_hybrid(hybrid(pair, members), tmp_path / side)
        model = load_policy(str(tmp_path / side), ENDGAMES).model
        before = sides[side == "tuned"]
        rows = table[(table["direction"] == direction) & (table["set"] == "L0.H0 L1.MLP")]
        rows = rows.set_index("measure")
        assert set(rows["relative_to"]) == {side}
        with ready(model):
            (after,), _ = read_each(ModelScores(model), plan, tolerance=TOLERANCE, steps=steps)
        expected = effects(before, after, ENDGAMES, relative_to=side).set_index("measure")
        for column in ("value", "effect", "se"):
            np.testing.assert_allclose(rows[column].astype(float), expected[column].astype(float), atol=1e-6)
        alone = measures(read_plan(model, plan, tolerance=TOLERANCE), ENDGAMES).set_index("measure")["value"]
        exact = [name for name in alone.index if name.startswith(("legal", "utility", "illegal mass"))]
        np.testing.assert_allclose(rows["value"][exact].astype(float), alone[exact].astype(float), atol=1e-6)


@pytest.mark.slow
def test_both_sides_and_every_hybrid_are_decided_on_the_same_prefixes(swept, players):
    """What one side alone leaves undecided would pass for an effect on the classes of illegality."""
    sides, steps = sides_read_together(players)
    assert steps
    assert max(float(side.undecided.max()) for side in sides) <= TOLERANCE
    again, _ = read_each(Plain(players), plan_of(players), tolerance=TOLERANCE, steps=steps)
    for one, other in zip(sides, again, strict=True):
        np.testing.assert_array_equal(one.masses, other.masses)
    readouts = read_table(swept.with_suffix(".readouts.parquet"))
    assert readouts.loc[readouts["kind"] == "undecided", "probability"].max() <= TOLERANCE


def test_rows_say_what_was_taken_back_and_controls_stand_beside(swept, players):
    table = read_table(swept)
    assert set(table["arm"]) == {"rl"}
    sets = table.drop_duplicates(["direction", "family", "set"])
    counts = sets.groupby(["direction", "family"]).size()
    assert counts[("take back", "random, same size")] == counts[("graft", "random, same size")] >= 2
    whole = sets[sets["set"] == "*"].iloc[0]
    assert whole["delta_share"] == pytest.approx(1.0)
    assert whole["parameters"] == open_pair(*players).anatomy().parameters(
        open_pair(*players).anatomy().universe
    )
    readouts = read_table(swept.with_suffix(".readouts.parquet"))
    sums = readouts.groupby(["direction", "family", "set", "situation"])["probability"].sum()
    np.testing.assert_allclose(sums, 1.0, atol=1e-6)
    assert len(sums) == 6 * len(sets)


@pytest.mark.slow
def test_a_killed_sweep_ends_with_the_same_bytes(swept, players, tmp_path):
    out = tmp_path / "effects.parquet"
    code = f"from test_sweep import prepared, sweep\nsweep(prepared({players!r}), {str(out)!r}, {LABELS!r})"
    here, *_, tests = map(str, Path(__file__).parents[:3])
    code = f"import sys; sys.path[:0] = [{here!r}, {tests!r}]\n{code}"
    run_and_kill(code, lambda: any(tmp_path.glob("readouts/*/[!.]*.parquet")), tmp_path / "log.txt")
    assert not out.exists()
    told = []
    sweep(prepared(players), out, LABELS, report=lambda done, total: told.append(done))
    assert told[-1] > PART
    assert digest(out) == digest(swept)
    assert digest(out.with_suffix(".readouts.parquet")) == digest(swept.with_suffix(".readouts.parquet"))
    assert {path.name for path in tmp_path.iterdir()} == {
        "effects.parquet",
        "effects.readouts.parquet",
        "effects.sweep.json",
        "log.txt",
        "readouts",
    }


@pytest.mark.slow
def test_two_workers_give_the_bytes_of_one(swept, players, tmp_path):
    out = tmp_path / "effects.parquet"
    told = []
    sweep(prepared(players, workers=2), out, LABELS, lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]
    for suffix in (".parquet", ".readouts.parquet"):
        assert digest(out.with_suffix(suffix)) == digest(swept.with_suffix(suffix))


@pytest.mark.slow
def test_shards_give_the_bytes_of_one_process_and_the_sweep_does_what_they_left(swept, players, tmp_path):
    out, told = tmp_path / "effects.parquet", []
    sweep_shard(prepared(players), out, Shard(2, 2))
    assert not out.exists()
    sweep_shard(prepared(players), out, Shard(2, 2), lambda *_: pytest.fail("it was done again"))
    sweep(prepared(players), out, LABELS, lambda done, total: told.append(done))
    left, every = told
    assert 0 < left < every
    assert digest(out) == digest(swept)


def test_a_sweep_that_is_done_is_not_done_again_and_another_is_not_written_over_it(swept, players):
    before = digest(swept)
    again = sweep(prepared(players), swept, report=lambda done, total: pytest.fail("it was done again"))
    assert again == swept
    with pytest.raises(TakebackError, match="holds another sweep"):
        sweep(prepared(players, seed=1), swept)
    assert digest(swept) == before


@pytest.mark.slow
def test_a_sweep_killed_while_it_wrote_its_tables_goes_on(swept, players, tmp_path, monkeypatch):
    out = tmp_path / "effects.parquet"
    sweep(prepared(players), out, LABELS)
    out.unlink()  # they are written last
    monkeypatch.setattr(Reader, "read", None)
    sweep(prepared(players), out, LABELS)
    assert digest(out) == digest(swept)
    out.with_suffix(".sweep.json").unlink()
    with pytest.raises(TakebackError, match="there already and no sweep's"):
        sweep(prepared(players), out)


def test_equal_models_have_no_share_of_what_did_not_move(players, tmp_path):
    pair = open_pair(players[0], players[0])
    situations = ENDGAMES.situations("held-out", 3, 0)
    what = Sweep(Bench(pair, ENDGAMES, situations), squared_norms(diff(pair)), ("each layer",), controls=1)
    table = read_table(sweep(what, tmp_path / "effects.parquet"))
    assert table["delta_share"].isna().all()
    assert table["effect"].abs().max() == 0.0


@pytest.mark.slow
def test_parts_of_another_sweep_are_not_taken_for_this_one(players):
    here = prepared(players)
    elsewhere = prepared(players, ENDGAMES.situations("held-out", 6, 1))
    others = (elsewhere, prepared(players, seed=1), prepared(players[::-1]), prepared(players, threads=2))
    assert len({here.key, *(other.key for other in others)}) == 5


def test_a_sweep_without_sets_or_controls_is_refused(players):
    pair = open_pair(*players)
    norms = squared_norms(diff(pair))
    with pytest.raises(TakebackError, match="at least one set"):
        _ = Sweep(Bench(pair, ENDGAMES, []), norms, ()).sets
    with pytest.raises(TakebackError, match="one control"):
        _ = Sweep(Bench(pair, ENDGAMES, []), norms, ("each mlp",), controls=0).sets


def test_tables_are_stamped_and_checked(swept, tmp_path):
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "foreign.parquet")
    with pytest.raises(TakebackError, match="has schema none"):
        read_table(tmp_path / "foreign.parquet")
    (tmp_path / "torn.parquet").write_bytes(swept.read_bytes()[:1000])
    with pytest.raises(TakebackError, match="not a whole Parquet table"):
        read_table(tmp_path / "torn.parquet")
