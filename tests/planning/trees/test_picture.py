"""Pictures of trees, also in a real browser where one is installed."""

import random
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from browser import CHROMIUM, shown_at
from forest import large, tree
from takeback.planning.trees import Evidence, Link, Tree, merge
from takeback.planning.trees.picture import as_page, as_svg, write_picture
from takeback.run.errors import TakebackError

BODY = "- top & <b>\n  - a {#a}\n    > note\n    - deep\n  - b\n    - [stale](#a)\n"
LINK = Link("conjecture", "learns", "run")
PROBE = """<script>
const input = document.querySelector(".tools input");
const visible = () => [...document.querySelectorAll(".tree li")].filter((li) => li.checkVisibility()).length;
document.querySelector("[data-fold='']").click();
const folded = visible();
document.querySelector("[data-fold=open]").click();
const open = visible();
const wide = document.documentElement.scrollWidth;
document.querySelector("[data-fold='']").click();
input.value = "WORDS"; input.dispatchEvent(new Event("input"));
const hits = document.querySelectorAll(".hit").length;
const found = [...document.querySelectorAll(".hit")].every((li) => li.checkVisibility());
input.value = ""; input.dispatchEvent(new Event("input"));
const back = visible();
const link = document.querySelector(".leaf a.words");
let led = true;
if (link) { location.hash = link.hash; reveal(); led = document.querySelector(link.hash).checkVisibility(); }
parent.postMessage(`probe ${innerWidth} ${wide} ${folded} ${open} ${hits} ${found} ${back} ${led}`, "*");
</script>"""


def test_words_are_escaped_and_references_lead_to_the_problem():
    page = as_page(tree(BODY))
    assert "top &amp; &lt;b&gt;" in page
    assert "<b>" not in page
    (anchor,) = re.findall(r'<a class="words" href="#(\w+)">↗ a</a>', page)
    assert page.count(f'id="{anchor}"') == 1


def test_a_page_needs_no_network_and_every_list_is_closed():
    page = as_page(merge(large(3, 30, seed=1)).tree)
    assert not re.search(r'(src|href)="(?!#)', page)
    body = re.search(r'<ul class="tree">.*</ul>\n</main>', page, re.DOTALL)
    assert body
    ET.fromstring(body[0].removesuffix("</main>"))  # our own


def test_the_same_tree_gives_the_same_bytes(tmp_path):
    for name in ("a.html", "a.svg"):
        write_picture(tree(BODY), tmp_path / name)
        first = (tmp_path / name).read_bytes()
        write_picture(tree(BODY), tmp_path / name)
        assert (tmp_path / name).read_bytes() == first
    with pytest.raises(TakebackError, match=r"unknown kind of picture '\.png'"):
        write_picture(tree(BODY), tmp_path / "a.png")


def test_an_svg_has_every_problem_once_to_a_line_below_the_last():
    big = merge(large(5, 60, seed=2)).tree
    drawn = ET.fromstring(as_svg(big))
    space = "{http://www.w3.org/2000/svg}"
    heights = [float(one.get("cy", 0)) for one in drawn.iter(f"{space}circle") if one.get("r") == "8"]
    problems = sum(not node.own.refers for node in big.walk())
    assert len(heights) == problems + 5  # the legend's
    assert all(b - a >= 20 for a, b in pairwise(heights[5:]))
    assert float(drawn.get("height", 0)) > max(heights)


def test_evidence_has_its_colour_and_words():
    found = {"a": (Evidence(LINK, "refuted", "1 > 2 is false"),)}
    for picture in (as_page(tree(BODY), found), as_svg(tree(BODY), found)):
        assert "refuted: learns in run: 1 &gt; 2 is false" in picture
        assert "--arm1" in picture
    assert "--arm1,#d55e00" in as_svg(tree(BODY), found)


def _wide(problems: int) -> Tree:
    chance = random.Random(3)
    lines, depth = ["- top"], 0
    for place in range(problems - 1):
        depth = chance.randint(1, min(depth + 1, 6))
        lines.append("  " * depth + f"- problem {place} with {'many ' * chance.randint(1, 9)}words")
    lines.append("  - [x](#p)")
    lines[5] += " {#p}"
    return tree("\n".join(lines) + "\n")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
@pytest.mark.parametrize("width", [420, 1400])
def test_three_hundred_problems_fold_and_are_searched_in_a_browser(tmp_path, width):
    page = as_page(_wide(300))
    told = shown_at(page.replace("</body>", f"{PROBE}</body>"), tmp_path, width)
    probe = re.search(r"<title>probe (\d+) (\d+) (\d+) (\d+) (\d+) (\w+) (\d+) (\w+)</title>", told)
    assert probe, "the page's scripts did not run"
    inner, wide, folded, opened, hits, found, back, led = probe.groups()
    assert int(inner) == width
    assert int(wide) <= width
    assert (folded, opened, back) == ("1", "301", "1")
    assert (hits, found, led) == ("300", "true", "true")
