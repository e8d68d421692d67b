"""Law 12: on a model whose answers can be enumerated, pooled values are those of all answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

import tiny_answers
from takeback.arenas import arena
from takeback.arenas.listed import ListedAnswer, Listing
from takeback.arenas.rows import PooledRows
from takeback.checkpoint import load_model, load_tokenizer, open_pair
from takeback.hybrid import taken_back
from takeback.measure.agency.agency import agency
from takeback.measure.agency.pools import PoolDraws
from takeback.measure.agency.pursuits import pooled_pursuit
from takeback.measure.bench import Bench
from takeback.measure.measure import MeasureContext
from takeback.measure.measures import measure_values
from takeback.policies.answers import AnswerReadouts
from takeback.run.stats import mean_estimate

PROMPTS = 48
ALL = tiny_answers.Enumerated.all()


class Enumerated:
    """Base, tuned and a hybrid, with the log-probability of every answer to every prompt."""

    def __init__(self, folder: Path) -> None:
        self.folder = tiny_answers.save_pair(folder, PROMPTS)
        self.pair = open_pair(str(folder / "base"), str(folder / "tuned"))
        self.arena = arena(tiny_answers.arena_text(folder, answers=16))
        self.rows = self.arena.situations("held-out", PROMPTS, 0)
        tuned, words = load_model(self.pair.tuned), load_tokenizer(self.pair.tuned)
        prompts = [words.encode(row.shown, add_special_tokens=True) for row in self.rows]
        self.logs = {
            "base": ALL.logprobs(load_model(self.pair.base), prompts),
            "tuned": ALL.logprobs(tuned, prompts),
        }
        with taken_back(tuned, load_model(self.pair.base), self.pair.anatomy().parse("L0.*")):
            self.logs["hybrid"] = ALL.logprobs(tuned, prompts)

    def exact(self, name: str) -> dict[str, np.ndarray]:
        """Return the exact value of each measure of one of the models in every prompt."""
        logs = self.logs[name]
        chance, kinds = np.exp(logs), np.array(ALL.kinds)
        far = {
            f"KL({side} || it)": (np.exp(own) * (own - logs)).sum(axis=1)
            for side, own in self.logs.items()
            if side != "hybrid"
        }
        shares = {f"kind, {kind}": chance[:, kinds == kind].sum(axis=1) for kind in ("with b", "cut off")}
        return {"utility good": chance @ ALL.worth, "length": chance @ ALL.lengths, **shares, **far}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Enumerated:
    return Enumerated(tmp_path_factory.mktemp("tiny"))


def test_all_answers_are_enumerated(known: Enumerated) -> None:
    for logs in known.logs.values():
        np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_pooled_values_of_base_tuned_and_a_hybrid_are_those_of_all_answers(known: Enumerated) -> None:
    bench = Bench.answering(known.pair, known.arena, known.rows)
    part = bench.anatomy.parse("L0.*")
    (hybrid,) = bench.read([part])
    for name, readouts in {**bench.ends, "hybrid": hybrid}.items():
        values, exact = measure_values(readouts, bench.context), known.exact(name)
        for measure, truth in exact.items():
            off = mean_estimate(values[measure].numbers - truth, bench.clusters, 0.999)
            assert off.low is not None
            assert off.high is not None
            # answers were drawn at random: what is off is off by chance; own divergences are exactly 0
            assert off.low - 1e-5 <= 0 <= off.high + 1e-5, (name, measure, off)


def test_effects_are_paired_on_one_pool(known: Enumerated) -> None:
    bench = Bench.answering(known.pair, known.arena, known.rows)
    (hybrid,) = bench.read([bench.anatomy.parse("L0.*")])
    old, new = (measure_values(one, bench.context) for one in (bench.ends["tuned"], hybrid))
    told = {name: new[name].numbers - old[name].numbers for name in ("utility good", "length")}
    for name, change in told.items():
        truth = known.exact("hybrid")[name] - known.exact("tuned")[name]
        paired = mean_estimate(change - truth)
        alone = mean_estimate(new[name].numbers - known.exact("hybrid")[name])
        assert paired.low <= 0 <= paired.high
        assert paired.se < alone.se, "what the pool has in common goes out of an effect"


def pool(known: Enumerated, seed: int, draws: int, prompts: np.ndarray) -> tuple[AnswerReadouts, ...]:
    """Draw a pool from the exact distributions; return readouts of base, tuned and the hybrid on it."""
    random = np.random.default_rng(seed)
    listings: list[Listing] = []
    picked: list[tuple[int, int]] = []
    for spot in prompts:
        answers: list[ListedAnswer] = []
        for side in ("base", "tuned"):
            chance = np.exp(known.logs[side][spot])
            for which in random.choice(len(chance), draws, p=chance / chance.sum()):
                both = [known.logs[one][spot, which] for one in ("base", "tuned")]
                log = float(logsumexp(both) - np.log(2))
                own = float(known.logs[side][spot, which])
                answers.append(ListedAnswer(str(which), (0,), side, log, own))
                picked.append((int(spot), int(which)))
        listings.append(Listing("", tuple(answers)))
    told = [
        (str(number), str(number), tuple(answer.text for answer in listing.answers))
        for number, listing in enumerate(listings)
    ]
    at = tuple(np.array(picked).T)
    count, place = len(picked), PooledRows(known.arena, ("base", "tuned"), [])
    flat = {"tokens": ALL.lengths[at[1]], "followed": np.zeros(count, bool), "unconditional": np.zeros(count)}
    return tuple(
        AnswerReadouts.of(place, told, listings, {"logprobs": logs[at], **flat})
        for logs in known.logs.values()
    )


def context_of(known: Enumerated, readouts: AnswerReadouts) -> MeasureContext:
    worth = ALL.worth[[int(text) for some in readouts.actions for text in some]]
    n, owner = len(readouts), readouts.owner
    everywhere = np.ones(n, np.bool_)
    return MeasureContext(
        readouts.situations,
        readouts.actions,
        owner,
        np.arange(n),
        {"good": worth},
        {"good": everywhere},
        {},
        {},
    )


@pytest.mark.slow
def test_intervals_cover_prompts_and_drawing(known: Enumerated) -> None:
    """Prompts are drawn from a population, answers from their distributions: 95% hold what is true."""
    truth = {name: known.exact(name)["utility good"] for name in known.logs}
    true = [truth["tuned"].mean(), truth["hybrid"].mean(), (truth["hybrid"] - truth["tuned"]).mean()]
    held = np.zeros(3)
    times = 120
    for seed in range(times):
        prompts = np.random.default_rng([seed, 1]).integers(0, PROMPTS, 32)
        _, tuned, hybrid = pool(known, seed, 4, prompts)
        worth = context_of(known, tuned).utilities["good"]
        means = [np.bincount(one.owner, one.probabilities * worth) for one in (tuned, hybrid)]
        for place, numbers in enumerate([*means, means[1] - means[0]]):
            told = mean_estimate(numbers)
            held[place] += told.low <= true[place] <= told.high
    assert (held / times > 0.90).all(), held / times
    assert (held / times < 0.99).all(), held / times


def exact_pursuit(known: Enumerated, beta: float) -> np.ndarray:
    base, tuned = known.logs["base"], np.exp(known.logs["tuned"])
    return beta * (tuned @ ALL.worth) - logsumexp(base + beta * ALL.worth, axis=1)


@pytest.mark.slow
def test_pursuit_from_own_draws_is_that_of_all_answers(known: Enumerated) -> None:
    every = np.arange(PROMPTS)
    best = minimize_scalar(lambda beta: -exact_pursuit(known, beta).mean(), bounds=(-5, 5), method="bounded")
    whole = (np.exp(known.logs["tuned"]) * (known.logs["tuned"] - known.logs["base"])).sum(axis=1).mean()
    found, plain, shares, within = [], [], [], 0
    beta, times = 1.0, 60
    for seed in range(times):
        base, tuned, _ = pool(known, seed, 8, every)
        context = context_of(known, base)
        tilt = PoolDraws.of(base, tuned, context, "good").tilt(np.full(PROMPTS, beta))
        found.append(tilt.gain.mean())
        plain.append((tilt.gain + tilt.bias).mean())
        told = pooled_pursuit(base, tuned, context, "good", seed)
        shares.append(told.inside_share.value)
        within += told.change.low <= whole <= told.change.high
    exact, error = exact_pursuit(known, beta).mean(), np.std(found) / np.sqrt(times)
    assert abs(np.mean(found) - exact) < 0.25 * abs(np.mean(plain) - exact)
    assert abs(np.mean(found) - exact) < 4 * error
    assert np.mean(shares) == pytest.approx(-best.fun / whole, abs=0.05)
    assert within > 0.85 * times


def test_agency_of_a_pool_is_a_table_of_what_needs_no_enumeration(known: Enumerated) -> None:
    base, tuned, hybrid = pool(known, 0, 8, np.arange(PROMPTS))
    context = context_of(known, base)
    rows = agency(base, tuned, context).set_index("measure")
    assert rows.loc["KL(after || before)", "value"] > 0
    assert "bias of the logarithm" in rows.loc["pursuit share", "note"]
    assert len(agency(base, hybrid, context)) == len(rows), "a policy that drew nothing is told by weights"


def test_slopes_of_a_pool_are_those_of_its_corrected_weights(known: Enumerated) -> None:
    _, _, hybrid = pool(known, 0, 4, np.arange(6))
    worth = context_of(known, hybrid).utilities["good"]
    slopes, step = hybrid.by_logprob(worth), 1e-6
    for place in (0, 5, 17):
        moved = np.zeros(len(worth))
        moved[place] = step
        up, down = (hybrid.at(hybrid.logprobs + one).probabilities @ worth for one in (moved, -moved))
        assert (up - down) / (2 * step) == pytest.approx(slopes[place], abs=1e-7)
    assert (hybrid.probabilities >= 0).all()
    np.testing.assert_allclose(np.bincount(hybrid.owner, hybrid.probabilities), 1)
