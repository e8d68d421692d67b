import numpy as np
import pytest

import games
from games import ANATOMY, additive, answering, game
from takeback.findings.localise.shares import (
    GRAFT,
    OTHERS,
    TAKE_BACK,
    Controls,
    at_least,
    carried,
    every_set,
    hybrids_of,
    share_of,
    shares,
    taken_back,
)
from takeback.findings.sweep.sets import CONTROLS, NamedSet
from takeback.measure.bench import Bench
from takeback.run.errors import TakebackError

CONTROL = Controls({component: 1.0 for component in ANATOMY.universe}, number=5)
WEIGHTS = {"L0_H0": 0.5, "L0_H1": 0.3, "L1_MLP": 0.2}


def either(kept, _):
    """Worth everything as long as one of two heads is tuned."""
    return float("L0.H0" in kept or "L0.H1" in kept)


def measured(worth, names, monkeypatch, **more):
    monkeypatch.setattr(Bench, "answer", answering(worth))
    sets = [NamedSet("by name", name, ANATOMY.parse(name)) for name in names]
    found = shares(game(**more), sets, CONTROL)
    return found, found.table.set_index(["direction", "set"])


def test_where_components_add_up_what_is_lost_without_a_set_is_what_appears_with_it(monkeypatch):
    names = {"L0.H0": 0.5, "L0.H0 L0.H1": 0.8, "L1.*": 0.2, "L0.LN1": 0.0, "*": 1.0}
    _, table = measured(additive(**WEIGHTS), names, monkeypatch)
    for name, worth in names.items():
        assert table.loc[(TAKE_BACK, name), "share"] == pytest.approx(1 - worth)
        assert table.loc[(GRAFT, name), "share"] == pytest.approx(worth)
        for direction in (TAKE_BACK, GRAFT):
            assert table.loc[(direction, name), "carried"] == pytest.approx(worth)


def test_of_two_that_stand_in_for_each_other_neither_is_needed_and_each_is_enough(monkeypatch):
    _, table = measured(either, ["L0.H0", "L0.H1", "L0.H0 L0.H1"], monkeypatch)
    assert table.loc[(TAKE_BACK, "L0.H0"), "share"] == 1.0
    assert table.loc[(GRAFT, "L0.H0"), "share"] == 1.0
    assert table.loc[(TAKE_BACK, "L0.H0 L0.H1"), "share"] == 0.0


def test_controls_stand_in_the_same_table_and_rank_the_set(monkeypatch):
    found, table = measured(additive(**WEIGHTS), ["L0.H0 L0.H1"], monkeypatch)
    controls = found.table[found.table["family"].isin(CONTROLS)]
    assert set(controls["n_components"]) == {2}
    assert controls["p"].isna().all()
    row = table.loc[(GRAFT, "L0.H0 L0.H1")]
    peers = controls.loc[controls["direction"] == GRAFT, "carried"]
    assert row["controls"] == len(peers) == 6
    assert row["controls_carried"] == pytest.approx(peers.mean())
    assert row["p"] == pytest.approx((1 + (peers >= 0.8).sum()) / 7)


def test_single_components_of_which_all_are_asked_are_controls_of_each_other(monkeypatch):
    monkeypatch.setattr(Bench, "answer", answering(additive(**WEIGHTS)))
    sets = every_set(ANATOMY, ["each head"])
    assert [one.components for one in sets if one.family == OTHERS] == [
        ANATOMY.parse(str(component)) for component in ANATOMY.universe if component.kind != "H"
    ]
    table = shares(game(), sets, CONTROL).table
    heads = table[(table["family"] == "each head") & (table["direction"] == TAKE_BACK)].set_index("set")
    assert (heads["controls"] == 5).all()
    assert heads.loc["L0.H0", "p"] == pytest.approx(1 / 6)
    assert heads.loc["L0.H1", "p"] == pytest.approx(2 / 6)
    assert heads.loc["L1.H1", "p"] == 1.0


def test_nothing_controls_everything(monkeypatch):
    found, table = measured(additive(**WEIGHTS), ["*"], monkeypatch)
    assert len(found.table) == 2
    assert table.loc[(TAKE_BACK, "*"), "controls"] == 0
    assert table["p"].isna().all()


def test_a_change_that_is_none_has_no_shares(monkeypatch):
    monkeypatch.setattr(
        Bench, "answer", answering(lambda kept, one: (-1.0) ** one * (len(kept) > 0) / (1 + one % 3))
    )
    with pytest.raises(TakebackError, match="can't be told from 0"):
        shares(game(), [NamedSet("by name", "NORM", ANATOMY.parse("NORM"))], CONTROL)


def test_the_share_of_a_mixture_is_the_mixture_of_shares():
    bench = game()
    one, two = ANATOMY.parse("L0.H0"), ANATOMY.parse("L0.* L1.MLP")
    answers = answering(additive(**WEIGHTS))(bench, hybrids_of(bench, [one, two]))
    mixed = share_of(answers, {taken_back(one, GRAFT): 0.25, taken_back(two, GRAFT): 0.75}, "gain")
    assert mixed.value == pytest.approx(0.25 * 0.5 + 0.75 * 1.0)
    assert carried(share_of(answers, one, "gain").value, TAKE_BACK) == pytest.approx(0.5)


def test_the_rank_of_a_draw_among_its_equals_is_a_p_value():
    draws = np.random.default_rng(0).normal(size=(2000, 10))
    found = np.array([at_least(row[1:].tolist(), row[0]) for row in draws])
    for level in (0.1, 0.3, 0.5):
        assert (found <= level + 1e-9).mean() == pytest.approx(level, abs=0.035)


def test_intervals_of_shares_cover():
    """Shares of noisy clustered gains; 95% intervals hold the true share about 95 times of 100."""
    random, held, trials = np.random.default_rng(1), 0, 300
    for _ in range(trials):
        noise = np.repeat(random.normal(size=(2, 40)), 2, axis=1)
        full = 1 + 0.5 * noise[0] + 0.3 * random.normal(size=80)
        part = 0.4 * full + 0.3 * noise[1] + 0.2 * random.normal(size=80)
        bench = game(80)
        numbers = {
            (str(taken), "base"): np.array([values])
            for taken, values in (
                (bench.nothing, full),
                (ANATOMY.universe, np.zeros(80)),
                (ANATOMY.parse("NORM"), part),
            )
        }
        found = share_of(games.Answers(bench, numbers), ANATOMY.parse("NORM"), "gain")
        held += found.low <= 0.4 <= found.high
    assert 0.91 <= held / trials <= 0.985


def test_it_is_shown_with_its_controls(monkeypatch, capsys):
    found, _ = measured(additive(**WEIGHTS), ["L0.H0", "L0.H0 L0.H1"], monkeypatch)
    html = found._repr_html_()
    assert "Random sets" in html
    assert "gain, necessity" in html
    found.print()
    assert "L0.H0 L0.H1" in capsys.readouterr().out
    assert set(found.table.columns) == set(found.columns)
