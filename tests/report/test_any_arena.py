"""The page in the words of any arena, with names to paste, and from records of the version before."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import takeback.report
from record import read_rows, write_rows, write_text
from takeback.anatomy.sets import parse_set
from takeback.arenas import Words
from takeback.draw.page import Section
from takeback.report import write_report
from takeback.report.html import sections_of
from takeback.report.read import read_record
from takeback.training.recipe import Recipe
from test_worlds import words

SETS = ("set", "most harmful", "most freeing", "component", "raised most by taking back")
BRIDGE = Words(
    action="bid",
    situation="hand",
    game="deal",
    defender="two robots",
    starts="a strong hand",
    won="slam",
    outcomes=("slam", "part score", "unfinished"),
    cluster="suits",
)


def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def rewritten(run: Path, **changes: object) -> None:
    path = run / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {name: value for name, value in manifest.items() if value is not None}
    write_text(path, json.dumps(kept))


def every(sections: list[Section] | tuple[Section, ...]) -> Iterator[Section]:
    for section in sections:
        yield section
        yield from every(section.inside)


def test_an_arena_brings_its_own_words(run: Path, tmp_path: Path) -> None:
    own = copied(run, tmp_path)
    rewritten(own, words=asdict(BRIDGE))
    path = own / "behaviour" / "games.parquet"
    ends = {"mate": "slam", "draw": "part score", "illegal": "unfinished"}
    write_rows(path, [row | {"result": ends.get(row["result"], row["result"])} for row in read_rows(path)])
    page = write_report(own)
    said = words(page)
    assert not re.findall(r"\b(mates?|moves?|positions?|best defender|symmetry)\b", said)
    for told in ("mass on legal bids", "Deals against two robots", "Example hands", "clustered by suits"):
        assert told in said
    assert "slams" in said
    assert re.search(r"It wins against two robots \(by slam\) in \d+% of 120 deals", said)


def test_an_own_method_is_told_by_its_account(run: Path, tmp_path: Path) -> None:
    own = copied(run, tmp_path)
    manifest = json.loads((own / "manifest.json").read_text(encoding="utf-8"))
    account = {
        "table": "evolution", "sentence": "evolving weights", "by": "chance", "aims": False,
        "logs": "fitness", "steps": "generations",
    }  # fmt: skip
    rewritten(own, arms=manifest["arms"] | {"rl-win": account})
    said = words(write_report(own))
    assert "rl-win (evolving weights, read on “win”)" in said
    assert "evolution, read on: win" in said
    assert "rl-win: fitness." in said


def test_a_run_of_the_version_before_is_told_by_its_plan(run: Path, page: Path, tmp_path: Path) -> None:
    own = copied(run, tmp_path)
    rewritten(own, words=None, base=None, arms=None)
    assert "words" not in json.loads((own / "manifest.json").read_text(encoding="utf-8"))
    assert write_report(own, tmp_path / "old.html").read_bytes() == page.read_bytes()


def test_whatever_a_table_calls_a_set_can_be_taken_back(run: Path) -> None:
    record = read_record(run)
    names = [
        row[table.head.index(head)].removeprefix("random set ")
        for section in every(sections_of(record))
        for table in section.tables
        for head in table.head
        if head in SETS
        for row in table.rows
    ]
    assert len(names) > 250
    for name in names:
        if name != "none raises it" and not name.startswith("of "):
            assert parse_set(name, record.universe)


def test_numbers_that_are_read_on_fewer_situations_say_so(run: Path, tmp_path: Path) -> None:
    own = copied(run, tmp_path)
    folder = own / "localise" / "rl-win-seed-0"
    section = Section("Shares", ("utility win changed by 0.290.",))
    write_text(folder / "localise.json", json.dumps({"sections": [section.plain()]}))
    write_rows(
        folder / "changes.parquet", [{"measure": "utility win", "change": 0.29, "low": 0.2, "high": 0.38}]
    )
    write_text(own / "plan.yaml", (own / "plan.yaml").read_text() + "localise_situations: 64\n")
    said = words(write_report(own))
    assert "read on 64 of the 192 held-out situations" in said
    assert "Here utility win changed by +0.290 [0.200, 0.380], on all situations by +0.270 [" in said


def test_no_method_and_no_arena_is_known_by_name() -> None:
    methods = [kind.model_fields["method"].default for kind in get_args(Recipe)]
    assert "rl" in methods
    names = "|".join([*methods, "endgames", "gym", "chess"])
    for path in Path(takeback.report.__file__).parent.glob("*.py"):
        assert not re.findall(rf"[\"'](?:{names})\b", path.read_text(encoding="utf-8")), path.name
