"""Draw the lab's pictures of docs/lab.md: a bundle opened from disk in Debian's chromium.

    takeback lab runs/demo --export runs/demo-lab
    python examples/lab_pictures.py runs/demo-lab

writes `lab.png` (wide, light) and `lab-narrow.png` (a phone, dark) into docs/pictures.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

OUT = Path(__file__).parents[1] / "docs" / "pictures"
PICTURES = {
    "lab.png": ({"width": 1200, "height": 740}, "light"),
    "lab-narrow.png": ({"width": 420, "height": 740}, "dark"),
}


def main() -> None:
    """Open the bundle twice and write a picture of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--select", default="L0.MLP", help="the set that is taken back")
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    address = f"{asked.bundle.resolve().as_uri()}/index.html#set={asked.select}"
    asked.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as one:
        browser = one.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (viewport, scheme) in PICTURES.items():
            page = browser.new_page(viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
            page.goto(address)
            page.wait_for_selector(".measures .note:text-matches('exact on')")
            page.screenshot(path=asked.out / name)
            print(f"{asked.out / name}: {(asked.out / name).stat().st_size / 1000:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()
