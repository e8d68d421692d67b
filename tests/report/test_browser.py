"""The page in a real browser, where one is installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from browser import CHROMIUM, shown_at

PROBE = """<script>
document.querySelectorAll("details").forEach((d) => { d.open = true; });
const table = [...document.querySelectorAll("th button")]
  .find((button) => button.textContent === "of all parameters").closest("table");
table.querySelectorAll("th button")[1].click();
const column = [...table.tBodies[0].rows].map((row) => parseFloat(row.cells[1].textContent));
const sorted = column.every((value, i) => i === 0 || column[i - 1] >= value);
parent.postMessage(`probe ${innerWidth} ${document.documentElement.scrollWidth} ${sorted}`, "*");
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
@pytest.mark.parametrize("width", [420, 1400])
@pytest.mark.parametrize("which", ["page", "agents_page"])
def test_nothing_overflows_sideways_and_tables_sort(
    which: str, request: pytest.FixtureRequest, tmp_path: Path, width: int
) -> None:
    page: Path = request.getfixturevalue(which)
    probed = page.read_text(encoding="utf-8").replace("</body>", f"{PROBE}</body>")
    shown = shown_at(probed, tmp_path, width)
    probe = re.search(r"<title>probe (\d+) (\d+) (\w+)</title>", shown)
    assert probe, "the page's scripts did not run"
    inner, scrolled, ordered = probe.groups()
    assert int(inner) == width
    assert int(scrolled) <= width
    assert ordered == "true"


SIDES = """<script>
const sides = [...document.querySelectorAll(".sides")].filter((s) => s.querySelector(".told + .shown svg"));
const beside = sides.filter((s) => s.querySelector(".told").getBoundingClientRect().right
  <= s.querySelector(".shown").getBoundingClientRect().left);
parent.postMessage(`sides ${sides.length} ${beside.length}`, "*");
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
@pytest.mark.parametrize(("width", "wide"), [(420, False), (900, False), (1100, True), (1500, True)])
def test_wide_screens_have_text_beside_pictures(page: Path, tmp_path: Path, width: int, wide: bool) -> None:
    probed = page.read_text(encoding="utf-8").replace("</body>", f"{SIDES}</body>")
    found = re.search(r"<title>sides (\d+) (\d+)</title>", shown_at(probed, tmp_path, width))
    assert found, "the page's scripts did not run"
    every, beside = map(int, found.groups())
    assert every > 8
    assert beside == (every if wide else 0)
