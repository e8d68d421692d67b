"""Training with only some components free: the others stay bit for bit, whatever the optimiser does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

import models
from kill import run_and_kill
from takeback.anatomy import anatomy_of
from takeback.anatomy.source import parameters_of
from takeback.checkpoint import open_checkpoint, open_pair
from takeback.run.errors import TakebackError, UnknownName
from takeback.training import check_recipe, train
from takeback.training.free import free_only
from takeback.training.recipe import dump_recipe
from takeback.weights import diff

pytestmark = pytest.mark.slow

OWN: dict[str, Any] = {
    "rl": {"prompts": 4, "completions": 4},
    "sft": {"batch": 16},
    "clone": {"batch": 16, "teacher": "endgame-mlp", "situations": 32},
}


def recipe(method: str, only: str, **more: Any) -> dict[str, Any]:
    common = {"method": method, "parent": "endgame-base", "goal": "win", "steps": 4, "learning_rate": 1e-3}
    return {**common, **OWN[method], "only": only, "threads": 1, **more}


def moved(parent: str, final: Path) -> set[str]:
    """Return the components of which any bit changed."""
    found = diff(open_pair(parent, final))
    parts = found.segments.parts.components()
    return {
        str(part) for part, square in zip(parts, found.by_component.delta_square, strict=True) if square > 0
    }


def silent(done: int, total: int) -> None:
    pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "only"), [("rl", "L1.H2 L3.MLP"), ("sft", "L0.H0 L0.H3 L2.LN1 UNEMBED"), ("sft", "L2.N7")]
)
def test_a_language_model_moves_where_it_is_free_and_nowhere_else(
    tmp_path: Path, method: str, only: str
) -> None:
    final = train(
        check_recipe(recipe(method, only, kl=0.1) if method == "rl" else recipe(method, only)),
        tmp_path,
        silent,
    )
    if only == "L2.N7":
        base, tuned = open_checkpoint("endgame-base"), open_checkpoint(final)
        anatomy = base.anatomy("neurons")
        changed = {name for name in base.shapes if not torch.equal(base.read(name), tuned.read(name))}
        assert changed == {region.tensor for region in anatomy.regions(anatomy.parse(only))}
        assert moved("endgame-base", final) == {"L2.MLP"}
    else:
        assert moved("endgame-base", final) == set(only.split())


@pytest.mark.parametrize("method", ["rl", "sft", "clone"])
def test_a_network_moves_where_it_is_free_and_nowhere_else(tmp_path: Path, method: str) -> None:
    fields = recipe(method, "L0.U3 L0.U4 L1.U7", parent="endgame-mlp", steps=8)
    final = train(check_recipe(fields), tmp_path, silent)
    assert moved("endgame-mlp", final) == {"L0.U3", "L0.U4", "L1.U7"}


@pytest.mark.parametrize("name", ["gpt2", "llama-gqa-biases", "mixtral"])
def test_weight_decay_and_momentum_move_nothing_that_is_held(name: str, tmp_path: Path) -> None:
    """Fused and grouped projections, biases, stacked experts, tied embeddings; a decay of 10% a step."""
    model = models.build(name).train()
    only = {"gpt2": "L0.H1 L1.MLP", "llama-gqa-biases": "L0.H1 L1.KV0", "mixtral": "L0.E1 L1.H2"}[name]
    before = {key: value.detach().clone() for key, value in parameters_of(model).items()}
    anatomy = anatomy_of(model)
    held = free_only(model, only)
    settings = {"max_steps": 3, "learning_rate": 0.1, "weight_decay": 1.0, "per_device_train_batch_size": 4}
    arguments = TrainingArguments(
        str(tmp_path), **settings, report_to="none", use_cpu=True, save_strategy="no", disable_tqdm=True
    )
    Trainer(model, arguments, train_dataset=_Tokens(), callbacks=[held]).train()
    free = anatomy.parse(only)
    for component in anatomy.universe:
        same = all(
            torch.equal(
                parameters_of(model)[region.tensor][region.index], before[region.tensor][region.index]
            )
            for region in anatomy.regions(component)
        )
        assert same == (component not in free), component


class _Tokens(Dataset[Any]):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        row = models.tokens(1, 7, place)[0]
        return {"input_ids": row, "labels": row}


def test_gradients_of_what_is_held_are_zero() -> None:
    """So that the norm that gradients are clipped to is that of the free entries."""
    model = models.build("llama-mha")
    free_only(model, "L0.H1")
    model(models.tokens(), labels=models.tokens()).loss.backward()
    anatomy = anatomy_of(model)
    owned = {(r.tensor, r.start, r.stop) for r in anatomy.regions(anatomy.parse("L0.H1"))}
    graded = {name: p for name, p in parameters_of(model).items() if p.grad is not None}
    assert {name for name, _, _ in owned} == set(graded)
    for name, parameter in graded.items():
        for component, region in anatomy.of_tensor(name):
            assert bool(parameter.grad[region.index].any()) == (str(component) == "L0.H1")


@pytest.mark.slow
def test_a_killed_run_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    fields = recipe("sft", "L1.H2 L3.MLP", steps=12, save_every=2)
    unbroken = train(check_recipe(fields), tmp_path / "unbroken", silent)
    broken = tmp_path / "broken"
    code = (
        "from takeback.training import check_recipe, train\n"
        f"train(check_recipe({fields!r}), {str(broken)!r}, print)"
    )
    run_and_kill(code, (broken / "checkpoints" / "checkpoint-4" / "complete").exists, tmp_path / "log.txt")
    assert not (broken / "final").exists()
    final = train(check_recipe(fields), broken, silent)
    assert open_checkpoint(final).digest == open_checkpoint(unbroken).digest
    assert moved("endgame-base", final) == {"L1.H2", "L3.MLP"}


@pytest.mark.parametrize(
    ("only", "error", "told"),
    [
        ("L1.H9", UnknownName, "L1.H"),
        ("L1.MLPP", UnknownName, "L1.MLP"),
        ("", TakebackError, "nothing would be free"),
    ],
)
def test_an_unknown_component_is_told_before_anything_is_trained(
    tmp_path: Path, only: str, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told) as caught:
        train(check_recipe(recipe("sft", only)), tmp_path / "run", silent)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_an_agent_moves_everything() -> None:
    fields = {"method": "agent", "parent": "p", "goal": "g", "steps": 1, "learning_rate": 1e-3}
    with pytest.raises(TakebackError, match="leave `only` out"):
        check_recipe({**fields, "only": "L0.U1"})


def test_recipes_without_the_field_are_written_as_they_were() -> None:
    """So that runs from before it existed go on."""
    assert "only" not in dump_recipe(check_recipe(recipe("sft", "*")))
    assert "only: L1.H2" in dump_recipe(check_recipe(recipe("sft", "L1.H2")))
