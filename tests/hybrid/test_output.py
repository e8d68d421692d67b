"""Where a hybrid is written, what it may overwrite, and what its card says about settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

import models
from adapters import LLAMA, save_adapter
from takeback.checkpoint import Pair, open_checkpoint, open_pair
from takeback.hybrid import Hybrid, hybrid, write_hybrid
from takeback.run.errors import TakebackError


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    models.save_pair("llama-mha", tmp_path / "run")
    return open_pair(tmp_path / "run" / "base", tmp_path / "run" / "tuned")


def made_of(pair: Pair) -> Hybrid:
    return hybrid(pair, pair.anatomy().parse("L0.H1"))


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def assert_refused(made: Hybrid, out: Path, match: str, among: Path, overwrite: bool = True) -> None:
    before = contents(among)
    with pytest.raises(TakebackError, match=match) as caught:
        write_hybrid(made, out, overwrite=overwrite)
    assert "\n" not in str(caught.value)
    assert contents(among) == before


def test_a_folder_that_holds_a_parent_is_never_overwritten(pair: Pair, tmp_path: Path) -> None:
    made = made_of(pair)
    shutil.copy(write_hybrid(made, tmp_path / "out") / "README.md", tmp_path / "run" / "README.md")
    for out in (tmp_path / "run", tmp_path, tmp_path / "out" / ".." / "run"):
        assert_refused(made, out, "parents", tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert_refused(made, tmp_path / "link", "parents", tmp_path)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "tuned").symlink_to(tmp_path / "run" / "tuned")
    linked = made_of(open_pair(pair.base, tmp_path / "links" / "tuned"))
    assert_refused(linked, tmp_path / "links", "parents", tmp_path)


def test_a_source_and_an_adapter_are_parents(pair: Pair, tmp_path: Path) -> None:
    models.build("llama-mha", 3).save_pretrained(tmp_path / "arm")
    everything = pair.anatomy().universe
    from_arm = hybrid(pair, everything, source=open_checkpoint(tmp_path / "arm"))
    for made in (from_arm, hybrid(pair, everything, source=from_arm)):
        assert_refused(made, tmp_path / "arm", "parents", tmp_path)
    save_adapter(
        tmp_path / "run" / "base", tmp_path / "lora", pair.base.read("model.norm.weight").dtype, **LLAMA
    )
    adapted = open_pair(pair.base, f"{tmp_path}/run/base+{tmp_path}/lora")
    assert_refused(made_of(adapted), tmp_path / "lora", "parents", tmp_path)


def test_only_earlier_hybrids_are_overwritten(pair: Pair, tmp_path: Path) -> None:
    made = made_of(pair)
    models.build("llama-mha", 3).save_pretrained(tmp_path / "model")
    assert_refused(made, tmp_path / "model", "not a hybrid", tmp_path)
    (tmp_path / "model" / "README.md").write_text("---\ntags:\n- trl\n---\n\nBetter than\n- takeback\n")
    assert_refused(made, tmp_path / "model", "not a hybrid", tmp_path)
    out = write_hybrid(made, tmp_path / "out")
    assert_refused(made, out, "exists already", tmp_path, overwrite=False)
    (tmp_path / "empty").mkdir()
    for there in (out, tmp_path / "empty"):
        write_hybrid(made, there, overwrite=True)
        assert open_checkpoint(there).digest == made.digest
    models.build("llama-mha", 3).save_pretrained(out / "checkpoint-20")
    assert_refused(made, out, "not a hybrid", tmp_path)


def test_an_output_of_the_other_kind_is_refused(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for overwrite in (False, True):
        assert_refused(made_of(pair), tmp_path / "file", "is a file", tmp_path, overwrite)


def test_only_earlier_hybrid_files_are_overwritten(tmp_path: Path) -> None:
    for seed, side in enumerate(("base", "tuned", "other")):
        save_file(models.build_mlp(seed).state_dict(), tmp_path / f"{side}.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    (tmp_path / "folder.safetensors").mkdir()
    pair = open_pair(tmp_path / "base.safetensors", tmp_path / "tuned.safetensors")
    made = hybrid(pair, pair.anatomy().parse("L0.U3"))
    for name, match in [
        ("base", "parents"),
        ("other", "not a hybrid"),
        ("text", "not a hybrid"),
        ("folder", "folder"),
    ]:
        assert_refused(made, tmp_path / f"{name}.safetensors", match, tmp_path)
    for overwrite in (False, True):
        write_hybrid(made, tmp_path / "out.safetensors", overwrite=overwrite)
    assert open_checkpoint(tmp_path / "out.safetensors").digest == made.digest


def edit_config(folder: Path, **changed: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))


def test_other_settings_of_base_are_told(pair: Pair, tmp_path: Path) -> None:
    made = made_of(pair)
    assert made.caveat is None
    assert made.differences == ()
    assert "has others" not in (write_hybrid(made, tmp_path / "plain") / "README.md").read_text()
    edit_config(tmp_path / "run" / "tuned", rms_norm_eps=0.5, hidden_act="gelu")
    made = made_of(open_pair(tmp_path / "run" / "base", tmp_path / "run" / "tuned"))
    assert {one.place for one in made.differences} == {"rms_norm_eps", "hidden_act"}
    assert made.caveat is not None
    text = (write_hybrid(made, tmp_path / "out") / "README.md").read_text()
    for told in (text, made.caveat):
        assert "rms_norm_eps" in told
        assert 'hidden_act ("silu" in base, "gelu" in tuned)' in told
    assert open_checkpoint(tmp_path / "out").config.rms_norm_eps == 0.5


def test_taking_back_in_two_steps_on_disk_is_the_union(pair: Pair, tmp_path: Path) -> None:
    first, second = pair.anatomy().parse("L0.* EMBED"), pair.anatomy().parse("*.MLP L1.H2")
    union = hybrid(pair, first | second).digest
    assert union not in (hybrid(pair, first).digest, hybrid(pair, second).digest)
    for one, other in ((first, second), (second, first)):
        out = write_hybrid(hybrid(pair, one), tmp_path / "halfway", overwrite=True)
        assert hybrid(open_pair(pair.base, out), other).digest == union
