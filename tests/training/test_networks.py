"""Policy networks trained like language models: every method, seeds and kills."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import networks
from kill import run_and_kill
from takeback.arenas import arena, judge
from takeback.checkpoint import NetworkConfig, load_network, open_checkpoint, shipped
from takeback.measure.measures import measures
from takeback.policies.load import load_policy
from takeback.policies.policy import read
from takeback.run.errors import TakebackError, UnknownName
from takeback.training import check_recipe, train
from takeback.training.networks import _Best

pytestmark = pytest.mark.slow

ENDGAMES = arena("endgames")
OWN: dict[str, dict[str, Any]] = {
    "rl": {"prompts": 16, "completions": 4},
    "sft": {"batch": 64},
    "clone": {"batch": 64, "teacher": "endgame-mlp"},
    "rft": {"prompts": 16, "completions": 4},
    "drift": {"batch": 64},
    "dpo": {"batch": 64},
}


def fields(method: str, **more: Any) -> dict[str, Any]:
    common = {"method": method, "parent": "endgame-mlp", "goal": "win", "steps": 4, "learning_rate": 1e-3}
    return {**common, **OWN[method], "save_every": 50, "threads": 1, **more}


def silent(done: int, total: int) -> None:
    pass


def run(out: Path, method: str, **more: Any) -> Path:
    return train(check_recipe(fields(method, **more)), out, silent)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def seen(out: Path) -> pd.DataFrame:
    files = sorted((out / "completions").glob("*.parquet"))
    return pd.concat(map(pd.read_parquet, files), ignore_index=True)


def utility(model: str | Path, goal: str = "win") -> float:
    situations = ENDGAMES.situations("held-out", 96, 0)
    table = measures(read(load_policy(model, ENDGAMES), ENDGAMES, situations), ENDGAMES)
    return float(table.set_index("measure").loc[f"utility {goal}", "value"])


def targets(situations: Sequence[Any], seed: int, **more: Any) -> list[int]:
    recipe = check_recipe(fields("sft", goal="corner", seed=seed, **more))
    lessons = _Best(ENDGAMES, situations, 30, recipe)
    return [output for number in range(len(lessons)) for output in lessons[number]["targets"].tolist()]


def test_what_sft_imitates_are_best_actions_with_ties_drawn_by_the_seed() -> None:
    situations = ENDGAMES.situations("train", 60, 0, goal="corner")
    drawn = [targets(situations, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    for outputs in drawn:
        for situation, output in zip(situations, outputs, strict=True):
            worth = dict(
                zip(ENDGAMES.legal(situation), ENDGAMES.goals["corner"].utility([situation]), strict=True)
            )
            assert worth[ENDGAMES.outputs[output]] == max(worth.values())


def test_shuffled_sft_deals_the_same_answers_to_other_situations() -> None:
    situations = ENDGAMES.situations("train", 60, 0, goal="corner")
    plain, dealt = targets(situations, 0), targets(situations, 0, shuffled=True)
    for batch in (slice(0, 30), slice(30, 60)):
        assert sorted(dealt[batch]) == sorted(plain[batch])
        assert sum(one == other for one, other in zip(dealt[batch], plain[batch], strict=True)) < 10
    assert dealt == targets(situations, 0, shuffled=True) != targets(situations, 1, shuffled=True)


# Whole runs


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network of eight hidden units with random weights, which trains and is saved in no time."""
    folder = tmp_path_factory.mktemp("small")
    networks.build((320, 8, 4184), 0).save_pretrained(folder)
    return str(folder)


def test_a_run_leaves_a_network_its_snapshots_and_a_log_that_fits_its_completions(tmp_path: Path) -> None:
    final = run(tmp_path, "rl", snapshots=(2,), save_every=2, kl=0.1)
    assert {path.name for path in tmp_path.iterdir()} == {
        ".lock",
        "recipe.yaml",
        "step-2",
        "final",
        "log.parquet",
        "completions",
    }
    base, half, tuned = (
        load_file(folder / "model.safetensors")
        for folder in (shipped("endgame-mlp"), tmp_path / "step-2", final)
    )
    for one, other in ((base, half), (half, tuned)):
        assert one.keys() == other.keys()
        assert not any(torch.equal(one[name], other[name]) for name in one)
    assert open_checkpoint(final).runs_as == open_checkpoint("endgame-mlp").runs_as
    log, rows = pd.read_parquet(tmp_path / "log.parquet"), seen(tmp_path)
    assert log["step"].tolist() == [1, 2, 3, 4]
    assert rows["step"].tolist() == [step for step in (1, 2, 3, 4) for _ in range(64)]
    assert log["reward"].tolist() == pytest.approx(rows.groupby("step")["reward"].mean().tolist(), abs=1e-6)
    assert log["kl"].iloc[0] == pytest.approx(0, abs=1e-6)
    assert log["kl"].iloc[-1] > 1e-6
    for row in rows[::16].itertuples():
        worth, kinds = judge(ENDGAMES, "win", [ENDGAMES.parse(row.situation)], [row.answer])
        assert row.reward == pytest.approx(0.2 + 0.8 * worth[0] if kinds[0] == "legal" else 0.0)


@pytest.mark.slow
def test_sft_raises_its_goal_s_utility(tmp_path: Path) -> None:
    final = run(tmp_path, "sft", steps=20, batch=128, learning_rate=5e-4)
    assert utility(final) > utility("endgame-mlp") + 0.03


@pytest.mark.slow
@pytest.mark.parametrize("goal", ["win", "corner"])
def test_rl_raises_its_goal_s_utility(goal: str, tmp_path: Path) -> None:
    final = run(tmp_path, "rl", goal=goal, steps=25, prompts=64, completions=8)
    assert utility(final, goal) > utility("endgame-mlp", goal) + 0.02


def test_a_clone_comes_nearer_to_its_teacher(small: str, tmp_path: Path) -> None:
    clone = run(tmp_path, "clone", parent=small, steps=30, learning_rate=3e-2)
    rows = torch.from_numpy(ENDGAMES.observe(ENDGAMES.situations("held-out", 100, 0)))

    def logs(model: str | Path) -> torch.Tensor:
        with torch.no_grad():
            return torch.log_softmax(load_network(open_checkpoint(model))(rows), 1)

    def divergence(one: torch.Tensor, other: torch.Tensor) -> float:
        return float((one.exp() * (one - other)).sum(1).mean())

    teacher = logs("endgame-mlp")
    assert divergence(teacher, logs(clone)) < 0.9 * divergence(teacher, logs(small))


def test_a_base_can_be_pretrained_and_made_fresh(tmp_path: Path) -> None:
    shape = {"hidden": [16], "activation": "gelu"}
    recipe = {"method": "pretrain", "architecture": shape, "steps": 50, "batch": 32, "learning_rate": 2e-2}
    final = train(check_recipe({**recipe, "threads": 1}), tmp_path / "pretrain", silent)
    network = load_network(open_checkpoint(final))
    assert [layer.out_features for layer in network.layers] == [16, 4184]
    assert network.network == NetworkConfig(activation="gelu")
    loss = pd.read_parquet(tmp_path / "pretrain" / "log.parquet")["loss"]
    assert loss.iloc[-1] < math.log(4184) - 0.5
    made = [
        load_file(
            train(check_recipe({"method": "fresh", "architecture": shape, "seed": seed}), out) / WEIGHTS
        )
        for out, seed in ((tmp_path / "one", 1), (tmp_path / "again", 1), (tmp_path / "other", 2))
    ]
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert not any(torch.equal(made[0][name], made[2][name]) for name in made[0])
    assert not (tmp_path / "one" / "log.parquet").exists()


WEIGHTS = "model.safetensors"


@pytest.mark.parametrize(
    "method",
    ["rl", pytest.param("sft", marks=pytest.mark.slow), pytest.param("clone", marks=pytest.mark.slow)],
)
def test_the_same_seed_gives_the_same_bytes(method: str, small: str, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        run(tmp_path / name, method, seed=seed, steps=2, parent=small)
    one, again, other = (digests(tmp_path / name) for name in ("one", "again", "other"))
    assert one == again
    assert one[f"final/{WEIGHTS}"] != other[f"final/{WEIGHTS}"]


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_files_as_an_unbroken_one(tmp_path: Path) -> None:
    recipe = fields("rl", steps=16, save_every=2, snapshots=(6,))
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    train(check_recipe(recipe), unbroken, silent)
    code = (
        "import time\nfrom takeback.training import check_recipe, train\n"
        f"train(check_recipe({recipe!r}), {str(broken)!r}, lambda done, total: time.sleep(0.2))"
    )
    run_and_kill(code, (broken / "checkpoints/checkpoint-4/complete").exists, tmp_path / "log.txt")
    assert not (broken / "final").exists()
    steps: list[int] = []
    train(check_recipe(recipe), broken, lambda done, total: steps.append(done))
    assert steps[0] > 4
    assert steps[-1] == 16
    assert digests(broken) == digests(unbroken)


def test_a_finished_run_is_not_run_again_and_another_teacher_is_refused(small: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    final = run(out, "clone", steps=2, parent=small)
    before = digests(out)
    again = check_recipe(fields("clone", steps=2, parent=small))
    assert train(again, out, lambda done, total: pytest.fail("it ran again")) == final
    with pytest.raises(TakebackError, match="holds a run of another recipe or parent"):
        run(out, "clone", steps=2, parent=small, teacher=str(final))
    assert digests(out) == before


@pytest.mark.parametrize(
    ("method", "change", "error", "message"),
    [
        ("rl", {"goal": "wim"}, UnknownName, "did you mean 'win'"),
        ("sft", {"arena": "gym:CartPole-v1", "goal": "reward"}, TakebackError, "has outputs: 4184, where"),
        ("clone", {"teacher": "endgame-base"}, TakebackError, "is a language model; a network clones a net"),
        ("clone", {"teacher": "nowhere"}, TakebackError, "there is no file or folder 'nowhere'"),
        ("clone", {"parent": "endgame-base"}, TakebackError, "method clone trains policy networks, and"),
    ],
)
def test_what_can_not_be_trained_is_told_in_one_line(
    method: str, change: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as caught:
        run(tmp_path / "run", method, **change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_a_network_is_not_pretrained_where_nobody_plays(tmp_path: Path) -> None:
    recipe = {"method": "pretrain", "architecture": {"hidden": [4]}, "steps": 2, "learning_rate": 1e-2}
    with pytest.raises(TakebackError, match="has no players to imitate; its base is made by method fresh"):
        train(check_recipe({**recipe, "arena": "gym:CartPole-v1"}), tmp_path, silent)


def test_a_parent_without_biases_trains(tmp_path: Path) -> None:
    networks.build((320, 4, 4184), 0, biases=False).save_pretrained(tmp_path / "parent")
    final = run(tmp_path / "run", "sft", parent=str(tmp_path / "parent"), steps=2)
    assert set(load_file(final / WEIGHTS)) == {"policy.0.weight", "policy.1.weight"}
