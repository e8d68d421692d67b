"""Fill the pages of findings with the numbers of their records; `--check` only tells whether they agree.

`python examples/pages.py [--check] [PAGE …]`. A page that is made so begins with a line

    <!-- blocks: examples/NAME/tables.py docs/findings/record/NAME -->

and has `<!-- put KEY -->…<!-- end -->` wherever a number or a table stands. The file named first has a
function `blocks(record)`, which returns Markdown by key from the small tables in the folder named last.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "findings"
FROM = re.compile(r"\A<!-- blocks: (\S+) (\S+) -->\n")
PUT = re.compile(r"(<!-- put (\S+) -->).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Fill all pages, or those that are named, or say which do not agree with their records."""
    check, names = "--check" in sys.argv, [name for name in sys.argv[1:] if name != "--check"]
    stale: list[str] = []
    for page in [Path(name) for name in names] or made():
        text = page.read_text(encoding="utf-8")
        new = filled(text)
        if new != text:
            stale.append(str(page))
            if not check:
                page.write_text(new, encoding="utf-8")
    if check and stale:
        sys.exit(f"{', '.join(stale)}: the tables say otherwise; `make pages` fills them again")
    print(*(f"filled {name}" for name in stale), sep="\n")


def made() -> list[Path]:
    """Return the pages that are filled from records."""
    return [page for page in sorted(PAGES.glob("*.md")) if FROM.match(page.read_text(encoding="utf-8"))]


def filled(text: str) -> str:
    """Return a page with what its record says in every place.

    Raises:
        KeyError: the page asks for something that the record does not give.
    """
    begin = FROM.match(text)
    if begin is None:
        return text
    found = blocks(ROOT / begin[1], ROOT / begin[2])
    return PUT.sub(lambda place: f"{place[1]}{_laid(found[place[2]])}{place[3]}", text)


def blocks(maker: Path, record: Path) -> Mapping[str, str]:
    """Return what a record says, as Markdown by key."""
    spec = importlib.util.spec_from_file_location(f"blocks_{maker.parent.name}", maker)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.blocks(record)


def _laid(block: str) -> str:
    return f"\n\n{block.strip()}\n\n" if "\n" in block.strip() else block.strip()


if __name__ == "__main__":
    main()
