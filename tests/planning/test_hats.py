from datetime import date

import pytest

from takeback.planning.checkin import Hat, add_hat, read_answers, read_hat, read_project
from takeback.planning.trees.read import read_tree
from takeback.run.errors import TakebackError

DAY = date(2026, 1, 22)
PROFILE = """---
hat: Bob
source: what he asked in three meetings
---
# Bob asks
- What if it is chance?
- Where does it
  break?
"""
PROJECT = "---\nname: a\nstarted: 2026-01-05\nevery: 2 weeks\n---\n## neglected\n"
TREE = "---\nauthor: Ada\ndate: 2026-01-05\nstage: before-reading\n---\n- no idea {#top}\n  * no names\n"


@pytest.fixture
def hat(tmp_path):
    (tmp_path / "bob.md").write_text(PROFILE)
    return read_hat(tmp_path / "bob.md")


def test_a_profile_is_a_list_of_questions(hat):
    assert hat == Hat(
        "Bob", "what he asked in three meetings", ("What if it is chance?", "Where does it break?")
    )


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("hat: Bob\n", "", 1, "the field hat is missing"),
        ("# Bob asks", "Bob asks", 5, "is no question"),
        ("- Where does it\n  break?", "- What if it is chance?", 7, "is asked twice"),
        ("source", "sourc", 3, "did you mean 'source'"),
    ],
)
def test_a_bad_profile_is_told_with_its_line(old, new, line, told, tmp_path):
    path = tmp_path / "bob.md"
    path.write_text(PROFILE.replace(old, new))
    with pytest.raises(TakebackError, match=told) as caught:
        read_hat(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_answers_in_a_project_are_one_note_marked_with_the_hat(hat, tmp_path):
    path = tmp_path / "a.md"
    path.write_text(PROJECT)
    assert (
        add_hat(path, hat, {hat.questions[0]: "Three  seeds.\nMore soon.", hat.questions[1]: " "}, DAY, "Ada")
        == 1
    )
    assert path.read_text().startswith(PROJECT)
    (note,) = read_project(path).notes
    assert (note.day, note.by, note.hat) == (DAY, "Ada", "Bob")
    assert note.text == "- **What if it is chance?** Three seeds. More soon."


def test_answers_in_a_tree_are_problems_marked_with_the_hat(hat, tmp_path):
    path = tmp_path / "tree.md"
    path.write_text(TREE)
    answers = {hat.questions[0]: "Seeds differ", hat.questions[1]: "No baseline"}
    assert add_hat(path, hat, answers, DAY, "Ada") == 2
    assert path.read_text().startswith(TREE)
    (top,) = read_tree(path).nodes
    assert [node.words for node in top.children] == ["no names", "Seeds differ", "No baseline"]
    assert [node.own.hats for node in top.children] == [(), ("Bob",), ("Bob",)]
    assert top.children[1].own.notes == ("What if it is chance? (Ada)",)
    add_hat(path, hat, {hat.questions[0]: "Whose names"}, DAY, under="no names")
    assert [node.words for node in read_tree(path).nodes[0].children[0].children] == ["Whose names"]
    with pytest.raises(TakebackError, match="unknown problem 'no nmes': did you mean 'no names'"):
        add_hat(path, hat, answers, DAY, under="no nmes")


def test_answers_come_from_a_file_by_question_or_number(hat, tmp_path):
    path = tmp_path / "answers.yaml"
    path.write_text("1: Seeds.\nWhere does it break?: At the end.\n")
    assert read_answers(path, hat) == {hat.questions[0]: "Seeds.", hat.questions[1]: "At the end."}
    for text, told in (
        ("3: x\n", "unknown question"),
        ("What if it is chanc?: x\n", "did you mean 'What if it is chance"),
        ("1: x\nWhat if it is chance?: y\n", "twice"),
        ("1: [x]\n", "no text"),
        ("- x\n", "has no answers"),
    ):
        path.write_text(text)
        with pytest.raises(TakebackError, match=told):
            read_answers(path, hat)


def test_nothing_answered_writes_nothing(hat, tmp_path):
    path = tmp_path / "a.md"
    path.write_text(PROJECT)
    with pytest.raises(TakebackError, match="nothing to write down"):
        add_hat(path, hat, {hat.questions[0]: "  "}, DAY)
    with pytest.raises(TakebackError, match="leave --under away"):
        add_hat(path, hat, {hat.questions[0]: "x"}, DAY, under="top")
    assert path.read_text() == PROJECT
