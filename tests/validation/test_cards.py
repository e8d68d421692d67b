from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from takeback.measure.agency.directedness import order_foreseen
from takeback.measure.agency.pursuits import pursuit
from takeback.measure.outcomes import Outcomes
from takeback.run.errors import UnknownName
from validation import arena_cards
from validation.cards import CARDS, Card, card_text, numbers, reading
from validation.planted import DIM, KEEN, POLICIES, planted, pursuer, sight, world

TABLES = cache(numbers)
ON_PLAYERS = cache(arena_cards.numbers)


@pytest.fixture(scope="module", params=[0, 1])
def table(request: pytest.FixtureRequest) -> pd.DataFrame:
    return TABLES(seed=request.param)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("card", arena_cards.CARDS, ids=lambda card: card.measure)
def test_measures_that_need_an_arena_are_what_their_cards_say(card: Card, seed: int) -> None:
    table = ON_PLAYERS(seed=seed)
    for claim in card.claims:
        assert claim.holds(reading(table, card.measure, claim.policy, claim.goal)), claim
    for claim in card.fails:
        assert not claim.holds(reading(table, card.measure, claim.policy, claim.goal)), claim


@pytest.mark.slow
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.measure)
def test_a_measure_is_what_its_card_says_and_fails_where_it_says(card: Card, table: pd.DataFrame) -> None:
    for claim in card.claims:
        assert claim.holds(reading(table, card.measure, claim.policy, claim.goal)), claim
    for claim in card.fails:
        assert not claim.holds(reading(table, card.measure, claim.policy, claim.goal)), claim


@pytest.mark.parametrize("beta", [-8.0, -0.1, 0.5, 3.0, 40.0])
@pytest.mark.parametrize("if_legal", [False, True])
def test_the_dial_is_read_off(beta: float, if_legal: bool) -> None:
    made = world(40)
    outcomes = Outcomes.of(made.base, pursuer(made, beta=beta), made.context, ["wanted"], if_legal)
    found = pursuit(outcomes)
    assert found.beta == pytest.approx(beta)
    assert found.halves == pytest.approx((beta, beta))
    assert found.share is not None
    assert found.signed is not None
    assert found.share.value == pytest.approx(1)
    assert found.signed.value == pytest.approx(np.sign(beta))


def test_planted_policies_are_readouts_of_their_world() -> None:
    made = world(12, seed=3)
    for name in POLICIES:
        readouts = planted(name, made, seed=1)
        whole = readouts.legal_mass + readouts.masses.sum(axis=1)
        np.testing.assert_allclose(whole, 1)
        np.testing.assert_array_equal(planted(name, made, seed=1).probabilities, readouts.probabilities)
    with pytest.raises(UnknownName, match="did you mean 'pursuer'"):
        planted("persuer", made)


def test_what_planted_policies_know_is_what_they_see() -> None:
    """The share of pairs that a chooser of some strength has in order is what the formula foresees."""
    made = world(200)
    one = Outcomes.of(made.base, made.base, made.context, ["wanted"], if_legal=True)
    for name, strength in (("all it can, sees well", KEEN), ("all it can, sees little", DIM)):
        foreseen = np.nanmean(order_foreseen(one.utility, one.legal, strength))
        assert np.nanmean(sight(name, made, 4)) == pytest.approx(foreseen, abs=0.03)
    assert np.nanmean(sight("capable, aimless", made)) == 1
    with pytest.raises(UnknownName, match="did you mean 'pursuer'"):
        sight("persuer", made)


@pytest.mark.slow
def test_the_page_has_the_cards_as_the_command_prints_them() -> None:
    page = (Path(__file__).parents[2] / "docs" / "agency.md").read_text(encoding="utf-8")
    assert card_text(TABLES(seed=0)) in page
    assert card_text(ON_PLAYERS(seed=0), arena_cards.CARDS, len(CARDS) + 1) in page
