"""Retargeting: what was planted in another model is found, and told on situations that chose nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import networks
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.draw.result import section_of
from takeback.findings.localise import NoChange
from takeback.findings.localise.retarget import (
    COLUMNS,
    EFFECTS,
    GREEDY,
    STEPS,
    Retargeted,
    Retargeting,
    retarget,
)
from takeback.measure.bench import Bench
from takeback.measure.read import Ask
from takeback.run.errors import TakebackError, UnknownName

ENDGAMES: Any = arena("endgames")
WIDTHS = (320, 6, len(ENDGAMES.outputs))


def toward_a1() -> torch.Tensor:
    """Give the bias of outputs that step down and left."""
    steps = [(ord(text[2]) - ord(text[0]), int(text[3]) - int(text[1])) for text in ENDGAMES.outputs]
    return torch.tensor([5.0 if step == (-1, -1) else 0.0 for step in steps])


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """A base, a model to turn, and one that differs from it in L0.U2, and in its outputs pursues corner."""
    folder = tmp_path_factory.mktemp("three")
    base, tuned, other = (networks.build(WIDTHS, seed) for seed in (0, 1, 1))
    with torch.no_grad():
        other.layers[0].weight[2] *= 1.01
        other.layers[1].bias += toward_a1()
    for name, network in zip(("base", "tuned", "other"), (base, tuned, other), strict=True):
        network.save_pretrained(folder / name)
    return str(folder / "base"), str(folder / "tuned"), str(folder / "other")


@pytest.fixture(scope="module")
def bench(three: tuple[str, str, str]) -> Bench:
    return Bench.held_out(open_pair(*three[:2]), ENDGAMES, ["legal"], (40, 0))


@pytest.fixture(scope="module")
def found(bench: Bench, three: tuple[str, str, str]) -> Retargeted:
    return retarget(bench, three[2], settings=Retargeting(controls=3))


def test_the_planted_set_is_found_by_both_orders(found: Retargeted) -> None:
    table = found.table
    assert list(table.columns) == list(COLUMNS)
    assert list(found.steps.columns) == list(STEPS)
    assert set(table["goal"]) == {"corner"}
    assert set(table["order"]) == {EFFECTS, GREEDY}
    assert set(table["components"]) == {"OUTPUTS"}
    assert (table["of"] == 7).all()
    np.testing.assert_allclose(table["carried"].astype(float), 1, atol=0.01)
    assert {"utility corner", "legal", "utility win"} <= set(table["measure"])


def test_it_is_told_where_nothing_was_chosen(
    found: Retargeted, bench: Bench, three: tuple[str, str, str]
) -> None:
    _, places = bench.halves(0)
    asked = bench.about("utility corner", "legal").some(places)
    source = f"checkpoint:{three[2]}"
    whole, ask = Ask(asked.anatomy.universe, source), Ask(asked.anatomy.parse("OUTPUTS"), source)
    numbers = asked.answer([asked.nothing, whole, ask])
    for measure in asked.measures:
        row = found.table[found.table["measure"] == measure].iloc[0]
        for column, one in (("tuned", asked.nothing), ("hybrid", ask), ("other", whole)):
            assert row[column] == pytest.approx(np.nanmean(numbers.of(one, measure)), abs=1e-9)


def test_sets_that_are_not_lawful_enough_do_not_count(three: tuple[str, str, str], tmp_path: Path) -> None:
    """The outputs alone also give an illegal answer, against which a unit of the other model argues."""
    tuned, other = (networks.build(WIDTHS, 1) for _ in range(2))
    with torch.no_grad():
        tuned.layers[0].bias[3], other.layers[0].bias[3] = -100, 40
        other.layers[1].weight[:, 3] = 0
        other.layers[1].weight[0, 3] = -1
        other.layers[1].bias += toward_a1()
        other.layers[1].bias[0] += 8
    for name, network in (("tuned", tuned), ("other", other)):
        network.save_pretrained(tmp_path / name)
    bench = Bench.held_out(open_pair(three[0], str(tmp_path / "tuned")), ENDGAMES, ["legal"], (40, 0))
    ref = str(tmp_path / "other")
    lax = retarget(bench, ref, "corner", Retargeting(0.4, controls=1))
    assert set(lax.table["components"]) == {"OUTPUTS"}
    alone = lax.steps["legal"].iloc[0]
    strict = retarget(bench, ref, "corner", Retargeting(0.4, lost=-1.02 * alone, controls=1))
    greedy = strict.table[strict.table["order"] == GREEDY]
    assert set(greedy["components"]) == {"OUTPUTS L0.U3"}
    assert (
        strict.table["n_components"].max() > 2
    )  # alone that unit brings nothing, so the other order is long


def test_it_is_shown(found: Retargeted, capsys: pytest.CaptureFixture[str]) -> None:
    section = section_of(found)
    assert "1 component of 7" in section.words[0]
    assert "in corner" in section.words[0]
    found.print()
    assert "OUTPUTS" in capsys.readouterr().out


def test_what_cannot_be_is_told(bench: Bench, three: tuple[str, str, str]) -> None:
    with pytest.raises(UnknownName, match="did you mean 'corner'"):
        retarget(bench, three[2], "cornr")
    with pytest.raises(NoChange, match="no more of the utility"):
        retarget(bench, three[1], "corner")
    with pytest.raises(TakebackError, match="between 0 and 1"):
        Retargeting(wanted=1.5)
