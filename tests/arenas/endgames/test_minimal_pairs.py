from __future__ import annotations

import pytest

from takeback.arenas import arena
from takeback.arenas.endgames.geometry import DISTANCE
from takeback.arenas.endgames.situations import held_out
from takeback.arenas.endgames.solver import tables
from takeback.run.errors import TakebackError, UnknownName

ENDGAMES = arena("endgames")


def worth(situation, action: str) -> float:
    utilities = ENDGAMES.goals["win"].utility([situation])
    return dict(zip(ENDGAMES.legal(situation), utilities.tolist(), strict=True))[action]


@pytest.mark.slow
@pytest.mark.parametrize("fact", ["capture", "stalemate"])
@pytest.mark.parametrize("split", ["train", "held-out"])
def test_twins_differ_in_one_square_and_in_what_a_move_is_worth(fact: str, split: str) -> None:
    """By playing: where it is spoilt the defender takes the piece, or has no move and is not in check."""
    pairs = ENDGAMES.minimal_pairs(fact, split, 24, 3)
    assert pairs == ENDGAMES.minimal_pairs(fact, split, 24, 3)
    assert len({pair.spoilt for pair in pairs}) == 24
    for pair in pairs:
        one, other = pair.sound, pair.spoilt
        assert (one.piece, one.white_king, one.square) == (other.piece, other.white_king, other.square)
        assert DISTANCE[one.black_king, other.black_king] == 1
        assert worth(one, pair.action) > 0 == worth(other, pair.action)
        assert pair.same
        assert all(worth(one, action) == worth(other, action) > 0 for action in pair.same)
        turn = ENDGAMES.step(other, pair.action)
        assert turn.outcome == "draw"
        assert (turn.reply is None) == (fact == "stalemate")
        for side in (one, other):
            assert bool(held_out(tables().orbit[[side.number]])[0]) == (split == "held-out")


def test_what_cannot_be_drawn_is_told() -> None:
    with pytest.raises(UnknownName, match="did you mean 'capture'"):
        ENDGAMES.minimal_pairs("captur", "train", 2, 0)
    with pytest.raises(TakebackError, match="ask for fewer"):
        ENDGAMES.minimal_pairs("stalemate", "held-out", 2000, 0)
