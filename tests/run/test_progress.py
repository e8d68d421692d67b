"""Displays tell how far work is: in lines where there is no terminal, or to whoever asked to be told."""

from __future__ import annotations

import pytest

from takeback.run.parts import watched
from takeback.run.progress import Display, piece_of, tell, told_to


def test_a_line_when_a_stage_begins_and_when_a_job_ends(capsys):
    with Display(["diff"]) as display:
        display.show("diff", "parts done", 3, 64)
        display.show("diff", "parts done", 4, 64)
        display.finish("diff")
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition("] ")[2] for line in lines] == ["diff: parts done 3/64", "diff: done"]


def test_inside_told_to_displays_report_and_show_nothing(capsys):
    heard: list[tuple[str, int, int]] = []

    def hear(stage: str, done: int, total: int) -> None:
        heard.append((stage, done, total))

    with told_to(hear), Display(["curves"]) as display:
        display.show("curves", "parts done", 1, 2)
        display.finish("curves")
    assert heard == [("curves, parts done", 1, 2)]
    assert capsys.readouterr().err == ""
    with Display(["after"]) as display:
        display.finish("after")
    assert "after: done" in capsys.readouterr().err


def test_a_piece_tells_how_far_the_whole_is(capsys, monkeypatch: pytest.MonkeyPatch):
    tell("drawing", 1, 2)  # no work is shown here
    with Display(["pool"]):
        tell("drawing", 1, 2)  # it has not lasted yet
        monkeypatch.setattr("takeback.run.progress.PATIENCE", -1.0)
        with piece_of(10, 20, 100):
            tell("drawing", 1, 2)
    with Display(["one", "two"]):
        tell("drawing", 1, 2)  # which of them is at it?
    tell("drawing", 1, 2)
    assert [line.partition("] ")[2] for line in capsys.readouterr().err.splitlines()] == [
        "pool: drawing 20/100"
    ]


def test_items_are_counted_unless_pieces_tell_more(capsys, monkeypatch: pytest.MonkeyPatch):
    for module in ("progress", "parts"):
        monkeypatch.setattr(f"takeback.run.{module}.PATIENCE", -1.0)
    list(watched("plain", range(3)))
    for _ in watched("pool", range(3)):
        tell("drawing", 1, 9)
    list(watched("quiet", range(3), shown=False))
    told = [line.partition("] ")[2] for line in capsys.readouterr().err.splitlines()]
    assert [one.split(":")[0] for one in told] == ["plain", "pool"]
    assert told[1] == "pool: drawing 1/9"


def test_inside_the_display_of_one_job_others_tell_that(capsys):
    with Display(["attribution"]):
        with Display(["reading hybrids"]) as inner:
            inner.show("reading hybrids", "items done", 1, 2)
            inner.finish("reading hybrids")
        assert "attribution: reading hybrids, items done 1/2" in capsys.readouterr().err
