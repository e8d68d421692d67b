import numpy as np
import pytest
from scipy import stats

from takeback.arenas import arena
from takeback.arenas.endgames.goals import GOALS
from takeback.arenas.endgames.moves import moves
from takeback.arenas.endgames.players import PLAYERS, choose, population
from takeback.run.errors import TakebackError, UnknownName

ENDGAMES = arena("endgames")


@pytest.fixture(scope="module")
def batch():
    return moves([situation.number for situation in ENDGAMES.situations("held-out", 3000, 0, "win")])


def _mean_win(batch, probabilities) -> float:
    return float((GOALS["win"].utility(batch) * probabilities).sum(axis=1).mean())


@pytest.mark.parametrize("player", [*PLAYERS.values(), population])
def test_players_spread_one_over_legal_moves(batch, player):
    probabilities = player(batch)
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert (probabilities >= 0).all()
    assert (probabilities[~batch.legal] == 0).all()


def test_players_are_of_rising_strength_and_their_mixture_far_from_the_best(batch):
    random, careless, fair, strong = (_mean_win(batch, player(batch)) for player in PLAYERS.values())
    assert random < careless < fair < strong
    assert strong == pytest.approx(1)
    assert random < _mean_win(batch, population(batch)) < 0.65


def test_every_legal_move_is_played_sometimes(batch):
    assert population(batch)[batch.legal].min() > 0.005


def test_fair_by_hand():
    fair_batch = moves([ENDGAMES.parse("w Kb6 Rh1 kb8").number])
    odds = PLAYERS["fair"](fair_batch)[0]
    legal = ENDGAMES.legal(ENDGAMES.parse("w Kb6 Rh1 kb8"))
    assert odds[legal.index("h1h8")] / odds[legal.index("h1c1")] == pytest.approx(np.exp(1 / 2))


def test_moves_are_drawn_by_their_probability():
    n = 20_000
    many = moves([ENDGAMES.parse("w Kb6 Rh1 kb8").number] * n)
    probabilities = population(many)
    drawn = choose(many, probabilities, np.random.default_rng(0))
    counts = [(drawn == action).sum() for action in many.actions[0]]
    assert stats.chisquare(counts, probabilities[0] * n).pvalue > 0.001


def test_mixture_is_the_mean_of_its_players(batch):
    half = population(batch, {"random": 0.5, "strong": 0.5})
    assert half == pytest.approx((PLAYERS["random"](batch) + PLAYERS["strong"](batch)) / 2)


def test_senseless_mixtures_are_refused(batch):
    with pytest.raises(UnknownName, match="unknown player 'strnog': did you mean 'strong'"):
        population(batch, {"strnog": 1.0})
    with pytest.raises(TakebackError, match="sum to 1"):
        population(batch, {"strong": 0.7})
