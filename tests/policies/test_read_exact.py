from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import transformers

import models
import toy_arena
from takeback.arenas import arena
from takeback.policies.language.forward import next_token_logprobs, ready
from takeback.policies.language.packing import pack
from takeback.policies.language.plan import ReadoutPlan
from takeback.policies.language.policy import LanguagePolicy
from takeback.policies.language.read import read_plan
from takeback.policies.policy import read
from takeback.run.errors import TakebackError
from toy_arena import EOS, TOKENS, ToyArena

TOY = ToyArena()
Build = Callable[..., transformers.PreTrainedModel]


def outcomes_by_hand(
    model: transformers.PreTrainedModel, place: toy_arena.Place, style: str
) -> dict[str, float]:
    prompt = TOY.tokenizer()(TOY.prompt(place, style))["input_ids"]
    masses: dict[str, float] = dict.fromkeys((*TOY.legal(place), *TOY.kinds), 0.0)
    for path, mass in toy_arena.answers(model, prompt, TOY.viable, [EOS]).items():
        text = "".join(TOKENS[token] for token in path)
        verdict = TOY.classify(place, text)
        masses[text if verdict == "legal" else verdict] += mass
    masses["unparsable"] += 1 - sum(masses.values())
    return masses


def check_against_hand(model: transformers.PreTrainedModel, style: str) -> None:
    places = TOY.situations("train", 4, 0)
    plan = ReadoutPlan.prepare(TOY, places, TOY.tokenizer(), style)
    for place, readout in zip(places, read_plan(model, plan, tolerance=0), strict=True):
        expected = outcomes_by_hand(model, place, style)
        assert {**readout.legal, **readout.illegal} == pytest.approx(expected, rel=1e-5, abs=1e-7)
        assert readout.undecided == 0


def test_every_family_agrees_with_plain_forward_passes(name: str, built: Build) -> None:
    check_against_hand(built(name), "padded")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "attention"),
    [
        ("gemma2", "eager"),
        *((family, kind) for family in ("mistral", "qwen2", "qwen3") for kind in ("eager", "sdpa")),
    ],
)
def test_sliding_windows(family: str, attention: str) -> None:
    config = models.CONFIGS[family]()
    config.sliding_window = 3
    if config.__dict__.get("layer_types"):
        config.layer_types = ["sliding_attention", "full_attention"]
    config._attn_implementation = attention
    model = models.randomised(transformers.AutoModelForCausalLM.from_config(config).eval(), 0)
    check_against_hand(model, "padded")


def test_the_window_matters() -> None:
    """The test above could not fail if no node were further than a window from its prompt's start."""
    wide, narrow = models.CONFIGS["mistral"](), models.CONFIGS["mistral"]()
    narrow.sliding_window = 3
    readouts = [
        read(
            LanguagePolicy(models.randomised(transformers.MistralForCausalLM(c), 0), TOY.tokenizer()),
            TOY,
            [TOY.parse("s1")],
        )
        for c in (wide, narrow)
    ]
    assert not np.allclose(readouts[0].probabilities, readouts[1].probabilities, rtol=1e-3)


def test_nodes_see_prompt_and_ancestors_only(built: Build) -> None:
    """Scoring many nodes in one row gives what scoring each in a row of its own gives."""
    model = built("llama-gqa-biases")
    plan = ReadoutPlan.prepare(TOY, [TOY.parse("s1")], TOY.tokenizer())
    nodes = plan.legal.round.nodes
    with ready(model):
        (together,) = plan.legal.round.batches
        scored = next_token_logprobs(model, together.rows).flatten(0, 1)[torch.from_numpy(together.places)]
        for target, node in zip(together.targets, scored, strict=True):
            (alone,) = pack(plan.prompts, np.array([0]), nodes[[target]], plan.tree, len(TOKENS))
            single = next_token_logprobs(model, alone.rows).flatten(0, 1)[torch.from_numpy(alone.places)]
            torch.testing.assert_close(node, single[0], rtol=1e-5, atol=1e-5)


def test_rows_split_without_a_trace(built: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    model, places = built("llama-mha"), TOY.situations("train", 4, 0)
    whole = read_plan(model, ReadoutPlan.prepare(TOY, places, TOY.tokenizer()), tolerance=0)
    monkeypatch.setattr("takeback.policies.language.packing.ROW_NODES", 2)
    monkeypatch.setattr("takeback.policies.language.packing.ROWS", 3)
    split = read_plan(model, ReadoutPlan.prepare(TOY, places, TOY.tokenizer()), tolerance=0)
    np.testing.assert_allclose(split.probabilities, whole.probabilities, rtol=1e-5)
    np.testing.assert_allclose(split.masses, whole.masses, rtol=1e-5, atol=1e-7)


def test_greedy_is_greedy_decoding(built: Build) -> None:
    tokenizer, places = TOY.tokenizer(), TOY.situations("train", 4, 0)
    for seed in range(6):
        model = built("llama-mha", seed)
        for place, readout in zip(places, read(LanguagePolicy(model, tokenizer), TOY, places), strict=True):
            tokens = list(tokenizer(TOY.prompt(place))["input_ids"])
            start = len(tokens)
            while len(tokens) < start + 5 and (start == len(tokens) or tokens[-1] != EOS):
                tokens.append(int(toy_arena.next_probabilities(model, tokens).argmax()))
            text = "".join(TOKENS[t] if t < len(TOKENS) else "?" for t in tokens[start:-1])
            assert readout.greedy == (text if tokens[-1] == EOS and text in TOY.legal(place) else None)


@pytest.fixture(scope="module")
def chess_model() -> transformers.PreTrainedModel:
    config = transformers.LlamaConfig(
        vocab_size=392, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2
    )
    return models.randomised(transformers.LlamaForCausalLM(config).eval(), 3)


@pytest.mark.slow
def test_tolerance_bounds_what_is_undecided_and_legal_actions_never_move(
    chess_model: transformers.PreTrainedModel,
) -> None:
    chess = arena("endgames")
    plan = ReadoutPlan.prepare(chess, chess.situations("held-out", 6, 0), chess.tokenizer())
    assert plan.exact
    readouts = {
        tolerance: read_plan(chess_model, plan, tolerance=tolerance) for tolerance in (1.0, 1e-2, 1e-4)
    }
    for tolerance, readout in readouts.items():
        total = readout.legal_mass + readout.masses.sum(axis=1) + readout.undecided
        np.testing.assert_allclose(total, 1, atol=1e-6)
        assert readout.undecided.max() <= tolerance
        np.testing.assert_array_equal(readout.probabilities, readouts[1.0].probabilities)
        assert (readout.masses <= readouts[1e-4].masses + readouts[1e-4].undecided[:, None] + 1e-9).all()


@pytest.mark.slow
def test_a_used_plan_gives_the_bytes_of_a_fresh_one(chess_model: transformers.PreTrainedModel) -> None:
    chess = arena("endgames")
    situations = chess.situations("held-out", 4, 1)
    other = models.randomised(transformers.LlamaForCausalLM(chess_model.config).eval(), 4)
    used = ReadoutPlan.prepare(chess, situations, chess.tokenizer())
    read_plan(other, used, tolerance=1e-3)
    fresh = ReadoutPlan.prepare(chess, situations, chess.tokenizer())
    left, right = (read_plan(chess_model, plan, tolerance=1e-2) for plan in (used, fresh))
    for field in ("probabilities", "masses", "undecided", "greedy", "drawn_legal"):
        np.testing.assert_array_equal(getattr(left, field), getattr(right, field))


def test_reading_leaves_the_mode_of_the_model(built: Build) -> None:
    model = models.build("gpt2")
    model.train()
    read(LanguagePolicy(model, TOY.tokenizer()), TOY, TOY.situations("train", 1, 0))
    assert model.training


@pytest.mark.parametrize(
    ("situations", "options", "message"),
    [
        ([], {}, "no situations"),
        ([toy_arena.Place(0)], {"tolerance": -1.0}, "tolerance"),
        ([toy_arena.Place(0)], {"samples": 0}, "samples"),
    ],
)
def test_mistakes_are_named(
    built: Build, situations: list[toy_arena.Place], options: dict, message: str
) -> None:
    with pytest.raises(TakebackError, match=message):
        read(LanguagePolicy(built("gpt2"), TOY.tokenizer()), TOY, situations, **options)


def test_a_model_of_another_vocabulary_is_refused(built: Build) -> None:
    chess = arena("endgames")
    with pytest.raises(TakebackError, match="knows 23 tokens"):
        read(LanguagePolicy(built("gpt2"), chess.tokenizer()), chess, chess.situations("train", 1, 0))


def test_a_tokenizer_that_cannot_spell_a_move_is_refused(built: Build) -> None:
    chess = arena("endgames")
    with pytest.raises(TakebackError, match="no tokens that spell"):
        ReadoutPlan.prepare(chess, chess.situations("train", 1, 0), TOY.tokenizer())
