import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kill import run_and_kill
from takeback.arenas import arena
from takeback.behaviour import effects, load_policy, measures, read
from takeback.checkpoint import open_pair
from takeback.diff import diff
from takeback.errors import TakebackError
from takeback.hybrid import hybrid, write_hybrid
from takeback.sweep import Sweep, squared_norms, sweep
from takeback.sweep.run import TOLERANCE
from takeback.tables import read_table

ENDGAMES = arena("endgames")
REQUESTS = ("each mlp", "heads of each layer", "L0.H0 L1.MLP", "*", "")


def prepared(players, **more):
    pair = open_pair(*players)
    situations = ENDGAMES.situations("held-out", 6, 0)
    return Sweep(pair, ENDGAMES, situations, squared_norms(diff(pair)), REQUESTS, controls=2, **more)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def swept(players, tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep") / "effects.parquet"
    sweep(prepared(players), out, {"arm": "rl", "seed": 0})
    return out


def test_the_ends_are_the_two_sides(swept, players):
    table = read_table(swept).set_index(["direction", "set", "measure"]).sort_index()
    for direction, nothing, everything in (("take back", "", "*"), ("graft", "", "*")):
        unchanged = table.loc[(direction, nothing)]
        assert unchanged["effect"].abs().max() == 0.0
        swapped = table.loc[(direction, everything)]
        assert swapped.loc["total variation", "effect"] > 0.1
    for direction, side in (("take back", players[0]), ("graft", players[1])):
        alone = read(load_policy(side, ENDGAMES), ENDGAMES, prepared(players).situations, tolerance=TOLERANCE)
        expected = measures(alone, ENDGAMES).set_index("measure")["value"].astype(float)
        found = table.loc[(direction, "*")].loc[expected.index, "value"].astype(float)
        np.testing.assert_allclose(found, expected, atol=1e-9)
    back, grafted = table.loc[("take back", "*")], table.loc[("graft", "*")]
    signed = [name for name in back.index if name.startswith(("legal", "illegal", "utility"))]
    np.testing.assert_allclose(
        back.loc[signed, "effect"].astype(float), -grafted.loc[signed, "effect"].astype(float), atol=1e-12
    )


def test_effects_equal_those_of_hybrids_written_to_disk_and_read_alone(swept, players, tmp_path):
    table = read_table(swept)
    pair = open_pair(*players)
    chosen = pair.anatomy().parse("L0.H0 L1.MLP")
    situations = ENDGAMES.situations("held-out", 6, 0)
    for direction, members, side in (("take back", chosen, "tuned"), ("graft", ~chosen, "base")):
        folder = tmp_path / side
        write_hybrid(hybrid(pair, members), folder)
        before, after = (
            read(load_policy(ref, ENDGAMES), ENDGAMES, situations, tolerance=TOLERANCE)
            for ref in (players[side == "tuned"], str(folder))
        )
        expected = effects(before, after, ENDGAMES, relative_to=side).set_index("measure")
        found = table[(table["direction"] == direction) & (table["set"] == "L0.H0 L1.MLP")].set_index(
            "measure"
        )
        assert set(found["relative_to"]) == {side}
        for column in ("value", "effect", "se"):
            np.testing.assert_allclose(found[column].astype(float), expected[column].astype(float), atol=1e-9)


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
    code = (
        "from test_sweep import prepared, sweep\n"
        f"sweep(prepared({players!r}), {str(out)!r}, {{'arm': 'rl', 'seed': 0}})"
    )
    folder = str(__file__).rpartition("/")[0]
    code = f"import sys; sys.path[:0] = [{folder!r}, {folder.rpartition('/')[0]!r}]\n{code}"
    run_and_kill(code, lambda: any(tmp_path.glob("*.parts/0000.readouts.parquet")), tmp_path / "log.txt")
    assert not out.exists()
    told = []
    sweep(prepared(players), out, {"arm": "rl", "seed": 0}, report=lambda done, total: told.append(done))
    assert told[-1] > 16
    assert digest(out) == digest(swept)
    assert digest(out.with_suffix(".readouts.parquet")) == digest(swept.with_suffix(".readouts.parquet"))
    assert {path.suffix for path in tmp_path.iterdir()} == {".parquet", ".json", ".txt"}, (
        "no parts are left behind"
    )


def test_a_sweep_that_is_done_is_not_done_again_and_another_is_not_written_over_it(swept, players):
    before = digest(swept)
    again = sweep(prepared(players), swept, report=lambda done, total: pytest.fail("it was done again"))
    assert again == swept
    with pytest.raises(TakebackError, match="holds another sweep"):
        sweep(prepared(players, seed=1), swept)
    assert digest(swept) == before


def test_a_sweep_killed_while_it_wrote_its_tables_goes_on(swept, players, tmp_path, monkeypatch):
    out = tmp_path / "effects.parquet"
    with monkeypatch.context() as kill:
        kill.setattr("takeback.sweep.run.shutil.rmtree", lambda *_, **__: None)
        sweep(prepared(players), out, {"arm": "rl", "seed": 0})
    out.with_suffix(".sweep.json").unlink()
    sweep(prepared(players), out, {"arm": "rl", "seed": 0})
    assert digest(out) == digest(swept)
    assert not any(tmp_path.glob(".*.parts"))
    out.with_suffix(".sweep.json").unlink()
    with pytest.raises(TakebackError, match="there already and no sweep's"):
        sweep(prepared(players), out)


def test_equal_models_have_no_share_of_what_did_not_move(players, tmp_path):
    pair = open_pair(players[0], players[0])
    situations = ENDGAMES.situations("held-out", 3, 0)
    what = Sweep(pair, ENDGAMES, situations, squared_norms(diff(pair)), ("each layer",), controls=1)
    table = read_table(sweep(what, tmp_path / "effects.parquet"))
    assert table["delta_share"].isna().all()
    assert table["effect"].abs().max() == 0.0


def test_parts_of_another_sweep_are_not_taken_for_this_one(players):
    here = prepared(players)
    elsewhere = replace(here, situations=ENDGAMES.situations("held-out", 6, 1))
    keys = {here.key, prepared(players, seed=1).key, prepared(players[::-1]).key, elsewhere.key}
    assert len(keys) == 4


def test_a_sweep_without_sets_or_controls_is_refused(players):
    pair = open_pair(*players)
    norms = squared_norms(diff(pair))
    with pytest.raises(TakebackError, match="at least one set"):
        _ = Sweep(pair, ENDGAMES, [], norms, ()).sets
    with pytest.raises(TakebackError, match="one control"):
        _ = Sweep(pair, ENDGAMES, [], norms, ("each mlp",), controls=0).sets


def test_tables_are_stamped_and_checked(swept, tmp_path):
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "foreign.parquet")
    with pytest.raises(TakebackError, match="has schema none"):
        read_table(tmp_path / "foreign.parquet")
    (tmp_path / "torn.parquet").write_bytes(swept.read_bytes()[:1000])
    with pytest.raises(TakebackError, match="not a whole Parquet table"):
        read_table(tmp_path / "torn.parquet")
