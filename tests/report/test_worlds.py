"""The page of a run that is not of a language model in chess: words, units, episodes, many seeds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from record import Size, read_rows, write_record, write_rows, write_text
from takeback.draw.heatmap import ACROSS
from takeback.draw.page import Figure, Section
from takeback.report import write_report
from takeback.report.forests import LARGEST, MANY
from worlds import ARMS, write_agency, write_agents

CHESS = r"White|\bmate|\bmoves?\b|defender|legal|MLP|[Hh]eads?\b|LayerNorm|LN are|[Pp]osition|board"


def words(page: Path) -> str:
    """Return what a reader sees and hears of a page, tooltips and spoken labels too."""
    text = page.read_text(encoding="utf-8").split("<body>")[1].split("<script>")[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r'<[^>]+aria-label="([^"]*)"', r"\1 <", text)))


def pictures(page: Path, label: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf'<svg[^>]*aria-label="{label}[^"]*".*?</svg>', text, re.DOTALL)


def test_an_environment_has_no_words_of_chess_and_none_of_legality(agents_page: Path) -> None:
    said = words(agents_page).replace("This arena draws no board.", "")
    assert not re.findall(CHESS, said)
    assert "10⁻¹⁷" not in said


def test_masked_actions_bring_legality_back(tmp_path: Path) -> None:
    said = words(write_report(write_agents(tmp_path / "run", legal=0.9)))
    assert "mass on legal actions" in said
    assert "Illegal answers that appear" in said


def test_the_summary_says_how_base_and_arms_were_made(agents_page: Path) -> None:
    said = words(agents_page)
    assert "a fresh network (32 + 32 units, tanh)" in said
    assert "{'method'" not in said
    assert "clone (behaviour cloning of agent, read on “reward”)" in said
    assert "corner (reinforcement learning by A2C toward “corner”, starting from agent)" in said
    assert "nothing (reinforcement learning by a reward that ignores the answer, read on “reward”)" in said
    assert "PPO by Stable-Baselines3, goal: reward" in said
    assert "RL (GRPO) with a reward that ignores the answer, read on: reward" in said


def test_an_arm_that_starts_from_another_is_told_relative_to_it(agents_page: Path) -> None:
    said = words(agents_page)
    assert "corner starts from the final model of agent" in said
    assert "KL from its start" in said
    assert "grafted onto agent" in said
    curve = pictures(agents_page, "Utility of corner over training")[0]
    assert "agent, step 8192: 0.800" in curve


def test_arms_with_very_different_steps_share_an_axis(agents_page: Path) -> None:
    curve = pictures(agents_page, "Utility of reward over training")[0]
    assert "share of the arm" in curve
    assert "agent 8,192 actions in the environment, clone 200 batches" in words(agents_page)


def test_episodes_are_told_by_return_length_and_end(agents_page: Path) -> None:
    text = agents_page.read_text(encoding="utf-8")
    said = words(agents_page)
    head = re.search(r"<button>policy</button>.*?</tr>", text, re.DOTALL)
    assert head
    told = re.findall(r"<button>([^<>]+)</button>", head[0])
    assert told == ["policy", "episodes", "mean return [95% interval]", "mean length", "ended", "truncated",
                    "unfinished"]  # fmt: skip
    assert "It has a mean return of 0.450 [0.234, 0.666]; 50% of its 20 episodes ended" in said
    assert "stopped after 60 actions" in said


def test_a_run_that_kept_no_returns_says_so(agents: Path, tmp_path: Path) -> None:
    run = write_agents(tmp_path / "run")
    path = run / "behaviour" / "games.parquet"
    write_rows(path, [{name: row[name] for name in row if name != "score"} for row in read_rows(path)])
    said = words(write_report(run))
    assert "did not keep the returns" in said
    assert "50% of its 20 episodes ended" in said


def test_situations_of_an_environment_are_short_with_their_text_beside(agents_page: Path) -> None:
    text = agents_page.read_text(encoding="utf-8")
    assert re.search(r'<figcaption title="17: 0 2 1 [^"]*">17: 0 2 1 [ 0-2]*…</figcaption>', text)
    assert "A situation is a reset seed and the actions taken since." in text
    assert text.count("This arena draws no board") == 1


def test_units_have_maps_and_no_rows(agents_page: Path, agents: Path) -> None:
    maps = pictures(agents_page, "agent, utility of its goal, reward, single components taken back")
    assert len(maps) == 1
    for row in read_rows(agents / "effects" / "agent-seed-0.parquet"):
        if row["family"] == "each unit" and row["direction"] == "take back":
            assert f"<title>{row['components']}: " in maps[0]
    sets = pictures(agents_page, "agent, utility of its goal, reward, sets taken back")[0]
    assert ">L0.U0<" not in sets
    assert ">L1.*<" in sets
    assert "units of L0" in words(agents_page)
    assert "no single unit undoes more than" in words(agents_page)


def test_wide_outputs_do_not_hide_the_units(tmp_path: Path) -> None:
    page = write_report(write_agents(tmp_path / "run", units=(64, 0)))
    shares = pictures(page, "share of the squared change, agent")[0]
    assert "OUTPUTS" in shares
    assert float(re.findall(r'width="([\d.]+)"', shares)[0]) <= 40 + 10 * ACROSS


@pytest.mark.slow
def test_of_large_families_the_largest_effects_are_drawn(tmp_path: Path) -> None:
    page = write_report(write_record(tmp_path / "run", Size(layers=MANY + 1, heads=1)))
    picture = pictures(page, "rl-win, utility of its goal, win, sets taken back")[0]
    assert f"each layer: {LARGEST} of {MANY + 1}" in picture
    assert f"Of families of more than {MANY} sets the {LARGEST} with the largest effects" in words(page)


def test_several_seeds_are_one_mark_in_a_scatter_plot(tmp_path: Path) -> None:
    page = write_report(write_agents(tmp_path / "run", seeds=(0, 1), arms={"agent": ARMS["agent"]}))
    spots = pictures(page, "agent: effect against share")[0]
    assert len(re.findall(r"<title>L0\.U3:", spots)) == 1
    assert len(re.findall(r"<title>random set L0\.U0 L0\.U3 L0\.U6 [^:]*:", spots)) == 2


def test_a_tooltip_of_many_squares_tells_no_seed_by_itself(tmp_path: Path) -> None:
    run = write_agents(tmp_path / "run", seeds=(0, 1), units=(120, 7), arms={"agent": ARMS["agent"]})
    picture = pictures(write_report(run), "agent, KL divergence, single components taken back")[0]
    assert re.search(r"<title>L0\.U3: \+[\d.]+ \(\+[\d.]+ to \+[\d.]+, \d of 2 exclude 0\)</title>", picture)


@pytest.mark.slow
def test_a_large_run_makes_a_small_page(tmp_path: Path) -> None:
    arms = {f"arm-{number}": ARMS["agent"] for number in range(6)}
    run = write_agents(tmp_path / "run", seeds=range(8), units=(256, 256, 0), arms=arms, legal=0.98)
    write_agency(run, {(arm, "reward", seed): 0.4 for arm in arms for seed in range(8)})
    assert write_report(run).stat().st_size < 6_000_000


def test_of_what_a_change_is_made_of_the_first_seed_is_drawn_and_the_others_told(tmp_path: Path) -> None:
    run = write_agents(tmp_path / "run", seeds=(0, 1), arms={"agent": ARMS["agent"]})
    for seed in (0, 1):
        figure = Figure.of("Curve", f'<svg class="curve-{seed}"></svg>')
        section = Section("Smallest sets", (f"Seed {seed} needs few units.",), (figure,))
        manifest = json.dumps({"sections": [section.plain()]})
        write_text(run / "localise" / f"agent-seed-{seed}" / "localise.json", manifest)
    page = write_report(run)
    assert re.findall(r"curve-\d", page.read_text(encoding="utf-8")) == ["curve-0"]
    said = words(page)
    assert "Seed 1 needs few units." in said
    assert "Figures and tables of this seed are in localise/agent-seed-1/." in said
