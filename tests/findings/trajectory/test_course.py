"""A run of two hidden units whose goal one of them is: when and where pursuit begins is known."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as shaped

from takeback.checkpoint import Network, open_checkpoint
from takeback.checkpoint.network_config import NetworkConfig
from takeback.draw.page import page
from takeback.draw.result import Results, section_of
from takeback.findings.trajectory import CourseSettings, Trajectory, course
from takeback.findings.trajectory.components import ALPHA, is_told
from takeback.findings.trajectory.onsets import Effects, by_chance, first_to_stay, told_for_the_goal
from takeback.findings.trajectory.policies import ALL, IF_LEGAL
from takeback.measure import read
from takeback.run.errors import TakebackError, UnknownName
from takeback.run.stats import mean_estimate
from toy_arena import Place, ToyArena

SMALL = CourseSettings(situations=24)
PULL = torch.tensor([0.25, 0.0, 0.5, 1.0, 0.5, 1.0, 0.0])
"""What each output of the toy arena is worth where it is legal."""


@dataclass(frozen=True)
class Copy(Place):
    number: int


class Copies(ToyArena):
    """The toy arena's places with legal actions, each many times and every time a cluster of its own."""

    def situations(self, split, n, seed, goal=None):
        return [Copy(i % 3, i) for i in range(n)]

    def prompt(self, situation, style="compact"):
        return f"s{situation.number}-{situation.at}"

    def cluster(self, situation):
        return situation.number


def save_network(folder: Path, away: float, toward: float) -> None:
    """Save a policy in proportion to exp((toward − away) U): U0 gives `away`, U1 gives `toward`."""
    network = Network.fresh([2, 2, 7], NetworkConfig(activation="relu"), 0)
    hidden, outputs = network.layers
    with torch.no_grad():
        for tensor in (hidden.weight, outputs.bias):
            tensor.zero_()
        hidden.bias.copy_(torch.tensor([away, toward]))
        outputs.weight.copy_(torch.stack([-PULL, PULL], dim=1))
    network.save_pretrained(folder)


def save_run(
    folder: Path, snapshots: Mapping[int, tuple[float, float]], start: tuple[float, float] = (0, 0)
) -> tuple[Path, Path]:
    """Save a base and a run of it with these (away, toward) by step, the last one as its end."""
    base, run, last = folder / "base", folder / "arms" / "rl" / "seed-0", max(snapshots)
    save_network(base, *start)
    for step, strength in snapshots.items():
        save_network(run / ("final" if step == last else f"step-{step}"), *strength)
    claim = f"parent: {base}\nsteps: {last}\ngoal: first\n# content hash of the parent: "
    (run / "recipe.yaml").write_text(f"{claim}{open_checkpoint(base).digest}\n")
    return base, run


def onsets(found: Trajectory, kind: str = IF_LEGAL) -> dict[str, int]:
    """Return the steps of all that has an onset, by the name of the set or the policy's measure."""
    rows = found.onsets[(found.onsets["outcomes"] == kind) & found.onsets["onset"].notna()]
    return dict(zip(rows["set"].fillna(rows["what"]), rows["onset"], strict=True))


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("planted")
    return save_run(folder, {10: (0, 0), 20: (0, 0), 40: (0, 2), 80: (0, 2)})


@pytest.fixture(scope="module")
def found(planted) -> Trajectory:
    return course(*planted, Copies(), SMALL)


def test_the_unit_that_moves_and_the_step_at_which_it_does_are_found(found):
    for kind in (ALL, IF_LEGAL):
        assert onsets(found, kind) == {"pursuit share": 40, "utility gain": 40, "L0.U1": 40}
    row = found.onsets[(found.onsets["set"] == "L0.U1") & (found.onsets["outcomes"] == IF_LEGAL)].iloc[0]
    assert (row["before"], row["layer"], row["begins"]) == (20, 0, True)
    assert row["of_gain"] == pytest.approx(1)
    others = found.onsets[(found.onsets["what"] == "set") & (found.onsets["set"] != "L0.U1")]
    assert len(others) == 2 * 8
    assert not others["begins"].any()


def test_the_measures_are_those_on_paper(found):
    """Given a legal answer the policy is base tilted by exp(2U): nothing but pursuit with β = 2."""
    table = found.table[found.table["outcomes"] == IF_LEGAL].set_index("step")
    assert table.index.tolist() == [0, 10, 20, 40, 80]
    assert table.loc[80, "pursuit"] == pytest.approx(1, abs=1e-5)
    assert table.loc[80, "beta"] == pytest.approx(2, abs=1e-5)
    utilities = {0: [0.25, 1.0], 1: [0.0, 0.5, 1.0], 2: [0.5]}
    by_hand = [np.average(u, weights=np.exp(2 * np.array(u))) for u in utilities.values()]
    even = [np.mean(u) for u in utilities.values()]
    assert table.loc[80, "utility"] == pytest.approx(np.mean(by_hand))
    assert table.loc[80, "gain"] == pytest.approx(np.mean(by_hand) - np.mean(even))
    assert table.loc[80, "power"] > table.loc[0, "power"] == pytest.approx(0)
    assert table.loc[[0, 10, 20], "pursuit"].isna().all()
    assert table.loc[20, "note"].startswith("no change")
    norm = np.sqrt(2 * float((PULL**2).sum()))
    assert table["relative"].tolist() == pytest.approx([0, 0, 0, 2 / norm, 2 / norm])


def test_taking_the_unit_back_undoes_the_gain(found):
    table = found.components[found.components["outcomes"] == IF_LEGAL]
    late = table[table["step"] == 80].set_index("set")
    policy = found.table[found.table["outcomes"] == IF_LEGAL].set_index("step")
    assert late.loc["L0.U1", "effect"] == pytest.approx(-policy.loc[80, "gain"])
    assert late.loc["L0.U1", "delta_share"] == 1
    assert late["told"].tolist() == [name == "L0.U1" for name in late.index]
    assert late.loc["L0.U1", "family_high"] > late.loc["L0.U1", "effect_high"]
    early = table[table["step"] == 10]
    assert (early["effect"] == 0).all()
    assert early[["delta_share", "of_gain"]].isna().all(axis=None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("snapshots", "start", "expected"),
    [
        ({10: (0, 0), 20: (0, 0)}, (0, 0), {}),
        (
            {10: (0, 2), 20: (0, 0), 40: (0, 2)},
            (0, 0),
            {"pursuit share": 40, "utility gain": 40, "L0.U1": 40},
        ),
        ({10: (2, 0), 20: (2, 0)}, (0, 0), {}),
        (
            {10: (1, 2), 20: (1, 2), 40: (0, 2)},
            (1, 0),
            {"pursuit share": 10, "utility gain": 10, "L0.U1": 10, "L0.U0": 40},
        ),
    ],
    ids=["nothing moves", "once more from 40 on", "away from the goal", "the second unit comes later"],
)
def test_planted_courses(tmp_path, snapshots, start, expected):
    found = course(*save_run(tmp_path, snapshots, start), Copies(), SMALL)
    assert onsets(found) == expected
    begins = found.onsets[(found.onsets["outcomes"] == IF_LEGAL) & (found.onsets["what"] == "set")]
    if expected:
        first = expected["pursuit share"]
        named = {name for name, step in expected.items() if "U" in name and step <= first}
        assert set(begins.loc[begins["begins"].fillna(value=False), "set"]) == named
    else:
        assert begins["begins"].isna().all()
        assert "never stays above 0" in " ".join(section_of(found).words)


def test_sets_by_name_and_one_kind_of_outcomes_where_all_is_legal(planted):
    class Lawful(Copies):
        """All that the network says is legal here."""

        def legal(self, situation):
            return tuple(sorted(self.outputs))

        def verdicts(self, situations):
            return np.tile(np.argsort(np.argsort(self.outputs)).astype(np.int16), (len(situations), 1))

        def __init__(self):
            worth = dict(zip(self.outputs, PULL.tolist(), strict=True))
            self.goals = self.goals_by(first=lambda _, action: worth[action])

        def features(self, situations):
            return {}

    found = course(*planted, Lawful(), replace(SMALL, sets=("L0.*", "L1.U3")))
    assert set(found.table["outcomes"]) == {ALL} == {found.outcomes}
    assert onsets(found, ALL) == {"pursuit share": 40, "utility gain": 40, "L0.*": 40}


@pytest.mark.slow
def test_parts_change_nothing_and_are_not_read_twice(planted, found, tmp_path, monkeypatch):
    first = course(*planted, Copies(), SMALL, tmp_path)
    stores = [path for path in (tmp_path / "readouts").iterdir() if any(path.glob("*.parquet"))]
    assert len(stores) == 2, "one for base, one for the weights that the later snapshots share"
    monkeypatch.setattr(read, "load_policy", None)
    monkeypatch.setattr(read.Reader, "read", None)
    again = course(*planted, Copies(), SMALL, tmp_path)
    for made in (first, again):
        for name, table in made.tables.items():
            pd.testing.assert_frame_equal(table, found.tables[name])
    Results("a run", (), {"course": again}, "course").write(tmp_path)
    written = {path.name for path in tmp_path.iterdir()}
    tables = {f"{name}.parquet" for name in ("course", "components", "onsets", "chance")}
    assert written == {*tables, "course.html", "course.json", "readouts"}


@pytest.mark.slow
def test_shown_on_a_page_and_in_the_terminal(found, capsys):
    section = section_of(found)
    assert page("t", (), [section]) == page("t", (), [section_of(found)])
    html = found._repr_html_()
    assert html.count("<svg") == 5
    assert "stroke-dasharray" in html
    assert "Onsets of their own: 1 of 9 sets, the first at step 40 (L0.U1)" in html
    assert all({*table.columns} <= {*found.columns} for table in found.tables.values())
    assert Results("a run", (), {"course": found}, "course").to_json()
    found.print()
    printed = capsys.readouterr().out
    assert "20–40" in printed
    assert "signs flipped" in printed


def test_mistakes_are_told(planted, tmp_path):
    base, run = planted
    with pytest.raises(UnknownName, match="unknown goal 'frist'"):
        course(base, run, Copies(), replace(SMALL, goal="frist"))
    with pytest.raises(TakebackError, match="names no arena"):
        course(base, run, None, SMALL)
    with pytest.raises(TakebackError, match="not trained from"):
        course(run / "final", run, Copies(), SMALL)
    with pytest.raises(TakebackError, match="at least one set"):
        course(base, run, Copies(), replace(SMALL, sets=()))
    recipe = (run / "recipe.yaml").read_text()
    other = save_run(tmp_path, {10: (0, 0), 20: (0, 0)})[1]
    (other / "recipe.yaml").write_text("steps: 20\narena: endgames\ngoal: win\n")
    with pytest.raises(TakebackError, match="trained in arena endgames, not in toy"):
        course(base, other, Copies(), SMALL)
    (other / "recipe.yaml").write_text(recipe.replace("goal: first\n", "").replace("steps: 80", "steps: 20"))
    with pytest.raises(TakebackError, match="names no goal"):
        course(base, other, Copies(), SMALL)
    (other.parent / "seed-1").mkdir()
    save_run(tmp_path / "more", {10: (0, 0), 20: (0, 0)})[1].rename(other.parent / "seed-1")
    with pytest.raises(TakebackError, match="several runs"):
        course(base, other.parent, Copies(), SMALL)
    (other / "step-10").rename(other / "gone")
    with pytest.raises(TakebackError, match=r"snapshots: \[10, 20, 40\]"):
        course(base, other, Copies(), SMALL)


def test_a_run_outside_of_takeback_has_the_same_course(found, planted, tmp_path):
    base, run = planted
    for step in (10, 20, 40):
        shutil.copytree(run / f"step-{step}", tmp_path / "run" / f"checkpoint-{step}")
    shutil.copytree(run / "final", tmp_path / "run" / "checkpoint-80")
    with pytest.raises(TakebackError, match="names no goal"):
        course(base, tmp_path / "run", Copies(), SMALL)
    outside = course(base, tmp_path / "run", Copies(), replace(SMALL, goal="first"))
    pd.testing.assert_frame_equal(outside.table, found.table)
    pd.testing.assert_frame_equal(outside.onsets, found.onsets)


@given(shaped.arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 5))))
def test_an_onset_is_the_first_place_from_which_on_all_pass(passes):
    for column, place in zip(passes.T, first_to_stay(passes), strict=True):
        slow = next((start for start in range(len(column)) if column[start:].all()), -1)
        assert place == slow


def noise(sets: int = 6, n: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return effects of sets in situations and the clusters of these, some effects missing."""
    random = np.random.default_rng(seed)
    clusters = np.sort(random.integers(0, 12, n))
    clusters = np.unique(clusters, return_inverse=True)[1]
    effects = random.normal(size=(sets, n)) + random.normal(size=12)[clusters] - np.arange(sets)[:, None]
    effects[random.random(effects.shape) < 0.1] = np.nan
    return effects, clusters


def test_flips_are_counted_as_plain_estimates_say():
    effects, clusters = noise()
    signs = np.random.default_rng(1).choice([-1.0, 1.0], size=(20, clusters.max() + 1))
    for flips in (None, signs):
        fast = told_for_the_goal(effects, clusters, flips)
        for told, flip in zip(fast, np.ones((1, 12)) if flips is None else flips, strict=True):
            for one, row in zip(told, effects * flip[clusters], strict=True):
                kept = np.isfinite(row)
                estimate = mean_estimate(row[kept], clusters[kept], 1 - ALPHA / len(effects))
                assert one == (is_told(estimate) and estimate.value < 0)
    assert told_for_the_goal(effects, clusters).any()


def test_by_chance_noise_has_no_onsets():
    effects, clusters = noise(sets=40, n=200)
    centred = np.stack([effects - np.nanmean(effects, axis=1, keepdims=True)] * 3)
    table = by_chance(Effects((1, 2, 3), centred, clusters))
    assert table["told"].tolist() == [0, 0, 0]
    assert (table["flipped"] < 0.2).all()
    assert table["flipped_onsets"].iloc[0] == table["flipped"].iloc[0], "the same flips at every snapshot"


def test_the_arena_is_that_of_the_recipe(tmp_path):
    base, run = save_run(tmp_path, {10: (0, 0), 20: (0, 0)})
    text = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(f"arena: endgames\n{text}")
    with pytest.raises(UnknownName, match=r"goal 'first'.*win"):
        course(base, run, None, SMALL)
