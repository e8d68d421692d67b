"""Pictures as pure functions: positions and colours follow the values."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from takeback.component import Component
from takeback.draw.board import Arrows, board
from takeback.draw.colour import STEPS, paint, step_of, variables
from takeback.draw.curves import Axes, Point, Series, line_plot
from takeback.draw.forest import Dot, ForestRow, Spot, forest, scatter
from takeback.draw.heatmap import Cell, Ends, heat_map
from takeback.draw.numbers import number, percent, signed
from takeback.draw.svg import Scale, round_values, spread

SVG = "{http://www.w3.org/2000/svg}"
FINITE = st.floats(-1e6, 1e6, allow_nan=False)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("dark", [False, True])
def test_ink_is_readable_on_every_colour(dark: bool) -> None:
    """WCAG 2 asks for a contrast of 4.5."""
    colours = dict(pair[2:].split(":") for pair in variables(dark).split(";"))
    scales = [name for name in colours if f"{name}i" in colours]
    assert len(scales) == 3 * STEPS + 2
    for name in scales:
        low, high = sorted((luminance(colours[name]), luminance(colours[f"{name}i"])))
        assert (high + 0.05) / (low + 0.05) >= 4.5


@pytest.mark.parametrize("dark", [False, True])
def test_scales_go_one_way_in_lightness(dark: bool) -> None:
    """So that they can be read without colour."""
    colours = dict(pair[2:].split(":") for pair in variables(dark).split(";"))
    for start in ("s", "d", "dm"):
        steps = [
            luminance(colours["d0" if start == "dm" and not n else f"{start}{n}"]) for n in range(STEPS + 1)
        ]
        assert steps == sorted(steps, reverse=not dark)


@given(value=FINITE, limit=st.floats(1e-9, 1e6))
def test_a_diverging_scale_is_symmetric(value: float, limit: float) -> None:
    assert step_of(-value, limit) == -step_of(value, limit)
    assert abs(step_of(value, limit)) <= STEPS


def test_layers_of_units_are_blocks_of_short_rows() -> None:
    names = [*(f"L0.U{index}" for index in range(70)), *(f"L1.U{index}" for index in range(7)), "OUTPUTS"]
    cells = {Component.parse(name): Cell(place / 100, name) for place, name in enumerate(names)}
    picture = ElementTree.fromstring(heat_map(cells, Ends(1.0, "1")))
    assert float(picture.get("width", "0")) < 400
    assert {one.text for one in picture.iter(f"{SVG}title")} == set(names)
    told = [one.text for one in picture.iter(f"{SVG}text")]
    assert told[:4] == ["L0.U0", "U32", "U64", "L1.U0"]
    assert "OUTPUTS" in told


def test_a_unit_that_is_not_there_leaves_its_place_empty() -> None:
    picture = heat_map({Component.parse(f"L0.U{index}"): Cell(1.0, "") for index in (1, 40)}, Ends(1.0, "1"))
    assert re.findall(r'd="M([\d.]+) ([\d.]+)h', picture) == [("50", "4"), ("120", "14")]


def test_rows_of_several_arms_have_their_own_colours_and_an_axis_may_be_cut() -> None:
    rows = [
        ForestRow("one", (Dot(0.5, -9.0, 9.0, "one"),), place=1),
        ForestRow("other", (Dot(0.1, 0, 0.2, "other"),)),
    ]
    picture = forest(rows, 0, "share", None, "shares", ends=(-1.0, 1.0))
    assert "var(--arm1" in picture
    assert "var(--arm0" in picture
    assert 'd="M116 22.5H452"' in picture


def test_a_heat_map_has_a_coloured_square_for_each_component() -> None:
    cells = {
        Component.parse("L0.H0"): Cell(1.0, "most"),
        Component.parse("L1.H0"): Cell(-1.0, "least"),
        Component.parse("L1.MLP"): Cell(None, "not measured"),
        Component.parse("EMBED"): Cell(0.0, "none"),
    }
    picture = heat_map(cells, Ends(1.0, "+1", "−1"), "diverging")
    found = {
        t.text: parent
        for parent in ElementTree.fromstring(picture).iter()
        for t in parent.findall(f"{SVG}title")
    }
    assert set(found) == {"most", "least", "not measured", "none"}
    for title, step in (("most", STEPS), ("least", -STEPS), ("none", 0)):
        assert found[title].get("fill") == paint("diverging", step)[0]
    assert found["not measured"].get("fill") is None
    assert float(found["most"].get("y", "")) < float(found["least"].get("y", "")), "the first layer is on top"


def test_the_forest_puts_values_where_its_axis_says() -> None:
    rows = [ForestRow("kind"), ForestRow("a", (Dot(-0.1, -0.2, 0.0, "dot"),), (-0.05, 0.02), "two controls")]
    root = ElementTree.fromstring(forest(rows, 0, "effect", -0.2, "f"))
    texts = {t.text: float(t.get("x", "")) for t in root.iter(f"{SVG}text")}
    dot = next(c for c in root.iter(f"{SVG}circle"))
    assert texts["50%"] == pytest.approx(float(dot.get("cx", "")), abs=0.05)
    assert texts["−0.1"] == texts["50%"]
    assert forest(rows, 0, "effect", None, "f").count("%") == 0


def test_whiskers_span_the_interval() -> None:
    root = ElementTree.fromstring(
        line_plot([Series(0, (Point(0, 1, 0.0, 2.0), Point(1, 1)))], Axes("x"), "plot")
    )
    ticks = {
        t.text: float(t.get("y", "")) - 4 for t in root.iter(f"{SVG}text") if t.get("text-anchor") == "end"
    }
    whisker = next(line for line in root.iter(f"{SVG}line") if line.get("stroke-width") == "1.3")
    assert {float(whisker.get(end, "")) for end in ("y1", "y2")} == {ticks["0"], ticks["2"]}


def test_an_arrow_is_as_wide_as_its_move_is_likely() -> None:
    moves = [("a1a8", 0.8), ("h1h8", 0.2), ("c1c2", 0.01), ("nonsense", 0.5), ("d4d4", 0.5)]
    root = ElementTree.fromstring(board({"a1": "R"}, [Arrows(moves, "#000000", "after", 1)], "b"))
    width: dict[str, float] = {}
    for arrow in root.iter(f"{SVG}polygon"):
        title = arrow.find(f"{SVG}title")
        corners = [tuple(map(float, point.split(","))) for point in arrow.get("points", "").split()]
        assert title is not None
        width[str(title.text)] = abs(corners[0][0] - corners[-1][0])
    assert set(width) == {"after: a1a8 80%", "after: h1h8 20%"}
    assert width["after: a1a8 80%"] > 2 * width["after: h1h8 20%"]


@given(st.dictionaries(st.from_regex(r"[a-h][1-8]", fullmatch=True), st.sampled_from("kqrbnpKQRBNP")))
def test_every_piece_is_drawn(pieces: dict[str, str]) -> None:
    picture = board(pieces, [], "b")
    ElementTree.fromstring(picture)
    assert {f"{letter.upper()} on {square}" for square, letter in pieces.items()} == set(
        re.findall(r"(?<=te |ck ).{7}(?=<)", picture)
    )


def test_controls_lie_behind_in_a_scatter() -> None:
    spots = [Spot(0.1, 1.0, "real", 0), Spot(0.5, 0.5, "random", None)]
    root = ElementTree.fromstring(scatter(spots, 1, ("x", "y"), "s"))
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert titles == ["random", "real"]


@given(st.lists(FINITE, min_size=1, max_size=20))
def test_ticks_lie_within_a_range_that_holds_all_values(values: list[float]) -> None:
    low, high = spread(values)
    assert low <= min(values)
    assert max(values) <= high
    ticks = round_values(low, high)
    assert all(low - 1e-6 * abs(low) <= tick <= high + 1e-6 * abs(high) for tick in ticks)
    assert 1 <= len(ticks) <= 12


@given(st.floats(1e-6, 1e6), st.floats(1.01, 1e6))
def test_a_logarithmic_scale_is_monotone_and_bounded(low: float, factor: float) -> None:
    scale = Scale(low, low * factor, 0, 100, log=True)
    assert scale(low) == pytest.approx(0)
    assert scale(low * factor) == pytest.approx(100)
    assert scale(0) == 0


@given(FINITE)
def test_numbers_read_back(value: float) -> None:
    text = number(value).replace("−", "-").replace(",", "")
    if "×" not in text:
        assert float(text) == pytest.approx(value, abs=0.0005001)
        assert float(text) != 0 or value == 0
    assert "-" not in signed(value) + percent(value)
