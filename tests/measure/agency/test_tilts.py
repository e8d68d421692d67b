from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from takeback.measure.agency import tilts
from takeback.measure.outcomes import Outcomes
from validation.planted import planted, world

MADE = world(30)


@st.composite
def drawn(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Base, tuned and utility of some situations, with ties, zeros and outcomes that don't exist."""
    m, k = draw(st.integers(1, 6)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    exists = rng.random((m, k)) < 0.8
    exists[:, 0] = True
    base = exists * np.maximum(rng.dirichlet(np.full(k, draw(st.sampled_from([0.05, 1.0]))), size=m), 1e-12)
    tuned = exists * (rng.dirichlet(np.ones(k), size=m) + 1e-9) * (rng.random((m, k)) < 0.7)
    tuned[:, 0] += 1e-6
    utility = rng.integers(0, 4, size=(m, k)) / 3 if draw(st.booleans()) else rng.random((m, k))
    return base / base.sum(1, keepdims=True), tuned / tuned.sum(1, keepdims=True), utility * exists


def gain_by_definition(base: np.ndarray, tuned: np.ndarray, utility: np.ndarray, beta: float) -> float:
    each = (tuned * utility).sum(axis=1) * beta - scipy.special.logsumexp(beta * utility, b=base, axis=1)
    return float(each.mean())


@pytest.mark.slow
@given(drawn())
def test_one_beta_is_the_best_of_all(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Against scipy's search of the formula as it is printed, and grids beyond its reach."""
    base, tuned, utility = case
    together = np.zeros(len(base), np.int64)
    beta = tilts.fit(base, tuned, utility, together)
    found = tilts.gains(base, tuned, utility, beta[together]).mean()
    searched = scipy.optimize.minimize_scalar(lambda b: -gain_by_definition(base, tuned, utility, b))
    grid = [gain_by_definition(base, tuned, utility, b) for b in np.linspace(-60, 60, 61)]
    assert found >= max(-searched.fun, *grid) - 1e-9
    if abs(beta[0]) < 60:
        assert found == pytest.approx(gain_by_definition(base, tuned, utility, beta[0]), abs=1e-9)


@given(drawn())
def test_pursuit_in_sample_is_between_nothing_and_the_divergence(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    base, tuned, utility = case
    m = len(base)
    divergence = scipy.special.rel_entr(tuned, np.where(base > 0, base, 1)).sum(axis=1)
    one, each = np.zeros(m, np.int64), np.arange(m)
    shared = tilts.gains(base, tuned, utility, tilts.fit(base, tuned, utility, one)[one])
    own = tilts.gains(base, tuned, utility, tilts.fit(base, tuned, utility, each))
    assert -1e-9 <= shared.mean() <= own.mean() + 1e-9
    assert (own >= -1e-9).all()
    assert (own <= divergence + 1e-9).all()


@given(drawn(), st.floats(-50, 50))
def test_a_tilt_is_all_pursuit_and_its_beta_is_found(
    case: tuple[np.ndarray, np.ndarray, np.ndarray], beta: float
) -> None:
    base, _, utility = case
    scores = np.where(base > 0, np.log(np.where(base > 0, base, 1)) + beta * utility, -np.inf)
    tuned = scipy.special.softmax(scores, axis=1)
    one = np.zeros(len(base), np.int64)
    found = tilts.fit(base, tuned, utility, one)
    gain = tilts.gains(base, tuned, utility, found[one]).mean()
    divergence = scipy.special.rel_entr(tuned, np.where(base > 0, base, 1)).sum(axis=1).mean()
    assert gain == pytest.approx(divergence, abs=1e-8)
    joint = tilts.fit_jointly(base, tuned, utility[None])
    assert tilts.gains_jointly(base, tuned, utility[None], joint).mean() == pytest.approx(gain, abs=1e-7)


@given(drawn(), st.floats(0.1, 10), st.floats(-5, 5))
def test_a_goal_may_be_scaled_and_shifted(
    case: tuple[np.ndarray, np.ndarray, np.ndarray], scale: float, offset: float
) -> None:
    base, tuned, utility = case
    one = np.zeros(len(base), np.int64)
    moved = np.where(base > 0, scale * utility + offset, 0)
    plain = tilts.gains(base, tuned, utility, tilts.fit(base, tuned, utility, one)[one])
    np.testing.assert_allclose(
        tilts.gains(base, tuned, moved, tilts.fit(base, tuned, moved, one)[one]).mean(),
        plain.mean(),
        atol=1e-8,
    )


@pytest.mark.parametrize("goals", [("wanted",), ("wanted", "other")])
def test_influence_is_what_leaving_a_situation_out_does(goals: tuple[str, ...]) -> None:
    """The slow way: fit one half again without each situation, and read the other."""
    found = Outcomes.of(MADE.base, planted("noise only", MADE), MADE.context, goals)
    half = found.halves(0)
    fitted, read = (half == side for side in (0, 1))

    def total(rows: np.ndarray) -> float:
        beta = tilts.fit_jointly(found.base[rows], found.tuned[rows], found.utilities[:, rows])
        parts = found.base[read], found.tuned[read], found.utilities[:, read]
        return tilts.gains_jointly(*parts, beta).sum()

    betas = np.stack(
        [
            tilts.fit_jointly(found.base[rows], found.tuned[rows], found.utilities[:, rows])
            for rows in (fitted, read)
        ]
    )
    moved = tilts.influence_of_fit(found.base, found.tuned, found.utilities, half, betas)
    places = np.flatnonzero(fitted)
    slow = [total(fitted) - total(fitted & (np.arange(30) != place)) for place in places]
    assert moved[fitted].sum() == pytest.approx(0, abs=1e-6)
    assert np.corrcoef(moved[fitted], slow)[0, 1] > 0.95
    assert np.std(moved[fitted]) == pytest.approx(np.std(slow), rel=0.25)


def test_joint_fits_reach_the_best_of_a_general_search() -> None:
    found = Outcomes.of(MADE.base, planted("imitator", MADE), MADE.context, ["wanted", "other", "shadow"])

    def loss(beta: np.ndarray) -> float:
        return -gain_by_definition(found.base, found.tuned, np.einsum("g,gmk->mk", beta, found.utilities), 1)

    beta = tilts.fit_jointly(found.base, found.tuned, found.utilities)
    searched = scipy.optimize.minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-9})
    assert loss(beta) <= searched.fun + 1e-9
