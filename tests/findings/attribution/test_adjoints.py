from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from takeback.findings.attribution.adjoints import ForwardPass
from takeback.measure.measure import MeasureContext
from takeback.measure.measures import measure_slopes, measure_values
from takeback.policies.language.expand import Expansion
from takeback.policies.language.plan import ReadoutPlan
from takeback.policies.language.read import read_each, read_plan
from takeback.policies.language.rounds import ModelScores
from takeback.run.errors import TakebackError
from toy_arena import ToyArena

TOY = ToyArena()
TOLERANCE = 0.05
"""So that some prefixes are expanded, and some are left undecided."""

Build = Callable[..., transformers.PreTrainedModel]


@pytest.fixture(scope="module")
def plan() -> ReadoutPlan:
    return ReadoutPlan.prepare(TOY, TOY.situations("train", 4, 0), TOY.tokenizer())


@pytest.fixture(scope="module")
def model(built: Build) -> transformers.PreTrainedModel:
    return built("llama-mha")


@pytest.fixture(scope="module")
def steps(model: transformers.PreTrainedModel, plan: ReadoutPlan) -> tuple[Expansion, ...]:
    with torch.no_grad():
        _, steps = read_each(ModelScores(model), plan, tolerance=TOLERANCE)
    assert steps
    return steps


@pytest.fixture(scope="module")
def reading(
    model: transformers.PreTrainedModel, plan: ReadoutPlan, steps: Sequence[Expansion]
) -> ForwardPass:
    found = ForwardPass.of(model, plan, steps)
    assert found.undecided.max() > 0.001
    return found


@pytest.fixture(scope="module")
def context(model: transformers.PreTrainedModel, plan: ReadoutPlan) -> MeasureContext:
    return MeasureContext.of(read_plan(model, plan), TOY)


def names(reading: ForwardPass, context: MeasureContext, model: transformers.PreTrainedModel) -> list[str]:
    like = read_plan(model, reading.plan)
    return [name for name in measure_values(like, context) if name not in ("legal, greedy", "legal, drawn")]


def test_the_reading_is_that_of_the_exact_reader(
    model: transformers.PreTrainedModel, reading: ForwardPass, steps: Sequence[Expansion]
) -> None:
    with torch.no_grad():
        ((wanted,), _) = read_each(ModelScores(model), reading.plan, tolerance=TOLERANCE, steps=steps)
    found = reading.readouts(wanted)
    for name in ("probabilities", "masses", "undecided"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_adjoints_are_what_moving_a_probability_moves(
    model: transformers.PreTrainedModel, reading: ForwardPass, context: MeasureContext
) -> None:
    like, chosen = read_plan(model, reading.plan), names(reading, context, model)
    adjoints = reading.adjoints(measure_slopes(reading.readouts(like), context, chosen))

    def totals(number: int, side: str, place: int, by: float) -> list[float]:
        answers = list(reading.answers)
        moved = getattr(answers[number], side).copy()
        moved[place] += by
        answers[number] = replace(answers[number], **{side: moved})
        other = ForwardPass.put_together(reading.plan, reading.steps, answers).readouts(like)
        values = measure_values(other, context)
        return [float(values[name].numbers[values[name].applies].sum()) for name in chosen]

    rng, step = np.random.default_rng(0), 1e-6
    for number, round_adjoints in enumerate(adjoints):
        for side, worth in (("pair", round_adjoints.pair), ("end", round_adjoints.end)):
            for place in rng.choice(worth.shape[1], min(12, worth.shape[1]), replace=False):
                up, down = (np.array(totals(number, side, place, by)) for by in (step, -step))
                np.testing.assert_allclose(worth[:, place], (up - down) / (2 * step), atol=1e-5, rtol=1e-5)


def test_batches_add_up_to_adjoints_times_probabilities(
    model: transformers.PreTrainedModel, reading: ForwardPass, context: MeasureContext
) -> None:
    like, chosen = read_plan(model, reading.plan), names(reading, context, model)
    every = reading.adjoints(measure_slopes(reading.readouts(like), context, chosen))
    for adjoints, answers in zip(every, reading.answers, strict=True):
        with torch.no_grad():
            sums = sum(adjoints.sums(model, number).double().numpy() for number in range(len(adjoints)))
        np.testing.assert_allclose(
            sums, adjoints.pair @ answers.pair + adjoints.end @ answers.end, rtol=1e-4, atol=1e-5
        )
        rows = [set(adjoints.situations(number).tolist()) for number in range(len(adjoints))]
        assert set().union(*rows) == set(adjoints.asked.situations.tolist())


def test_sampled_readouts_have_adjoints_for_legal_actions_only(model: transformers.PreTrainedModel) -> None:
    plan = ReadoutPlan.prepare(TOY, TOY.situations("train", 3, 0), TOY.tokenizer(), exact=False)
    like = read_plan(model, plan, samples=8)
    reading, context = ForwardPass.of(model, plan, ()), MeasureContext.of(like, TOY)
    np.testing.assert_allclose(reading.readouts(like).probabilities, like.probabilities, rtol=1e-6)

    def adjoints(name: str) -> None:
        reading.adjoints(measure_slopes(reading.readouts(like), context, [name]))

    adjoints("utility first")
    adjoints("entropy, if legal")
    for name in ("entropy", "undecided", "illegal, short"):
        with pytest.raises(TakebackError, match="sampled"):
            adjoints(name)
