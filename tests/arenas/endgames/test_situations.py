import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from takeback.arenas import arena
from takeback.arenas.endgames.situations import Endgame, held_out, pool, uniform
from takeback.arenas.endgames.solver import POSITIONS, mirrors, pack, tables, unpack
from takeback.run.errors import TakebackError, UnknownName

ENDGAMES = arena("endgames")


@given(st.integers(0, POSITIONS - 1))
def test_numbers_and_situations_are_one_to_one(number):
    assert Endgame.of(number).number == number


def test_prompts_parse_back(drawn_by_lot):
    for number in drawn_by_lot(500):
        assert Endgame.parse(str(Endgame.of(number))).number == number


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no situation"),
        ("Kd4 Ra1 kd6", "is no situation"),
        ("w Kd4 Na1 kd6", "is no situation"),
        ("w Kd9 Ra1 kd6", "is no situation"),
        ("w Kd4 Rd4 kd6", "no legal position"),
        ("w Kd5 Ra1 kd6", "no legal position"),
        ("w Kd4 Ra6 kd6", "no legal position"),
        ("w Kd4 Pa1 kd6", "no legal position"),
        ("w Ka8 Pa7 kc7", "no legal position"),
    ],
)
def test_other_texts_are_refused(text, why):
    with pytest.raises(TakebackError, match=why):
        Endgame.parse(text)


@given(st.integers(0, POSITIONS - 1))
def test_mirror_images_are_on_one_side_of_the_split(number):
    kind, king, square, enemy = unpack(np.array([number]))
    images = mirrors() if kind[0] < 2 else mirrors()[:2]
    same = np.array([pack(kind, image[king], image[square], image[enemy])[0] for image in images])
    assert len(set(held_out(tables().orbit[same]).tolist())) == 1


def test_splits_are_apart_and_complete():
    for piece in "QRP":
        train, other = pool("train", piece), pool("held-out", piece)
        assert len(np.intersect1d(tables().orbit[train], tables().orbit[other])) == 0
        both = np.sort(np.concatenate([train, other]))
        kinds = np.arange(POSITIONS) >> 18
        assert (both == np.nonzero((tables().row >= 0) & (kinds == "QRP".index(piece)))[0]).all()
        assert len(other) / len(both) == pytest.approx(0.2, abs=0.01)


def test_the_split_is_fixed_for_ever():
    # A changed split would leak held-out positions into checkpoints that are already trained.
    assert [len(pool("held-out", piece)) for piece in "QRP"] == [28712, 35476, 32548]


def test_the_hash_is_splitmix64():
    # 6457827717110365317 is the first output of SplitMix64 for the seed 1234567 in Vigna's reference code.
    first = 6457827717110365317
    assert _splitmix(1234567) == first
    for seed in (0, 1, 77):
        assert uniform(np.array([1234567], np.uint64), seed) == (_splitmix(first ^ seed) >> 11) * 2.0**-53


def _splitmix(state: int) -> int:
    z = (state + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


def test_sampling_repeats_itself_and_nothing_in_it():
    drawn = ENDGAMES.situations("held-out", 3000, seed=5)
    assert drawn == ENDGAMES.situations("held-out", 3000, seed=5)
    assert drawn != ENDGAMES.situations("held-out", 3000, seed=6)
    assert len(set(drawn)) == 3000
    assert [sum(s.piece == piece for s in drawn) for piece in "QRP"] == [1000, 1000, 1000]
    numbers = np.array([s.number for s in drawn])
    assert held_out(tables().orbit[numbers]).all()


def test_all_of_a_split_can_be_drawn_and_not_one_more():
    n = len(pool("held-out", "Q"))
    assert len(set(ENDGAMES.situations("held-out", n, 0, weights={"Q": 1}))) == n
    with pytest.raises(TakebackError, match=f"only {n} of the {n + 1} situations with Q"):
        ENDGAMES.situations("held-out", n + 1, 0, weights={"Q": 1})


def test_weights_share_out_the_pieces():
    drawn = ENDGAMES.situations("train", 10, 0, weights={"Q": 1, "P": 4})
    assert sorted(s.piece for s in drawn) == ["P"] * 8 + ["Q"] * 2


@pytest.mark.parametrize("goal", [*ENDGAMES.goals, "random-3"])
def test_with_a_goal_only_where_it_applies(goal):
    drawn = ENDGAMES.situations("train", 300, 1, goal=goal)
    assert len(set(drawn)) == 300
    assert ENDGAMES.goals[goal].applies(drawn).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "heldout"}, "unknown split 'heldout': did you mean 'held-out'"),
        ({"goal": "wim"}, "unknown goal 'wim': did you mean 'win'"),
        ({"weights": {"N": 1}}, "unknown piece 'N'"),
    ],
)
def test_unknown_names_are_named(arguments, message):
    with pytest.raises(UnknownName, match=message):
        ENDGAMES.situations(**{"split": "train", "n": 1, "seed": 0, **arguments})


@pytest.mark.parametrize("weights", [{"Q": 0}, {"Q": -1, "R": 2}, {}])
def test_senseless_weights_are_refused(weights):
    with pytest.raises(TakebackError, match="cannot share out"):
        ENDGAMES.situations("train", 3, 0, weights=weights)
