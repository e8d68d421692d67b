"""Fill the pages of findings with the numbers of their records.

    python examples/pages.py [--check | --blocks] [PAGE …]

`--check` only tells whether pages and records agree; `--blocks` prints every number and table that a page's
record gives. A page that is made so begins with a line

    <!-- blocks: examples/NAME/tables.py docs/findings/record/NAME -->

and has `<!-- put KEY -->…<!-- end -->` wherever a number or a table stands. The file named first has a
function `blocks(record)`, which returns Markdown by key from the small tables in the folder named last.
"""

from __future__ import annotations

import argparse
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
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("pages", nargs="*", type=Path, metavar="PAGE")
    ways = options.add_mutually_exclusive_group()
    ways.add_argument("--check", action="store_true", help="only tell whether they agree")
    ways.add_argument("--blocks", action="store_true", help="print what the records give, by key")
    asked = options.parse_args()
    stale: list[str] = []
    for page in asked.pages or made():
        text = page.read_text(encoding="utf-8")
        if asked.blocks:
            print(*(f"<!-- {key} -->\n{block}\n" for key, block in given(text).items()), sep="\n")
        elif (new := filled(text)) != text:
            stale.append(str(page))
            if not asked.check:
                page.write_text(new, encoding="utf-8")
    if asked.check and stale:
        sys.exit(f"{', '.join(stale)}: the tables say otherwise; `make pages` fills them again")
    print(*(f"filled {name}" for name in stale), sep="\n", end="\n" if stale else "")


def made() -> list[Path]:
    """Return the pages that are filled from records."""
    return [page for page in sorted(PAGES.glob("*.md")) if FROM.match(page.read_text(encoding="utf-8"))]


def filled(text: str) -> str:
    """Return a page with what its record says in every place.

    Raises:
        KeyError: the page asks for something that the record does not give.
    """
    found = given(text)
    return PUT.sub(lambda place: f"{place[1]}{_laid(found[place[2]])}{place[3]}", text) if found else text


def given(text: str) -> Mapping[str, str]:
    """Return what the record of a page gives, as Markdown by key; nothing if the page has no record."""
    begin = FROM.match(text)
    return {} if begin is None else blocks(ROOT / begin[1], ROOT / begin[2])


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
