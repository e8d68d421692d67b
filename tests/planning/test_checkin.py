import json
from datetime import date, timedelta

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from takeback.planning.checkin import (
    add_note,
    check,
    load_heuristics,
    new_project,
    parse_project,
    read_project,
)
from takeback.run.errors import TakebackError

FRONT = "---\nname: a\nstarted: 2026-01-05\nevery: 2 weeks\n---\n"
TEXT = (
    FRONT
    + """# A, in our words

Anything may stand here: ## neglected

## Is it neglected?

### 2026-01-06 Ada
No.

### 2026-01-20 Ada, with the hat of Bob
Partly: [a plan](plan.md) and <https://example.org/x>, [gone](gone.md#top).

## hard-case: the one that matters
### 2026-01-10
It does.
## success
```
### no heading
```
## Notes
### 2026-01-21 Ada
Free words.
"""
)


def parsed(text=TEXT, path="a.md"):
    return parse_project(text, path)


def test_answers_are_read_with_who_when_and_what_they_link_to(tmp_path):
    (tmp_path / "plan.md").touch()
    project = parsed(path=tmp_path / "a.md")
    assert (project.name, project.started, project.every) == ("a", date(2026, 1, 5), timedelta(days=14))
    first, second = project.answers["neglected"]
    assert (first.day, first.by, first.hat, first.text, first.verdict) == (
        date(2026, 1, 6),
        "Ada",
        "",
        "No.",
        "no",
    )
    assert (second.hat, second.verdict) == ("Bob", "partly")
    assert second.links == ("plan.md", "https://example.org/x", "gone.md#top")
    assert project.line_of(second, "gone.md#top") == 16
    assert list(project.answers) == ["hard-case", "neglected"]
    assert [(one.by, one.text) for one in project.notes] == [("Ada", "Free words.")]


def test_every_shipped_question_has_its_heading_in_a_new_file(tmp_path):
    path = new_project(tmp_path / "new.md", "Mine: a", date(2026, 1, 5)).write()
    project = read_project(path)
    assert (project.name, project.answers, project.notes) == ("Mine: a", {}, ())
    for one in load_heuristics():
        assert f"## {one.question}\n" in project.text
    assert len(load_heuristics()) == 13
    with pytest.raises(TakebackError, match="is there already"):
        new_project(path, "b", date(2026, 1, 5))


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_is_read_is_written_byte_for_byte(newline, tmp_path):
    path = tmp_path / "a.md"
    path.write_bytes(TEXT.replace("\n", newline).encode())
    before = path.read_bytes()
    read_project(path).write()
    assert path.read_bytes() == before
    grown = add_note(read_project(path), "One more.\nTwo.", date(2026, 1, 22), "Cleo", "Bob")
    assert grown.text.encode().startswith(before)
    assert grown.text.count(newline) == grown.text.count("\n")
    assert (grown.notes[-1].text, grown.notes[-1].by, grown.notes[-1].hat) == (
        "One more.\nTwo.",
        "Cleo",
        "Bob",
    )


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)
NAMES = WORDS.filter(lambda name: "," not in name and not name.startswith("#") and not name.endswith("#"))


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.lists(st.tuples(WORDS, NAMES), min_size=1, max_size=3),
    st.sampled_from(["", "\n## neglected\n", "\n\n"]),
)
def test_notes_are_added_and_nothing_else_changes(notes, end):
    text = TEXT.replace("## Is it neglected?", "## interesting") + end
    project = parsed(text)
    for words, name in notes:
        if words.startswith(("#", "```", "~~~")):
            continue
        grown = add_note(project, words, date(2026, 1, 22), name)
        assert (grown.notes[-1].text, grown.notes[-1].by) == (words, name)
        assert (grown.notes[:-1], grown.answers.keys()) == (project.notes, project.answers.keys())
        project = grown
    kept = iter(project.text.splitlines())
    assert all(line in kept for line in text.splitlines())  # what was there is there, in its order


@pytest.mark.parametrize("text", ["### 2026-01-22\nA second note.", "## neglected", ""])
def test_a_note_that_would_not_read_back_is_refused(text):
    with pytest.raises(TakebackError):
        add_note(parsed(), text, date(2026, 1, 22))


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("---\nname", "name", 1, "begins with ---"),
        ("weeks\n---", "weeks", 1, "no end"),
        ("name: a", "\tname: a", 2, "YAML"),
        ("name: a", "nme: a", 2, "did you mean 'name'"),
        ("name: a", "name: 7", 2, "name is some words"),
        ("2026-01-05", "yesterday", 3, "started is a date"),
        ("2 weeks", "often", 4, "every is a time"),
        ("2 weeks", "0 days", 4, "every is a time"),
        (
            "Is it neglected?",
            "Is it neglectd?",
            10,
            "unknown question 'Is it neglectd.*did you mean 'Is it neglected",
        ),
        ("hard-case: the", "hard-cse: the", 18, "unknown question"),
        ("### 2026-01-06 Ada", "### 2026-02-30 Ada", 12, "is not a date"),
        ("### 2026-01-06 Ada", "### soon", 12, "is not a date"),
        ("## Is it neglected?\n", "\n", 12, "needs the heading of its question"),
        ("## success", "## neglected", 21, "has a heading at line 10 already"),
        ("### 2026-01-20 Ada, with the hat of Bob", "### 2026-01-06 Ada", 15, "is at line 12 already"),
    ],
)
def test_errors_name_the_file_and_the_line(old, new, line, told):
    assert old in TEXT
    with pytest.raises(TakebackError, match=told) as caught:
        parsed(TEXT.replace(old, new, 1))
    assert str(caught.value).startswith(f"a.md:{line}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_field_or_file_is_told(tmp_path):
    with pytest.raises(TakebackError, match=r"a\.md:1: the field every is missing"):
        parsed(FRONT.replace("every: 2 weeks\n", ""))
    with pytest.raises(TakebackError, match="no project at"):
        read_project(tmp_path / "none.md")


def test_what_is_open_bare_or_leads_nowhere_is_told(tmp_path):
    (tmp_path / "plan.md").touch()
    found = check(parsed(path=tmp_path / "a.md"), date(2026, 1, 21))
    stands = {one.heuristic.id: one for one in found.standings}
    assert stands["neglected"].state == "answered"
    assert stands["neglected"].missing == ("gone.md#top",)
    assert stands["hard-case"].state == "no evidence"
    assert {name for name, one in stands.items() if one.state == "unanswered"} == {
        one.id for one in load_heuristics()
    } - {"neglected", "hard-case"}
    only = parsed(FRONT + "## neglected\n### 2026-01-06\nNo: [gone](gone.md).\n", tmp_path / "a.md")
    (bare,) = check(only, date(2026, 1, 6)).in_state("no evidence")
    assert bare.missing == ("gone.md",)


@pytest.mark.parametrize(
    ("day", "is_due", "left"), [("2026-02-02", False, 1), ("2026-02-03", True, 0), ("2026-02-10", True, -7)]
)
def test_the_next_check_in_is_due_by_the_date_that_is_given(day, is_due, left):
    found = check(parsed(), date.fromisoformat(day))
    assert (found.last, found.due) == (date(2026, 1, 20), date(2026, 2, 3))
    assert (found.is_due, found.left.days) == (is_due, left)


def test_before_any_answer_the_start_counts_and_a_day_without_changes_can_be_noted():
    found = check(parsed(FRONT), date(2026, 1, 19))
    assert (found.last, found.due, found.is_due) == (None, date(2026, 1, 19), True)
    text = TEXT.replace("every: 2 weeks", "every: 10 days\nchecked: [2026-01-15, 2026-01-25]")
    found = check(parsed(text), date(2026, 1, 26))
    assert (found.last, found.due) == (date(2026, 1, 25), date(2026, 2, 4))
    with pytest.raises(TakebackError, match="2026-01-25 is after"):
        check(parsed(text), date(2026, 1, 24))


def test_an_answer_from_the_future_is_told_with_its_line():
    with pytest.raises(TakebackError, match=r"a\.md:15: 2026-01-20 is after the day"):
        check(parsed(), date(2026, 1, 19))


def test_changes_over_time_are_told_whatever_the_order_in_the_file():
    answers = (
        "### 2026-01-20\nYes: [b](b.md) [c](c.md).\n### 2026-01-06\nNo, [a](a.md) [b](b.md).\n"
        "### 2026-02-01\nYes:   [b](b.md) [c](c.md).\n"
    )
    one, two = check(parsed(FRONT + f"## neglected\n{answers}"), date(2026, 2, 2)).changes
    assert (one.before.day, one.after.day, one.before.verdict, one.after.verdict) == (
        date(2026, 1, 6),
        date(2026, 1, 20),
        "no",
        "yes",
    )
    assert (one.gained, one.lost, one.reworded) == (("c.md",), ("a.md",), True)
    assert (two.gained, two.lost, two.reworded) == ((), (), False)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Yes.", "yes"),
        ("partly, so", "partly"),
        ("No", "no"),
        ("Nobody knows.", ""),
        ("No idea.", ""),
        ("So: yes.", ""),
    ],
)
def test_a_verdict_is_a_first_word_that_stands_alone(text, verdict):
    project = parsed(FRONT + f"## neglected\n### 2026-01-06\n{text}\n")
    assert project.answers["neglected"][0].verdict == verdict


def write_questions(path, **changes):
    fields = {"title": "Mine", "source": "Me", "heuristics": [{"id": "why", "question": "Why?"}], **changes}
    path.write_text(yaml.safe_dump(fields))
    return path


def test_a_project_may_bring_its_own_questions(tmp_path):
    write_questions(tmp_path / "mine.yaml")
    (tmp_path / "a.md").write_text(FRONT.replace("name: a", "name: a\nheuristics: mine.yaml") + "## Why?\n")
    assert [one.id for one in read_project(tmp_path / "a.md").heuristics] == ["why"]
    (tmp_path / "b.md").write_text(FRONT + "## Why?\n")
    assert read_project(tmp_path / "b.md", tmp_path / "mine.yaml").heuristics.source == "Me"
    with pytest.raises(TakebackError, match="unknown question"):
        read_project(tmp_path / "b.md")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"source": ""}, "source"),
        ({"heuristics": []}, "heuristics"),
        ({"heuristics": [{"id": "A b", "question": "Why?"}]}, "id"),
        (
            {"heuristics": [{"id": "a", "question": "Why?"}, {"id": "b", "question": "why"}]},
            "two questions are",
        ),
        ({"heuristics": [{"id": "a", "question": "Why?", "knows": "all"}]}, "knows"),
    ],
)
def test_bad_questions_are_told_in_one_line(changes, told, tmp_path):
    path = write_questions(tmp_path / "mine.yaml", **changes)
    with pytest.raises(TakebackError, match=told) as caught:
        load_heuristics(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_check_goes_into_json_and_onto_the_terminal(capsys):
    found = check(parsed(), date(2026, 1, 21))
    plain = json.loads(json.dumps(found.plain(), allow_nan=False))
    assert (plain["last_check_in"], plain["next_check_in"], plain["due"]) == (
        "2026-01-20",
        "2026-02-03",
        False,
    )
    assert {one["id"]: one["state"] for one in plain["questions"]}["neglected"] == "answered"
    found.print()
    printed = capsys.readouterr().out
    assert "13 questions: 1 answered with evidence, 1 with none, 11 unanswered." in printed
    assert "due in 13 days (2026-02-03)" in printed
    assert "a.md:16: plan.md (neglected)" in printed
    assert "neglected: 2026-01-06 → 2026-01-20 no → partly" in printed
