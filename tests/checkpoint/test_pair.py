"""Pairs: every difference is found, told at once, and sorted into what is fatal and what is only type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import models
from takeback.checkpoint import Difference, PairMismatch, open_checkpoint, open_pair
from takeback.checkpoint.pair import summary
from takeback.run.errors import TakebackError


def edit_tensors(folder: Path, **changed: torch.Tensor | None) -> None:
    file = folder / "model.safetensors"
    tensors = {**load_file(file), **{name.replace("__", "."): tensor for name, tensor in changed.items()}}
    save_file(
        {name: tensor for name, tensor in tensors.items() if tensor is not None}, file, {"format": "pt"}
    )


def edit_config(folder: Path, **changed: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))


def save_vocabulary(folder: Path, words: list[str]) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token=words[0]))
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return models.save_pair("llama-mha", tmp_path)


def mismatch(base: Path, tuned: Path) -> PairMismatch:
    with pytest.raises(PairMismatch) as caught:
        open_pair(base, tuned)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_good_pair_differs_in_nothing(name: str, tmp_path: Path) -> None:
    base, tuned = models.save_pair(name, tmp_path)
    for folder in (base, tuned):
        save_vocabulary(folder, ["a", "b"])
    assert open_pair(base, tuned).differences() == ()
    assert open_pair(open_checkpoint(base), tuned).base.ref == str(base)


def test_fatal_differences_are_told_whole(folders: tuple[Path, Path]) -> None:
    base, tuned = folders
    edit_tensors(tuned, model__norm__weight=torch.zeros(12), lm_head__weight=torch.zeros(22, 24))
    edit_tensors(base, model__norm__weight=None)
    edit_config(tuned, rms_norm_eps=0.5)
    error = mismatch(base, tuned)
    fatal = [difference for difference in error.differences if difference.fatal]
    assert fatal == [
        Difference("missing", "model.norm.weight", None, "[12]"),
        Difference("shape", "lm_head.weight", "[23, 24]", "[22, 24]"),
    ]
    for part in ("model.norm.weight", "lm_head.weight", "[23, 24]", "[22, 24]", "rms_norm_eps"):
        assert part in str(error)


def test_other_types_only(folders: tuple[Path, Path]) -> None:
    base, tuned = folders
    models.build("llama-mha", 1).to(torch.bfloat16).save_pretrained(tuned)
    differences = open_pair(base, tuned).differences()
    assert len(differences) == len(open_checkpoint(base).shapes)
    assert all(difference.kind == "dtype" and not difference.fatal for difference in differences)
    assert {(difference.base, difference.tuned) for difference in differences} == {("float32", "bfloat16")}


def test_other_tokenizer_is_told_and_no_obstacle(folders: tuple[Path, Path]) -> None:
    base, tuned = folders
    save_vocabulary(base, ["a", "b", "c"])
    assert open_pair(base, tuned).differences() == ()  # nothing to compare with
    save_vocabulary(tuned, ["a", "c", "b", "d"])
    differences = open_pair(base, tuned).differences()
    assert [str(difference) for difference in differences] == [
        "token 'b' (id 1 in base, id 2 in tuned)",
        "token 'c' (id 2 in base, id 1 in tuned)",
        "token 'd' (nothing in base, id 3 in tuned)",
    ]
    assert not any(difference.fatal for difference in differences)
    (tuned / "tokenizer.json").write_text("{")
    with pytest.raises(TakebackError, match="tokenizer"):
        open_pair(base, tuned)


def test_other_settings(folders: tuple[Path, Path]) -> None:
    base, tuned = folders
    edit_config(tuned, rope_parameters={"rope_type": "default", "rope_theta": 500.0}, use_cache=False)
    (difference,) = open_pair(base, tuned).differences()
    assert (difference.kind, difference.place, difference.fatal) == ("config", "rope_parameters", False)


def test_other_heads_in_equal_shapes_are_fatal(folders: tuple[Path, Path]) -> None:
    base, tuned = folders
    edit_config(tuned, num_attention_heads=6, num_key_value_heads=6, head_dim=4)
    fatal = {difference.place for difference in mismatch(base, tuned).differences if difference.fatal}
    assert fatal == {"heads", "groups"}


def test_other_architecture(folders: tuple[Path, Path], tmp_path: Path) -> None:
    other, _ = models.save_pair("gpt2", tmp_path / "others")
    assert mismatch(folders[0], other).differences == (
        Difference("architecture", "model_type", "llama", "gpt2"),
    )
    save_file(models.build_mlp().state_dict(), tmp_path / "policy.safetensors")
    error = mismatch(tmp_path / "policy.safetensors", folders[1])
    assert error.differences == (Difference("architecture", "kind of model", "a plain state dict", "llama"),)


def test_what_repeats_from_layer_to_layer_is_told_once(folders: tuple[Path, Path]) -> None:
    models.build("llama-mha", 1).to(torch.bfloat16).save_pretrained(folders[1])
    differences = open_pair(*folders).differences()
    norms = [one for one in differences if "layernorm" in one.place]
    assert summary(norms) == (
        "other element type: model.layers.*.input_layernorm.weight (float32 in base, bfloat16 in tuned) × 2, "
        "model.layers.*.post_attention_layernorm.weight (float32 in base, bfloat16 in tuned) × 2"
    )
    assert f"… {len(differences)} in all" in summary(differences)
    assert summary(norms[:1]).endswith(str(norms[0]))


def test_tied_on_one_side(tmp_path: Path) -> None:
    for tied in (True, False):
        config = models.CONFIGS["qwen2"]()
        config.tie_word_embeddings = tied
        model = models.randomised(transformers.AutoModelForCausalLM.from_config(config), 3)
        model.save_pretrained(tmp_path / str(tied))
    error = mismatch(tmp_path / "True", tmp_path / "False")
    assert error.differences == (Difference("tying", "embeddings", "tied", "untied"),)
    assert "--untie" in str(error)
    pair = open_pair(tmp_path / "True", tmp_path / "False", untie=True)
    assert pair.untied
    assert pair.differences() == ()
    assert torch.equal(pair.base.read("lm_head.weight"), pair.base.read("model.embed_tokens.weight"))
    assert not open_pair(tmp_path / "True", tmp_path / "True", untie=True).untied
