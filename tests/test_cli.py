import json
import shlex
import shutil
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM

import models
from takeback import cli
from takeback.checkpoint import open_checkpoint
from takeback.tables import read_table

COMMANDS = ("components", "diff", "hybrid", "train", "behaviour", "sweep", "demo", "report")


@pytest.fixture
def call(monkeypatch, capsys):
    """Run a command in this process as the shell would; give what it printed."""

    def run(*words, code=0):
        monkeypatch.setattr(sys, "argv", ["takeback", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert ended.value.code == code, printed.err
        return printed

    return run


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return models.save_pair("llama-gqa-biases", tmp_path_factory.mktemp("pair"))


def test_help_names_every_command_and_loads_no_heavy_library():
    code = (
        "import sys\nsys.argv = ['takeback', '--help']\nimport takeback, takeback.cli\n"
        "try:\n    takeback.cli.main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'transformers', 'pandas', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for command in COMMANDS:
        assert command in done.stdout


def test_components_as_json_add_up(call, pair):
    rows = json.loads(call("components", pair[0], "--json").out)
    model = AutoModelForCausalLM.from_pretrained(pair[0])
    assert sum(row["parameters"] for row in rows) == sum(p.numel() for p in model.parameters())
    assert {"component": "L0.KV1", "parameters": 2 * (6 * 24 + 6)} in rows
    assert "L1.MLP" in call("components", pair[0]).out


def test_diff_prints_writes_and_gives_json(call, pair, tmp_path):
    assert "L0" in call("diff", *pair, "-o", tmp_path / "diff").out
    found = json.loads(call("diff", *pair, "--json").out)
    (total,) = found["diff"]["total"]
    assert total["changed_bitwise"] == 1.0
    assert read_table(tmp_path / "diff" / "components.parquet")["parameters"].sum() == total["parameters"]
    assert "<svg" in (tmp_path / "diff" / "diff.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_diff_measures_all_that_is_asked_and_shards_merge_to_the_same_files(call, pair, tmp_path):
    asked = ["diff", *pair, "--with", "all"]
    call(*asked, "-o", tmp_path / "whole")
    for shard in ("2/2", "1/2"):
        assert f"shard {shard} is done" in call(*asked, "-o", tmp_path / "parts", "--shard", shard).out
    assert not list((tmp_path / "parts").glob("*.parquet"))
    call(*asked, "-o", tmp_path / "parts")
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert {"spectra.parquet", "circuits.parquet", "ulps.parquet", "published.parquet"} < set(names)
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == names  # and no parts are left
    for name in names:
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
def test_a_folder_holds_the_tables_of_one_diff_only(call, pair, tmp_path):
    out = tmp_path / "out"
    call("diff", *pair, "--with", "ulps", "-o", out)
    (out / "mine.parquet").write_bytes(b"not theirs")
    assert (out / "ulps.parquet").exists()
    call("diff", *pair, "-o", out)
    names = {path.name for path in out.iterdir()}
    assert "ulps.parquet" not in names
    assert {"mine.parquet", "total.parquet", "diff.html", "diff.json"} <= names


def test_equal_checkpoints_are_said_to_be_equal(call, pair):
    assert "No entry differs" in call("diff", pair[0], pair[0]).out


def test_diff_compares_the_changes_of_several_fine_tunes(call, pair, tmp_path):
    base, tuned = pair
    shutil.copytree(tuned, tmp_path / "again")
    found = json.loads(call("diff", base, tuned, tmp_path / "again", "--json").out)
    rows = found["between"]["between"]
    (same,) = [row for row in rows if row["level"] == "all" and row["relation"] != "permuted"]
    assert same["cosine"] == pytest.approx(1)


def test_a_rank_k_model_is_written_like_a_hybrid(call, pair, tmp_path):
    out = call("hybrid", *pair, "--take-back", "*", "--source", "only-top:1", "-o", tmp_path / "made").out
    assert "matrix's Δ" in out
    made, base = open_checkpoint(tmp_path / "made"), open_checkpoint(pair[0])
    delta = made.read("model.layers.0.mlp.up_proj.weight") - base.read("model.layers.0.mlp.up_proj.weight")
    assert torch.linalg.matrix_rank(delta.double(), atol=1e-5) == 1


@pytest.mark.parametrize(("option", "side"), [("--take-back", 0), ("--graft", 1)])
def test_hybrid_of_everything_is_the_other_side(call, pair, tmp_path, option, side):
    call("hybrid", *pair, option, "*", "-o", tmp_path / "made")
    made, expected = (
        AutoModelForCausalLM.from_pretrained(f).state_dict() for f in (tmp_path / "made", pair[side])
    )
    assert all(torch.equal(made[name], expected[name]) for name in expected)


@pytest.mark.parametrize("words", [["L0.H1 *.MLP"], ["L0.N3 L1.H*", "--resolution", "neurons"]])
def test_the_command_on_a_hybrid_s_card_makes_it_again(call, pair, tmp_path, words):
    first, again = tmp_path / "first", tmp_path / "again"
    call("hybrid", *pair, "--take-back", *words, "-o", first)
    (command,) = [
        line for line in (first / "README.md").read_text().splitlines() if line.startswith("takeback ")
    ]
    call(*shlex.split(command.replace(str(first), str(again)))[1:])
    assert open_checkpoint(again).digest == open_checkpoint(first).digest != open_checkpoint(pair[1]).digest


def told(done):
    """The one line that a user's mistake is told in."""
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("takeback: ")
    return line


def test_a_user_s_mistake_is_one_line_with_exit_code_2_and_changes_nothing(call, pair, tmp_path):
    out = tmp_path / "out"
    assert "no file or folder" in told(call("diff", pair[0], tmp_path / "nowhere", code=2))
    line = told(call("hybrid", *pair, "--take-back", "L0.H9", "-o", out, code=2))
    assert "unknown component 'L0.H9': did you mean" in line
    other = models.save_pair("llama-mha", tmp_path)[0]
    assert "shape" in told(call("hybrid", other, pair[1], "--take-back", "*", "-o", out, code=2))
    line = told(call("hybrid", *pair, "-o", out, code=2))
    assert "say --take-back SET or --graft SET" in line
    assert not out.exists()


def test_a_truncated_shard_is_one_line_and_leaves_an_older_output_as_it_was(call, pair, tmp_path):
    call("hybrid", *pair, "--take-back", "L0.*", "-o", tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    torn = models.save_pair("llama-gqa-biases", tmp_path)[1]
    file = torn / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    words = ("hybrid", pair[0], torn, "--take-back", "L0.*", "-o", tmp_path / "out", "--overwrite")
    assert "model.safetensors" in told(call(*words, code=2))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.slow
def test_sweep_and_behaviour_work_on_any_pair_that_plays(call, players, tmp_path):
    words = ("sweep", *players, "-o", tmp_path / "effects.parquet", "--situations", 4, "--controls", 1)
    assert "effects of" in call(*words, "--sets", "each layer", "--sets", "L0.H0 L1.MLP").out
    table = read_table(tmp_path / "effects.parquet")
    assert {"each layer", "by name", "random, same size", "random, same ‖Δ‖"} == set(table["family"])
    rows = json.loads(call("behaviour", players[1], "--against", players[0], "--situations", 4, "--json").out)
    assert {row["relative_to"] for row in rows["measures"]} == {players[0]}
    shown = call("behaviour", players[0], "--situations", 4, "--games", 2).out
    assert "utility win" in shown
    assert "games against the best defender" in shown
