"""Log-probabilities of listed answers are those of the model's own forward on prompt and answer."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import models
import tiny_chat
from takeback.anatomy import anatomy_of
from takeback.arenas import arena
from takeback.arenas.listed import ListedAnswer, Listing
from takeback.hybrid.live import taken_back
from takeback.hybrid.walk import Hybrids, path_of
from takeback.policies.language import answers as reading
from takeback.policies.language.answers import AnswerPlan, alone, read_answers
from takeback.run.errors import TakebackError

ANSWERS = [(5, 6, 7), (5, 6, 8, 9), (5,), (11, 12, 13, 14, 15, 16), (5, 6, 7, 1)]
PROMPTS = {"short": [3, 4], "long": [2, 3, 4, 5, 6, 7, 8]}


class Given:
    """A listed arena of prompts and answers in tokens."""

    name, normalisation, template_arguments = "given", "none", {}

    def __init__(self, temperature=1.0):
        self.temperature = temperature

    def listing(self, situation):
        return Listing(situation, tuple(ListedAnswer(str(one), one) for one in ANSWERS))

    def prompt(self, situation):
        return situation

    cluster = prompt

    def legal(self, situation):
        return tuple(map(str, ANSWERS))


class Numbers:
    """Stands for a tokenizer: a prompt's tokens are known by its name."""

    bos_token = eos_token = None
    bos_token_id, eos_token_id = 0, 1

    def encode(self, text, add_special_tokens=True):
        return PROMPTS[text]


def plan(model, temperature=1.0, prompt="long"):
    return AnswerPlan.prepare(Given(temperature), [prompt], Numbers(), model.config)


def by_forward(model, prompt, answer, temperature=1.0):
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *answer]])).logits.double()[0] / temperature
    logprobs = logits.log_softmax(-1)
    return sum(float(logprobs[len(prompt) - 1 + at, token]) for at, token in enumerate(answer))


@pytest.mark.parametrize("name", models.marked(models.CONFIGS))
def test_answers_have_the_log_probabilities_of_the_models_own_forward(name):
    model = models.build(name)
    (found,) = read_answers([alone(model)], plan(model))
    wanted = [by_forward(model, PROMPTS["long"], answer) for answer in ANSWERS]
    np.testing.assert_allclose(found.logprobs, wanted, rtol=1e-5)
    assert found.tokens.tolist() == [len(answer) for answer in ANSWERS]


def test_a_temperature_divides_logits():
    model = models.build("llama-gqa-biases")
    (found,) = read_answers([alone(model)], plan(model, 0.5))
    wanted = [by_forward(model, PROMPTS["long"], answer, 0.5) for answer in ANSWERS]
    np.testing.assert_allclose(found.logprobs, wanted, rtol=1e-5)


def test_hybrids_read_together_are_the_swapped_models():
    model, base = models.build("llama-gqa-biases"), models.build("llama-gqa-biases", seed=1)
    anatomy = anatomy_of(model)
    sets = [anatomy.parse(text) for text in ("", "L0.H1", "L1.MLP", "*", "EMBED")]
    hybrids = Hybrids(model, base, anatomy)
    found = read_answers([(hybrids, path_of(one)) for one in sets], plan(model))
    for one, readouts in zip(sets, found, strict=True):
        with taken_back(model, base, one):
            wanted = [by_forward(model, PROMPTS["long"], answer) for answer in ANSWERS]
        np.testing.assert_allclose(readouts.logprobs, wanted, rtol=1e-5)


def test_rows_that_hold_few_answers_and_small_chunks_change_nothing(monkeypatch):
    model = models.build("llama-gqa-biases")
    (whole,) = read_answers([alone(model)], plan(model, prompt="short"))
    monkeypatch.setattr(reading, "ROW_NODES", 1)
    monkeypatch.setattr(reading, "CHUNK", 2)
    cut = plan(model, prompt="short")
    assert sum(len(batch.rows.tokens) for batch in cut.batches) > 1
    (found,) = read_answers([alone(model)], cut)
    np.testing.assert_allclose(found.logprobs, whole.logprobs, rtol=1e-6)


def test_greedy_decoding_follows_the_answer_that_it_gives():
    model = models.build("llama-gqa-biases")
    with torch.no_grad():
        tokens = list(PROMPTS["long"])
        for _ in range(3):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    greedy = tuple(tokens[len(PROMPTS["long"]) :])
    place = Given()
    place.listing = lambda situation: Listing(
        situation, (ListedAnswer("a", greedy), ListedAnswer("b", ANSWERS[0]))
    )
    place.legal = lambda situation: ("a", "b")
    (found,) = read_answers([alone(model)], AnswerPlan.prepare(place, ["long"], Numbers(), model.config))
    assert found.followed.tolist() == [True, False]


@pytest.mark.parametrize("chat", [False, True])
def test_choices_are_read_after_the_prompt_as_a_user_would_write_it(tmp_path, chat):
    rows = [{"prompt": "what is 12 and two", "options": ["yes or no", "four", "two and two"], "label": 1}]
    (tmp_path / "rows.jsonl").write_text(json.dumps(rows[0]))
    told = {"data": f"{tmp_path}/rows.jsonl", "choices": "options", "answer": "label", "chat": chat}
    place, words, model = arena("rows:" + json.dumps(told)), tiny_chat.tokenizer(), tiny_chat.model()
    asked = AnswerPlan.prepare(place, place.rows, words, model.config)
    (found,) = read_answers([alone(model)], asked)
    messages = [{"role": "user", "content": rows[0]["prompt"]}]
    text = words.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    shown, between = (text, "") if chat else (rows[0]["prompt"], " ")
    for number, option in enumerate(rows[0]["options"]):
        prompt, whole = (
            words.encode(one, add_special_tokens=not chat) for one in (shown, shown + between + option)
        )
        wanted = by_forward(model, prompt, whole[len(prompt) :])
        assert found.logprobs[number] == pytest.approx(wanted, rel=1e-5)


def test_a_model_without_the_tokens_or_the_room_is_refused():
    model = models.build("llama-gqa-biases")
    place = Given()
    place.listing = lambda situation: Listing(situation, (ListedAnswer("a", (99,)), ListedAnswer("b", (1,))))
    place.legal = lambda situation: ("a", "b")
    with pytest.raises(TakebackError, match="gives token 99"):
        read_answers([alone(model)], AnswerPlan.prepare(place, ["long"], Numbers(), model.config))
    place.listing = lambda situation: Listing(
        situation, (ListedAnswer("a", (2,) * 30), ListedAnswer("b", (1,)))
    )
    with pytest.raises(TakebackError, match="reads 16"):
        read_answers([alone(model)], AnswerPlan.prepare(place, ["long"], Numbers(), model.config))
