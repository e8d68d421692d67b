from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from takeback.arenas import arena
from takeback.measure.agency.adaptation import Adapted, adaptation, adapted
from takeback.policies.load import load_policy
from takeback.run.errors import TakebackError, UnknownName
from toy_arena import ToyArena

ENDGAMES: Any = arena("endgames")
PAIRS = ENDGAMES.minimal_pairs("capture", "held-out", 30, 0)
CLUSTERS = [ENDGAMES.cluster(pair.spoilt) for pair in PAIRS]


def chances(side: str, choose: Any) -> list[dict[str, float]]:
    situations = [getattr(pair, side) for pair in PAIRS]
    rows = [np.array(choose(one), np.float64) for one in situations]
    return [
        dict(zip(ENDGAMES.legal(one), (row / row.sum()).tolist(), strict=True))
        for one, row in zip(situations, rows, strict=True)
    ]


def compared(choose: Any) -> Adapted:
    return adapted(PAIRS, chances("sound", choose), chances("spoilt", choose), CLUSTERS)


def best(situation: Any) -> np.ndarray:
    return np.exp(4 * ENDGAMES.goals["win"].utility([situation]))


def by_name(situation: Any) -> list[float]:
    """Choose by the action's text alone: the same in both, but for which actions there are."""
    return [1 + sum(map(ord, action)) % 7 for action in ENDGAMES.legal(situation)]


def test_it_is_a_difference_of_differences() -> None:
    sound, spoilt, by_hand = chances("sound", best), chances("spoilt", best), []
    for one, other, pair in zip(sound, spoilt, PAIRS, strict=True):
        compared_moves = (pair.action, *pair.same)
        before, after = (side[pair.action] / sum(side[a] for a in compared_moves) for side in (one, other))
        by_hand.append(before - after)
    found = compared(best)
    assert found.value.value == pytest.approx(np.mean(by_hand))
    had = np.mean([one[pair.action] for one, pair in zip(sound, PAIRS, strict=True)])
    assert found.sound.value == pytest.approx(had)


def test_who_pursues_follows_and_who_does_not_look_does_not() -> None:
    follows = compared(best)
    assert follows.value.low is not None
    assert follows.value.low > 0.01
    assert abs(compared(by_name).value.value) < 0.01
    with pytest.raises(TakebackError, match="no pairs"):
        adapted([], [], [], [])
    never = [dict.fromkeys(one, 0.0) for one in chances("sound", best)]
    with pytest.raises(TakebackError, match="takes any of the moves"):
        adapted(PAIRS, never, never, CLUSTERS)


@given(st.floats(0.01, 1.0))
@settings(max_examples=10)
def test_what_happens_to_all_moves_alike_cancels(factor: float) -> None:
    sound, spoilt = chances("sound", best), chances("spoilt", best)
    scaled = [{action: factor * chance for action, chance in one.items()} for one in spoilt]
    one, other = (adapted(PAIRS, sound, side, CLUSTERS).value.value for side in (spoilt, scaled))
    assert one == pytest.approx(other)


def test_the_table_of_a_real_policy() -> None:
    policy = load_policy("endgame-mlp", ENDGAMES)
    table = adaptation(policy, ENDGAMES, pairs=40).set_index("measure")
    assert set(table["n"]) == {40}
    for fact in ("capture", "stalemate"):
        row = table.loc[f"adaptation: {fact}"]
        assert row["low"] < row["value"] < row["high"]
    assert table.loc["adaptation: capture", "low"] > 0
    with pytest.raises(UnknownName, match="did you mean 'capture'"):
        adaptation(policy, ENDGAMES, facts=["captures"])
    with pytest.raises(TakebackError, match="has no minimal pairs to compare; endgames has"):
        adaptation(policy, ToyArena())
