"""Exponential tilts of a policy toward utilities: π0(a) exp(βU(a)) / Z, and the tilt nearest to a policy.

All arrays are [m, k], situations × outcomes; an outcome exists where the base π0 is above 0. A tilt gains
β E_π U − log E_π0 exp(βU) nats in a situation: how much better it foretells π than π0 does, which is at most
KL(π || π0) (Donsker and Varadhan 1975, "Asymptotic evaluation of certain Markov process expectations"). The
policy that maximises E U − KL(·|| π0) / β is such a tilt.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from takeback.run.grouping import sum_by

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

NO_PULL = 1e-10
"""Differences of expected utility at most this large count as none: rounding and the floor make them."""

_STEPS = 200
_CLOSE = 1e-13


def fit(base: Floats, tuned: Floats, utility: Floats, groups: Places) -> Floats:
    """Return the β of each group of situations whose tilts of base gain most on tuned; shape (groups,).

    The gain is concave in β. Its best β is where the tilt has tuned's expected utility, with the sign of
    tuned's difference from base; infinite where tuned takes only outcomes of the best utility (−∞: of the
    worst); 0 where the expected utilities are the same.

    >>> base, utility = np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])
    >>> fit(base, np.array([[0.75, 0.25]]), utility, np.array([0])).round(6)
    array([1.098612])
    >>> fit(base, np.array([[0.0, 1.0]]), utility, np.array([0]))
    array([-inf])
    """
    count = int(groups.max(initial=-1)) + 1
    pull = sum_by(groups, ((tuned - base) * utility).sum(axis=1), count)
    sizes = np.bincount(groups, minlength=count)
    sign = np.where(np.abs(pull) <= NO_PULL * sizes, 0.0, np.sign(pull))
    regret = _regret(base, utility, sign[groups])
    lost = sum_by(groups, (tuned * regret).sum(axis=1), count)
    strength = np.where((sign != 0) & (lost == 0), np.inf, 0.0)
    solved = (sign != 0) & (lost > 0)
    if solved.any():
        strength[solved] = _strengths(base, regret, groups, np.where(solved, lost, np.inf))[solved]
    return np.where(sign == 0, 0.0, sign * strength)


def gains(base: Floats, tuned: Floats, utility: Floats, beta: Floats) -> Floats:
    """Return what the tilt with a situation's β gains there, in nats; β may be infinite; shape (m,).

    It is −∞ where β is infinite and tuned takes other outcomes than the best.

    >>> base, utility = np.array([[0.25, 0.75]]), np.array([[1.0, 0.0]])
    >>> gains(base, np.array([[1.0, 0.0]]), utility, np.array([np.inf])).round(4)
    array([1.3863])
    """
    regret = _regret(base, utility, np.sign(beta))
    scaled = np.multiply(np.abs(beta)[:, None], regret, where=regret > 0, out=np.zeros_like(regret))
    return np.where(beta == 0, 0.0, _gains(base, tuned, scaled))


def fit_jointly(base: Floats, tuned: Floats, utilities: Floats) -> Floats:
    """Return the β of each goal whose joint tilt exp(Σ β_g U_g) gains most on tuned; shape (goals,).

    `utilities` is [goals, m, k]. The gain is concave; a trust-region Newton method climbs it until its slope
    is below 1e-9, so that where the best β is infinite the answer is a large one. Of goals that say the same
    any division is as good.
    """
    from scipy.optimize import minimize

    expected = np.einsum("mk,gmk->g", tuned, utilities)
    m = len(base)

    def tilted(beta: Floats) -> Floats:
        weight = base * np.exp(-_joint_regret(base, utilities, beta))
        return weight / weight.sum(axis=1, keepdims=True)

    def loss(beta: Floats) -> float:
        return -float(_gains(base, tuned, _joint_regret(base, utilities, beta)).mean())

    def slope(beta: Floats) -> Floats:
        return (np.einsum("mk,gmk->g", tilted(beta), utilities) - expected) / m

    def curvature(beta: Floats) -> Floats:
        policy = tilted(beta)
        means = np.einsum("mk,gmk->gm", policy, utilities)
        weighted = (policy * utilities).reshape(len(utilities), -1)
        return (weighted @ utilities.reshape(len(utilities), -1).T - means @ means.T) / m

    options = {"gtol": 1e-9, "maxiter": _STEPS, "max_trust_radius": 1e6}
    start = np.zeros(len(utilities))
    return minimize(loss, start, method="trust-exact", jac=slope, hess=curvature, options=options).x


def gains_jointly(base: Floats, tuned: Floats, utilities: Floats, beta: Floats) -> Floats:
    """Return what the joint tilt gains in each situation, in nats; `beta` is (goals,); shape (m,)."""
    return _gains(base, tuned, _joint_regret(base, utilities, beta))


def influence_of_fit(base: Floats, tuned: Floats, utilities: Floats, half: Places, betas: Floats) -> Floats:
    """Return how each situation moves the other half's total gain through the β fitted in its own; (m,).

    `betas` is [2, goals], the β that gain most in half 0 and in half 1. To first order a situation adds
    curvature⁻¹ × its slope to its half's β (the infinitesimal jackknife, Jaeckel 1972, Bell Laboratories
    memorandum 72-1215-11), and the other half's gain follows its own slope there. The influences add up to 0
    in each half; where a β is infinite or all are 0 they are 0.
    """
    moved = np.zeros(len(base))
    for side in (0, 1):
        if not np.isfinite(betas[side]).all() or not betas[side].any():
            continue
        fitted = half == side
        policy = base * np.exp(-_joint_regret(base, utilities, betas[side]))
        policy /= policy.sum(axis=1, keepdims=True)
        slopes = np.einsum("mk,gmk->gm", tuned - policy, utilities)
        means = np.einsum("mk,gmk->gm", policy[fitted], utilities[:, fitted])
        squares = np.einsum("mk,gmk,hmk->gh", policy[fitted], utilities[:, fitted], utilities[:, fitted])
        inverse = np.linalg.pinv(squares - means @ means.T, hermitian=True)
        moved[fitted] = slopes[:, fitted].T @ inverse @ slopes[:, ~fitted].sum(axis=1)
    return moved


def _gains(base: Floats, tuned: Floats, regret: Floats) -> Floats:
    """Return −E_π r − log E_π0 exp(−r) for r ≥ 0, which is 0 for some outcome of each situation."""
    cost = np.multiply(tuned, regret, where=tuned > 0, out=np.zeros_like(tuned)).sum(axis=1)
    return -cost - np.log((base * np.exp(-regret)).sum(axis=1))


def _regret(base: Floats, utility: Floats, sign: Floats) -> Floats:
    """Return how far an outcome is from the situation's best where sign > 0, from its worst elsewhere."""
    exists = base > 0
    best = np.where(exists, utility, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    worst = np.where(exists, utility, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    return np.where(exists, np.where(sign[:, None] > 0, best - utility, utility - worst), 0.0)


def _joint_regret(base: Floats, utilities: Floats, beta: Floats) -> Floats:
    return _regret(base, np.einsum("g,gmk->mk", beta, utilities), np.ones(len(base)))


def _strengths(base: Floats, regret: Floats, groups: Places, lost: Floats) -> Floats:
    """Return the b ≥ 0 of each group at which base exp(−b regret) / Z has the group's regret `lost`.

    Newton's method on the logarithm of the regret, which falls almost linearly in b, kept inside a bracket.
    """
    count = len(lost)
    b, low, high = np.zeros(count), np.zeros(count), np.full(count, np.inf)
    squared = regret**2
    for _ in range(_STEPS):
        weight = base * np.exp(-b[groups][:, None] * regret)
        total = weight.sum(axis=1)
        first = np.einsum("mk,mk->m", weight, regret) / total
        second = np.einsum("mk,mk->m", weight, squared) / total
        mean, spread = sum_by(groups, first, count), sum_by(groups, second - first**2, count)
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = np.log(mean) - np.log(lost)
            newton = b + gap * mean / spread
        low, high = np.where(gap > 0, b, low), np.where(gap < 0, b, high)
        inside = (newton > low) & (newton < high)
        halfway = np.where(np.isinf(high), 2 * b + 1, (low + np.where(np.isinf(high), low, high)) / 2)
        following = np.where(inside, newton, halfway)
        done = np.isinf(lost) | (np.abs(gap) <= _CLOSE) | (np.abs(following - b) <= _CLOSE * b)
        if done.all():
            break
        b = np.where(done, b, following)
    return b
