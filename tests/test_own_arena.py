"""An arena of one's own, the smallest there is, goes through every command and a study, by where it is."""

import json
import pickle
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from typer.testing import CliRunner

from models import randomised
from sums import Sum, Sums
from takeback import arenas
from takeback.arenas import Arena, arena
from takeback.arenas import registry as found
from takeback.cli import app
from takeback.policies.load import load_policy
from takeback.policies.policy import read
from takeback.report import run_plan
from takeback.run.errors import TakebackError, UnknownName
from takeback.run.tables import read_table
from takeback.study.plan import check_plan

SUMS = str(Path(__file__).with_name("sums.py")) + ":Sums"


def tokenizer():
    tokens = ["<eos>", "<unk>", *"0123456789+= ab"]
    made = Tokenizer(WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<eos>", unk_token="<unk>", pad_token="<eos>", padding_side="left"
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A tiny model and one like it that was moved a little."""
    folder = tmp_path_factory.mktemp("sums")
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=17, **shape, bos_token_id=None, eos_token_id=0))
    for seed, name in enumerate(("base", "tuned")):
        randomised(model, seed).save_pretrained(folder / name)
        tokenizer().save_pretrained(folder / name)
    return str(folder / "base"), str(folder / "tuned")


def run(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_arena_is_under_thirty_lines_and_has_the_nine_members():
    text = Path(SUMS.partition(":")[0]).read_text(encoding="utf-8").splitlines()
    assert (
        len([line for line in text if line.strip() and not line.startswith(('"""', "import", "from"))]) < 30
    )
    members = {name for name in vars(Arena) if not name.startswith("_")}
    assert members == set(found._NEEDED)
    assert len(members) <= 9
    assert all(hasattr(Sums(), name) for name in members)


def test_a_file_a_module_and_an_instance_name_the_same_arena(monkeypatch):
    monkeypatch.setattr("sums.ready", Sums(), raising=False)
    assert {type(arena(name)) for name in ("sums:Sums", "sums:ready")} == {Sums}
    assert arena(SUMS).prompt(Sum(1, 2)) == "1+2="
    assert arena(SUMS) is arena(SUMS)


def test_an_arena_is_sent_by_its_name_to_another_process(tmp_path):
    sent = tmp_path / "sent"
    place = arena(SUMS)
    sent.write_bytes(pickle.dumps((place, place.situations("train", 1, 0))))
    code = (
        "import pickle, sys; place, sums = pickle.loads(open(sys.argv[1], 'rb').read()); "
        "print(place.name, place.prompt(sums[0]), place.goals['right'].utility(sums).argmax())"
    )
    done = subprocess.run([sys.executable, "-c", code, sent], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["sums", "0+7=", "7"]


def test_a_package_registers_an_arena(monkeypatch):
    entry = EntryPoint("adding", "sums:Sums", found.GROUP)
    monkeypatch.setattr(found, "entry_points", lambda group: [entry] if group == found.GROUP else [])
    assert isinstance(arena("adding"), Sums)
    with pytest.raises(UnknownName, match="unknown arena 'ading': did you mean 'adding'"):
        arena("ading")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "nowhere.py:Sums",
            "could not import nowhere.py for the arena 'nowhere.py:Sums': .*no file nowhere.py",
        ),
        ("nowhere:Sums", "could not import nowhere for the arena 'nowhere:Sums': ModuleNotFoundError"),
        (SUMS.replace(":Sums", ":Sumz"), "unknown name in .*sums.py 'Sumz': did you mean 'Sum' or 'Sums'"),
        ("sums:Sum", "could not make the arena sums:Sum: TypeError: .*missing 2 required"),
        ("sums:np", "sums:np is no arena: module lacks name, words"),
        (
            "takeback.arenas:ClosedArena",
            "ClosedArena is no arena: ClosedArena lacks name, goals, situations, legal",
        ),
        ("broken.py:Place", "could not import broken.py for the arena 'broken.py:Place': ZeroDivisionError"),
    ],
)
def test_what_is_no_arena_is_told_in_one_line(name, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("broken.py").write_text("1 / 0\n", encoding="utf-8")
    with pytest.raises(TakebackError, match=told) as caught:
        arena(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("capability", "told"),
    [
        (arenas.Board, r"arena sums has no boards to draw \(it lacks board\)"),
        (arenas.Playable, r"arena sums has no games to play \(it lacks play_out and distance\)"),
        (arenas.ForNetworks, "arena sums shows no rows of numbers to policy networks; name a language model"),
    ],
)
def test_a_missing_capability_is_told_in_one_line(capability, told):
    with pytest.raises(TakebackError, match=told):
        arenas.able(Sums(), capability)


def test_legal_answers_are_exact_and_other_kinds_sampled(pair):
    place, sums = Sums(), [Sum(3, 4), Sum(0, 9)]
    policy = load_policy(pair[0], place)
    for one, readout in zip(sums, read(policy, place, sums, samples=400), strict=True):
        ids = torch.tensor([tokenizer()(str(one))["input_ids"]])
        with torch.no_grad():
            for digit, mass in readout.legal.items():
                expected = 0.0
                for spelt in (digit, f" {digit}"):
                    more = torch.tensor([tokenizer()(spelt)["input_ids"]])
                    logits = policy.model(torch.cat([ids, more], 1)).logits[0].softmax(-1)
                    tokens = logits[range(ids.shape[1] - 1, ids.shape[1] + more.shape[1] - 1), more[0]].prod()
                    ends = logits[-1, [token for token in (0, 1, 14)]].sum()
                    expected += float(tokens * ends)
                assert mass == pytest.approx(expected, rel=1e-4)
        assert readout.illegal["other"] + readout.undecided == pytest.approx(1 - sum(readout.legal.values()))


@pytest.mark.slow
def test_every_command_works_in_an_arena_of_ones_own(pair, tmp_path):
    there = ("--arena", SUMS, "--situations", 8)
    assert "utility right" in run("behaviour", pair[1], "--against", pair[0], *there)
    run("sweep", *pair, *there, "--controls", 1, "--workers", 2, "-o", tmp_path / "effects.parquet")
    table = read_table(tmp_path / "effects.parquet")
    assert {"utility right", "utility first", "legal", "illegal, other"} <= set(table["measure"])
    asked = (*there, "--measure", "KL(after || before)")
    run("localise", *pair, *asked, "--with", "shares", "--controls", 2)
    assert "taking back L0.MLP" in run("explain", *pair, "--take-back", "L0.MLP", *there)
    run("attribute", *pair, *there, "--measure", "utility right, if legal")


@pytest.mark.slow
def test_a_study_in_an_arena_of_ones_own_has_a_report(pair, tmp_path):
    more = {"steps": 1, "learning_rate": 0.1, "prompts": 8, "completions": 4}
    arms = {
        "rl": {"method": "rl", "goal": "right", **more},
        "sft": {"method": "sft", "goal": "right", "steps": 1, "learning_rate": 0.1, "batch": 8},
    }
    plan = check_plan(
        {
            "name": "sums",
            "base": pair[0],
            "arena": SUMS,
            "arms": arms,
            "situations": 12,
            "sets": ["each layer"],
        }
    )
    page = run_plan(plan, tmp_path / "run").read_text(encoding="utf-8")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["words"]["action"] == "digit"
    assert manifest["arms"]["rl"]["by"] == "reward"
    assert manifest["arms"]["sft"]["table"] == "SFT on best actions"
    effects = read_table(tmp_path / "run" / "effects" / "rl-seed-0.parquet")
    assert np.isfinite(effects.loc[effects["measure"] == "utility right", "effect"].astype(float)).all()
    assert "sums" in page


def test_the_page_on_extending_shows_this_very_arena():
    page = Path(__file__).parents[1] / "docs" / "extending.md"
    assert Path(SUMS.partition(":")[0]).read_text(encoding="utf-8").strip() in page.read_text(
        encoding="utf-8"
    )


def test_an_edit_of_the_arenas_file_is_another_identity(tmp_path):
    text, file = Path(SUMS.partition(":")[0]).read_text(encoding="utf-8"), tmp_path / "edited.py"
    code = (
        "from takeback.arenas import Asked, arena; from takeback.run.identity import identity; "
        f"print(identity(Asked(arena({str(file)!r} + ':Sums'))))"
    )
    found = []
    for written in (text, text, text.replace("int(digit) == sum.a", "int(digit) == sum.b")):
        file.write_text(written, encoding="utf-8")
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        found.append(done.stdout)
    assert found[0] == found[1] != found[2]
