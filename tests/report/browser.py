"""A real browser, where one is installed, that shows a page in a frame of some width."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
FRAME = """<!doctype html><title>none</title>
<script>addEventListener("message", (event) => { document.title = event.data; });</script>
<iframe src="probe.html" style="border:0;height:900px;width:WIDTHpx"></iframe>"""


def shown_at(html: str, folder: Path, width: int) -> str:
    """Show a page that posts a message to its parent, and return the parent's page with it as the title.

    The page stands in a frame, since a browser's window has a least width of its own.
    """
    (folder / "probe.html").write_text(html, encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder / 'profile'}", "--window-size=1600,1000"]
    shown = subprocess.run(
        [*command, "--dump-dom", frame.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    return shown.stdout
