"""The page: whole, true to the record, alone, and refused where controls are missing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from record import ARMS, Size, read_rows, write_record, write_rows, write_text
from takeback.draw.numbers import interval, percent, signed
from takeback.draw.page import Figure, Section, Table
from takeback.report import write_report
from takeback.report.rows import Effect
from takeback.run.errors import TakebackError

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Outline(HTMLParser):
    """Collects ids and text, and checks that what is opened is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if "id" in given:
            self.ids.append(str(given["id"]))
        self.sources += [
            str(given[name]) for name in ("src", "href", "srcset", "action", "data") if name in given
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def outline(page: Path) -> Outline:
    found = Outline()
    found.feed(page.read_text(encoding="utf-8"))
    found.close()
    return found


@pytest.fixture
def changed(run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may damage."""
    return Path(shutil.copytree(run, tmp_path / "copy"))


def edit(path: Path, keep: Callable[[dict[str, object]], bool]) -> None:
    write_rows(path, [row for row in read_rows(path) if keep(row)])


def test_the_page_is_whole_and_has_every_section(page: Path) -> None:
    found = outline(page)
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    assert {"summary", "trained", "moved", "takebacks", "examples", "reading", "manifest"} <= set(found.ids)


def test_nothing_on_the_page_comes_from_a_network(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert all(source.startswith("#") for source in outline(page).sources)
    assert not re.search(r"https?://", text.replace('xmlns="http://www.w3.org/2000/svg"', ""))
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket|importScripts", text)


def test_the_page_is_small(page: Path) -> None:
    assert page.stat().st_size < 1_000_000


def test_every_picture_is_well_formed_and_named(page: Path) -> None:
    pictures = re.findall(r"<svg.*?</svg>", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(pictures) > 60
    for picture in pictures:
        assert ElementTree.fromstring(picture).get("role") == "img"


def test_every_colour_is_declared_for_light_and_dark(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    light, dark = text.split("@media (prefers-color-scheme: dark)")[:2]
    for name in set(re.findall(r"var\((--[a-z0-9]+)\)", text)):
        assert f"{name}:" in light
        assert f"{name}:" in dark.split("</style>")[0]


def test_the_summary_tells_the_gain_of_every_arm(page: Path, run: Path) -> None:
    text = re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8").split('id="summary">')[1].split("</p>")[0])
    for row in read_rows(run / "behaviour" / "shifts.parquet"):
        if row["measure"] == f"utility {ARMS[row['arm']]['goal']}":
            assert f"{row['arm']} raised" in text
            assert f"({signed(row['effect'])} {interval(row['low'], row['high'])})" in text


def test_an_interval_that_includes_zero_is_said_to(changed: Path) -> None:
    path = changed / "behaviour" / "shifts.parquet"
    rows = read_rows(path)
    for row in rows:
        if row["arm"] == "rl-win" and row["measure"] == "utility win":
            row |= {"effect": 0.01, "low": -0.02, "high": 0.04}
    write_rows(path, rows)
    text = write_report(changed).read_text(encoding="utf-8")
    assert "did not measurably change the utility of win" in text
    assert "an interval that includes 0" in text
    picture = re.search(
        r'aria-label="rl-win, utility of its goal, win, sets taken back.*?</svg>', text, re.DOTALL
    )
    assert picture
    assert "as a share of what training gained" not in picture[0]


def test_each_square_tells_its_effect_and_interval(page: Path, run: Path) -> None:
    text = page.read_text(encoding="utf-8")
    rows = [
        row
        for row in read_rows(run / "effects" / "rl-corner-seed-0.parquet")
        if row["family"] == "each head"
        and row["measure"] in ("utility corner", "legal", "KL(after || before)")
    ]
    assert len(rows) == 16 * 3 * 2
    for row in rows:
        assert f"{row['components']}: {signed(row['effect'])} {interval(row['low'], row['high'])}" in text


def test_shares_of_the_change_equal_the_record(page: Path, run: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for arm in ARMS:
        for row in read_rows(run / "diff" / f"{arm}-seed-0" / "components.parquet"):
            assert f"{row['component']}: {percent(row['share'])} of ‖Δ‖²".replace("<", "&lt;") in text


def test_random_sets_are_told_beside_the_sets_they_match(page: Path, run: Path) -> None:
    text = page.read_text(encoding="utf-8")
    controls = [
        row
        for row in read_rows(run / "effects" / "rl-win-seed-0.parquet")
        if row["family"].startswith("random") and row["measure"] == "utility win"
    ]
    assert controls
    assert any(effect.n_components > 1 for effect in Effect.read(controls, run))
    for row, effect in zip(controls, Effect.read(controls, run), strict=True):
        told = f"{signed(row['effect'])} {interval(row['low'], row['high'])}"
        assert f"{effect.title}: {told}" in text


@pytest.mark.parametrize("direction", ["take back", "graft"])
def test_without_random_sets_nothing_is_rendered(changed: Path, direction: str) -> None:
    edit(
        changed / "effects" / "sft-win-seed-0.parquet",
        lambda row: not (str(row["family"]).startswith("random") and row["direction"] == direction),
    )
    with pytest.raises(TakebackError, match=rf"without controls.*sft-win, seed 0, {direction}: every set"):
        write_report(changed)
    assert not (changed / "report.html").exists()


def test_a_set_without_its_own_random_sets_is_named(changed: Path) -> None:
    edit(changed / "effects" / "rl-win-seed-0.parquet", lambda row: row["matches"] != "all mlps")
    with pytest.raises(TakebackError, match=r"rl-win, seed 0, take back: all mlps; .*graft: all mlps"):
        write_report(changed)


def test_names_are_escaped(tmp_path: Path) -> None:
    run = write_record(tmp_path / "run")
    plan = yaml.safe_load((run / "plan.yaml").read_text(encoding="utf-8"))
    write_text(
        run / "plan.yaml", yaml.safe_dump({**plan, "title": "<b>&", "base": "<i>base"}, sort_keys=False)
    )
    path = run / "effects" / "rl-win-seed-0.parquet"
    rows = read_rows(path)
    for row in rows:
        if row["n_components"] == 1:
            row |= {"set": f"<script>{row['set']}", "matches": ""}
    write_rows(path, rows)
    examples = json.loads((run / "behaviour" / "examples.json").read_text(encoding="utf-8"))
    examples["rl-win-seed-0"][0] |= {"situation": '"><script>', "before": [["<u>", 0.5]]}
    write_text(run / "behaviour" / "examples.json", json.dumps(examples))
    text = write_report(run).read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;" in text
    assert "&lt;script&gt;" in text
    assert text.count("<script>") == 1
    assert not re.search(r"<b>&|<i>base|<u>", text)


def test_the_same_record_gives_the_same_bytes(run: Path, page: Path, tmp_path: Path) -> None:
    assert write_report(run, tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_what_a_run_need_not_have_is_said_to_be_absent(changed: Path) -> None:
    (changed / "behaviour" / "games.parquet").unlink()
    (changed / "behaviour" / "examples.json").unlink()
    (changed / "arms" / "rl-win" / "seed-0" / "log.parquet").unlink()
    text = write_report(changed).read_text(encoding="utf-8")
    assert "No games were played in this run." in text
    assert "This record has no example positions." in text
    assert "No training log of rl-win, seed 0, is in this record." in text


@pytest.mark.parametrize(
    "missing",
    [
        "manifest.json",
        "behaviour/shifts.parquet",
        "effects/rl-win-seed-0.parquet",
        "diff/rl-corner-seed-0/total.parquet",
    ],
)
def test_an_unfinished_run_is_refused_by_name(changed: Path, missing: str) -> None:
    (changed / missing).unlink()
    with pytest.raises(TakebackError, match=rf"not finished: it lacks {missing}"):
        write_report(changed)


def test_other_faults_are_one_clear_line(changed: Path, tmp_path: Path) -> None:
    with pytest.raises(TakebackError, match="no run folder"):
        write_report(tmp_path / "nowhere")
    effects = changed / "effects" / "rl-win-seed-0.parquet"
    rows = read_rows(effects)
    write_rows(effects, rows, schema="99")
    with pytest.raises(TakebackError, match="99"):
        write_report(changed)
    write_rows(effects, [{key: value for key, value in row.items() if key != "matches"} for row in rows])
    with pytest.raises(TakebackError, match="no column matches"):
        write_report(changed)
    effects.write_bytes(effects.read_bytes()[:1000])
    with pytest.raises(TakebackError, match=r"rl-win-seed-0\.parquet"):
        write_report(changed)


def test_games_without_a_mate_are_told_and_not_drawn(changed: Path) -> None:
    path = changed / "behaviour" / "games.parquet"
    write_rows(path, [row | {"result": "draw"} for row in read_rows(path)])
    text = write_report(changed).read_text(encoding="utf-8")
    assert "No game ended in mate" in text
    assert "(by mate) in 0% of 120 games; base in 0% of 120 games" in text
    assert "Share of games that end in mate" not in text


def test_a_draw_that_hit_its_own_set_is_no_control(changed: Path) -> None:
    path = changed / "effects" / "rl-win-seed-0.parquet"
    rows = read_rows(path)
    members = next(row["components"] for row in rows if row["set"] == "L0")
    for row in rows:
        if "L0" in row["matches"].split("; "):
            row["components"] = members
    write_rows(path, rows)
    assert "no other set is like it, so it has no control" in write_report(changed).read_text(
        encoding="utf-8"
    )


def test_a_measure_that_was_not_taken_is_no_blank_figure(changed: Path) -> None:
    edit(changed / "effects" / "rl-win-seed-0.parquet", lambda row: row["measure"] != "legal")
    with pytest.raises(TakebackError, match=r"unknown measure in the effects of 'rl-win' 'legal'"):
        write_report(changed)


def test_several_seeds_have_a_point_each(tmp_path: Path) -> None:
    run = write_record(tmp_path / "run", Size(seeds=(0, 1)))
    text = write_report(run).read_text(encoding="utf-8")
    assert "seed 1" in text
    picture = re.search(
        r'aria-label="rl-win, utility of its goal, win, sets taken back.*?</svg>', text, re.DOTALL
    )
    assert picture
    assert picture[0].count("<circle") == 2 * 12


def test_the_report_loads_no_torch() -> None:
    code = "import sys; import takeback.report.html, takeback.report.read; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_what_a_change_is_made_of_is_shown_where_it_was_looked_into(tmp_path):
    run = write_record(tmp_path / "run")
    assert "did not look into it" in write_report(run).read_text(encoding="utf-8")
    section = Section(
        "Smallest sets",
        ("Three heads carry it & more.",),
        (Figure.of("Curve", '<svg class="curve"></svg>'),),
        (Table(("set", "share"), (("L0.H0", "91%"),), ("set",)),),
    )
    manifest = {"sections": [section.plain()]}
    write_text(run / "localise" / "sft-win-seed-0" / "localise.json", json.dumps(manifest))
    page = write_report(run)
    words = " ".join(outline(page).words)
    assert "Three heads carry it & more." in words
    assert "91%" in words
    assert '<svg class="curve">' in page.read_text(encoding="utf-8")


def test_a_run_of_a_project_links_it_and_others_say_nothing(run: Path, page: Path, tmp_path: Path) -> None:
    assert 'id="project"' not in page.read_text(encoding="utf-8")
    own = Path(shutil.copytree(run, tmp_path / "runs" / "demo"))
    plan = yaml.safe_load((own / "plan.yaml").read_text())
    project = tmp_path.resolve() / "<mine>.md"
    (own / "plan.yaml").write_text(yaml.safe_dump({**plan, "project": str(project)}))
    text = write_report(own).read_text(encoding="utf-8")
    assert '<a href="../../&lt;mine&gt;.md">&lt;mine&gt;.md</a>' in text
