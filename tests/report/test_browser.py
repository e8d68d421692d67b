"""The page in a real browser, where one is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
PROBE = """<script>
document.querySelectorAll("details").forEach((d) => { d.open = true; });
const table = [...document.querySelectorAll("table")].find((t) => t.querySelector("th button"));
table.querySelectorAll("th button")[1].click();
const column = [...table.tBodies[0].rows].map((row) => parseFloat(row.cells[1].textContent));
const sorted = column.every((value, i) => i === 0 || column[i - 1] >= value);
parent.postMessage(`probe ${innerWidth} ${document.documentElement.scrollWidth} ${sorted}`, "*");
</script>"""
FRAME = """<!doctype html><title>none</title>
<script>addEventListener("message", (event) => { document.title = event.data; });</script>
<iframe src="probe.html" style="border:0;height:900px;width:WIDTHpx"></iframe>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
@pytest.mark.parametrize("width", [420, 1400])
@pytest.mark.parametrize("which", ["page", "agents_page"])
def test_nothing_overflows_sideways_and_tables_sort(
    which: str, request: pytest.FixtureRequest, tmp_path: Path, width: int
) -> None:
    """The page stands in a frame, since a browser's window has a least width of its own."""
    page: Path = request.getfixturevalue(which)
    probed = page.read_text(encoding="utf-8").replace("</body>", f"{PROBE}</body>")
    (tmp_path / "probe.html").write_text(probed, encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1500,1000"]
    shown = subprocess.run(
        [*command, "--dump-dom", frame.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    probe = re.search(r"<title>probe (\d+) (\d+) (\w+)</title>", shown.stdout)
    assert probe, "the page's scripts did not run"
    inner, scrolled, ordered = probe.groups()
    assert int(inner) == width
    assert int(scrolled) <= width
    assert ordered == "true"
