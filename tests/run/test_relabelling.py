"""Step-down maxT, against the algorithm as it is written in the book, and its error in families."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from takeback.run.sign_flips import flipped
from takeback.run.stats import dealt


def by_the_book(values):
    """Westfall and Young's algorithm 4.1 on |t| of all flips, one hypothesis after the other."""
    signs = np.array(list(itertools.product([1, -1], repeat=len(values))))
    every = np.abs([scipy.stats.ttest_1samp(values * one[:, None], 0).statistic for one in signs])
    own = np.abs(scipy.stats.ttest_1samp(values, 0).statistic)
    found, before = np.ones(len(own)), 0.0
    left = list(np.argsort(-own))
    while left:
        place = left[0]
        before = max(before, float((every[:, left].max(axis=1) >= own[place] - 1e-9).mean()))
        found[place] = before
        left = left[1:]
    return found


@pytest.mark.slow
@given(st.integers(0, 200))
def test_step_down_is_that_of_the_book_and_never_above_single_step(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(6, 5)) + rng.choice([0, 0, 2], size=5)
    found = flipped(values)
    np.testing.assert_allclose(found.step_down(), by_the_book(values))
    assert (found.step_down() <= found.p_values().family + 1e-12).all()
    two = dealt(values, rng.normal(size=(5, 5)))
    assert (two.step_down() <= two.p_values().family + 1e-12).all()
    assert two.step_down().min() == two.p_values().family.min()


def test_families_without_an_effect_err_in_five_percent():
    rng = np.random.default_rng(1)
    wrong = sum((flipped(rng.normal(size=(8, 10))).step_down() <= 0.05).any() for _ in range(400))
    assert wrong <= 400 * (0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5)


def test_what_never_varies_has_p_one():
    values = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [1.5, 0.0]])
    assert flipped(values).step_down().tolist() == [0.125, 1.0]
    assert flipped(values).p_values().family.tolist() == pytest.approx([0.125, 1.0])
