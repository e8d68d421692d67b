"""Repair: the planted set is found and beats one strength; where no set can, that is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import networks
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.draw.result import section_of
from takeback.findings.localise import NoChange
from takeback.findings.repair import Repaired, Repairing, Target, Trade, repair
from takeback.findings.repair.line import Line
from takeback.findings.repair.remedies import INTERPOLATION, RANDOM, SETS, TRIMMING
from takeback.findings.repair.repair import COLUMNS, TRIED
from takeback.findings.repair.show import LEAST, beats, sentences
from takeback.measure.read import Ask
from takeback.measure.setup import Setup
from takeback.run.errors import TakebackError, UnknownName

ENDGAMES: Any = arena("endgames")
WIDTHS = (320, 6, len(ENDGAMES.outputs))
ROOK, QUEEN = slice(128, 192), slice(64, 128)
"""The inputs that say where the rook stands, and the queen: 0 in positions without one."""
SKILL, DAMAGE = 1, 4
DRAWN = 80, 0

OWN = '''
import numpy as np

def _corner(piece, readouts, context):
    mass = context.sums(readouts.probabilities)
    told = context.sums(readouts.probabilities * context.utilities["corner"]) / mass
    return np.where([piece in text for text in context.situations], told, np.nan)

def with_rook(readouts, context):
    """Utility of corner with a rook on the board, given a legal answer."""
    return _corner("R", readouts, context)

def with_queen(readouts, context):
    """The same with a queen."""
    return _corner("Q", readouts, context)
'''


def toward_a1() -> torch.Tensor:
    """Push outputs that step down and left."""
    steps = [(ord(text[2]) - ord(text[0]), int(text[3]) - int(text[1])) for text in ENDGAMES.outputs]
    return torch.tensor([1.0 if step == (-1, -1) else 0.0 for step in steps])


def pair_of(folder: Path, skill: tuple[slice, ...], damage: tuple[slice, ...]) -> tuple[str, str]:
    """Save a base and a model of which two units see pieces and step to a1; all else moved a little."""
    base = networks.build(WIDTHS, 0)
    with torch.no_grad():
        for unit in (SKILL, DAMAGE):
            base.layers[0].weight[unit] = 0
            base.layers[0].bias[unit] = 0
            base.layers[1].weight[:, unit] = toward_a1()
    base.save_pretrained(folder / "base")
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.add_(1e-4 * torch.randn(parameter.shape, generator=generator))
        for unit, seen in ((SKILL, skill), (DAMAGE, damage)):
            for piece in seen:
                base.layers[0].weight[unit, piece] += 8.0
    base.save_pretrained(folder / "tuned")
    return str(folder / "base"), str(folder / "tuned")


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Stepping to a1 is wanted with a rook, and not with a queen."""
    file = tmp_path_factory.mktemp("own") / "own.py"
    file.write_text(OWN)
    return f"{file}:with_rook@endgames", f"-{file}:with_queen@endgames"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """One unit learned it with a rook, another one with a queen."""
    return pair_of(tmp_path_factory.mktemp("two"), (ROOK,), (QUEEN,))


@pytest.fixture(scope="module")
def found(two: tuple[str, str], targets: tuple[str, str]) -> Repaired:
    trade = Trade.between(open_pair(*two), *targets, DRAWN)
    return repair(trade, Repairing(controls=5))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, targets: tuple[str, str]) -> Repaired:
    """Find what can be done where one unit learned both, so that no set tells the damage from the skill."""
    pair = pair_of(tmp_path_factory.mktemp("one"), (ROOK, QUEEN), ())
    trade = Trade.between(open_pair(*pair), *targets, DRAWN)
    return repair(trade, Repairing(controls=5, margin=0.3, most=2))


def test_the_planted_damage_is_found_and_the_skill_is_left(found: Repaired) -> None:
    best = found.best(SETS)
    assert best is not None
    assert best["components"] == f"L0.U{DAMAGE}"
    assert best["kept"] > 0.95
    assert best["restored"] == pytest.approx(1, abs=0.02)
    assert found.chosen is not None
    assert str(found.chosen.take_back) == f"L0.U{DAMAGE}"
    assert found.chosen.source == "base"


def test_it_beats_one_strength_and_random_sets(found: Repaired) -> None:
    best, line = found.best(SETS), found.best(INTERPOLATION)
    assert best is not None
    assert line is not None
    assert beats(best)
    assert best["above"] == pytest.approx(best["restored"] - line["restored"], abs=0.35)
    assert best["controls"] == 5  # the other units
    assert best["controls_restored"] < 0.1
    assert best["p"] == pytest.approx(1 / 6)
    assert line["above"] == pytest.approx(0, abs=1e-6)


def test_where_no_set_can_do_better_it_says_so(one: Repaired) -> None:
    best = one.best(SETS)
    assert best is not None
    assert f"L0.U{SKILL}" in best["components"]
    assert best["source"].startswith("strength:")
    assert not beats(best)
    assert best["above_high"] < LEAST
    told = " ".join(sentences(one))
    assert "Nothing beats one strength for all weights here" in told
    assert "no larger than" in told
    assert "Beyond one strength for all weights" not in told


def test_numbers_are_those_of_the_half_that_chose_nothing(
    found: Repaired, two: tuple[str, str], targets: tuple[str, str]
) -> None:
    """The shares are worked out anew from the hybrids' own numbers."""
    bench = Trade.between(open_pair(*two), *targets, DRAWN).first
    judged = bench.some(bench.halves(0)[1])
    whole, ask = Ask(bench.anatomy.universe), Ask(bench.anatomy.parse(f"L0.U{DAMAGE}"))
    answers = judged.answer([judged.nothing, whole, ask])
    best = found.best(SETS)
    assert best is not None
    keep, restore = bench.measures
    base, tuned, here = (np.nanmean(answers.of(one, keep)) for one in (whole, judged.nothing, ask))
    assert best["kept"] == pytest.approx((here - base) / (tuned - base), abs=1e-9)
    base, tuned, here = (np.nanmean(answers.of(one, restore)) for one in (whole, judged.nothing, ask))
    assert best["restored"] == pytest.approx((here - tuned) / (base - tuned), abs=1e-9)
    assert best["restore_value"] == pytest.approx(here, abs=1e-9)
    ends = found.table.set_index("way")
    assert ends.loc["tuned", "kept"] == pytest.approx(1)
    assert ends.loc["base", "restored"] == pytest.approx(1)


def test_every_way_is_in_the_tables(found: Repaired) -> None:
    assert list(found.table.columns) == list(COLUMNS)
    assert list(found.tried.columns) == list(TRIED)
    assert {SETS, INTERPOLATION, TRIMMING, RANDOM, "base", "tuned"} <= set(found.table["way"])
    assert found.table.groupby("way")["best"].sum().max() == 1
    assert found.table["chosen"].sum() == 1
    told = json.loads(found.to_json())["repair"]
    assert set(told["columns"]) >= set(COLUMNS)


def test_the_line_keeps_as_much_as_what_is_beside_it(two: tuple[str, str], targets: tuple[str, str]) -> None:
    """Beside a set stand degrees that keep what it keeps; the interval is as wide as a bootstrap's."""
    trade = Trade.between(open_pair(*two), *targets, DRAWN)
    keep, restore = trade.first.measures
    ask = Ask(trade.first.anatomy.parse(f"L0.U{DAMAGE}"), "strength:0.5")
    skill = Ask(trade.first.anatomy.parse(f"L0.U{SKILL} L0.U{DAMAGE}"), "strength:0.5")
    line = Line(trade, [ask, skill])
    line.meet([skill])
    mix = line.beside(skill)
    if len(mix) > 1:
        kept = sum(weight * line.found.kept(line.at(degree)).value for degree, weight in mix.items())
        assert kept == pytest.approx(line.found.kept(skill).value, abs=1e-6)
    assert line.above(skill).value == pytest.approx(0, abs=0.01)  # both units by a half are the line
    rng, numbers = np.random.default_rng(0), line.found
    bench = trade.first
    keeps = {one: numbers.keep.of(one, keep) for one in (ask, *map(line.at, line.degrees))}
    undo = {one: numbers.restore.of(one, restore) for one in keeps}

    def above(rows: np.ndarray) -> float:
        def share(of: dict[Ask, np.ndarray], one: Ask, zero: Ask, whole: Ask) -> float:
            means = [np.nanmean(of[each][rows]) for each in (one, zero, whole)]
            return (means[0] - means[1]) / (means[2] - means[1])

        base, tuned = line.at(1.0), line.at(0.0)
        kept = [share(keeps, line.at(one), base, tuned) for one in line.degrees]
        undone = [share(undo, line.at(one), tuned, base) for one in line.degrees]
        there = np.interp(-share(keeps, ask, base, tuned), -np.array(kept), undone)
        return share(undo, ask, tuned, base) - float(there)

    clusters = [np.flatnonzero(bench.clusters == one) for one in range(bench.clusters.max() + 1)]
    draws = [
        above(np.concatenate([clusters[place] for place in rng.integers(len(clusters), size=len(clusters))]))
        for _ in range(300)
    ]
    estimate = line.above(ask)
    assert estimate.se is not None
    assert estimate.se == pytest.approx(np.std(draws), rel=0.35, abs=2e-3)


def test_it_is_shown(found: Repaired, one: Repaired, capsys: pytest.CaptureFixture[str]) -> None:
    section = section_of(found)
    (figure,) = section.figures
    assert f"small set L0.U{DAMAGE}: keeps" in figure.picture
    assert figure.picture.count("<polyline") == 1
    assert "chosen" in figure.picture
    found.print()
    printed = capsys.readouterr().out
    assert f"L0.U{DAMAGE}" in printed
    assert "Chosen, as it restores most within the margin" in " ".join(printed.split())


@pytest.mark.slow
def test_a_second_run_reads_nothing(two: tuple[str, str], targets: tuple[str, str], tmp_path: Path) -> None:
    trade = Trade.between(open_pair(*two), *targets, DRAWN, Setup(tmp_path))
    first = repair(trade, Repairing(controls=2, most=2))
    again = Trade.between(open_pair(*two), *targets, DRAWN, Setup(tmp_path))
    again.first._readings.reader.read = None  # type: ignore[assignment]
    again.first._readings.reader.ends = None  # type: ignore[assignment]
    second = repair(again, Repairing(controls=2, most=2))
    pd.testing.assert_frame_equal(first.table, second.table)


def test_what_cannot_be_is_told_in_a_line(two: tuple[str, str], targets: tuple[str, str]) -> None:
    pair, (keep, restore) = open_pair(*two), targets
    with pytest.raises(UnknownName, match="did you mean 'legal'"):
        Trade.between(pair, keep, "legel@endgames", DRAWN)
    with pytest.raises(UnknownName, match="endgame"):
        Trade.between(pair, keep, "legal@endgame", DRAWN)
    with pytest.raises(TakebackError, match="names no measure"):
        Target.parse("@endgames")
    with pytest.raises(NoChange, match=r"there is no gain to keep: -.*with_queen"):
        repair(Trade.between(pair, restore, restore, DRAWN))
    with pytest.raises(NoChange, match=r"there is no damage: .*with_rook"):
        repair(Trade.between(pair, keep, keep, DRAWN))
    with pytest.raises(TakebackError, match="margin"):
        Repairing(margin=1.0)
    with pytest.raises(TakebackError, match="one component or more"):
        Repairing(among=0)
