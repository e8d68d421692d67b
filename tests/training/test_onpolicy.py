"""Language models: what a step of each trainer learns, against the same by hand."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import TrainerCallback

import networks
from takeback.arenas import arena
from takeback.policies.load import load_policy
from takeback.run.errors import TakebackError
from takeback.training import check_recipe, train
from takeback.training.build import build_trainer
from takeback.training.drawing import divided_situations, preferences
from takeback.training.pretrain import batch_seed
from takeback.training.run import _quiet

pytestmark = pytest.mark.slow

ENDGAMES = arena("endgames")
Gradients = dict[str, torch.Tensor]


def recipe(method: str, **more: Any) -> Any:
    fields = {"method": method, "parent": "endgame-base", "goal": "win", "steps": 1, "learning_rate": 1e-3}
    own = {} if method in ("dpo", "drift", "sft") else {"prompts": 3, "completions": 4}
    return check_recipe({**fields, **own, **more})


class Watch(TrainerCallback):
    """Keeps the weights before each update and its gradients."""

    def __init__(self) -> None:
        self.gradients: Gradients = {}
        self.weights: Gradients = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.gradients = {name: one.grad.clone() for name, one in model.named_parameters()}
        self.weights = {name: one.detach().clone() for name, one in model.state_dict().items()}


@dataclass(frozen=True)
class Step:
    """The last step of a run: gradients, the model before it, and what was answered."""

    gradients: Gradients
    model: Any
    rows: list[dict[str, Any]]
    batch: list[dict[str, list[int]]]


def last_step(asked: Any, folder: Path) -> Step:
    watch = Watch()
    with _quiet():
        trainer, rewarder = build_trainer(asked, folder, watch)
        trainer.args.max_grad_norm = 0.0
        collate, batches = trainer.data_collator, list[Any]()
        trainer.data_collator = lambda rows: (batches.append(rows), collate(rows))[1]
        trainer.train()
    model = load_policy("endgame-base", ENDGAMES).model
    model.load_state_dict(watch.weights)
    return Step(watch.gradients, model, rewarder.take_seen() if rewarder else [], batches[-1])


def spelt(situation: str, answer: str) -> tuple[list[int], list[int]]:
    """Return the tokens of a prompt, and those of an answer with its end."""
    tokenizer: Any = ENDGAMES.tokenizer()
    return tokenizer(situation)["input_ids"], [*tokenizer(answer)["input_ids"], tokenizer.eos_token_id]


def log_probabilities(model: Any, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """Return the log-probability of each token of an answer after this prompt alone."""
    logs = torch.log_softmax(model(torch.tensor([[*prompt, *answer[:-1]]])).logits[0], dim=1)
    return torch.stack([logs[len(prompt) - 1 + place, token] for place, token in enumerate(answer)])


def assert_equal(step: Step, loss: torch.Tensor) -> None:
    step.model.zero_grad()
    loss.backward()
    by_hand = {name: one.grad for name, one in step.model.named_parameters()}
    largest = max(float(one.abs().max()) for one in by_hand.values())
    assert largest > 1e-4
    for name, one in step.gradients.items():
        assert torch.allclose(one, by_hand[name], rtol=1e-3, atol=1e-5 * largest), name


def groups(rows: list[dict[str, Any]], many: int) -> list[list[dict[str, Any]]]:
    return [rows[start : start + many] for start in range(0, len(rows), many)]


def test_fine_tuning_on_the_best_answers_is_supervised_on_what_is_kept(tmp_path: Path) -> None:
    step = last_step(recipe("rft", seed=1), tmp_path)
    assert all(row["answer"] for row in step.rows)
    loss, tokens, dropped = torch.zeros(()), 0, 0
    for group in groups(step.rows, 4):
        best = max(row["reward"] for row in group)
        kept = [row for row in group if row["reward"] == best]
        dropped += 4 - len(kept)
        for row in group:
            prompt, answer = spelt(row["situation"], row["answer"])
            tokens += len(answer)
            if row in kept:
                labels = torch.tensor([[-100] * len(prompt) + answer])
                mean = step.model(torch.tensor([prompt + answer]), labels=labels).loss
                loss = loss + mean * len(answer) / len(kept)
    assert dropped > 2
    assert_equal(step, loss / tokens)


def test_rloo_learns_from_each_answer_against_the_mean_of_the_others(tmp_path: Path) -> None:
    step = last_step(recipe("rl", algorithm="rloo", seed=1), tmp_path)
    loss = torch.zeros(())
    for group in groups(step.rows, 4):
        for row in group:
            others = (sum(one["reward"] for one in group) - row["reward"]) / 3
            logs = log_probabilities(step.model, *spelt(row["situation"], row["answer"]))
            loss = loss - (row["reward"] - others) * logs.sum() / len(step.rows)
    assert_equal(step, loss)


@pytest.mark.parametrize(("goal", "horizon"), [("win", 2), ("check", 3)])
def test_games_teach_each_move_after_its_own_prompt_alone(goal: str, horizon: int, tmp_path: Path) -> None:
    asked = recipe("rl", goal=goal, horizon=horizon, seed=2, prompts=4)
    step = last_step(asked, tmp_path)
    table = pd.DataFrame(step.rows)
    worth = table.groupby("game")["reward"].first()
    assert len(worth) == 16
    assert len(table) > 16, "some game has two moves"
    advantage = worth - worth.groupby(worth.index // 4).transform("mean")
    loss, tokens = torch.zeros(()), 0
    for row in table.itertuples():
        logs = log_probabilities(step.model, *spelt(row.situation, row.answer))
        loss, tokens = loss - advantage[row.game] * logs.sum(), tokens + len(logs)
    assert_equal(step, loss / tokens)
    for _, moves in table.groupby("game"):
        assert moves["move"].tolist() == list(range(len(moves)))
        assert moves["reward"].nunique() == 1


@pytest.mark.parametrize("parent", ["endgame-base", "endgame-mlp"])
@pytest.mark.parametrize("more", [{"method": "rft"}, {"method": "rl"}, {"method": "rl", "horizon": 4}])
def test_near_mate_nothing_is_tried_elsewhere(parent: str, more: dict[str, Any], tmp_path: Path) -> None:
    asked = recipe(**{"parent": parent, "steps": 2, "prompts": 4, "mate_within": [1, 2], **more})
    with _quiet():
        trainer, rewarder = build_trainer(asked, tmp_path, Watch())
        trainer.train()
    assert rewarder is not None
    tried = pd.DataFrame(rewarder.take_seen())
    tried = tried[tried["move"] == 0] if "move" in tried else tried
    away = tried["situation"].map(lambda text: ENDGAMES.distance(ENDGAMES.parse(text)))
    assert set(away[tried["step"] == 1]) == {1}
    assert away.max() == 2
    assert tried.groupby("step")["situation"].nunique().tolist() == [4, 4]


def test_dpo_learns_the_published_loss_from_pairs_of_a_best_and_a_worse_action(tmp_path: Path) -> None:
    asked = recipe("dpo", batch=6, beta=0.5, steps=2)
    step = last_step(asked, tmp_path)
    parent = load_policy("endgame-base", ENDGAMES).model
    situations = divided_situations(asked, ENDGAMES)
    pairs = preferences(ENDGAMES, "win", situations, np.random.default_rng(asked.seed))
    known = [
        tuple(spelt(ENDGAMES.prompt(where), action)[1] for action in pair)
        for where, pair in zip(situations, pairs, strict=True)
    ]
    loss = torch.zeros(())
    for row in step.batch:
        assert (row["chosen_ids"], row["rejected_ids"]) in known
        margin = torch.zeros(())
        for sign, answer in ((1, row["chosen_ids"]), (-1, row["rejected_ids"])):
            with torch.no_grad():
                before = log_probabilities(parent, row["prompt_ids"], answer).sum()
            margin = margin + sign * (log_probabilities(step.model, row["prompt_ids"], answer).sum() - before)
        loss = loss - torch.nn.functional.logsigmoid(0.5 * margin) / 6
    assert_equal(step, loss)


def test_shuffled_sft_has_the_same_answers_at_other_situations(tmp_path: Path) -> None:
    plain, dealt = (
        sorted_rows(recipe("sft", batch=40, steps=2, shuffled=shuffled), tmp_path)
        for shuffled in (False, True)
    )
    assert plain.keys() == dealt.keys()
    assert sorted(plain.values()) == sorted(dealt.values())
    assert sum(plain[where] == dealt[where] for where in plain) < 20


def sorted_rows(asked: Any, folder: Path) -> dict[str, str]:
    """Return the answer that is learned in each situation."""
    tokenizer: Any = ENDGAMES.tokenizer()
    with _quiet():
        trainer, _ = build_trainer(asked, folder, Watch())
    rows = {}
    for row in trainer.train_dataset:
        answer = [token for token in row["labels"] if token != -100]
        prompt = row["input_ids"][: -len(answer)]
        rows[tokenizer.decode(prompt)] = tokenizer.decode(answer)
    return rows


def test_drift_goes_on_with_batches_that_pretraining_with_the_same_seed_has_not() -> None:
    shape = {"layers": 1, "heads": 2, "width": 16, "mlp_width": 32}
    before = check_recipe(
        {"method": "pretrain", "architecture": shape, "steps": 3, "batch": 8, "learning_rate": 1e-2}
    )
    after = recipe("drift", batch=8)
    seeds = [batch_seed(one, number) for one in (before, after) for number in range(3)]
    batches = [ENDGAMES.imitation_batch(8, seed).tokens.tobytes() for seed in seeds]
    assert len(set(batches)) == 6


@pytest.mark.slow
def test_drift_leaves_the_loss_where_it_is(tmp_path: Path) -> None:
    asked = recipe("drift", steps=16, batch=64, learning_rate=1e-4, threads=1)
    with _quiet():
        trainer, _ = build_trainer(asked, tmp_path, Watch())
        trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == 16
    early, late = sum(losses[:8]) / 8, sum(losses[8:]) / 8
    assert abs(early - late) < 0.05 * early


# Killed runs


class Stopped(Exception):
    """The run is stopped here."""


KINDS: dict[str, dict[str, Any]] = {
    "rft": {"method": "rft"},
    "drift": {"method": "drift", "batch": 8},
    "dpo": {"method": "dpo", "batch": 8},
    "rloo": {"method": "rl", "algorithm": "rloo", "kl": 0.1},
    "games": {"method": "rl", "horizon": 2, "kl": 0.1},
    "shuffled": {"method": "sft", "shuffled": True, "batch": 8},
}


def digests(run: Path) -> dict[str, str]:
    return {
        path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network of eight hidden units with random weights, which trains and is saved in no time."""
    folder = tmp_path_factory.mktemp("network")
    networks.build((320, 8, 4184), 0).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_of_a_network_ends_as_an_unbroken_one(kind: str, network: str, tmp_path: Path) -> None:
    compare_stopped(KINDS[kind], network, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "shuffled"])
def test_a_stopped_run_of_a_language_model_ends_as_an_unbroken_one(kind: str, tmp_path: Path) -> None:
    compare_stopped(KINDS[kind], "endgame-base", tmp_path)


def compare_stopped(own: dict[str, Any], parent: str, tmp_path: Path) -> None:
    asked = recipe(**own, parent=parent, steps=4, save_every=2, snapshots=(3,), threads=1)
    train(asked, tmp_path / "unbroken", lambda done, total: None)

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise Stopped

    with pytest.raises(Stopped):
        train(asked, tmp_path / "broken", stop)
    torch.rand(7)  # another process would not be where this one's generator is
    left: list[int] = []
    train(asked, tmp_path / "broken", lambda done, total: left.append(done))
    assert left == [3, 4]
    assert digests(tmp_path / "broken") == digests(tmp_path / "unbroken")
    names = {path.name for path in (tmp_path / "unbroken").iterdir()}
    assert {"step-3", "final", "log.parquet"} <= names
    assert ("completions" in names) == (own["method"] in ("rl", "rft"))


def test_a_run_of_a_version_with_fewer_fields_is_gone_on_with(network: str, tmp_path: Path) -> None:
    asked = recipe("rl", parent=network, steps=2, threads=1)
    train(asked, tmp_path, lambda done, total: None)
    claim = (tmp_path / "recipe.yaml").read_text()
    older = "".join(
        line for line in claim.splitlines(keepends=True) if not line.startswith(("horizon:", "algorithm:"))
    )
    assert older != claim
    (tmp_path / "recipe.yaml").write_text(older)
    train(asked, tmp_path, lambda done, total: pytest.fail("it ran again"))
    with pytest.raises(TakebackError, match="holds a run of another recipe or parent"):
        train(recipe("rl", parent=network, steps=2, threads=1, algorithm="rloo"), tmp_path)
