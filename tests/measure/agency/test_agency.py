from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from readouts_by_hand import make
from takeback.measure.agency import tilts
from takeback.measure.agency.agency import agency, meg, optimisation_power
from takeback.measure.agency.pursuits import joint_pursuit, pursuit, pursuit_each, pursuit_values
from takeback.measure.measure import MeasureContext
from takeback.measure.outcomes import Outcomes
from takeback.measure.shift import shift
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError, UnknownName
from toy_arena import ToyArena
from validation.planted import POLICIES, World, noisy, planted, pursuer, world

TOY = ToyArena()
BEFORE = make(
    [[0.2, 0.3], [0.1, 0.2, 0.3], [0.75], []],
    [[0.2, 0.2, 0.1], [0.3, 0.05, 0.05], [0.1, 0.1, 0.05], [0.5, 0.2, 0.3]],
)
AFTER = make(
    [[0.5, 0.3], [0.1, 0.2, 0.5], [0.25], []],
    [[0.1, 0.05, 0.05], [0.1, 0.05, 0.05], [0.25, 0.4, 0.1], [0.5, 0.3, 0.2]],
)
CONTEXT = MeasureContext.of(BEFORE, TOY)
HAND = Outcomes.of(BEFORE, AFTER, CONTEXT, ["first"])
MADE = world(30)


def outcomes(made: World, after: Readouts, *goals: str, if_legal: bool = False) -> Outcomes:
    return Outcomes.of(made.base, after, made.context, goals or ("wanted",), if_legal)


@given(st.permutations(range(30)), st.sampled_from(sorted(POLICIES)))
@settings(max_examples=20)
def test_the_order_of_situations_does_not_matter(order: list[int], name: str) -> None:
    after = planted(name, MADE)
    moved = MADE.base[order], after[order]
    clusters = MADE.context.clusters[order]
    owner = moved[0].owner
    flat = np.concatenate([np.flatnonzero(MADE.context.owner == i) for i in order])
    context = replace(
        MADE.context,
        situations=moved[0].situations,
        actions=moved[0].actions,
        owner=owner,
        clusters=clusters,
        utilities={goal: utility[flat] for goal, utility in MADE.context.utilities.items()},
    )
    for suffix in (False, True):
        one = pursuit(outcomes(MADE, after, if_legal=suffix), seed=3)
        other = pursuit(Outcomes.of(*moved, context, ["wanted"], suffix), seed=3)
        assert one.halves == pytest.approx(other.halves, abs=1e-7)
        assert one.inside.value == pytest.approx(other.inside.value, abs=1e-12)
        for left, right in ((one.share, other.share), (one.signed, other.signed)):
            assert (left is None) == (right is None)
            if left and right:
                assert (left.value, left.se) == pytest.approx((right.value, right.se), abs=1e-9)


def test_the_partition_is_that_of_shift() -> None:
    """Places 0 to 2; place 3 has no legal action. Place 2 has an undecided remainder on one side."""
    undecided = replace(AFTER, masses=AFTER.masses * 0.5, undecided=AFTER.masses.sum(axis=1) / 2)
    for after in (AFTER, undecided):
        found = Outcomes.of(BEFORE, after, CONTEXT, ["first"])
        assert found.applies.tolist() == [True, True, True, False]
        np.testing.assert_allclose(found.divergence, shift(BEFORE, after)["KL(after || before)"][:3])
    assert HAND.utility.tolist()[0] == [0.25, 1.0, 0, 0, 0, 0]
    assert HAND.exists.sum(axis=1).tolist() == [5, 6, 4]
    given_legal = Outcomes.of(BEFORE, AFTER, CONTEXT, ["first"], if_legal=True)
    expected = [scipy.stats.entropy([5, 3], [2, 3]), scipy.stats.entropy([1, 2, 5], [1, 2, 3]), 0]
    np.testing.assert_allclose(given_legal.divergence, expected, atol=1e-9)


def test_optimisation_power_by_hand() -> None:
    """Place 0: utilities 1/4 and 1; place 1: 0, 1/2, 1; place 2: one action. Ties count half."""
    uniform = [
        -0.5 * math.log2(3 / 4) - 0.3 * math.log2(1 / 4),
        -0.1 * math.log2(5 / 6) - 0.2 * math.log2(3 / 6) - 0.5 * math.log2(1 / 6),
        -0.25 * math.log2(1 / 2),
    ]
    np.testing.assert_allclose(optimisation_power(HAND), uniform)
    over_base = [
        -0.5 * math.log2(0.3 + 0.1) - 0.3 * math.log2(0.15) - 0.2 * math.log2(0.5 + 0.25),
        -0.1 * math.log2(0.55) - 0.2 * math.log2(0.4) - 0.5 * math.log2(0.15) - 0.2 * math.log2(0.8),
        -0.25 * math.log2(0.375) - 0.75 * math.log2(0.875),
    ]
    np.testing.assert_allclose(optimisation_power(HAND, "base"), over_base)
    itself = Outcomes.of(BEFORE, BEFORE, CONTEXT, ["first"])
    np.testing.assert_allclose(optimisation_power(itself, "base", beyond_chance=True), 0, atol=1e-12)


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_ties_have_the_power_of_their_middle(levels: int, seed: int) -> None:
    """The slow way: −log2 of the share that is better plus half the share that is as good."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 12))
    values, policy = rng.integers(0, levels, size=n).astype(float), rng.dirichlet(np.ones(n))
    one = replace(
        HAND,
        base=policy[None],
        tuned=policy[None],
        utilities=values[None, None],
        legal=np.ones((1, n), np.bool_),
    )
    expected = -sum(
        p * math.log2(((values > v).sum() + (values == v).sum() / 2) / n)
        for p, v in zip(policy, values, strict=True)
    )
    assert optimisation_power(one)[0] == pytest.approx(expected)
    if levels == 1:
        assert optimisation_power(one)[0] == pytest.approx(1)
        assert optimisation_power(one, beyond_chance=True)[0] == pytest.approx(0)


@pytest.mark.parametrize("name", sorted(POLICIES))
@pytest.mark.parametrize("if_legal", [False, True])
def test_meg_is_the_printed_formula_and_in_its_bounds(name: str, if_legal: bool) -> None:
    found = outcomes(MADE, planted(name, MADE), if_legal=if_legal)
    values, beta = meg(found)
    sizes = found.exists.sum(axis=1)
    assert 0 <= values.mean() <= np.log(sizes).mean()
    by_hand = [
        beta * (found.tuned[i] @ found.utility[i])
        - scipy.special.logsumexp(beta * found.utility[i][found.exists[i]])
        + math.log(sizes[i])
        for i in range(len(found))
    ]
    np.testing.assert_allclose(values, by_hand, atol=1e-9)
    uniform = Outcomes.of(MADE.base, MADE.base, MADE.context, ["wanted"])
    even = replace(uniform, tuned=uniform.exists / uniform.exists.sum(axis=1, keepdims=True))
    assert meg(even)[1] == 0
    np.testing.assert_allclose(meg(even)[0], 0, atol=1e-12)


def test_a_perfect_player_has_infinite_beta_and_its_limit() -> None:
    """Only best actions: the log of the mass that base, or chance, has on them."""
    start = outcomes(MADE, MADE.base)
    best = start.exists & (start.utility == start.utility.max(axis=1, keepdims=True))
    perfect = replace(start, tuned=best / best.sum(axis=1, keepdims=True))
    values, beta = meg(perfect)
    assert beta == math.inf
    np.testing.assert_allclose(values, np.log(start.exists.sum(axis=1) / best.sum(axis=1)))
    found = pursuit(perfect)
    assert found.halves == (math.inf, math.inf)
    assert found.value is not None
    assert found.value.value == pytest.approx(-np.log((start.base * best).sum(axis=1)).mean())
    assert found.share is not None
    assert 0 < found.share.value < 1  # base's preferences among equals are lost, and that is no pursuit
    within = replace(start, tuned=start.base * best / (start.base * best).sum(axis=1, keepdims=True))
    share = pursuit(within).share
    assert share is not None
    assert share.value == pytest.approx(1)


def test_an_infinite_beta_that_does_not_hold_elsewhere_is_told() -> None:
    start = outcomes(MADE, MADE.base)
    best = start.exists & (start.utility == start.utility.max(axis=1, keepdims=True))
    perfect = best / best.sum(axis=1, keepdims=True)
    mixed = replace(start, tuned=np.where((start.halves(0) == 0)[:, None], perfect, start.base))
    found = pursuit(mixed)
    assert found.value is None
    assert found.share is None
    assert "infinite" in found.note
    assert found.inside_share is not None


def test_a_goal_that_tells_no_outcomes_apart_has_a_share_of_nothing() -> None:
    start = outcomes(MADE, noisy(MADE), if_legal=True)
    found = pursuit(replace(start, utilities=np.where(start.legal, 0.5, 0.0)[None]))
    assert found.share is not None
    assert (found.beta, found.share.value, found.share.se) == (0, 0, 0)
    assert "β = 0" in found.note


def test_halves_are_whole_clusters_of_like_size() -> None:
    halves = outcomes(world(61), world(61).base).halves(5)
    assert set(halves[::2][:-1] - halves[1::2]) == {0}
    assert halves.sum() in (29, 30, 31, 32)
    assert (halves != outcomes(world(61), world(61).base).halves(6)).any()


def test_held_out_is_each_half_with_the_beta_of_the_other() -> None:
    found = outcomes(MADE, planted("imitator", MADE))
    half = found.halves(4)
    held = np.zeros(len(found))
    for side in (0, 1):
        fitted, read = half != side, half == side
        zeros = np.zeros(fitted.sum(), np.int64)
        beta = tilts.fit(found.base[fitted], found.tuned[fitted], found.utility[fitted], zeros)
        beta = np.full(read.sum(), beta[0])
        held[read] = tilts.gains(found.base[read], found.tuned[read], found.utility[read], beta)
    result = pursuit(found, 4)
    assert result.value is not None
    assert result.share is not None
    assert result.value.value == pytest.approx(held.mean())
    assert result.share.value == pytest.approx(held.mean() / found.divergence.mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["imitator", "noise only", "wrong goal"])
def test_intervals_of_shares_cover(name: str) -> None:
    """The share of a large world is in nineteen of twenty intervals from small samples of it."""
    made = world(2000, seed=9)
    after, rng, hits, runs = planted(name, made, 2), np.random.default_rng(0), 0, 200
    whole = outcomes(made, after)
    truth = pursuit(whole).share
    assert truth is not None
    for run in range(runs):
        chosen = rng.permutation(1000)[:60]
        rows = np.isin(whole.clusters, chosen)
        sample = replace(
            whole,
            base=whole.base[rows],
            tuned=whole.tuned[rows],
            utilities=whole.utilities[:, rows],
            legal=whole.legal[rows],
            clusters=whole.clusters[rows],
            texts=tuple(np.array(whole.texts)[rows]),
        )
        share = pursuit(sample, run).share
        assert share is not None
        assert share.low is not None
        assert share.high is not None
        hits += share.low <= truth.value <= share.high
    assert hits / runs >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / runs)


def test_values_at_a_fixed_beta_pair_by_situation() -> None:
    """Between two policies they differ by β times the expected utilities, and average to the pursuit."""
    tuned, hybrid = pursuer(MADE), noisy(MADE)
    beta = pursuit(outcomes(MADE, tuned)).beta
    one, other = (pursuit_values(outcomes(MADE, after), beta) for after in (tuned, hybrid))
    utility = MADE.context.utilities["wanted"]
    for_each = [
        beta * utility[MADE.base.span(i)] @ (tuned.probabilities - hybrid.probabilities)[MADE.base.span(i)]
        for i in range(30)
    ]
    np.testing.assert_allclose(one.numbers - other.numbers, for_each)
    assert one.numbers.mean() == pytest.approx(pursuit(outcomes(MADE, tuned)).inside.value)
    assert one.applies.all()
    partly = pursuit_values(HAND, 1.0)
    assert partly.applies.tolist() == [True, True, True, False]
    with pytest.raises(TakebackError, match="no value of its own"):
        pursuit_values(HAND, math.inf)


def test_a_beta_for_each_situation_is_what_one_situation_has() -> None:
    found = outcomes(MADE, planted("noise only", MADE))
    values, beta = pursuit_each(found)
    for i in (0, 7, 29):
        alone = tilts.fit(found.base[[i]], found.tuned[[i]], found.utility[[i]], np.zeros(1, np.int64))
        assert beta[i] == pytest.approx(alone[0], abs=1e-9)
    assert values.mean() >= pursuit(found).inside.value


def test_goals_together() -> None:
    """Two dials at once; a goal named twice adds nothing to itself."""
    made = world(60)
    both = 2 * made.context.utilities["wanted"] - made.context.utilities["other"]
    after = made.tilted(np.ones(60), both)
    joint = joint_pursuit(outcomes(made, after, "wanted", "other"))
    assert joint.betas == pytest.approx({"wanted": 2, "other": -1}, abs=1e-5)
    assert joint.share is not None
    assert joint.share.value == pytest.approx(1)
    for goal, left in (("wanted", "other"), ("other", "wanted")):
        alone = pursuit(outcomes(made, after, left)).share
        given_other = joint.given[goal]
        assert alone is not None
        assert given_other is not None
        assert given_other.value == pytest.approx(1 - alone.value, abs=1e-5)
    twice = made.context.utilities | {"again": made.context.utilities["wanted"]}
    context = replace(made.context, utilities=twice, applies=dict.fromkeys(twice, np.ones(60, np.bool_)))
    doubled = joint_pursuit(Outcomes.of(made.base, after, context, ["wanted", "again"]))
    for estimate in doubled.given.values():
        assert estimate is not None
        assert estimate.value == pytest.approx(0, abs=1e-6)


def test_the_table_says_what_is_missing_and_why() -> None:
    table = agency(MADE.base, MADE.base, MADE.context)
    rows = table[table["measure"].str.contains("share")]
    assert rows["value"].isna().all()
    assert rows["note"].str.startswith("no change to explain").all()
    assert str(table["value"].dtype) == "Float64"
    assert set(table["n"]) == {30}
    assert not table["measure"].eq("KL(after || before)").empty
    toy = agency(BEFORE, AFTER, CONTEXT, ["even"]).set_index("measure")
    assert toy.loc["pursuit share", "note"] == "no change to explain: KL 0.43 [-1.4, 2.3] nats"
    few = MeasureContext.of(BEFORE[:2], TOY)
    toy = agency(BEFORE[:2], AFTER[:2], few, ["first"]).set_index("measure")
    assert "one cluster" in toy.loc["pursuit share", "note"]
    assert pd.isna(toy.loc["pursuit share", "value"])
    assert pd.isna(toy.loc["pursuit", "value"])
    assert pd.isna(toy.loc["MEG", "se"])
    assert toy.loc["MEG", "value"] > 0
    nowhere = replace(CONTEXT, applies={**CONTEXT.applies, "even": np.zeros(4, np.bool_)})
    both = agency(BEFORE, AFTER, nowhere)
    missing = both[both["n"] == 0]
    assert set(missing["note"]) == {
        "the goal applies to no situation",
        "no situation to which all the goals apply",
    }


def test_the_table_is_what_its_parts_are_and_the_same_again() -> None:
    after = planted("imitator", MADE)
    table = agency(MADE.base, after, MADE.context, seed=2)
    pd.testing.assert_frame_equal(table, agency(MADE.base, after, MADE.context, seed=2))
    rows = table.set_index(["measure", "goal"])
    found = pursuit(outcomes(MADE, after, "shadow", if_legal=True), 2)
    assert found.share is not None
    row = rows.loc[("pursuit share, if legal", "shadow")]
    assert (row["value"], row["se"], row["beta"]) == pytest.approx(
        (found.share.value, found.share.se, found.beta)
    )
    assert rows.loc[("joint pursuit share", "wanted + other + shadow"), "value"] <= 1
    only = agency(MADE.base, after, MADE.context, ["other"])
    assert set(only["goal"]) == {"other"}
    assert not only["measure"].str.contains("joint|others").any()


def test_mistakes_are_named() -> None:
    with pytest.raises(UnknownName, match="did you mean 'wanted'"):
        agency(MADE.base, MADE.base, MADE.context, ["wantd"])
    with pytest.raises(TakebackError, match="at least one"):
        Outcomes.of(MADE.base, MADE.base, MADE.context, [])
    with pytest.raises(TakebackError, match="other situations"):
        agency(BEFORE, AFTER, MADE.context)
    with pytest.raises(TakebackError, match="not of the same situations"):
        agency(MADE.base, AFTER, MADE.context)
    nowhere = replace(CONTEXT, applies={**CONTEXT.applies, "even": np.zeros(4, np.bool_)})
    with pytest.raises(TakebackError, match="no situation to which 'even' applies"):
        pursuit(Outcomes.of(BEFORE, AFTER, nowhere, ["even"]))
