"""Square matrices as pictures: a coloured, printed cell for every value, in its place."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from takeback.draw.colour import STEPS, paint
from takeback.draw.heatmap import Cell, Ends
from takeback.draw.matrix import matrix

SVG = "{http://www.w3.org/2000/svg}"


def titled(root: ElementTree.Element) -> dict[str, ElementTree.Element]:
    return {str(title.text): parent for parent in root.iter() for title in parent.findall(f"{SVG}title")}


def test_cells_stand_in_their_row_and_column() -> None:
    cells = {
        ("a & b", "c"): Cell(1.0, "high", "1.00"),
        ("c", "a & b"): Cell(-1.0, "low", "−1.00"),
        ("c", "d"): Cell(None, "not measured"),
    }
    root = ElementTree.fromstring(matrix(["a & b", "c", "d"], cells, Ends(1.0, "+1", "−1"), "diverging"))
    found = titled(root)
    assert set(found) == {"high", "low", "not measured"}
    squares = {name: next(found[name].iter(f"{SVG}rect")) for name in found}
    assert squares["high"].get("fill") == paint("diverging", STEPS)[0]
    assert squares["low"].get("fill") == paint("diverging", -STEPS)[0]
    assert squares["not measured"].get("fill") is None
    assert float(squares["high"].get("x", "")) > float(squares["low"].get("x", ""))
    assert float(squares["high"].get("y", "")) < float(squares["low"].get("y", ""))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert texts.count("a & b") == texts.count("c") == texts.count("d") == 2
    assert {"1.00", "−1.00", "+1", "−1", "0"} <= set(texts)
    assert len(list(root.iter(f"{SVG}circle"))) == 6, "a mark where there is nothing"


@pytest.mark.parametrize("names", [[], ["one"], [f"a rather long name {place}" for place in range(12)]])
def test_nothing_lies_outside_the_picture(names: list[str]) -> None:
    root = ElementTree.fromstring(matrix(names, {}, Ends(1.0, "1")))
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    for shape in root.iter(f"{SVG}rect"):
        assert float(shape.get("x", "")) + float(shape.get("width", "")) <= width
        assert float(shape.get("y", "")) + float(shape.get("height", "")) <= height
