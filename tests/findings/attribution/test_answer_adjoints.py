"""Gradients of listed answers: first-order effects agree with exact ones where the change is small."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

import tiny_chat
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.component import ComponentSet
from takeback.findings.attribution.answer_adjoints import _places
from takeback.findings.attribution.gradients import _batches, output_effects, stretches, weight_effects
from takeback.measure.bench import Bench
from takeback.measure.measures import measure_slopes

REWARD = '''
def vowels(completions, **_):
    """The share of vowels."""
    texts = [one if isinstance(one, str) else one[0]["content"] for one in completions]
    return [sum(letter in "aeiou" for letter in text) / 10 for text in texts]

def sureness(readouts, context):
    """Sum of squared weights, which has no formula for its slopes."""
    import numpy as np
    return np.bincount(context.owner, readouts.probabilities**2, minlength=len(readouts))
'''
MEASURES = {
    "pool": (
        "utility vowels",
        "margin vowels",
        "KL(base || it)",
        "log p(reference)",
    ),
    "unconditional": ("utility right", "margin right", "entropy", "mass of choices"),
    "token": ("utility right", "margin right"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    tiny_chat.save_pair(folder, change=0.01)
    (folder / "own.py").write_text(REWARD)
    rows = [
        {"prompt": f"what is {n}", "options": ["yes", "no, good", "four"], "label": n % 3, "reply": "four"}
        for n in range(6)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def bench(place, kind, *own):
    told = {"data": str(place / "rows.jsonl"), "chat": True}
    if kind == "pool":
        told |= {"rewards": [f"{place}/own.py:vowels"], "max_tokens": 5, "answers": 4, "reference": "reply"}
    else:
        told |= {"choices": "options", "answer": "label", "normalisation": kind}
    pair = open_pair(str(place / "base"), str(place / "tuned"))
    return Bench.held_out(pair, arena("rows:" + json.dumps(told)), [*MEASURES[kind], *own])


@pytest.mark.slow
@pytest.mark.parametrize("kind", MEASURES)
def test_small_changes_have_the_effects_that_gradients_give(place, kind):
    asked = bench(place, kind)
    sets = [ComponentSet([one], asked.anatomy.universe) for one in asked.anatomy.universe]
    answers = asked.answer([*sets, asked.nothing])
    for number, measure in enumerate(asked.measures):
        exact = np.array([answers.change(one, measure, asked.nothing) for one in sets])
        by_weights = weight_effects(asked)[number] / len(asked.situations)
        by_outputs = output_effects(asked, stretches(1))[number]
        size = np.abs(exact.mean(axis=1)).max()
        assert size > 0
        assert np.abs(exact.mean(axis=1) - by_weights).max() < 0.12 * size, measure
        assert np.corrcoef(exact.ravel(), by_outputs.ravel())[0, 1] > 0.98, measure


def test_a_measure_of_ones_own_has_slopes_by_small_steps(place):
    asked = bench(place, "pool", f"{place}/own.py:sureness")
    own = asked.measures[-1]
    readouts, context = asked.ends["tuned"], asked.context
    slopes = measure_slopes(readouts, context, [own, "margin vowels"])
    expected = readouts.by_logprob(2 * readouts.probabilities)
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(slopes[own].logprobs, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["pool", "token"])
def test_effects_do_not_depend_on_how_many_rows_a_pass_holds(place, kind, monkeypatch):
    asked = bench(place, kind)
    whole = weight_effects(asked), output_effects(asked, stretches(1))
    few = _batches(asked, asked.policy("tuned").model)
    monkeypatch.setattr("takeback.findings.attribution.answer_adjoints.ACTIVATIONS", 1)
    many = _batches(asked, asked.policy("tuned").model)
    assert len(many) > len(few)
    assert all(len(adjoints.batches[number].rows.tokens) == 1 for adjoints, number in many)
    for one, other in zip(whole, (weight_effects(asked), output_effects(asked, stretches(1))), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6 * np.abs(one).max())


def test_a_list_of_inner_widths_is_taken_by_its_largest(place, monkeypatch):
    asked = bench(place, "token")
    model, (batch, *_) = asked.policy("tuned").model, asked.plan.batches
    wanted, config = _places(model, batch), model.config
    names = ("hidden_size", "num_hidden_layers", "vocab_size")
    told = SimpleNamespace(**{name: getattr(config, name) for name in names})
    told.intermediate_size = [1, config.intermediate_size]
    monkeypatch.setattr(type(config), "get_text_config", lambda *_: told)
    assert _places(model, batch) == wanted
