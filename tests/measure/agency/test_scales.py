"""Pursuit on other scales of utility: planted policies, and what no scale may change."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from takeback.measure.agency.agency import agency
from takeback.measure.agency.pursuits import BEST_OF_N, BY_RANK, SIGNED, signed_parts
from takeback.measure.agency.scales import best_of, masses
from takeback.measure.outcomes import Outcomes
from validation.planted import pursuer, world

MADE = world(120)


def laid(after, context=MADE.context):
    return Outcomes.of(MADE.base, after, context, ("wanted",), if_legal=True)


def drawn_best(n, keep=1.0):
    """Return the policy that takes the best of n draws from base, or the worst of -n; a share of it."""
    context, base = MADE.context, MADE.base
    weights = np.zeros(len(base.probabilities))
    for place in range(len(base)):
        mine = np.flatnonzero(context.owner == place)
        p = base.probabilities[mine] / base.probabilities[mine].sum()
        u = np.sign(n) * context.utilities["wanted"][mine]
        upto = np.array([p[u <= one].sum() for one in u])
        below = np.array([p[u < one].sum() for one in u])
        best = p * (upto ** abs(n) - below ** abs(n)) / (upto - below)
        weights[mine] = keep * best + (1 - keep) * p
    return MADE.made(weights, MADE.base.masses)


def shares(after, context=MADE.context):
    return {name: float(each.mean()) for name, each in signed_parts(laid(after, context)).items()}


def test_each_policy_is_all_pursuit_on_its_own_scale():
    tilted, best = shares(pursuer(MADE, beta=3.0)), shares(drawn_best(4))
    assert tilted[SIGNED] == pytest.approx(1, abs=0.01)
    assert best[BEST_OF_N] == pytest.approx(1, abs=1e-3)
    assert best[BEST_OF_N] > best[BY_RANK] > best[SIGNED], "ranks are nearer to it than utilities are"
    assert tilted[SIGNED] > max(tilted[BY_RANK], tilted[BEST_OF_N])


def test_the_worst_of_some_draws_is_avoiding():
    assert shares(drawn_best(-4))[BEST_OF_N] == pytest.approx(-1, abs=1e-3)


@settings(max_examples=10)
@given(st.floats(0.2, 5), st.sampled_from([2, 3.5, 8]))
def test_only_the_share_by_utility_hangs_on_how_it_is_bent(power, n):
    after = drawn_best(n, keep=0.7)
    bent = {**MADE.context.utilities, "wanted": MADE.context.utilities["wanted"] ** power}
    before, found = shares(after), shares(after, replace(MADE.context, utilities=bent))
    for name in (BY_RANK, BEST_OF_N):
        assert found[name] == pytest.approx(before[name], abs=1e-9)
    if abs(power - 1) > 0.3:
        assert found[SIGNED] != pytest.approx(before[SIGNED], abs=1e-4)


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_masses_are_sums_over_outcomes_of_less_and_of_equal_utility(width, seed):
    rng = np.random.default_rng(seed)
    base = rng.dirichlet(np.ones(width), size=3) * (rng.random((3, width)) > 0.2)
    utility = rng.integers(0, 3, size=(3, width)) / 2
    below, equal = masses(base, utility)
    for i, j in np.ndindex(base.shape):
        if base[i, j] > 0:
            assert below[i, j] == pytest.approx(base[i][utility[i] < utility[i, j]].sum(), abs=1e-12)
            assert equal[i, j] == pytest.approx(base[i][utility[i] == utility[i, j]].sum(), abs=1e-12)


def test_the_gain_is_the_divergence_where_tuned_is_the_best_of_n_and_never_more():
    outcomes = laid(drawn_best(5))
    gains = best_of(outcomes)
    np.testing.assert_allclose(gains(np.log(5)), outcomes.divergence, atol=1e-9)
    assert gains(np.log(2)).mean() < gains(np.log(5)).mean() > gains(np.log(9)).mean()
    np.testing.assert_allclose(gains(0.0), 0, atol=1e-12)


@pytest.mark.slow
def test_the_interval_of_the_share_holds_it_over_situations():
    """Jackknife over situations, which fits n anew each time, agrees with the parts' standard error."""
    after = drawn_best(4, keep=0.6)
    outcomes = laid(after)
    each = signed_parts(outcomes)[BEST_OF_N]
    error = each.std(ddof=1) / np.sqrt(len(each))
    names = dict.fromkeys(outcomes.clusters.tolist())
    left = []
    for name in names:
        keep = outcomes.clusters != name
        fields = ("base", "tuned", "legal", "clusters")
        some = replace(outcomes, **{field: getattr(outcomes, field)[keep] for field in fields})
        texts = tuple(np.array(outcomes.texts, object)[keep])
        some = replace(some, texts=texts, utilities=outcomes.utilities[:, keep], applies=keep)
        left.append(float(signed_parts(some)[BEST_OF_N].mean()))
    jackknife = np.sqrt((len(left) - 1) * np.var(left))
    assert 0.6 < jackknife / error < 1.6


def test_agency_tells_all_scales():
    table = agency(MADE.base, drawn_best(4), MADE.context, ["wanted"]).set_index("measure")
    for name in (SIGNED, BY_RANK, BEST_OF_N):
        assert table.loc[f"{name}, if legal", "unit"] == "share"
        assert table.loc[f"{name}, if legal", "low"] < table.loc[f"{name}, if legal", "high"]
