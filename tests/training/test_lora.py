"""Adapters as arms: saved as peft saves them, merged and taken back as any base+adapter, resumed exactly."""

from __future__ import annotations

import hashlib
import json
import warnings

import pytest
import torch
from transformers import AutoModelForCausalLM

import tiny_chat
from kill import run_and_kill
from takeback.arenas import arena
from takeback.checkpoint import load_model, open_checkpoint, open_pair, shipped
from takeback.hybrid import hybrid, write_hybrid
from takeback.run.errors import TakebackError
from takeback.training import check_recipe, train
from takeback.weights import diff, weight_path

SIZES = {"rl": {"prompts": 2, "completions": 4}, "rft": {"prompts": 2, "completions": 4}}


def fields(method, **more):
    common = {"method": method, "parent": "endgame-base", "goal": "win", "steps": 4, "learning_rate": 1e-2}
    own = SIZES.get(method, {"batch": 4})
    lora = {"rank": 2, "targets": ["q_proj", "down_proj"]}
    return {**common, **own, "save_every": 2, "snapshots": (2,), "threads": 1, "lora": lora, **more}


def quiet(done, total):
    return None


def peft_merges(folder):
    """Return what peft itself makes of an adapter, by name."""
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_pretrained(shipped("endgame-base"), dtype=torch.float32)
        merged = peft.PeftModel.from_pretrained(model, folder).merge_and_unload()
    return dict(merged.named_parameters())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["rl", "rft", "sft", "dpo", "drift"])
def test_every_method_trains_an_adapter(tmp_path, method):
    final = train(
        check_recipe(fields(method, kl=0.1) if method == "rl" else fields(method)), tmp_path / "run", quiet
    )
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {path.name for path in final.iterdir()}
    assert not {"model.safetensors", "README.md", "ref"} & {path.name for path in final.iterdir()}
    assert (
        json.loads((final / "adapter_config.json").read_text())["base_model_name_or_path"] == "endgame-base"
    )
    pair = open_pair("endgame-base", final)
    moved = diff(pair).components.set_index("component")["changed_bitwise"]
    assert moved["L0.H0"] > 0 < moved["L1.MLP"]
    assert moved["EMBED"] == moved["L0.LN1"] == 0
    truth = peft_merges(final)
    for name in pair.tuned.shapes:
        torch.testing.assert_close(pair.tuned.read(name), truth[name].detach(), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_an_adapter_and_its_snapshots_are_taken_back_like_any(tmp_path):
    final = train(check_recipe(fields("sft")), tmp_path / "run", quiet)
    pair = open_pair("endgame-base", final)
    assert pair.tuned.digest == open_checkpoint(f"endgame-base+{final}").digest
    made = hybrid(pair, pair.anatomy().parse("*.MLP"))
    write_hybrid(made, tmp_path / "hybrid")
    left = diff(open_pair("endgame-base", tmp_path / "hybrid")).components
    kinds = left.groupby("kind")["changed_bitwise"].max()
    assert kinds["MLP"] == 0 < kinds["H"]
    walked = weight_path(tmp_path / "run").table
    assert walked.loc[walked["scope"] == "all", "step"].tolist() == [2, 4]
    assert load_model(open_checkpoint(tmp_path / "run" / "step-2")).config.model_type == "llama"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["rl", "dpo"])
def test_a_killed_run_of_an_adapter_ends_with_the_same_files(tmp_path, method):
    recipe = fields(method, steps=12, kl=0.1) if method == "rl" else fields(method, steps=12)
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    train(check_recipe(recipe), unbroken, quiet)
    words = f"check_recipe({recipe!r}), {str(broken)!r}, print"
    code = f"from takeback.training import check_recipe, train\ntrain({words})"
    run_and_kill(code, (broken / "checkpoints" / "checkpoint-4" / "complete").exists, tmp_path / "log.txt")
    assert not (broken / "final").exists()
    train(check_recipe(recipe), broken, quiet)

    def digests(run):
        files = (path for path in sorted(run.rglob("*")) if path.is_file())
        return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    assert digests(broken) == digests(unbroken)


@pytest.mark.slow
def test_a_chat_model_has_an_adapter_of_all_linear_layers(tmp_path):
    base, _ = tiny_chat.save_pair(tmp_path)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"prompt": f"say {n}", "reply": "four"}) for n in range(4)))
    where = {"data": str(rows), "chat": True, "held_out": 0.5, "reference": "reply"}
    recipe = check_recipe(fields("sft", parent=str(base), arena=where, goal="none", lora={"rank": 3}))
    final = train(recipe, tmp_path / "run", quiet)
    moved = diff(open_pair(base, final)).components.groupby("kind")["changed_bitwise"].max()
    assert moved["H"] > 0 < moved["MLP"]
    assert moved["EMBED"] == 0
    assert json.loads((final / "adapter_config.json").read_text())["base_model_name_or_path"] == str(base)


@pytest.mark.slow
def test_mistakes_are_told_and_the_account_says_it(tmp_path):
    words = arena("endgames").words
    told = check_recipe(fields("rl", lora={"rank": 8})).full_account(words)
    assert told.table == "RL (GRPO), a LoRA of rank 8"
    assert told.sentence == "reinforcement learning in a LoRA of rank 8"
    assert "lora" not in check_recipe({**fields("sft"), "lora": None}).model_dump()
    with pytest.raises(TakebackError, match="leave `only` out"):
        check_recipe(fields("rl", only="L0.*"))
    with pytest.raises(TakebackError, match="q_proj"):
        train(check_recipe(fields("sft", lora={"targets": ["q_prj"]})), tmp_path / "none", quiet)
    with pytest.raises(TakebackError, match="the parent is a network"):
        train(check_recipe(fields("sft", parent="endgame-mlp")), tmp_path / "none", quiet)
    first = train(check_recipe(fields("sft")), tmp_path / "run", quiet)
    with pytest.raises(TakebackError, match="is an adapter itself"):
        train(check_recipe(fields("sft", parent=str(first))), tmp_path / "none", quiet)
    assert not (tmp_path / "none").exists() or not list((tmp_path / "none").iterdir())
