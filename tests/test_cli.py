import json
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version

import pytest
import torch
import typer
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import models
from takeback import cli
from takeback.checkpoint import Checkpoint, open_checkpoint
from takeback.gauge import regauged
from takeback.run.tables import read_table

COMMANDS = (
    "components",
    "diff",
    "hybrid",
    "align",
    "train",
    "behaviour",
    "sweep",
    "localise",
    "attribute",
    "explain",
    "course",
    "conjecture",
    "plan",
    "demo",
    "study",
    "report",
    "lab",
)


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


def options(command):
    """Return what each option of a command says of itself, by its names."""
    return {
        tuple(one.opts): (one.metavar, one.help) for one in command.params if one.param_type_name == "option"
    }


def commands():
    group = typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        if name not in ("plan", "conjecture", "study"):
            yield name, command


def test_an_option_means_the_same_in_every_command():
    seen = {}
    for name, command in commands():
        for names, told in options(command).items():
            if set(names) & {"--arena", "--situations", "--seed", "--measure", "--workers", "--engine"}:
                seen.setdefault(names, {}).setdefault(told, []).append(name)
            if set(names) & {"--threads", "--json", "--address", "--sets", "--untie", "--controls"}:
                seen.setdefault(names, {}).setdefault(told, []).append(name)
    assert len(seen) == 12
    assert {names: list(told.values()) for names, told in seen.items() if len(told) > 1} == {}


def test_a_place_to_write_is_named_the_same_and_values_are_in_capitals():
    for name, command in commands():
        for one in command.params:
            assert one.is_flag if one.metavar is None else one.metavar.upper() == one.metavar, (name, one)
            assert ("-o" in one.opts) == ("--out" in one.opts)


def test_the_version_is_that_of_the_package(call):
    assert call("--version").out.strip() == version("takeback")


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


def test_align_undoes_a_change_of_coordinates(call, pair, tmp_path):
    regauged(pair[0], tmp_path / "other", seed=2)
    assert "nearest" in call("align", pair[0], tmp_path / "other", "-o", tmp_path / "near").out
    near, base = (load_file(f / "model.safetensors") for f in (tmp_path / "near", pair[0]))
    assert all(torch.allclose(near[name], base[name], atol=1e-5) for name in base)


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
    (line,) = (one for one in done.err.splitlines() if "hybrids to read" not in one)  # the cost comes first
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
    found = call(*words, "--sets", "each layer", "--sets", "L0.H0 L1.MLP").out
    assert "effects of" in found
    assert found.count("* told from 0, beyond each random set") == 2, "taken back, and grafted"
    table = read_table(tmp_path / "effects.parquet")
    assert {"each layer", "by name", "random, same size", "random, same ‖Δ‖"} == set(table["family"])
    rows = json.loads(call("behaviour", players[1], "--against", players[0], "--situations", 4, "--json").out)
    assert {row["relative_to"] for row in rows["measures"]} == {players[0]}
    assert [row["moved"] for row in rows["said"]] == sorted((r["moved"] for r in rows["said"]), reverse=True)
    shown = call("behaviour", players[1], "--against", players[0], "--situations", 4).out
    heads = next(line.split() for line in shown.splitlines() if line.split()[:1] == ["measure"])
    assert heads == ["measure", "base", "tuned", "change", "low", "high", "n"]
    value = next(one["value"] - one["effect"] for one in rows["measures"] if one["measure"] == "legal")
    assert (
        next(line.split()[1] for line in shown.splitlines() if line.split()[:1] == ["legal"])
        == f"{value:.4f}"
    )
    assert "utility win: no change is shown" in shown or "utility win rose" in shown or "win fell" in shown
    assert rows["said"][0]["situation"] in " ".join(shown.split())
    shown = call("behaviour", players[0], "--situations", 4, "--games", 2).out
    assert "utility win" in shown
    assert "games against the best defender" in shown


SMALL = ("--situations", 16, "--measure", "legal")


@pytest.mark.slow
def test_localise_writes_tables_and_a_page_and_prints_them(call, players, tmp_path):
    sets = ("--with", "shares", "--sets", "heads of each layer", "--controls", 1)
    found = call("localise", *players, *SMALL, *sets, "-o", tmp_path / "out").out
    assert "Necessity and sufficiency" in found
    table = read_table(tmp_path / "out" / "shares.parquet")
    assert {"take back", "graft"} == set(table["direction"])
    assert (table["family"].str.startswith("random")).any()
    page = (tmp_path / "out" / "localise.html").read_text(encoding="utf-8")
    assert "Necessity and sufficiency" in page
    assert not (tmp_path / "out" / ".parts").exists()


@pytest.mark.slow
def test_localise_tells_means_over_several_runs(call, players, tmp_path):
    base, tuned = players
    shutil.copytree(tuned, tmp_path / "arms" / "rl" / "seed-0" / "final")
    shutil.copytree(tuned, tmp_path / "arms" / "rl" / "seed-1" / "final")
    runs = sorted((tmp_path / "arms" / "rl").glob("*/final"))
    sets = ("--with", "shares", "--sets", "each layer", "--controls", 1)
    call("localise", base, *runs, *SMALL, *sets, "-o", tmp_path / "out")
    shares = [read_table(tmp_path / "out" / f"rl-{seed}" / "shares.parquet") for seed in (0, 1)]
    assert shares[0].equals(shares[1])
    means = read_table(tmp_path / "out" / "across.parquet")
    assert (means["low"] == means["mean"]).all()
    assert set(means["runs"]) == {2}


@pytest.mark.slow
def test_attribute_tells_how_well_estimates_agree_with_exact_effects(call, players):
    found = json.loads(call("attribute", *players, *SMALL, "--json").out)["attribution"]
    (agreement,) = found["agreement"]
    assert agreement["method"] == "near"
    assert agreement["spearman"] > 0
    assert {row["component"] for row in found["attribution"]} >= {"EMBED", "L0.H0", "L3.MLP"}
    plain = json.loads(call("attribute", *players, *SMALL, "--no-exact", "--json").out)
    assert "agreement" not in plain["attribution"]


@pytest.mark.slow
def test_attribute_measures_to_a_precision(call, players):
    words = ("--situations", 96, "--measure", "legal", "--precision", 0.9, "--json")
    rows = json.loads(call("attribute", *players, *words).out)["precise"]["precise"]
    assert all(row["reached"] and row["high"] - row["low"] <= 1.8 + 1e-9 for row in rows)


@pytest.mark.slow
def test_explain_prints_words_and_boards_and_keeps_every_probability(call, players, tmp_path):
    words = ("--situations", 12, "--controls", 1, "--boards", 1, "-o", tmp_path / "why")
    found = call("explain", *players, "--take-back", "L0.*", *words).out
    assert "Taking back L0.*" in found
    assert "a b c d e f g h" in found
    outcomes = read_table(tmp_path / "why" / "outcomes.parquet")
    for side in ("before", "after"):
        assert outcomes.groupby("item")[side].sum().tolist() == pytest.approx([1.0] * 12)
    grafted = call("explain", *players, "--graft", "L0.*", *words[:-2]).out
    assert "Grafting L0.*" in grafted
    assert call("explain", *players, "--graft", "L0.*", *words[:-2], "--hold", "one").out == grafted


@pytest.mark.slow
def test_course_follows_a_run_of_a_language_model(call, players, tmp_path):
    base, tuned = players
    run = tmp_path / "arms" / "rl" / "seed-0"
    for name in ("step-10", "final"):
        shutil.copytree(tuned, run / name)
    (run / "recipe.yaml").write_text(f"parent: {base}\narena: endgames\ngoal: win\nsteps: 20\n")
    words = ("--situations", 8, "--sets", "heads of each layer", "-o", tmp_path / "out")
    assert "The course of rl 0" in call("course", base, run, *words).out
    components = read_table(tmp_path / "out" / "components.parquet")
    assert components.groupby(["step", "outcomes"])["set"].count().tolist() == [4] * 4
    assert components.loc[components["step"] == 10, "effect"].abs().max() > 0
    found = json.loads((tmp_path / "out" / "course.json").read_text(encoding="utf-8"))
    assert "course.html" in found["files"]
    assert "unknown goal 'wim'" in told(call("course", base, run, "--goal", "wim", code=2))
    shutil.rmtree(run / "step-10")
    assert "snapshots: [10, 20, 40]" in told(call("course", base, run, code=2))


@pytest.mark.slow
def test_mistakes_in_what_is_asked_of_hybrids_are_one_line(call, players, tmp_path, monkeypatch):
    for owner, name in ((Checkpoint, "flat"), (AutoModelForCausalLM, "from_pretrained")):
        monkeypatch.setattr(owner, name, lambda *_, **__: pytest.fail("weights were read"))
    out = tmp_path / "out.parquet"
    assert "unknown family" in told(call("sweep", *players, "--sets", "each hed", "-o", out, code=2))
    assert "unknown family" in told(call("localise", *players, "--sets", "each hed", code=2))
    assert "unknown measure" in told(call("localise", *players, "--measure", "utility wine", code=2))
    monkeypatch.undo()
    assert "unknown part 'sharez'" in told(call("localise", *players, "--with", "sharez", code=2))
    assert "unknown engine 'dask'" in told(call("localise", *players, "--engine", "dask", code=2))
    assert "--engine ray" in told(call("diff", *players, "--address", "auto", code=2))
    assert "say --take-back SET or --graft SET" in told(call("explain", *players, code=2))
    assert "unknown source 'nose'" in told(
        call("explain", *players, "--take-back", "L0.H0", "--source", "nose:0", "--situations", 4, code=2)
    )
    assert "moves in jumps" in told(call("attribute", *players, "--measure", "legal, greedy", code=2))
    assert "unknown measure" in told(call("localise", *players, "--measure", "utility wine", code=2))
    assert "can't be told from 0" in told(
        call("localise", players[0], players[0], "--measure", "legal", "--situations", 8, code=2)
    )


def test_where_a_table_has_no_room_texts_are_cut_and_not_numbers(capsys):
    from takeback.cli.plain import print_table

    print_table([{"set": "L0.* " * 40, "effect": -0.1, "low": -0.0, "random sets": "+0.1 to +0.2"}], "title")
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert row[0].startswith("L0.*")
    assert row[-5:] == ["-0.1000", "0.0000", "+0.1", "to", "+0.2"]
