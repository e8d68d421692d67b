"""Reading and writing trees."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forest import FRONT, tree, trees
from takeback.planning.trees import (
    Link,
    Mention,
    Node,
    Own,
    Tree,
    format_tree,
    parse_tree,
    read_tree,
    write_tree,
)
from takeback.run.errors import TakebackError

TEXT = """---
author:   Ada Lovelace   # a comment
stage: after-reading
date: 2026-11-20
---
# A title

Words that explain.

*  Nothing is   known
     + first
       goes on here {#one}
       > a note
       > of two lines
       >
       > another note
       see:   https://example.org/a#b

       conjecture: rl-wins in runs/a folder
       against: rl-loses in runs/demo
       study: runs/demo
       hat: Grace
     +\tsecond
<!-- a comment -->
        1. deep
     + [first](#one)
* Top two
"""


def test_every_part_is_read():
    read = parse_tree(TEXT)
    top, other = read.nodes
    first, second, again = top.children
    assert (top.words, other.words, second.words) == ("Nothing is known", "Top two", "second")
    assert first.own == Own(
        "first goes on here",
        "one",
        notes=("a note\nof two lines", "another note"),
        see=("https://example.org/a#b",),
        links=(
            Link("conjecture", "rl-wins", "runs/a folder"),
            Link("against", "rl-loses", "runs/demo"),
            Link("study", "", "runs/demo"),
        ),
        hats=("Grace",),
    )
    assert again.own == Own("first", "one", refers=True)
    assert [node.line for node in read.walk()] == [10, 11, 23, 25, 26, 27]
    assert read.front[:3] == ("Ada Lovelace", "2026-11-20", "after-reading")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n  \n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_what_was_read_is_written_byte_for_byte(tmp_path, newline, end, start):
    path = tmp_path / "a.md"
    path.write_bytes((start + TEXT.rstrip("\n") + end).replace("\n", newline).encode())
    before = path.read_bytes()
    write_tree(read_tree(path), path)
    assert path.read_bytes() == before


def test_a_change_leaves_all_other_lines_as_they_were():
    read = parse_tree(TEXT)
    first = read.nodes[0].children[0]
    changed = read.with_child(first, Node(Own("new")))
    assert format_tree(changed) == TEXT.replace("       hat: Grace\n", "       hat: Grace\n       - new\n")
    top = replace(read.nodes[0], own=Own("All is known"))
    assert format_tree(replace(read, nodes=(top, read.nodes[1]))) == TEXT.replace(
        "*  Nothing is   known", "- All is known"
    )


_WORDS = st.text(st.characters(codec="latin-1", exclude_categories=["C", "Z"]), min_size=1, max_size=5)
_SENTENCE = (
    st.lists(_WORDS, min_size=1, max_size=3)
    .map(" ".join)
    .filter(lambda words: "{#" not in words and not words.endswith("}") and not words.startswith("["))
)


@settings(max_examples=25, deadline=None)
@given(words=_SENTENCE, note=_SENTENCE, link=_SENTENCE)
def test_new_nodes_read_back_as_they_are(words, note, link):
    own = Own(words, "id-1", notes=(note.lstrip("> ") or "x", "b"), see=(link,))
    own = own._replace(said=(Mention("A, B", "after-reading", "a.md", 3, words),), was=("old",))
    made = Tree(
        tree("- a\n").front, (Node(own, (Node(Own("below")), Node(Own(words, "id-1", refers=True)))),)
    )
    read = parse_tree(format_tree(made))
    assert (read.front, read.nodes) == (made.front, made.nodes)
    assert format_tree(read) == format_tree(made)


_BULLETS = st.sampled_from(["-", "*", "+", "12.", "3)"])
_ODD = st.sampled_from(["a", "b: c", "[d]", "> e", "- f", "#g", "ümlaut  two", "x\ty", "{h}", "\u2028i"])
_BELOW = st.lists(
    st.sampled_from(["", "    ", "+ > note", "+  see: x", "+\thie: y", "+ <!-- no -->"]), max_size=3
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), _BULLETS, _ODD, _BELOW), min_size=1, max_size=8)
)
def test_any_layout_is_written_back(items):
    """Lists with any bullets, indentation, blank lines and fields."""
    lines, margins = [], []
    for wanted, step, bullet, words, below in items:
        depth = min(wanted, len(margins))
        if depth == len(margins):
            margins.append((margins[-1] if margins else -1) + step)
        margins = margins[: depth + 1]
        margin = " " * margins[-1]
        lines += [
            f"{margin}{bullet} {words}",
            *(one.replace("+", margin).replace("hie", "hat") for one in below),
        ]
    text = FRONT.format("Ada", "before-reading") + "\n".join(lines)
    assert format_tree(parse_tree(text)) == text


@settings(max_examples=30, deadline=None)
@given(trees())
def test_trees_read_back(made):
    assert parse_tree(format_tree(made), made.name) == made


def test_any_depth_is_read_and_written():
    body = "".join(f"{' ' * k}- {k}\n" for k in range(1200))
    read = tree(body)
    assert sum(1 for _ in read.walk()) == 1200
    assert format_tree(read).endswith(body)


@pytest.mark.parametrize(
    ("body", "line", "told"),
    [
        ("- a\n    - b\n  - c\n", 8, "indentation"),
        ("- a\n  sea: x\n", 7, "did you mean 'see'"),
        ("- a\n  see:\n", 7, "empty"),
        ("- a\n  > note\n  more words\n", 8, "notes"),
        ("- a\nwords\n", 7, "belongs to no problem"),
        ("- a\n- \n", 7, "without words"),
        ("- a {#x}\n- b {#x}\n", 7, "taken by line 6"),
        ("- a {#x y}\n", 6, "id"),
        ("- a {#one}\n- [b](#onne)\n", 7, "did you mean 'one'"),
        ("- a {#x}\n- [a](#x)\n  - b\n", 7, "stands where it has"),
        ("- a\n  conjecture: only-a-name\n", 7, "NAME in RUN"),
        ("- a\n  said: Ada\n", 7, "said: AUTHOR"),
        ("words alone\n", 6, "no problem"),
    ],
)
def test_errors_name_the_line(tmp_path, body, line, told):
    path = tmp_path / "a.md"
    path.write_text(FRONT.format("Ada", "before-reading") + body, encoding="utf-8")
    with pytest.raises(TakebackError) as error:
        read_tree(path)
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("front", "line", "told"),
    [
        ("- a\n", 1, "begins with '---'"),
        ("---\nauthor: Ada\n- a\n", 1, "no end"),
        ("---\nauthor: Ada\ndate: 2026-11-20\n---\n", 1, "needs stage"),
        ("---\nauthor: Ada\ndate: soon\nstage: before-reading\n---\n", 3, "no date"),
        ("---\nauthor: Ada\ndate: 2026-11-20\nstage: before\n---\n", 4, "did you mean 'before-reading'"),
        ("---\nauthor: Ada\nday: 3\n---\n", 3, "unknown field 'day'"),
        ("---\nauthor: 'Ada\nday: 3\n---\n", 4, "no YAML"),
        ("---\n- a\n---\n", 2, "no fields"),
    ],
)
def test_errors_in_the_front_matter_name_the_line(front, line, told):
    with pytest.raises(TakebackError, match=rf"^a.md:{line}: .*{told}"):
        parse_tree(front + "- a\n", "a.md")


def test_a_file_that_is_no_text_is_told(tmp_path):
    path = tmp_path / "a.md"
    path.write_bytes(b"---\n\xff")
    with pytest.raises(TakebackError, match=r"a.md can.t be read: it is no UTF-8 \(byte 5, line 2\)"):
        read_tree(path)
    with pytest.raises(TakebackError, match="no tree at"):
        read_tree(tmp_path / "b.md")
