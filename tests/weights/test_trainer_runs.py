"""Runs that TRL and transformers leave by themselves are followed like a study's own."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers import models as kinds
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from typer.testing import CliRunner

import models
from takeback.checkpoint import open_checkpoint, open_pair
from takeback.cli import app
from takeback.run.errors import TakebackError
from takeback.training import Callback
from takeback.weights import diff, weight_path
from takeback.weights.runs.folders import find_runs

if TYPE_CHECKING:
    from trl.trainer.sft_trainer import SFTTrainer

WORDS = [f"w{number}" for number in range(models.VOCABULARY - 2)]


def save_base(folder: Path) -> Path:
    """Save a tiny model with a tokenizer of words."""
    vocabulary = {word: place for place, word in enumerate(["<bos>", "<eos>", *WORDS])}
    made = Tokenizer(kinds.WordLevel(vocabulary, "<bos>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    models.build("llama-gqa-biases").save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<eos>", pad_token="<eos>").save_pretrained(
        folder
    )
    return folder


def sft(base: Path, out: Path, adapter: bool, *callbacks, **settings) -> SFTTrainer:
    """Run TRL as a user does: nothing of takeback but a callback."""
    import peft
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    texts = [{"text": f"{one} {other}"} for one in WORDS for other in WORDS[:3]]
    common = {"max_steps": 12, "save_steps": 4, "learning_rate": 1e-2, "bf16": False, "use_cpu": True}
    lora = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries' notes about one another
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(base),
            args=SFTConfig(str(out), report_to="none", disable_tqdm=True, **{**common, **settings}),
            train_dataset=Dataset.from_list(texts),
            processing_class=PreTrainedTokenizerFast.from_pretrained(base),
            peft_config=lora if adapter else None,
            callbacks=[*callbacks],
        )
        trainer.train()
    return trainer


@pytest.fixture(scope="module", params=[False, True], ids=["whole", "adapter"])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outside")
    base = save_base(folder / "base")
    trainer = sft(base, folder / "run", request.param, Callback())
    return base, folder / "run", trainer


@pytest.mark.slow
def test_a_run_by_trl_is_followed_in_the_order_of_its_steps(run):
    base, folder, trainer = run
    found = weight_path(folder, base)
    rows = found.table[found.table["scope"] == "all"]
    assert rows["step"].tolist() == [4, 8, 12]
    for row in rows.to_dict("records"):
        place = folder / f"checkpoint-{row['step']}"
        whole = diff(
            open_pair(base, f"{base}+{place}" if (place / "adapter_config.json").exists() else place)
        )
        assert row["relative"] == pytest.approx(float(whole.total["relative"].iloc[0]), rel=1e-6)
        (told,) = [
            one
            for one in trainer.state.log_history
            if "takeback/relative/all" in one and one["step"] == row["step"]
        ]
        assert told["takeback/relative/all"] == pytest.approx(
            float(whole.total["relative"].iloc[0]), rel=1e-9
        )
        assert told["takeback/changed_bf16/L1"] == float(
            whole.layers.set_index("name").loc["L1", "changed_bf16"]
        )


@pytest.mark.slow
def test_what_it_started_from_is_found_in_an_adapter_and_named_otherwise(run):
    base, folder, _ = run
    adapted = (folder / "checkpoint-4" / "adapter_config.json").exists()
    arguments = ["diff", str(folder)] + ([] if adapted else ["--base", str(base)])
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    if adapted:
        assert (
            open_checkpoint(folder / "checkpoint-4").digest
            == open_checkpoint(f"{base}+{folder / 'checkpoint-4'}").digest
        )
    else:
        with pytest.raises(TakebackError, match="does not say what it started from; name the base"):
            weight_path(folder)


def test_cards_and_older_configs_name_the_base_too(tmp_path):
    base = save_base(tmp_path / "base")
    for step in (9, 10, 100):
        models.build("llama-gqa-biases", step).save_pretrained(tmp_path / "run" / f"checkpoint-{step}")
    (tmp_path / "run" / "README.md").write_text(f"---\nbase_model: {base}\ntags: [trl]\n---\n# A card\n")
    (found,) = find_runs(tmp_path / "run")
    assert [step for step, _ in found.snapshots] == [9, 10, 100]
    assert found.parent == str(base)
    (tmp_path / "run" / "README.md").unlink()
    config = tmp_path / "run" / "checkpoint-100" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "_name_or_path": str(base)}))
    assert find_runs(tmp_path / "run")[0].parent == str(base)


def test_the_model_saved_at_the_end_counts_where_its_step_is_known(tmp_path):
    run = tmp_path / "run"
    for step in (5, 10):
        models.build("llama-gqa-biases", step).save_pretrained(run / f"checkpoint-{step}")
    models.build("llama-gqa-biases", 12).save_pretrained(run)
    assert [step for step, _ in find_runs(run)[0].snapshots] == [5, 10]
    state = {"global_step": 12, "best_model_checkpoint": None}
    (run / "trainer_state.json").write_text(json.dumps(state))
    assert [step for step, _ in find_runs(run)[0].snapshots] == [5, 10, 12]
    (run / "trainer_state.json").write_text(json.dumps({**state, "best_model_checkpoint": "checkpoint-5"}))
    assert [step for step, _ in find_runs(run)[0].snapshots] == [5, 10]
