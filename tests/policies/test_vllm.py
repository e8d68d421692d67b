"""Our side of drawing by vLLM, against a stand-in with its interface: the real engine is not run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import tiny_answers
from takeback.arenas import arena
from takeback.arenas.rows import DrawnRows, Sampling
from takeback.checkpoint import open_pair
from takeback.hybrid import hybrid, write_hybrid
from takeback.measure.bench import Bench
from takeback.measure.setup import Setup
from takeback.policies.drawn import DrawnReadouts
from takeback.policies.language.generate import generate
from takeback.policies.language.vllm import read_written, served
from takeback.run.errors import TakebackError
from takeback.run.tables import read_table


@dataclass
class SamplingParams:
    """The fields of vLLM's that are used here; unknown ones raise, as there."""

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: list[str] | None = None
    stop_token_ids: list[int] | None = None
    max_tokens: int = 16
    skip_special_tokens: bool = True


@dataclass
class LLM:
    """Generates by transformers: an answer for each prompt of token ids and its own parameters."""

    model: str
    tokenizer: str
    dtype: str = "auto"
    seed: int = 0
    trust_remote_code: bool = True
    enable_prefix_caching: bool = False
    live: Any = field(init=False)

    def __post_init__(self) -> None:
        assert not self.trust_remote_code
        self.live = transformers.AutoModelForCausalLM.from_pretrained(self.model).eval()
        self.words = transformers.AutoTokenizer.from_pretrained(self.tokenizer)

    def generate(
        self, prompts: Sequence[dict[str, list[int]]], params: Sequence[SamplingParams], *, use_tqdm: bool
    ) -> list[Any]:
        assert not use_tqdm
        assert len(prompts) == len(params)
        return [SimpleNamespace(outputs=[self._one(*both)]) for both in zip(prompts, params, strict=True)]

    def _one(self, prompt: dict[str, list[int]], given: SamplingParams) -> Any:
        random, tokens = torch.Generator().manual_seed(given.seed or 0), list[int]()
        for _ in range(given.max_tokens):
            with torch.no_grad():
                logits = self.live(torch.tensor([[*prompt["prompt_token_ids"], *tokens]])).logits[0, -1]
            if given.temperature == 0:
                tokens.append(int(logits.argmax()))
            else:
                chances = (logits / given.temperature).softmax(-1)
                tokens.append(int(torch.multinomial(chances, 1, generator=random)))
            text = self.words.decode(tokens)
            if tokens[-1] in (given.stop_token_ids or ()) or any(one in text for one in given.stop or ()):
                return SimpleNamespace(token_ids=tokens, finish_reason="stop", text=text)
        return SimpleNamespace(token_ids=tuple(tokens), finish_reason="length", text="")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("vllm")
    vars(module).update(LLM=LLM, SamplingParams=SamplingParams)
    monkeypatch.setitem(sys.modules, "vllm", module)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_answers.save_pair(tmp_path_factory.mktemp("served"), 6)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("stop", [(), ("b",)])
def test_greedy_answers_are_those_of_our_own_drawing(folder: Path, stop: tuple[str, ...]) -> None:
    model = served(folder / "tuned")
    prompts = {4: [0, 2, 3], 9: [0, 5], 2: [0, 3, 3, 4]}
    sampling = Sampling(tiny_answers.MOST, 0, stop=stop)
    ours = generate(model.engine.live, model.tokenizer, prompts, sampling, 2, [0])
    assert model.generate(prompts, sampling, 2, [0]) == ours


@pytest.mark.usefixtures("stand_in")
def test_an_answer_has_its_own_seed(folder: Path) -> None:
    model, sampling = served(folder / "tuned"), Sampling(tiny_answers.MOST)
    whole = model.generate([[0, 2], [0, 3]], sampling, 6, [1, 0])
    assert model.generate({1: [0, 3]}, sampling, 4, [1, 0]) == [whole[1][:4]]
    assert model.generate([[0, 2], [0, 3]], sampling, 6, [2, 0]) != whole
    assert len({answer.tokens for answers in whole for answer in answers}) > 4


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
def test_a_pool_drawn_by_it_is_a_pool(folder: Path, tmp_path: Path) -> None:
    place = arena(tiny_answers.arena_text(folder, answers=3))
    pair = open_pair(str(folder / "base"), str(folder / "tuned"))
    setup = Setup(out=tmp_path / "out", draw_by="vllm")
    benches = [
        Bench.answering(pair, place, place.situations("held-out", 6, 0), ["utility good"], one)
        for one in (setup, replace(setup, draw_by="transformers"))
    ]
    tables = [
        one.sort_values(["item", "side", "draw"], ignore_index=True)
        for one in map(read_table, sorted((tmp_path / "out" / "pool").glob("*.parquet")))
    ]
    assert len(tables) == 2
    assert list(tables[0]) == list(tables[1])
    assert (tables[0][["item", "side", "draw"]] == tables[1][["item", "side", "draw"]]).all(axis=None)
    part = benches[0].anatomy.parse("L0.*")
    values = [bench.answer([part]).of(part, "utility good") for bench in benches]
    assert all(np.isfinite(one).all() for one in values)


@pytest.mark.usefixtures("stand_in")
def test_a_written_hybrid_answers_rows(folder: Path, tmp_path: Path) -> None:
    pair = open_pair(str(folder / "base"), str(folder / "tuned"))
    write_hybrid(hybrid(pair, pair.anatomy().parse("L0.*")), tmp_path / "mixed")
    place = DrawnRows(arena(tiny_answers.arena_text(folder)), 3)
    rows = place.situations("held-out", 4, 0)
    found = read_written(tmp_path / "mixed", place, rows)
    assert found.answers.shape == (4, 3)
    assert np.isfinite(found.worth).all()
    greedy = DrawnRows(arena(tiny_answers.arena_text(folder, temperature=0)), 1)
    live = Bench(pair, greedy, rows, ["length"])
    (same,) = live.read([live.anatomy.parse("L0.*")])
    assert isinstance(same, DrawnReadouts)
    np.testing.assert_array_equal(read_written(tmp_path / "mixed", greedy, rows).answers, same.answers)


def test_without_vllm_one_line_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(TakebackError, match=r"pip install 'takeback\[vllm\]'"):
        served(folder / "tuned")


@pytest.mark.usefixtures("stand_in")
def test_what_is_no_folder_of_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TakebackError, match="takeback hybrid -o"):
        served(tmp_path)
