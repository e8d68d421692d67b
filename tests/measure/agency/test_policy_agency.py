from __future__ import annotations

from typing import Any

import pytest

from takeback.arenas import arena
from takeback.measure.agency.episodes import acts
from takeback.measure.agency.policy_agency import COLUMNS, AgencySettings, policy_agency
from takeback.policies.load import load_policy
from takeback.run.errors import UnknownName

ENDGAMES: Any = arena("endgames")


@pytest.mark.slow
def test_one_table_holds_what_the_arena_supports() -> None:
    policy = load_policy("endgame-mlp", ENDGAMES)
    situations = ENDGAMES.situations("held-out", 24, 0)
    table = policy_agency(policy, ENDGAMES, situations, AgencySettings(("corner",), 2, 1))
    assert tuple(table.columns) == COLUMNS
    both = table.set_index("measure")["value"]
    assert "adaptation: capture" in both.index
    for measure in ("goal-directedness", "MEG over 2 moves", "MEG over goals"):
        assert {measure, f"{measure}, if legal"} <= set(both.index)
    assert not table.duplicated(["measure", "goal"]).any()
    assert str(table["value"].dtype) == "Float64"
    with pytest.raises(UnknownName, match="did you mean 'corner'"):
        policy_agency(policy, ENDGAMES, situations, AgencySettings(("cornr",)))


def test_actions_are_those_of_readouts_whatever_the_order() -> None:
    policy = load_policy("endgame-mlp", ENDGAMES)
    situations = ENDGAMES.situations("held-out", 5, 0)
    act = acts(policy, ENDGAMES)
    act(situations[:2])
    asked = [situations[4], situations[1], situations[1]]
    read = policy.read(policy.prepare(ENDGAMES, asked), tolerance=1.0)
    assert act(asked) == pytest.approx(read.probabilities, rel=1e-4)
