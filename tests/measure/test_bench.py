"""Answers equal those of hybrids written to disk and read alone; situations are split by cluster."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from takeback.arenas import arena
from takeback.checkpoint import open_checkpoint, open_pair
from takeback.hybrid import hybrid, write_hybrid
from takeback.measure.bench import Answers, Bench
from takeback.measure.measure import MeasureContext
from takeback.measure.measures import measure_values
from takeback.measure.read import Ask
from takeback.measure.setup import Setup
from takeback.policies.language import ReadoutPlan, read_plan
from takeback.policies.load import load_policy
from takeback.run.errors import TakebackError, UnknownName
from takeback.run.stats import mean_estimate, ratio_estimate

ENDGAMES = arena("endgames")
MEASURES = ("utility win", "legal", "down, if legal")


@pytest.fixture(scope="module")
def bench(players) -> Bench:
    return Bench.held_out(open_pair(*players), ENDGAMES, MEASURES, (12, 0))


def anew(bench, setup=None):
    return Bench(bench.pair, bench.arena, bench.situations, bench.measures, setup)


@pytest.fixture(scope="module")
def sets(bench):
    return [bench.anatomy.parse(text) for text in ("", "*", "L0.H0 L1.MLP", "L1.*")]


@pytest.fixture(scope="module")
def answers(bench, sets) -> Answers:
    return bench.answer(sets)


@pytest.mark.slow
def test_answers_equal_hybrids_read_alone(bench, sets, answers, tmp_path):
    for place, components in enumerate(sets):
        out = write_hybrid(hybrid(bench.pair, components), tmp_path / str(place))
        policy = load_policy(open_checkpoint(out), ENDGAMES)
        plan = ReadoutPlan.prepare(ENDGAMES, bench.situations, policy.tokenizer, policy.style)
        readouts = read_plan(policy.model, plan)
        alone = measure_values(readouts, MeasureContext.of(readouts, ENDGAMES))
        for name in MEASURES:
            expected = np.where(alone[name].applies, alone[name].numbers, np.nan)
            np.testing.assert_allclose(answers.of(components, name), expected, atol=1e-6)
    assert np.isfinite(answers.of(sets[0], "legal")).all()


def test_a_measure_of_illegal_classes_is_answered_too(bench, sets):
    found = bench.about("illegal, geometry", "legal").answer(sets[:2])
    masses = [found.of(components, "illegal, geometry") for components in sets[:2]]
    assert all((mass >= 0).all() and (mass <= 1).all() for mass in masses)
    assert masses[0].sum() > 0
    assert not np.array_equal(*masses)


def test_one_hybrid_is_asked_once_and_answers_join(bench, sets, answers):
    twice = bench.answer([sets[1], Ask(sets[1]), sets[1]])
    assert len(twice.numbers) == 1
    np.testing.assert_array_equal(twice.of(sets[1], "legal"), answers.of(Ask(sets[1]), "legal"))
    joined = answers | bench.answer([bench.anatomy.parse("EMBED")])
    assert len(joined.numbers) == len(sets) + 1


@pytest.mark.slow
def test_kept_parts_are_gone_on_from(bench, sets, answers, tmp_path, monkeypatch):
    kept = anew(bench, Setup(tmp_path)).answer(sets)
    monkeypatch.setattr("takeback.measure.read.Reader.policy", None)
    again = anew(bench, Setup(tmp_path)).answer(sets)
    for key, numbers in answers.numbers.items():
        np.testing.assert_array_equal(kept.numbers[key], numbers)
        np.testing.assert_array_equal(again.numbers[key], numbers)


@pytest.mark.slow
def test_two_workers_give_the_same_answers(bench, sets, answers, tmp_path):
    found = anew(bench, Setup(tmp_path, workers=2)).answer(sets)
    for key, numbers in answers.numbers.items():
        np.testing.assert_array_equal(found.numbers[key], numbers)


def test_estimates_leave_out_what_does_not_apply(answers, sets):
    numbers = np.array([np.nan, 1.0, 2.0, 4.0, *[np.nan] * 8])
    whole = np.arange(12.0)
    places = np.array([0, 1, 3, 5])
    clusters = answers.bench.clusters
    assert answers.mean(numbers, places) == mean_estimate([1.0, 4.0], clusters[[1, 3]])
    assert answers.ratio(numbers, whole, places) == ratio_estimate([1.0, 4.0], [1.0, 3.0], clusters[[1, 3]])
    with pytest.raises(TakebackError, match="applies to none"):
        answers.mean(numbers, places[:1])


def test_halves_share_no_situation_and_no_cluster(bench):
    for seed in range(5):
        first, second = bench.halves(seed)
        assert sorted([*first, *second]) == list(range(len(bench.situations)))
        assert len(first)
        assert len(second)
        assert not set(bench.clusters[first]) & set(bench.clusters[second])
    together = Bench(bench.pair, ENDGAMES, bench.situations[:3] * 4)
    first, second = together.halves(0)
    assert not set(together.clusters[first]) & set(together.clusters[second])


def test_parts_of_a_bench_share_its_models(bench, sets, answers):
    first, _ = bench.halves()
    part = bench.some(first)
    assert part.policy("tuned") is bench.policy("tuned")
    np.testing.assert_allclose(
        part.answer(sets[2:3]).of(sets[2], "legal"), answers.of(sets[2], "legal")[first], atol=1e-6
    )


def test_without_measures_it_is_about_the_utility_that_changed_most(bench):
    found = Bench.held_out(bench.pair, ENDGAMES, drawn=(12, 0))
    names = tuple(f"utility {goal}" for goal in ENDGAMES.goals)
    ends = [bench.nothing, bench.anatomy.universe]
    answers = bench.about(*names).answer(ends)
    strengths: dict[str, float] = {}
    for name in names:
        change = answers.change(ends[0], name, ends[1])
        if np.isfinite(change).sum() > 1:
            estimate = answers.mean(change)
            strengths[name] = abs(estimate.value) / estimate.se
    assert found.measures == (max(strengths, key=strengths.__getitem__),)


def test_a_bench_travels_without_its_models(bench, answers, sets):
    assert bench._readings.reader._sides.holds("tuned")
    there = pickle.loads(pickle.dumps(bench))
    assert not there._readings.reader._sides.holds("tuned")
    assert not there.store.reads
    assert there.identity == bench.identity
    assert there.unread(sets) == len(sets)


def test_unknown_names_are_told(bench, answers, sets):
    with pytest.raises(UnknownName, match="utility win"):
        answers.of(sets[0], "utility wine")
    with pytest.raises(UnknownName, match=r"L0\.H1"):
        answers.of(bench.anatomy.parse("L0.H1"), "legal")
    with pytest.raises(UnknownName, match="measure"):
        bench.about("utility wine").answer(sets[:1])
