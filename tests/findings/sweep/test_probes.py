from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.findings.sweep.probes import MOVES, probe_hybrids
from takeback.measure.agency.probes import Exam, Probes
from takeback.measure.bench import Bench
from takeback.policies.load import load_policy

pytestmark = pytest.mark.slow

ENDGAMES: Any = arena("endgames")


def test_the_ends_are_the_models_themselves(players: tuple[str, str]) -> None:
    """Nothing taken back has no effect; everything taken back is base, asked by tuned's probes."""
    pair = open_pair(*players)
    situations = ENDGAMES.situations("held-out", 24, 0)
    universe = pair.anatomy().universe
    sets = [universe - universe, universe, pair.anatomy().parse("EMBED")]
    table = probe_hybrids(Bench(pair, ENDGAMES, situations), sets)
    pd.testing.assert_frame_equal(table, probe_hybrids(Bench(pair, ENDGAMES, situations), sets))
    assert set(table["measure"]) == {"probe board", "probe mate in one", "probe better move"}
    assert set(table["direction"]) == {"take back"}
    rows = table.set_index(["set", "measure"])
    assert (rows.loc[""]["effect"] == 0).all()
    base, tuned = (load_policy(side, ENDGAMES) for side in players)
    exam = Exam.of(ENDGAMES, situations, "held-out", 0, most=MOVES)
    probes = Probes.learnt(tuned, ENDGAMES, 24)
    before, after = (probes.scores(policy, exam) for policy in (tuned, base))
    for name in exam.measures:
        found = rows.loc[(str(universe), f"probe {name}")]
        assert found["value"] == pytest.approx(after[name].mean(), abs=1e-6)
        assert found["effect"] == pytest.approx((after[name] - before[name]).mean(), abs=1e-6)
        assert found["n"] == len(exam.scored(name))


def test_units_of_networks_are_components_too(tmp_path: Any) -> None:
    policy: Any = load_policy("endgame-mlp", ENDGAMES)
    weights = policy.model.layers[0].weight
    with_one_gone = weights.detach().clone()
    with_one_gone[3] = 0
    weights.data.copy_(with_one_gone)
    policy.model.save_pretrained(tmp_path)
    pair = open_pair("endgame-mlp", str(tmp_path))
    sets = [pair.anatomy().parse(name) for name in ("L0.U3", "L0.U4")]
    table = probe_hybrids(Bench(pair, ENDGAMES, ENDGAMES.situations("held-out", 24, 0)), sets)
    effects = table.pivot(index="set", columns="measure", values="effect").astype(float)
    assert np.abs(effects.loc["L0.U4"]).max() == 0
    assert len(table) == 6
