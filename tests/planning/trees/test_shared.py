"""Ranking, and comparing two trees."""

from forest import tree
from takeback.planning.trees import common, compare, merge

BODY = """- top
  - a
    - c
      - d {#d}
  - b
    - c
  - e
    - [d](#d)
"""


def test_ranks_by_hand():
    big = merge([tree(BODY), tree("- top\n  - b\n    - f\n", "Bob")]).tree
    ranked = [(one.problem, one.people, one.parents, one.branches, one.below) for one in common(big)]
    assert ranked == [
        ("b", 2, 1, 1, 3),
        ("c", 1, 2, 2, 1),
        ("d", 1, 2, 3, 0),
        ("a", 1, 1, 1, 2),
        ("e", 1, 1, 1, 1),
        ("f", 1, 1, 1, 0),
    ]
    first = common(big)[0]
    assert first.who == ("Ada", "Bob")
    assert first.share == 4 / 6


def test_one_person_who_says_it_twice_is_one_person():
    big = merge([tree("- top\n  - a\n"), tree("- top\n  - a\n", stage="after-reading", name="later.md")]).tree
    assert common(big)[0].people == 1


def test_added_dropped_moved_and_reworded():
    after = """- top
  - a
    - c
      - something else {#d}
  - b
  - e was said otherwise
    - [something else](#d)
  - new
"""
    found = [(one.kind, one.problem, one.line_before, one.line) for one in compare(tree(BODY), tree(after))]
    assert found == [
        ("added", "e was said otherwise", 0, 11),
        ("added", "new", 0, 13),
        ("dropped", "e", 12, 0),
        ("moved", "c", 8, 8),
        ("moved", "something else", 9, 9),
        ("reworded", "something else", 9, 9),
    ]
    moved = compare(tree(BODY), tree(after))[3]
    assert (moved.under_before, moved.under) == (("a", "b"), ("a",))


def test_a_rewording_is_found_by_likeness_and_each_problem_is_matched_once():
    old = tree("- top\n  - weights moved a little\n  - weights moved a lot\n")
    new = tree("- top\n  - all weights moved a little\n  - cost\n")
    found = [(one.kind, one.problem, one.before) for one in compare(old, new)]
    assert found == [
        ("added", "cost", ""),
        ("dropped", "weights moved a lot", "weights moved a lot"),
        ("reworded", "all weights moved a little", "weights moved a little"),
    ]
    assert compare(old, old) == []
    backwards = [(one.kind, one.problem) for one in compare(new, old)]
    assert backwards == [
        ("added", "weights moved a lot"),
        ("dropped", "cost"),
        ("reworded", "weights moved a little"),
    ]
