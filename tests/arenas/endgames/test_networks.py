"""What networks see and give in the endgames: outputs, verdicts, observations, batches to imitate."""

import numpy as np
import pytest

from takeback.arenas.endgames import Endgames
from takeback.arenas.endgames.geometry import action_number_of
from takeback.arenas.endgames.imitation import network_imitation_batch
from takeback.arenas.endgames.moves import moves
from takeback.arenas.endgames.networks import OUTPUTS, observe, verdicts
from takeback.arenas.endgames.players import population
from takeback.arenas.endgames.situations import Endgame, held_out, pool, sample

ENDGAMES = Endgames()
NUMBERS = {action_number_of(text) for text in OUTPUTS}


def drawn(n, seed=0):
    return [
        Endgame.of(int(number))
        for number in sample("train", dict.fromkeys("QRP", n), np.random.default_rng(seed))
    ]


def test_outputs_are_sorted_and_unique_and_every_move_between_two_squares():
    assert list(OUTPUTS) == sorted(set(OUTPUTS))
    assert ENDGAMES.outputs == OUTPUTS
    squares = [file + rank for file in "abcdefgh" for rank in "12345678"]
    plain = {one + other for one in squares for other in squares}
    promotions = set(OUTPUTS) - plain
    assert plain <= set(OUTPUTS)
    expected = {
        f"{file}7{to}8{letter}"
        for file in "abcdefgh"
        for to in "abcdefgh"
        for letter in "qrbn"
        if abs(ord(file) - ord(to)) <= 1
    }
    assert promotions == expected
    assert len(OUTPUTS) == 64 * 64 + 22 * 4


@pytest.mark.parametrize("piece", "QRP")
def test_every_legal_action_has_an_output(piece):
    numbers = np.concatenate([pool(split, piece) for split in ("train", "held-out")])
    batch = moves(np.random.default_rng(0).permutation(numbers)[:20_000])
    assert set(np.unique(batch.actions[batch.legal]).tolist()) <= NUMBERS


def test_verdicts_are_those_of_classify_on_every_output():
    situations = [*drawn(2), ENDGAMES.parse("w Kb6 Pc7 ka8"), ENDGAMES.parse("w Ka1 Pa7 kh8")]
    found = verdicts(situations)
    assert found.shape == (len(situations), len(OUTPUTS))
    for row, situation in zip(found, situations, strict=True):
        legal = ENDGAMES.legal(situation)
        for verdict, text in zip(row.tolist(), OUTPUTS, strict=True):
            name = ENDGAMES.classify(situation, text)
            if name == "legal":
                assert legal[verdict] == text
            else:
                assert ENDGAMES.kinds[-1 - verdict] == name
        assert sorted(row[row >= 0].tolist()) == list(range(len(legal)))
    assert (ENDGAMES.verdicts(situations) == found).all()


def test_observations_are_one_hot_and_can_be_read_back():
    situations = drawn(50)
    seen = observe(np.array([one.number for one in situations]))
    assert seen.dtype == np.float32
    assert seen.shape == (150, 320)
    assert set(np.unique(seen)) == {0.0, 1.0}
    planes = seen.reshape(150, 5, 64)
    assert (planes.sum(axis=(1, 2)) == 3).all()
    for plane, situation in zip(planes, situations, strict=True):
        squares = {"KQRPk"[piece]: int(square) for piece, square in zip(*np.nonzero(plane), strict=True)}
        (piece,) = set(squares) - {"K", "k"}
        assert Endgame(piece, squares["K"], squares[piece], squares["k"]) == situation
    assert (ENDGAMES.observe(situations) == seen).all()
    assert ENDGAMES.observe([]).shape == (0, 320)


def test_a_lesson_is_the_population_s_at_the_right_outputs():
    made = network_imitation_batch(90, seed=(3, 1))
    assert made.observations.dtype == made.targets.dtype == np.float32
    planes = made.observations.reshape(90, 5, 64)
    for plane, targets in zip(planes, made.targets, strict=True):
        squares = {"KQRPk"[piece]: int(square) for piece, square in zip(*np.nonzero(plane), strict=True)}
        (piece,) = set(squares) - {"K", "k"}
        situation = Endgame(piece, squares["K"], squares[piece], squares["k"])
        assert not held_out(np.array([ENDGAMES.cluster(situation)]))[0]
        wanted = dict(zip(ENDGAMES.legal(situation), population(moves([situation.number]))[0], strict=False))
        found = {OUTPUTS[place]: float(targets[place]) for place in np.flatnonzero(targets)}
        assert found == pytest.approx({text: share for text, share in wanted.items() if share}, rel=1e-6)
        assert targets.sum() == pytest.approx(1, abs=1e-6)
    pieces = [int(np.flatnonzero(plane[1:4].any(axis=1))[0]) for plane in planes]
    assert [pieces.count(piece) for piece in range(3)] == [30, 30, 30]


def test_the_same_seed_gives_the_same_lesson():
    one, again, other = (network_imitation_batch(30, seed=(seed,)) for seed in (1, 1, 2))
    assert one.targets.tobytes() == again.targets.tobytes() != other.targets.tobytes()
    assert one.observations.tobytes() == again.observations.tobytes() != other.observations.tobytes()
    through = ENDGAMES.network_imitation_batch(30, (1,))
    assert through.targets.tobytes() == one.targets.tobytes()
