"""What a reader grasps in ten seconds, and that it is true to the record."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from record import read_rows, write_rows
from takeback.draw.numbers import number, percent, signed
from takeback.report import write_report
from takeback.report.opening import MANY_ARMS
from test_worlds import pictures, words
from worlds import ARMS, write_agents


def header(page: Path) -> str:
    return page.read_text(encoding="utf-8").split("<header>")[1].split("</header>")[0]


def leads(page: Path) -> list[str]:
    """Return the sentences of the opening as they are read."""
    return [re.sub(r"<[^>]+>", "", one) for one in re.findall(r'<p class="lead">(.*?)</p>', header(page))]


def takebacks(run: Path, arm: str, family: str, goal: str) -> dict[str, float]:
    """Return what taking back each set of a family changes in a goal's utility."""
    return {
        row["components"]: row["effect"]
        for row in read_rows(run / "effects" / f"{arm}-seed-0.parquet")
        if (row["direction"], row["family"], row["measure"]) == ("take back", family, f"utility {goal}")
    }


def gain(run: Path, arm: str, goal: str) -> dict[str, float]:
    rows = read_rows(run / "behaviour" / "shifts.parquet")
    return next(row for row in rows if row["arm"] == arm and row["measure"] == f"utility {goal}")


def test_pictures_come_first_then_three_sentences_and_the_rest_is_folded(page: Path) -> None:
    text = header(page)
    pictured, said, folded = (
        text.index(mark) for mark in ("<figure>", 'class="lead"', '<details id="summary">')
    )
    assert pictured < said < folded
    assert text.count("<figure>") == 3
    assert len(leads(page)) == 3
    assert max(map(len, leads(page))) < 220


def test_a_picture_tells_base_tuned_and_what_each_layer_and_part_undoes(page: Path, run: Path) -> None:
    for arm, goal in (("rl-win", "win"), ("rl-corner", "corner")):
        picture = pictures(page, f"{arm}: gain in the utility of {goal}")[0]
        whole = gain(run, arm, goal)
        assert f"{arm} {number(whole['value'])}, {signed(whole['effect'])}" in picture
        assert f"base {number(whole['value'] - whole['effect'])}" in picture
        for family in ("each layer", "each head", "each mlp"):
            for effect in takebacks(run, arm, family, goal).values():
                assert f">{percent(-effect / whole['effect'])}<".replace("<0", "&lt;0") in picture
        layers = [float(re.search(rf'y="([\d.]+)"[^>]*>L{n}\.\*<', picture)[1]) for n in range(4)]
        assert layers == sorted(layers), "layer 0 is on top"


def test_the_sentences_tell_the_gain_what_takes_it_away_and_what_is_too_little(page: Path, run: Path) -> None:
    learned, undone, alone = leads(page)
    whole = gain(run, "rl-win", "win")["effect"]
    assert f"The utility of win rose by {number(whole)} in rl-win" in learned
    sets = takebacks(run, "rl-win", "each layer", "win") | takebacks(
        run, "rl-win", "heads of each layer", "win"
    )
    best = min(sets, key=lambda name: sets[name])
    assert f"{best} undoes {percent(-sets[best] / whole)} of the gain in rl-win" in undone
    singles = [
        -effect / gain(run, arm, goal)["effect"]
        for arm, goal in (("rl-win", "win"), ("sft-win", "win"), ("rl-corner", "corner"))
        for family in ("each head", "each mlp")
        for effect in takebacks(run, arm, family, goal).values()
    ]
    assert f"No single head or MLP undoes more than {percent(max(singles))}" in alone


def test_a_gain_that_is_not_clear_has_no_shares(run: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(run, tmp_path / "run"))
    path = own / "behaviour" / "shifts.parquet"
    rows = read_rows(path)
    for row in rows:
        if row["arm"] == "rl-win" and row["measure"] == "utility win":
            row |= {"effect": 0.01, "low": -0.02, "high": 0.04}
    write_rows(path, rows)
    page = write_report(own)
    learned, undone, _ = leads(page)
    assert "rl-win did not measurably change that of win" in learned
    assert "rl-win" not in undone
    picture = pictures(page, "rl-win: gain in the utility of win")[0]
    assert "%<" not in picture
    assert "whole layer, change" in picture


def test_of_many_arms_those_are_drawn_that_gained_most(tmp_path: Path) -> None:
    arms = {f"arm-{place}": ARMS["agent"] for place in range(MANY_ARMS + 1)}
    page = write_report(write_agents(tmp_path / "run", arms=arms))
    assert header(page).count("<figure>") == MANY_ARMS
    assert f"Of {MANY_ARMS + 1} arms those {MANY_ARMS} are drawn" in words(page)
    assert re.search(rf"rose by \S+ to \S+ in {MANY_ARMS + 1} arms", leads(page)[0])


def test_layers_of_units_have_bars(agents_page: Path) -> None:
    picture = pictures(agents_page, "agent: gain in the utility of reward")[0]
    assert picture.count("<rect") >= 3
    assert all(f">L{layer}.*<" in picture for layer in range(3))
    assert "no single unit undoes more than" in words(agents_page).lower()


@pytest.mark.parametrize("name", ["agent", "clone"])
def test_arms_are_named_in_their_colours(agents_page: Path, name: str) -> None:
    assert re.search(rf'<strong style="color:var\(--arm\d\)">{name}</strong>', header(agents_page))
