"""Along a run: equal to its positions in numpy, the right null beside it, and folders that are no runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import models
from takeback.checkpoint import open_checkpoint
from takeback.draw.page import page
from takeback.draw.result import section_of
from takeback.run.errors import TakebackError
from takeback.weights.runs.weight_path import COLUMNS, PATH_COLUMNS, WeightPath, weight_path

STEPS = (10, 20, 40)


def save_run(name: str, folder: Path, seed: int = 0, straight: bool = False) -> Path:
    """Save a run of 40 steps from `base`, whose weights walk at random or in a straight line."""
    run = folder / "arms" / "rl" / f"seed-{seed}"
    model = models.build(name)
    model.save_pretrained(folder / "base")
    generator, before = torch.Generator().manual_seed(seed), 0
    drift = [torch.randn(one.shape, generator=generator) for one in model.parameters()]
    for step in STEPS:
        with torch.no_grad():
            for parameter, direction in zip(model.parameters(), drift, strict=True):
                walk = torch.randn(parameter.shape, generator=generator) * (step - before) ** 0.5
                parameter.add_(0.001 * (direction * (step - before) if straight else walk))
        model.save_pretrained(run / ("final" if step == STEPS[-1] else f"step-{step}"))
        before = step
    parent = open_checkpoint(folder / "base")
    claim = f"parent: {folder / 'base'}\nsteps: 40\n# content hash of the parent: {parent.digest}\n"
    (run / "recipe.yaml").write_text(claim)
    return run


def positions(folder: Path, run: Path, component: str | None) -> np.ndarray:
    """Return the weights at the start and at each snapshot, of a component or all, as vectors."""
    places = [folder / "base", *(run / one for one in ("step-10", "step-20", "final"))]
    sides = [open_checkpoint(place) for place in places]
    anatomy = sides[0].anatomy()
    regions = anatomy.regions(anatomy.universe if component is None else anatomy.parse(component))
    return np.stack(
        [
            np.concatenate([side.read_region(one).double().numpy().ravel() for one in regions])
            for side in sides
        ]
    )


def test_every_scope_equals_its_positions(name: str, tmp_path: Path) -> None:
    run = save_run(name, tmp_path)
    found = weight_path(run)
    assert set(PATH_COLUMNS) < set(found.paths.columns)
    assert set(COLUMNS) < set(found.table.columns)
    for scope, component in (("all", None), ("L0.H0", "L0.H0"), ("EMBED", "EMBED"), ("L1", "L1.*")):
        theta = positions(tmp_path, run, component)
        deltas, moves = theta[1:] - theta[0], np.linalg.norm(np.diff(theta, axis=0), axis=1)
        norms, start = np.linalg.norm(deltas, axis=1), np.linalg.norm(theta[0])
        rows = found.table[found.table["scope"] == scope]
        assert rows["step"].tolist() == list(STEPS)
        for column, expected in {
            "movement": norms,
            "relative": norms / start,
            "move": moves,
            "length": moves.cumsum(),
            "cosine_final": deltas @ deltas[-1] / norms / norms[-1],
        }.items():
            assert rows[column].tolist() == pytest.approx(expected.tolist(), rel=1e-7), (scope, column)
        (path,) = found.paths[found.paths["scope"] == scope].to_dict("records")
        assert path["straightness"] == pytest.approx(norms[-1] / moves.sum(), rel=1e-7)
        values = np.linalg.svd(theta - theta.mean(0), compute_uv=False) ** 2
        assert path["principal"] == pytest.approx(values[0] / values.sum(), rel=1e-7)
        assert path["straightness_null"] == pytest.approx(40**0.5 / (10**0.5 + 10**0.5 + 20**0.5))
    components = found.paths[found.paths["level"] == "component"]
    assert components["share"].sum() == pytest.approx(1)


def test_straight_runs_and_walks_are_told_apart(tmp_path: Path) -> None:
    found = [
        weight_path(save_run("llama-mha", tmp_path / str(line), straight=line)) for line in (False, True)
    ]
    walk, line = (one.paths.query("level == 'all'").iloc[0] for one in found)
    for name in ("straightness", "principal", "linear_r2", "multiple_r2"):
        assert line[name] == pytest.approx(1, abs=1e-6)
        assert walk[name] == pytest.approx(walk[f"{name}_null"], abs=0.03)
        assert line[f"{name}_null"] < 0.9


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An arm of two seeds."""
    folder = tmp_path_factory.mktemp("run")
    for seed in (0, 1):
        save_run("llama-mqa", folder, seed)
    return folder / "arms" / "rl"


def test_an_arm_is_all_its_seeds(arm: Path) -> None:
    both, one = weight_path(arm), weight_path(arm / "seed-1")
    assert both.paths["run"].unique().tolist() == ["rl 0", "rl 1"]
    assert both.paths["seed"].unique().tolist() == [0, 1]
    for whole, part in ((both.table, one.table), (both.paths, one.paths)):
        pd.testing.assert_frame_equal(whole[whole["seed"] == 1].reset_index(drop=True), part)


def test_parts_change_nothing(arm: Path, tmp_path: Path) -> None:
    pd.testing.assert_frame_equal(weight_path(arm, out=tmp_path / "parts").table, weight_path(arm).table)


def test_shown_on_a_page_and_in_the_terminal(arm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found: WeightPath = weight_path(arm)
    section = section_of(found)
    assert len(section.words) == 2
    assert page("t", (), [section]) == page("t", (), [section_of(found)])
    assert all("random walk" in figure.note for figure in section.figures)
    assert "<svg" in found._repr_html_()
    found.print()
    assert capsys.readouterr().out.count("– random walk") == 2


def rename(old: str, new: str) -> Callable[[Path], object]:
    return lambda run: (run / old).rename(run / new)


def write(text: str) -> Callable[[Path], object]:
    return lambda run: (run / "recipe.yaml").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (rename("step-10", "step-ten"), "step-ten is no snapshot"),
        (rename("step-10", "step-41"), "from 1 to 40"),
        (rename("step-10", "step-020"), "both at step 20"),
        (rename("step-10", "step-40"), "step-40 and final|final and step-40"),
        (lambda run: [rename(f"step-{step}", f"kept-{step}")(run) for step in (10, 20)], "no step-"),
        (rename("recipe.yaml", "old.yaml"), "does not say what it started from"),
        (write("- steps"), "is no recipe"),
        (write("steps: [40"), "as YAML"),
        (write("steps: 40"), "name the base"),
        (write("steps: 40\nparent: nowhere/at-all.safetensors"), "no file or folder"),
        (write("steps: 40\nparent: endgame-base"), "are no pair"),
    ],
)
def test_folders_that_are_no_runs(spoil: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    run = save_run("llama-mqa", tmp_path)
    spoil(run)
    with pytest.raises(TakebackError, match=message):
        weight_path(run)


def test_the_base_is_the_one_that_the_run_started_from(tmp_path: Path) -> None:
    run = save_run("llama-mqa", tmp_path)
    with pytest.raises(TakebackError, match="another hash"):
        weight_path(run, base=run / "step-10")
    (run / "recipe.yaml").write_text("steps: 40")
    assert len(weight_path(run, base=tmp_path / "base").paths)


def test_a_run_that_is_not_over_ends_with_its_last_snapshot(tmp_path: Path) -> None:
    run = save_run("llama-mqa", tmp_path)
    (run / "final").rename(run / "not-yet")
    assert weight_path(run).table["step"].max() == 20
    (run / "step-20").rename(run / "gone")
    with pytest.raises(TakebackError, match="one snapshot only"):
        weight_path(run)
