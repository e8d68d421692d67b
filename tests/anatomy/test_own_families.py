"""Blocks of a user's own, of files that a command line, the environment or a package names."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from typer.testing import CliRunner

import unknown
from takeback.anatomy import families, own
from takeback.anatomy.families import known_family
from takeback.anatomy.own import own_families
from takeback.anatomy.wiring import known_wiring
from takeback.checkpoint import open_checkpoint, open_pair
from takeback.cli import app
from takeback.run.errors import TakebackError
from takeback.run.identity import identity
from takeback.weights.entries import Pass

BLOCK = """
[mine]
model_types = ["rwkv"]
like = "llama"
prefix = "rwkv."
embedding = "rwkv.embeddings.weight"
unembedding = "head.weight"
config = { heads = "num_hidden_layers" }

[mine.circuits]
like = "llama"

[mine.tensors]
"rwkv.embeddings.weight" = "EMBED"
"rwkv.blocks.{l}.pre_ln.weight|bias" = "LN1"
"rwkv.blocks.{l}.ln1.weight|bias" = "LN1"
"rwkv.blocks.{l}.ln2.weight|bias" = "LN2"
"rwkv.blocks.{l}.attention.*.weight" = "ATTN"
"rwkv.blocks.{l}.attention.time_decay|time_first|time_mix_key|time_mix_value|time_mix_receptance" = "ATTN"
"rwkv.blocks.{l}.feed_forward.*.weight" = "MLP"
"rwkv.blocks.{l}.feed_forward.time_mix_key|time_mix_receptance" = "MLP"
"rwkv.ln_out.weight|bias" = "NORM"
"head.weight" = "UNEMBED"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(BLOCK, encoding="utf-8")
    return path


def test_a_block_of_ones_own_names_components(file: Path, tmp_path: Path) -> None:
    base, tuned = unknown.save_pair("rwkv", tmp_path)
    with own_families([file]):
        family = known_family("rwkv")
        assert family is not None
        assert family.name == "mine"
        assert known_wiring("mine") is not None
        names = set(map(str, open_pair(base, tuned).anatomy().universe))
        assert names == {"EMBED", "NORM", "UNEMBED"} | {
            f"L{layer}.{part}" for layer in (0, 1) for part in ("ATTN", "MLP", "LN1", "LN2")
        }
    assert "mine" not in families()


def test_a_file_may_stand_before_or_behind_the_command(file: Path, tmp_path: Path) -> None:
    base, _ = unknown.save_pair("rwkv", tmp_path)
    command = ["components", f"{base}"]
    for words in (["--families", f"{file}", *command], [*command, f"--families={file}"]):
        ran = CliRunner().invoke(app, words)
        assert "L1.ATTN" in ran.stdout, ran.stderr
    assert "L1.ATTN" not in CliRunner().invoke(app, command).stdout


def test_a_package_registers_a_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytest, "own_block_file", file, raising=False)
    entry = EntryPoint("mine", "pytest:own_block_file", own.GROUP)
    monkeypatch.setattr(own, "entry_points", lambda group: [entry] if group == own.GROUP else [])
    monkeypatch.setattr(own, "_registered", vars(own)["_registered"].__wrapped__)
    assert "mine" in families()


def test_results_depend_on_what_a_file_says(file: Path, tmp_path: Path) -> None:
    base, tuned = unknown.save_pair("rwkv", tmp_path)

    def told() -> tuple[str, str]:
        pair = open_pair(base, tuned)
        return identity(pair), Pass(pair, "heads", (1e-5,)).identity

    without = told()
    with own_families([file]):
        before = told()
        file.write_text(BLOCK.replace('"LN2"', '"LN1"'), encoding="utf-8")
        after = told()
        file.write_text(BLOCK, encoding="utf-8")
        assert told() == before
    assert told() == without
    for first, second in ((without, before), (before, after)):
        assert all(one != other for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[mine", "can't be read"),
        ("name = 3", "outside a block"),
        ("[llama]\nmodel_types = []", "has llama, which comes along"),
        ('[mine]\nlike = "lama"', "block of the family mine"),
        ('[mine]\nlike = "mine"', "block of the family mine"),
        ("[mine]\nmodel_types = 3", "block of the family mine"),
        ('[mine]\nmodel_types = ["x"]\nlike = "llama"\ntensors = { a = "HEAT" }', "owner of mine"),
        (
            '[mine]\nmodel_types = ["x"]\nlike = "llama"\ncircuits = { like = "lama" }',
            "circuits of the family mine",
        ),
    ],
)
def test_what_is_no_block_is_told_in_one_line(text: str, told: str, file: Path) -> None:
    file.write_text(text, encoding="utf-8")
    with own_families([file]), pytest.raises(TakebackError, match=told) as error:
        _ = (known_family("x"), known_wiring("x"))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["--families", f"{tmp_path}/none.toml", "components", "endgame-base"])
    assert isinstance(ran.exception, TakebackError)
    assert "none.toml" in str(ran.exception)
    assert open_checkpoint("endgame-base").anatomy().heads > 0
