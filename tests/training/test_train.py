import hashlib
import json

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from kill import run, run_and_kill
from takeback.arenas import arena, judge
from takeback.checkpoint import shipped
from takeback.measure.measures import measures
from takeback.policies.load import load_policy
from takeback.policies.policy import read
from takeback.run.errors import TakebackError, UnknownName
from takeback.training import check_recipe, train

ENDGAMES = arena("endgames")


def fields(method="rl", **more):
    own = {"rl": {"prompts": 4, "completions": 4}, "sft": {"batch": 16}}[method]
    common = {"method": method, "parent": "endgame-base", "goal": "win", "steps": 8, "learning_rate": 1e-2}
    return {**common, **own, "save_every": 2, "snapshots": (4,), "threads": 1, **more}


def digests(run):
    return {
        path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
@pytest.mark.parametrize("method", ["rl", "sft"])
def test_a_killed_run_ends_with_the_same_files_as_an_unbroken_one(tmp_path, method):
    recipe = fields(method, steps=12)
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    told = []
    train(check_recipe(recipe), unbroken, lambda done, total: told.append((done, total)))
    assert told[-1] == (12, 12)
    words = f"check_recipe({recipe!r}), {str(broken)!r}, print"
    code = f"from takeback.training import check_recipe, train\ntrain({words})"
    run_and_kill(code, (broken / "checkpoints" / "checkpoint-4" / "complete").exists, tmp_path / "log.txt")
    assert not (broken / "final").exists()
    half = broken / "checkpoints" / "checkpoint-99"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"torn")
    train(check_recipe(recipe), broken, lambda done, total: None)
    assert digests(broken) == digests(unbroken)


@pytest.mark.slow
def test_a_disk_that_takes_no_more_is_told_in_a_line_and_the_run_goes_on(tmp_path):
    recipe = fields("sft", steps=4)
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    train(check_recipe(recipe), unbroken, lambda done, total: None)
    code = """
import resource
from takeback.run.errors import TakebackError
from takeback.training import check_recipe, train

for most in (0, 100, 1_000_000, 6_000_000):  # recipe, README, weights, the state of the optimizer
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    try:
        train(check_recipe({recipe!r}), {out!r}, print)
    except TakebackError as error:
        print("told:", error)
"""
    ended = run(code.format(recipe=recipe, out=str(broken)))
    told = [line for line in ended.stdout.splitlines() if line.startswith("told: ")]
    assert len(told) == 4, ended.stdout
    assert all("could not write" in line for line in told)
    assert told[-1].endswith("goes on from the last whole checkpoint")
    train(check_recipe(recipe), broken, lambda done, total: None)
    assert digests(broken) == digests(unbroken)


@pytest.mark.slow
def test_a_run_leaves_ordinary_folders_and_a_log(tmp_path):
    final = train(check_recipe(fields()), tmp_path / "run", lambda done, total: None)
    run = tmp_path / "run"
    assert {path.name for path in run.iterdir()} == {
        ".lock",
        "recipe.yaml",
        "step-4",
        "final",
        "log.parquet",
        "completions",
    }
    model = AutoModelForCausalLM.from_pretrained(final)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not list(final.glob("*.bin")), "no pickle in a checkpoint"
    base, tuned = (
        load_file(shipped("endgame-base") / "model.safetensors"),
        load_file(final / "model.safetensors"),
    )
    assert any(not torch.equal(base[name], tuned[name]) for name in base)
    log = pd.read_parquet(run / "log.parquet")
    assert log["step"].tolist() == list(range(1, 9))
    assert json.loads((final / "config.json").read_text())["model_type"] == "llama"
    seen = pd.concat(map(pd.read_parquet, sorted((run / "completions").glob("*.parquet"))))
    assert seen.groupby("step").size().tolist() == [16] * 8
    again = [
        judge(
            ENDGAMES,
            "win",
            [ENDGAMES.parse(row.situation)],
            [row.answer if isinstance(row.answer, str) else ""],
        )
        for row in seen.itertuples()
    ]
    expected = [0.2 + 0.8 * u[0] if classes[0] == "legal" else 0.0 for u, classes in again]
    assert seen["reward"].tolist() == pytest.approx(expected)
    assert log["reward"].tolist() == pytest.approx(seen.groupby("step")["reward"].mean().tolist(), abs=1e-6)


@pytest.mark.slow
def test_sft_raises_the_utility_it_imitates_on_held_out_situations(tmp_path):
    recipe = check_recipe(fields("sft", steps=40, batch=64, learning_rate=3e-4, save_every=50, snapshots=()))
    final = train(recipe, tmp_path / "run", lambda done, total: None)
    situations = ENDGAMES.situations("held-out", 64, 0)

    def utility(model):
        readouts = read(load_policy(model, ENDGAMES), ENDGAMES, situations, tolerance=1.0)
        return measures(readouts, ENDGAMES).set_index("measure").loc["utility win", "value"]

    assert utility(final) > utility("endgame-base") + 0.05


@pytest.mark.slow
def test_a_finished_run_is_not_run_again_and_another_recipe_is_refused(tmp_path):
    recipe = fields("sft", steps=2, snapshots=())
    first = train(check_recipe(recipe), tmp_path / "run", lambda done, total: None)
    before = digests(tmp_path / "run")
    assert (
        train(check_recipe(recipe), tmp_path / "run", lambda done, total: pytest.fail("it ran again"))
        == first
    )
    with pytest.raises(TakebackError, match="holds a run of another recipe or parent"):
        train(check_recipe({**recipe, "seed": 1}), tmp_path / "run")
    assert digests(tmp_path / "run") == before


@pytest.mark.slow
def test_a_small_base_can_be_pretrained(tmp_path):
    shape = {"layers": 1, "heads": 2, "width": 16, "mlp_width": 32}
    recipe = {"method": "pretrain", "architecture": shape, "steps": 60, "batch": 64, "learning_rate": 1e-2}
    final = train(
        check_recipe({**recipe, "save_every": 100, "threads": 1}), tmp_path, lambda done, total: None
    )
    loss = pd.read_parquet(tmp_path / "log.parquet")["loss"]
    assert AutoModelForCausalLM.from_pretrained(final).config.num_hidden_layers == 1
    assert loss.iloc[-1] < 5.0 < torch.log(torch.tensor(392.0))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"goal": "wim"}, UnknownName),
        ({"arena": "checkers"}, UnknownName),
        ({"parent": "nowhere"}, TakebackError),
    ],
)
def test_an_unknown_name_is_told_in_one_line_before_anything_is_trained(tmp_path, change, error):
    with pytest.raises(error) as caught:
        train(check_recipe({**fields(), **change}), tmp_path / "run")
    assert "\n" not in str(caught.value)
