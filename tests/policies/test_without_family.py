"""Models without a family are read plainly, equal to plain forward passes and to trees."""

from __future__ import annotations

import pytest
import torch

import models
import unknown
from takeback.anatomy import anatomy_of
from takeback.hybrid import taken_back
from takeback.hybrid.walk import Hybrids, path_of
from takeback.policies.language.forward import next_token_logprobs, ready
from takeback.policies.language.plan import ReadoutPlan
from takeback.policies.language.rounds import ModelScores
from takeback.policies.language.scores import HybridScores
from takeback.policies.language.unroll import takes_trees
from test_read_exact import TOY, check_against_hand

PLAN = ReadoutPlan.prepare(TOY, TOY.situations("train", 4, 0), TOY.tokenizer(), "padded")


@pytest.mark.parametrize("name", ["mamba", "rwkv"])
def test_readouts_agree_with_plain_forward_passes(name: str) -> None:
    check_against_hand(unknown.build(name), "padded")


def test_unrolled_equals_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.build("llama-gqa-biases")
    assert takes_trees(model)
    batches = [batch.rows for batch in PLAN.legal.round.batches]
    with ready(model):
        packed = [next_token_logprobs(model, rows) for rows in batches]
        unknown.forgotten(monkeypatch)
        assert not takes_trees(model)
        for rows, expected in zip(batches, packed, strict=True):
            found = next_token_logprobs(model, rows)
            real = torch.from_numpy(rows.positions[:, -rows.nodes - 1 :] > 0)
            real[:, 0] = True
            torch.testing.assert_close(found[real], expected[real], rtol=1e-5, atol=1e-5)


def test_hybrids_equal_the_model_with_each_set_swapped_in(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown.forgotten(monkeypatch)
    tuned, base = unknown.build("mamba", 1), unknown.build("mamba", 0)
    anatomy = anatomy_of(tuned)
    sets = [anatomy.parse(text) for text in ("", "*", "L1.*", "~L0.*", "T:backbone.layers.#.mixer.D")]
    scores = HybridScores(Hybrids(tuned, base), [path_of(one) for one in sets])
    for batch in PLAN.legal.round.batches:
        with (
            pytest.warns(UserWarning, match="takes no trees")
            if batch is PLAN.legal.round.batches[0]
            else ready(tuned)
        ):
            found = dict(scores(batch.rows, range(len(sets))))
        for place, one in enumerate(sets):
            with taken_back(tuned, base, one), ready(tuned):
                ((_, expected),) = ModelScores(tuned)(batch.rows, [0])
            torch.testing.assert_close(found[place], expected, rtol=1e-6, atol=1e-6)
