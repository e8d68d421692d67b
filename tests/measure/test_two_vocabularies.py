"""Behaviour over two vocabularies: hybrids read in memory do what they do when written and loaded alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import transformers

from takeback.arenas import arena
from takeback.checkpoint import Pair, Placement, open_pair
from takeback.component import ComponentSet
from takeback.hybrid import hybrid, write_hybrid
from takeback.measure.bench import Bench
from takeback.measure.setup import Setup
from takeback.policies.load import load_policy
from takeback.run.errors import TakebackError

ENDGAMES = arena("endgames")
SITUATIONS = ENDGAMES.situations("held-out", 4, 1)


@pytest.fixture(scope="module")
def pair(players: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A pair of which tuned has a token more, and rows up to a multiple of 64 as trainers add them."""
    base, tuned = players
    folder = tmp_path_factory.mktemp("resized")
    model = transformers.AutoModelForCausalLM.from_pretrained(tuned)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tuned)
    tokenizer.add_tokens(["<think>"])
    model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=64, mean_resizing=False)
    model.generation_config.eos_token_id = len(tokenizer) - 1
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return open_pair(base, folder)


@pytest.mark.slow
@pytest.mark.parametrize("hold", ["both", "one"])
def test_hybrids_read_as_they_do_alone(pair: Pair, hold: str, tmp_path: Path) -> None:
    bench = Bench(pair, ENDGAMES, SITUATIONS, ["legal"], Setup(placement=Placement("cpu", "fp32", hold)))
    universe = bench.anatomy.universe
    assert {"EMBED+", "UNEMBED+"} < set(map(str, universe))
    sets = [ComponentSet.parse(text, universe) for text in ("", "*", "L1.* EMBED", "EMBED+ UNEMBED+ L2.H0")]
    for place, (components, found) in enumerate(zip(sets, bench.read(sets), strict=True)):
        out = write_hybrid(hybrid(pair, components), tmp_path / f"hybrid-{place}")
        alone = load_policy(out, ENDGAMES)
        taken = "EMBED+" in str(components & universe.parse("EMBED+", universe)) or components == universe
        assert len(alone.tokenizer) == len(alone.tokenizer.get_vocab()) == (392 if taken else 393)
        assert alone.model.config.vocab_size == (392 if taken else 448)
        wanted = alone.read(alone.prepare(ENDGAMES, SITUATIONS))
        np.testing.assert_allclose(found.probabilities, wanted.probabilities, rtol=1e-4, atol=1e-7)


def test_a_written_hybrid_ends_its_answers_with_a_token_that_it_has(pair: Pair, tmp_path: Path) -> None:
    universe = pair.anatomy().universe
    for text, end in (("*", 392), ("L0.*", 393)):
        out = write_hybrid(hybrid(pair, universe.parse(text, universe)), tmp_path / f"to-{end}")
        settings = transformers.GenerationConfig.from_pretrained(out)
        assert (settings.eos_token_id or 0) < end


def test_sources_other_than_base_keep_the_rows(pair: Pair, tmp_path: Path) -> None:
    from takeback.hybrid.sources import source_of

    new = pair.anatomy().parse("EMBED+ UNEMBED+")
    out = write_hybrid(hybrid(pair, new, source_of("zeros", pair)), tmp_path / "zeros")
    made = transformers.AutoModelForCausalLM.from_pretrained(out)
    assert made.config.vocab_size == 448
    assert not bool(made.get_input_embeddings().weight[392:].any())
    other = source_of(f"checkpoint:{pair.tuned.ref}", pair)
    assert other.shapes == pair.tuned.shapes
    with pytest.raises(TakebackError):
        hybrid(pair, new, open_pair(pair.base.ref, pair.base.ref).tuned)
