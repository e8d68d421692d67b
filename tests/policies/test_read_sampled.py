from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import transformers

import models
import toy_arena
from takeback.arenas import arena
from takeback.policies.language.plan import ReadoutPlan
from takeback.policies.language.read import read_plan
from takeback.policies.readout import Readouts
from toy_arena import EOS, TOKENS, ToyArena

TOY = ToyArena()
PLACES = TOY.situations("train", 4, 0)
ENDS = [EOS, *(number for number, text in enumerate(TOKENS) if text[:1].isspace() or text == "<unk>")]
Build = Callable[..., transformers.PreTrainedModel]


def plan(exact: bool | None = False) -> ReadoutPlan:
    return ReadoutPlan.prepare(TOY, PLACES, TOY.tokenizer(), exact=exact)


def by_hand(model: transformers.PreTrainedModel, place: toy_arena.Place) -> dict[str, float]:
    """One leading space is no part of the answer; any special or white-space token ends it."""
    prompt = TOY.tokenizer()(TOY.prompt(place))["input_ids"]
    found = toy_arena.answers(model, prompt, lambda text: TOY.viable(text.removeprefix(" ")), ENDS)
    masses: dict[str, float] = dict.fromkeys((*TOY.legal(place), *TOY.kinds), 0.0)
    for path, mass in found.items():
        text = "".join(TOKENS[token] for token in path).removeprefix(" ")
        verdict = TOY.classify(place, text)
        if verdict != "unparsable":
            masses[text if verdict == "legal" else verdict] += mass
    masses["unparsable"] = 1 - sum(masses.values())
    return masses


def totals(readouts: Readouts) -> np.ndarray:
    return readouts.legal_mass + readouts.masses.sum(axis=1) + readouts.undecided


def test_legal_actions_are_summed_over_spellings_and_spaces(built: Build) -> None:
    for name in ("gpt2", "llama-mha", "qwen3"):
        readouts = read_plan(built(name), plan())
        for place, readout in zip(PLACES, readouts, strict=True):
            expected = by_hand(built(name), place)
            assert readout.legal == pytest.approx({a: expected[a] for a in TOY.legal(place)}, rel=1e-5)
        assert not readouts.lower_bound.any()


def test_classes_are_estimated_with_honest_errors(built: Build) -> None:
    model = built("llama-mha")
    readouts = read_plan(model, plan(), samples=4000, seed=5)
    np.testing.assert_allclose(totals(readouts), 1, atol=1e-6)
    truth = np.array([[by_hand(model, place)[name] for name in TOY.kinds] for place in PLACES])
    assert readouts.samples == 4000
    assert (np.abs(readouts.masses - truth) <= 4 * readouts.errors + 1e-9).all()
    assert readouts.errors.max() < 0.01
    np.testing.assert_allclose(readouts.drawn_legal, readouts.legal_mass, atol=4 * 0.5 / 4000**0.5)


def test_standard_errors_match_the_spread_over_seeds(built: Build) -> None:
    prepared = plan()
    runs = [read_plan(built("llama-mha"), prepared, samples=100, seed=seed) for seed in range(60)]
    spread = np.std([run.masses for run in runs], axis=0, ddof=1)
    typical = np.mean([run.errors for run in runs], axis=0)
    ratio = (spread / typical)[typical > 0.008]
    assert len(ratio) >= 8
    assert ratio.min() > 0.7
    assert ratio.max() < 1.4


def test_draws_depend_on_the_seed_alone(built: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    one, same, other = (read_plan(built("gpt2"), plan(), seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.masses, same.masses)
    assert not np.array_equal(one.masses, other.masses)
    monkeypatch.setattr("takeback.policies.language.packing.ROWS", 1)
    np.testing.assert_allclose(read_plan(built("gpt2"), plan(), seed=0).masses, one.masses, atol=1e-6)


def test_too_many_spellings_give_a_lower_bound(built: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_plan(built("gpt2"), plan())
    monkeypatch.setattr("takeback.policies.language.legal.SPELLINGS", 3)
    bound = read_plan(built("gpt2"), plan(), samples=2000)
    ab = bound.actions[0].index("ab")  # a·b, ab, and both after a space, which may be part of " a"
    assert bound.lower_bound.tolist() == [True, False, False, False]
    assert bound.probabilities[ab] < whole.probabilities[ab]
    np.testing.assert_allclose(totals(bound), 1, atol=1e-6)
    assert bound.undecided[0] == pytest.approx(whole.legal_mass[0] - bound.legal_mass[0], abs=0.03)
    assert bound.undecided[2] < 1e-6


def test_the_vocabulary_decides() -> None:
    assert plan(exact=None).exact
    assert not plan(exact=False).exact


def test_an_ordinary_tokenizer_on_chess() -> None:
    """Byte-level pieces, prompts of unequal length and a sentence: legal mass is what sampling finds."""
    tokenizer = models_tokenizer()
    chess = arena("endgames")
    situations = chess.situations("held-out", 3, 0)
    prepared = ReadoutPlan.prepare(chess, situations, tokenizer, "sentence", exact=False)
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_layer=1, n_head=2, n_embd=8, n_positions=256
    )
    model = models.randomised(transformers.GPT2LMHeadModel(config).eval(), 0)
    readouts = read_plan(model, prepared, samples=50)
    np.testing.assert_allclose(totals(readouts), 1, atol=1e-6)
    assert (readouts.legal_mass > 0).all()


def models_tokenizer() -> transformers.PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers import models as kinds

    made = Tokenizer(kinds.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(["white king e4 a1 b2 c3 to move e2e4 a1a6 b7b8q"] * 9, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>")
