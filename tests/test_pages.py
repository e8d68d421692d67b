"""The pages of findings say what the tables in the repository say."""

import pytest
from pages import PUT, ROOT, filled, made

MAKER = """\
from pathlib import Path

def blocks(record):
    number = (record / "number.txt").read_text().strip()
    return {"gain": number, "table": f"| a |\\n| --- |\\n| {number} |"}
"""


@pytest.mark.slow
@pytest.mark.parametrize("page", made(), ids=lambda page: page.stem)
def test_a_page_and_its_record_agree(page):
    text = page.read_text(encoding="utf-8")
    assert filled(text) == text, "run `make pages`"
    assert PUT.search(text), "it takes numbers from its record"


@pytest.mark.parametrize(
    "record", sorted((ROOT / "docs/findings/record").iterdir()), ids=lambda one: one.name
)
def test_a_record_is_small(record):
    assert sum(path.stat().st_size for path in record.rglob("*") if path.is_file()) < 8e6


def test_numbers_go_into_sentences_and_tables_between_lines(tmp_path):
    (tmp_path / "tables.py").write_text(MAKER)
    (tmp_path / "number.txt").write_text("0.25")
    head = f"<!-- blocks: {tmp_path / 'tables.py'} {tmp_path} -->\n"
    page = head + "It gains <!-- put gain -->0.3<!-- end -->.\n\n<!-- put table --><!-- end -->\n"
    new = filled(page)
    assert "It gains <!-- put gain -->0.25<!-- end -->." in new
    assert "-->\n\n| a |\n| --- |\n| 0.25 |\n\n<!-- end -->" in new
    assert filled(new) == new
    (tmp_path / "number.txt").write_text("0.26")
    assert filled(new) != new, "a page is told from its record"
    with pytest.raises(KeyError, match="loss"):
        filled(head + "<!-- put loss --><!-- end -->")


def test_a_page_without_a_record_stays_as_it_is():
    assert filled("# A page\n<!-- put x -->1<!-- end -->") == "# A page\n<!-- put x -->1<!-- end -->"


@pytest.mark.parametrize("page", made(), ids=lambda path: path.stem)
def test_no_line_begins_with_the_mark_of_a_number(page):
    """There a comment would end the paragraph, for GitHub and on the site."""
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("<!-- put") and "<!-- end -->" in line] == []
