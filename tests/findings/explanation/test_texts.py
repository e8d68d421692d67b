"""What a change does to texts: planted words and kinds are found, tokens add up, no text is trusted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tiny_answers
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.draw.page import Tinted
from takeback.draw.result import Results, section_of
from takeback.findings.explanation import TextExplanation, explain
from takeback.findings.explanation.log_odds import log_odds
from takeback.findings.explanation.texts import ANSWER, FLIP, KIND, TOKEN, WORD
from takeback.measure.bench import Bench
from takeback.run.tables import read_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tiny_answers.save_pair(tmp_path_factory.mktemp("tiny"), prompts=24)
    rows = [json.loads(line) for line in (made / "prompts.jsonl").read_text().splitlines()]
    rows[0]["prompt"] = "<script> a b"
    (made / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return made


@pytest.fixture(scope="module")
def found(folder: Path) -> TextExplanation:
    pair = open_pair(str(folder / "base"), str(folder / "tuned"))
    bench = Bench.held_out(pair, arena(tiny_answers.arena_text(folder)), (), (24, 0))
    told = explain(bench, bench.anatomy.parse("EMBED L0.H0"), controls=1)
    assert isinstance(told, TextExplanation)
    return told


def test_planted_words_and_kinds_are_lost(found: TextExplanation) -> None:
    words = found.part(WORD).set_index("name")
    assert words["z"].abs().idxmax() == "a"
    assert words.loc["a", "z"] < -5
    assert words.loc["a", "after"] < words.loc["a", "before"]
    kinds = found.part(KIND)
    asked = kinds[kinds["role"] == "asked"].set_index("name")
    assert asked.loc["kind, with b", "change"] > 0
    assert bool(asked.loc["kind, with b", "sure"])
    assert found.part(FLIP)["rule"].str.contains("utility good above").all()


def test_tokens_of_an_answer_add_up(found: TextExplanation) -> None:
    tokens = found.part(TOKEN).groupby(["item", "place"])[["before", "after"]].sum()
    answers = found.part(ANSWER).set_index(["item", "place"]).loc[tokens.index]
    assert len(tokens) > 20
    for side in ("before", "after"):
        np.testing.assert_allclose(
            tokens[side].astype(float), answers[f"logprob_{side}"].astype(float), rtol=1e-5, atol=1e-5
        )


def test_weights_of_answers_add_up(found: TextExplanation) -> None:
    weights = found.part(ANSWER).groupby("item")[["before", "after"]].sum()
    np.testing.assert_allclose(weights.to_numpy(float), 1)


@pytest.mark.slow
def test_a_page_trusts_no_text(found: TextExplanation, tmp_path: Path) -> None:
    section = section_of(found)
    assert any(isinstance(one, Tinted) for one in section.on_terminal)
    every = TextExplanation(**{**vars(found), "boards": 24})
    page = Results.of(every).page()
    assert "&lt;end&gt;" in page
    assert "<end>" not in page
    assert "&lt;script&gt; a b" in page
    assert "<script> a b" not in page
    found.write(tmp_path)
    table = read_table(tmp_path / "explain.parquet")
    pd.testing.assert_frame_equal(table, found.table)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "explain.html",
        "explain.json",
        "explain.parquet",
    ]


def test_choices_are_explained_too(folder: Path) -> None:
    rows = [
        {"prompt": text, "choices": ["a", "b c"], "answer": number % 2}
        for number, text in enumerate(["a b", "c d a", "d d", "b c", "c", "a a a"])
    ]
    (folder / "quiz.jsonl").write_text("\n".join(map(json.dumps, rows)))
    place = arena(f"rows:{{data: {folder / 'quiz.jsonl'}, choices: choices, answer: answer}}")
    pair = open_pair(str(folder / "base"), str(folder / "tuned"))
    bench = Bench.answering(pair, place, place.situations("held-out", 6, 0))
    told = explain(bench, bench.anatomy.universe, graft=True, controls=1)
    assert isinstance(told, TextExplanation)
    assert told.before.probabilities == pytest.approx(bench.ends["base"].probabilities)
    assert not len(told.part(WORD))
    assert section_of(told).title == "What grafting * onto base does"


def test_log_odds_are_those_of_the_formula() -> None:
    texts, owner = ["x x y", "y z"], np.array([0, 0])
    before, after = np.array([0.5, 0.5]), np.array([1.0, 0.0])
    table = log_odds(texts, owner, before, after, 1).set_index("name")
    # two answers before, one after; the prior has 3 words as the pool has them: 2, 2 and 1 of 5
    prior = {"x": 1.2, "y": 1.2, "z": 0.6}
    old, new = {"x": 2.0, "y": 2.0, "z": 1.0}, {"x": 2.0, "y": 1.0, "z": 0.0}
    for word, known in prior.items():
        mine = [side[word] + known for side in (old, new)]
        rest = [sum(side.values()) + 3 - one for side, one in zip((old, new), mine, strict=True)]
        change = np.log(mine[1] / rest[1]) - np.log(mine[0] / rest[0])
        assert table.loc[word, "change"] == pytest.approx(change)
        assert table.loc[word, "z"] == pytest.approx(change / np.sqrt(1 / mine[0] + 1 / mine[1]))
