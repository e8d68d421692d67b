from __future__ import annotations

from takeback.arenas import arena
from takeback.arenas.endgames import Endgame
from takeback.arenas.endgames.solver import DRAW, tables

ENDGAMES = arena("endgames")


def test_what_follows_is_what_play_gives() -> None:
    """Each move one by one: the game goes on to the same position, or ends there as a game does."""
    situations = ENDGAMES.situations("held-out", 60, 0)
    first, second = ENDGAMES.ahead(situations, 2)
    assert first.situations == situations
    assert len(set(second.situations)) == len(second.situations)
    actions = [(s, a) for s in situations for a in ENDGAMES.legal(s)]
    assert len(first.following) == len(actions) == first.counts.sum()
    ends = 0
    for (situation, action), place in zip(actions, first.following.tolist(), strict=True):
        turn = ENDGAMES.step(situation, action)
        goes_on = turn.next is not None and tables().white[turn.next.number] != DRAW
        ends += not goes_on
        assert (place >= 0) == goes_on
        if goes_on:
            assert second.situations[place] == turn.next
    assert 0 < ends < len(actions)


def test_an_end_ends_everything() -> None:
    """A pawn that can only be lost or draw: nothing is left for a third layer."""
    drawn = Endgame.parse("w Ka6 Pa5 ka8")
    layers = ENDGAMES.ahead([drawn], 3)
    assert [len(layer.situations) for layer in layers] == [1, 0, 0]
