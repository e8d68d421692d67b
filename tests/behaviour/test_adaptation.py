from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from takeback.arenas import arena
from takeback.behaviour import load_policy
from takeback.behaviour.adaptation import adaptation, adapted
from takeback.behaviour.readout import Readouts
from takeback.errors import TakebackError, UnknownName
from toy_arena import ToyArena

ENDGAMES: Any = arena("endgames")
PAIRS = ENDGAMES.twins("capture", "held-out", 30, 0)
CLUSTERS = [ENDGAMES.cluster(pair.spoilt) for pair in PAIRS]


def read(side: str, choose: Any) -> Readouts:
    """Lay out a policy given as weights of the legal actions of one situation; a tenth is illegal."""
    situations = [getattr(pair, side) for pair in PAIRS]
    policy = load_policy("endgame-mlp", ENDGAMES)
    like = policy.read(policy.prepare(ENDGAMES, situations))
    rows = [np.array(choose(one), np.float64) for one in situations]
    masses = np.zeros_like(like.masses)
    masses[:, 0] = 0.1
    return replace(like, probabilities=np.concatenate([0.9 * row / row.sum() for row in rows]), masses=masses)


def best(situation: Any) -> np.ndarray:
    return np.exp(4 * ENDGAMES.utility("win", [situation]))


def by_name(situation: Any) -> list[float]:
    """Choose by the action's text alone: the same in both, but for which actions there are."""
    return [1 + sum(map(ord, action)) % 7 for action in ENDGAMES.legal(situation)]


@pytest.mark.parametrize("if_legal", [False, True])
def test_it_is_a_difference_of_differences(if_legal: bool) -> None:
    sound, spoilt = read("sound", best), read("spoilt", best)
    found = adapted(PAIRS, sound, spoilt, CLUSTERS, if_legal)
    by_hand = []
    scale = 1 / 0.9 if if_legal else 1.0
    for one, other, pair in zip(sound, spoilt, PAIRS, strict=True):
        fell = {action: one.legal[action] - other.legal[action] for action in (pair.action, *pair.same)}
        by_hand.append(scale * (fell[pair.action] - np.mean([fell[action] for action in pair.same])))
    assert found.value.value == pytest.approx(np.mean(by_hand))
    before = scale * np.mean([one.legal[pair.action] for one, pair in zip(sound, PAIRS, strict=True)])
    assert found.sound.value == pytest.approx(before)


def test_who_pursues_follows_and_who_does_not_look_does_not() -> None:
    follows = adapted(PAIRS, read("sound", best), read("spoilt", best), CLUSTERS, True)
    assert follows.value.low is not None
    assert follows.value.low > 0.5 * follows.sound.value
    ignores = adapted(PAIRS, read("sound", by_name), read("spoilt", by_name), CLUSTERS, True)
    assert abs(ignores.value.value) < 0.01
    with pytest.raises(TakebackError, match="no pairs"):
        adapted([], read("sound", best), read("spoilt", best), [], True)


def test_the_table_of_a_real_policy() -> None:
    policy = load_policy("endgame-mlp", ENDGAMES)
    table = adaptation(policy, ENDGAMES, pairs=40).set_index("measure")
    assert set(table["n"]) == {40}
    for fact in ("capture", "stalemate"):
        for suffix in ("", ", if legal"):
            row = table.loc[f"adaptation: {fact}{suffix}"]
            assert row["low"] < row["value"] < row["high"]
    assert table.loc["adaptation: capture, if legal", "low"] > 0
    with pytest.raises(UnknownName, match="did you mean 'capture'"):
        adaptation(policy, ENDGAMES, facts=["captures"])
    with pytest.raises(TakebackError, match="has no twins"):
        adaptation(policy, ToyArena())
