"""Drawing answers: against Hugging Face's own generation, exact enumeration, and itself in other batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from scipy import stats
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as token_models
from transformers.generation import logits_process

import models
import takeback.policies.language.generate as generation
from takeback.arenas.rows.sampling import Sampling
from takeback.policies.language.generate import DrawnAnswer, end_tokens, generate
from takeback.run.errors import TakebackError

WORDS = ["<s>", "</s>", *"abcdefghijklmnopqrstu"]
PROMPTS = [[0, 5, 6, 7], [0, 9], [0, 3, 3, 3, 8, 9], [0, 11, 12]]


def tokenizer(**more: Any) -> transformers.PreTrainedTokenizerFast:
    """A tokenizer with a token for each of 21 letters."""
    inner = Tokenizer(token_models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="a"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.decoder = decoders.Fuse()
    special = {"bos_token": "<s>", "eos_token": "</s>", **more}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **special)


def by_hugging_face(model: Any, prompt: list[int], **more: Any) -> list[int]:
    """The answer that Hugging Face's own greedy generation gives."""
    ids = torch.tensor([prompt])
    found = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=0, **more)
    return found[0, len(prompt) :].tolist()


def test_greedy_answers_are_those_of_hugging_face(name: str, built: Any) -> None:
    model = built(name, 3)
    greedy = Sampling(max_tokens=8, temperature=0)
    found = generate(model, tokenizer(), PROMPTS, greedy, 2, [0])
    for prompt, answers in zip(PROMPTS, found, strict=True):
        wanted = by_hugging_face(model, prompt, max_new_tokens=8)
        assert [list(answer.tokens) for answer in answers] == [wanted] * 2


HYBRID_CACHES = {
    "sliding": lambda: transformers.Gemma3TextConfig(
        **models._LLAMA | {"num_hidden_layers": 3, "max_position_embeddings": 64},
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, query_pre_attn_scalar=8, sliding_window=3,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "convolution": lambda: transformers.Lfm2Config(
        **models._LLAMA, num_attention_heads=4, num_key_value_heads=2,
        layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False,
    ),
    "linear": lambda: transformers.Qwen3NextConfig(
        **models._LLAMA, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        linear_num_value_heads=2, linear_num_key_heads=2, linear_key_head_dim=8, linear_value_head_dim=8,
        num_experts=2, num_experts_per_tok=1, moe_intermediate_size=8, shared_expert_intermediate_size=8,
        layer_types=["linear_attention", "full_attention"],
    ),
    "states": lambda: transformers.MambaConfig(
        hidden_size=24, num_hidden_layers=2, vocab_size=models.VOCABULARY, state_size=4,
        bos_token_id=0, eos_token_id=1,
    ),
    "alibi": lambda: transformers.BloomConfig(
        hidden_size=24, n_layer=2, n_head=3, vocab_size=models.VOCABULARY, bos_token_id=0, eos_token_id=1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", HYBRID_CACHES)
def test_special_caches_give_the_answers_of_hugging_face(kind: str) -> None:
    model: Any = models.randomised(
        transformers.AutoModelForCausalLM.from_config(HYBRID_CACHES[kind]()).eval(), 3
    )
    found = generate(model, tokenizer(), PROMPTS, Sampling(max_tokens=8, temperature=0), 2, [0])
    for prompt, answers in zip(PROMPTS, found, strict=True):
        wanted = by_hugging_face(model, prompt, max_new_tokens=8)
        assert [list(answer.tokens) for answer in answers] == [wanted] * 2


def test_without_a_cache_the_answers_are_the_same(built: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, sampling = built("llama-gqa-biases", 1), Sampling(max_tokens=6)
    cached = generate(model, tokenizer(), PROMPTS, sampling, 5, [4])
    monkeypatch.setattr(generation, "cache_of", lambda _: None)
    assert generate(model, tokenizer(), PROMPTS, sampling, 5, [4]) == cached


@pytest.mark.parametrize("kind", ["llama-gqa-biases", "gpt2"])
def test_after_the_prompt_a_token_is_read_alone(built: Any, kind: str) -> None:
    model, lengths = built(kind, 1), list[int]()
    layer = model.get_input_embeddings()
    hook = layer.register_forward_hook(lambda _, given, __: lengths.append(given[0].shape[1]))
    try:
        generate(model, tokenizer(), PROMPTS[:1], Sampling(max_tokens=6, temperature=0), 1, [0])
    finally:
        hook.remove()
    assert lengths[0] == len(PROMPTS[0])
    assert set(lengths[1:]) == {1}


def test_every_end_token_ends_an_answer_and_is_no_part_of_its_text(built: Any) -> None:
    model = built("gpt2", 5)
    likely = by_hugging_face(model, PROMPTS[0], max_new_tokens=6, eos_token_id=None)
    end = next(token for token in likely[1:] if token > 1 and token != likely[0])
    model.generation_config.eos_token_id = [22, end]
    try:
        ((answer,),) = generate(
            model, tokenizer(), PROMPTS[:1], Sampling(temperature=0, max_tokens=9), 1, [0]
        )
        wanted = by_hugging_face(model, PROMPTS[0], max_new_tokens=9)
        assert end_tokens(model.generation_config, tokenizer()) == {1, 22, end}
    finally:
        model.generation_config.eos_token_id = 1
    assert list(answer.tokens) == wanted
    assert answer.tokens[-1] == end
    assert answer.ended
    assert answer.text == "".join(WORDS[token] for token in wanted[:-1])


def test_stop_strings_end_where_those_of_hugging_face_do(built: Any) -> None:
    model, letters = built("gpt2", 5), tokenizer()
    likely = by_hugging_face(model, PROMPTS[0], max_new_tokens=6)
    stop = "".join(WORDS[token] for token in likely[2:4])
    sampling = Sampling(max_tokens=9, temperature=0, stop=("zz", stop))
    ((answer,),) = generate(model, letters, PROMPTS[:1], sampling, 1, [0])
    wanted = by_hugging_face(
        model, PROMPTS[0], max_new_tokens=9, stop_strings=["zz", stop], tokenizer=letters
    )
    assert list(answer.tokens) == wanted
    assert answer.ended
    assert answer.text + stop == "".join(WORDS[token] for token in wanted)


def test_a_stop_string_may_be_a_special_token(built: Any) -> None:
    model = built("gpt2", 5)
    likely = by_hugging_face(model, PROMPTS[0], max_new_tokens=6)
    where = next(place for place, token in enumerate(likely) if place and token not in likely[:place])
    letters = tokenizer(additional_special_tokens=[WORDS[likely[where]]])
    stop = WORDS[likely[where - 1]] + WORDS[likely[where]]
    sampling = Sampling(max_tokens=9, temperature=0, stop=(stop,))
    ((answer,),) = generate(model, letters, PROMPTS[:1], sampling, 1, [0])
    assert list(answer.tokens) == likely[: where + 1]
    assert answer.text == "".join(WORDS[token] for token in likely[: where - 1])


def distribution(model: Any, prompt: list[int], sampling: Sampling) -> np.ndarray[Any, Any]:
    """Next-token probabilities as Hugging Face's own warpers make them."""
    with torch.no_grad():
        scores = model(torch.tensor([prompt])).logits[:, -1].double()
    scores = logits_process.TemperatureLogitsWarper(sampling.temperature)(None, scores)  # type: ignore
    if sampling.top_p < 1:
        scores = logits_process.TopPLogitsWarper(sampling.top_p)(None, scores)  # type: ignore
    return scores.softmax(-1)[0].numpy()


@pytest.mark.slow
@pytest.mark.parametrize("sampling", [Sampling(2), Sampling(2, 0.6), Sampling(2, 1.5, 0.7)])
def test_answers_are_as_frequent_as_enumeration_says(built: Any, sampling: Sampling) -> None:
    model, prompt, count = built("qwen3", 2), PROMPTS[0], 4000
    (answers,) = generate(model, tokenizer(), [prompt], sampling, count, [7])
    first = distribution(model, prompt, sampling)
    wanted = np.zeros((models.VOCABULARY, models.VOCABULARY))
    for token in range(models.VOCABULARY):
        rest = np.eye(models.VOCABULARY)[0] if token == 1 else distribution(model, [*prompt, token], sampling)
        wanted[token] = first[token] * rest
    seen = np.zeros_like(wanted)
    for answer in answers:
        seen[answer.tokens[0], answer.tokens[1] if len(answer.tokens) > 1 else 0] += 1
    assert seen[wanted == 0].sum() == 0
    often = wanted * count > 5
    cells = [np.append(table[often], table[~often].sum()) for table in (seen, wanted * count)]
    kept = cells[1] > 0
    assert stats.chisquare(cells[0][kept], cells[1][kept]).pvalue > 1e-3


@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 0.999])
def test_what_is_cut_is_what_hugging_face_cuts(top_p: float) -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (20, 50)))
    warped = logits_process.TopPLogitsWarper(top_p)(None, logits / 0.7)  # type: ignore
    ours = generation.scores(logits, Sampling(temperature=0.7, top_p=top_p))
    torch.testing.assert_close(ours.softmax(-1), warped.softmax(-1))


def test_models_that_hardly_differ_draw_the_same_tokens() -> None:
    rng = np.random.default_rng(0)
    one = torch.from_numpy(rng.normal(0, 3, (1, 200)))
    other = one + torch.from_numpy(rng.normal(0, 0.1, (1, 200)))
    distance = float((one.softmax(-1) - other.softmax(-1)).abs().sum() / 2)
    rows = [one.expand(3000, -1), other.expand(3000, -1)]
    drawn = [generation.chosen(row, [(0, place) for place in range(3000)], Sampling()) for row in rows]
    differ = float((drawn[0] != drawn[1]).double().mean())
    bound = 2 * distance / (1 + distance)
    assert 0.01 < distance < differ + 3 * (differ / 3000) ** 0.5
    assert differ < bound + 3 * (bound / 3000) ** 0.5


def test_other_prompts_and_batches_have_no_part_in_an_answer(
    built: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sampling = built("llama-gqa-biases", 1), Sampling(max_tokens=6)

    def drawn(prompts: list[int], count: int = 6) -> list[list[DrawnAnswer]]:
        asked = {number: PROMPTS[number] for number in prompts}
        return generate(model, tokenizer(), asked, sampling, count, [3, 1])

    together = drawn([0, 1, 2, 3])
    assert drawn([2]) + drawn([3, 0]) == [together[2], together[3], together[0]]
    assert [answers[:4] for answers in together] == drawn([0, 1, 2, 3], 4)
    assert len({answer.text for answers in together for answer in answers}) > 10
    monkeypatch.setattr(generation, "ROWS", 4)
    assert drawn([0, 1, 2, 3]) == together
    assert generate(model, tokenizer(), PROMPTS, sampling, 6, [3, 2]) != together


def test_what_cannot_be_drawn_is_refused_in_one_line(built: Any) -> None:
    model, letters = built("gpt2", 0), tokenizer()
    with pytest.raises(TakebackError, match=r"prompt 1 has no tokens"):
        generate(model, letters, [[0], []], Sampling(4), 1, [0])
    with pytest.raises(TakebackError, match=r"reads 16 in all"):
        generate(model, letters, [[0] * 10], Sampling(7), 1, [0])
    endless = tokenizer()
    endless.eos_token = None
    model.generation_config.eos_token_id = None
    try:
        with pytest.raises(TakebackError, match=r"every answer would be cut off"):
            generate(model, endless, [[0]], Sampling(4), 1, [0])
        ((answer,),) = generate(model, endless, [[0]], Sampling(4, stop=("zz",)), 1, [0])
    finally:
        model.generation_config.eos_token_id = 1
    assert len(answer.tokens) == 4
    assert not answer.ended
