"""A block is proposed for a type that no family has, and the laws decide which one."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from takeback.anatomy import anatomy_of
from takeback.anatomy.own import own_families
from takeback.cli import app
from takeback.hybrid.propose import propose
from takeback.hybrid.tiny import tiny_config
from takeback.run.errors import TakebackError

FAMILIES = sys.modules["takeback.anatomy.families"]


def without(model_type: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Forget the block that describes a type, with all that are like it; return a config of that type."""
    blocks = dict(FAMILIES._packaged())

    def is_of(name: str) -> bool:
        block = blocks[name]
        return model_type in block["model_types"] or ("like" in block and is_of(block["like"]))

    left = {name: block for name, block in blocks.items() if not is_of(name)}
    FAMILIES._families.cache_clear()
    monkeypatch.setattr(FAMILIES, "_packaged", lambda: left)
    tiny_config(model_type).save_pretrained(folder)
    return folder / "config.json"


@pytest.fixture(autouse=True)
def remembered() -> object:
    yield
    FAMILIES._families.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_type", "like"),
    [
        ("smollm3", "llama"),
        ("falcon", None),
        ("gptj", None),
        ("xglm", None),
    ],
)
def test_laws_hold_with_what_is_proposed(
    model_type: str, like: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = propose(without(model_type, monkeypatch, tmp_path))
    assert found.holds
    assert found.heads > 0
    assert [law.number for law in found.proof.laws] == [1, 2, 3, 4]
    assert found.block is not None
    block = tomllib.loads(str(found))[model_type]
    assert like in (None, block["like"])


@pytest.mark.slow
def test_law_4_finds_norms_that_span_the_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """olmoe fits the names of Qwen 3's mixture, with exact ends and a head that is none."""
    found = propose(without("olmoe", monkeypatch, tmp_path))
    assert found.holds
    assert found.tried > 1
    tensors = tomllib.loads(str(found))["olmoe"]["tensors"]
    assert tensors["model.layers.{l}.self_attn.q_norm.weight"] == {"axis": 0, "split": ["H"]}


def test_the_command_prints_a_file_of_families(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = without("stablelm", monkeypatch, tmp_path)
    ran = CliRunner().invoke(app, ["family", f"{tmp_path}", "--json"])
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert told["holds"]
    assert [law["holds"] for law in told["laws"]] == [True] * 4
    mine = tmp_path / "mine.toml"
    mine.write_text(told["block"], encoding="utf-8")
    ran = CliRunner().invoke(app, ["family", f"{config}", "--families", f"{mine}"])
    assert ran.exit_code == 0
    assert "all laws hold" in ran.stdout
    with own_families([mine]):
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_config(tiny_config("stablelm"))
        assert "L0.H1" in map(str, anatomy_of(model).universe)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ('{"model_type": "nobodys"}', "not a config that transformers accepts"),
        ('{"model_type": "mamba", "num_hidden_layers": 1000000000}', "layers"),
        ("{", "is not a config: Expecting"),
    ],
)
def test_what_cannot_be_built_is_told(config: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(TakebackError, match=told):
        propose(tmp_path)
