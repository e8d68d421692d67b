"""Merging trees."""

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forest import large, tree, trees
from takeback.planning.trees import (
    MergeDecisions,
    ProblemGraph,
    extended,
    format_tree,
    merge,
    parse_tree,
    read_decisions,
    write_proposals,
)
from takeback.planning.trees.wording import near_pairs, normalised
from takeback.run.errors import TakebackError

ADA = "- top\n  - No names for parts\n    > hard\n    - noise {#n}\n  - cost\n    - [noise](#n)\n"
BOB = "- Top!\n  - no names for parts.\n    - too many of them\n  - no name for parts\n  - Noise\n"


def text(*read, decisions=MergeDecisions()):  # noqa: B008
    return format_tree(merge(read, decisions).tree)


def again(*read, decisions=MergeDecisions(), name="big.md"):  # noqa: B008
    return parse_tree(text(*read, decisions=decisions), name)


def find(read, words):
    (node,) = [one for one in read.walk() if one.words == words and not one.own.refers]
    return node


def test_equal_and_normalised_wordings_become_one_problem_that_keeps_who_said_it_and_where():
    big = again(tree(ADA), tree(BOB, "Bob", "after-reading"))
    said = find(big, "No names for parts").own.said
    assert [tuple(one) for one in said] == [
        ("Ada", "before-reading", "ada.md", 7, "No names for parts"),
        ("Bob", "after-reading", "bob.md", 7, "no names for parts."),
    ]
    assert find(big, "No names for parts").own.notes == ("hard (Ada)",)
    assert big.front == ("Ada, Bob", "2026-11-20", "merged", "", ("ada.md", "bob.md"))


def test_a_problem_under_several_others_is_one_with_several_parents():
    graph = ProblemGraph.of(again(tree(ADA), tree(BOB, "Bob")))
    assert set(graph.parents["noise"]) == {"no names for parts", "cost", "top"}
    assert graph.children["no names for parts"] == ("noise", "too many of them")


def test_nothing_fuzzy_is_merged_unasked_and_decisions_are_kept(tmp_path):
    read, path = [tree(ADA), tree(BOB, "Bob")], tmp_path / "big.proposals.txt"
    found = merge(read)
    (one,) = found.proposals
    assert one.pair == ("no name for parts", "no names for parts")
    assert len(find(found.tree, "no name for parts").own.said) == 1
    write_proposals(found.proposals, MergeDecisions(), path)
    assert merge(read, read_decisions(path)) == found

    path.write_text(path.read_text().replace("\n? ", "\ndifferent "))
    refused = merge(read, read_decisions(path))
    assert (refused.proposals, refused.tree) == ((), found.tree)

    path.write_text(path.read_text().replace("\ndifferent ", "\nsame "))
    decided = read_decisions(path)
    same = merge(read, decided)
    assert same.proposals == ()
    assert len(find(same.tree, "No names for parts").own.said) == 3
    write_proposals(same.proposals, decided, path)
    assert read_decisions(path) == decided
    # the merged tree knows it without the decisions
    big = again(*read, decisions=decided)
    assert text(big, *read) == format_tree(big)


def test_a_decision_on_words_that_no_tree_has_is_told(tmp_path):
    path = tmp_path / "p.txt"
    path.write_text("same gone <=> noise\n")
    assert merge([tree(ADA)], read_decisions(path)).idle == (("gone", "noise"),)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("sane 0.9 a <=> b", "did you mean 'same'"),
        ("same a b", "WORDS <=> WORDS"),
        ("same a <=> b <=> c", "WORDS <=> WORDS"),
        ("different b <=> A!", "decided otherwise"),
    ],
)
def test_errors_in_decisions_name_the_line(tmp_path, line, told):
    path = tmp_path / "p.txt"
    path.write_text(f"# first\nsame a <=> b\n{line}\n")
    with pytest.raises(TakebackError, match=rf"p.txt:3: .*{told}"):
        read_decisions(path)


def test_problems_of_which_one_hangs_on_the_other_are_not_proposed():
    assert merge([tree("- weights moved\n  - x\n    - weights moved much\n")]).proposals == ()
    assert len(merge([tree("- weights moved\n- weights moved much\n")]).proposals) == 1


def test_a_cycle_is_told_with_its_path():
    one = tree("- a\n  - b\n    - c\n")
    other = tree("- x\n  - C\n    - A\n", "Bob")
    for read in itertools.permutations([one, other]):
        with pytest.raises(TakebackError) as error:
            merge(read)
        assert str(error.value) == (
            "problems make each other hard in a circle: 'A' by 'b' (ada.md:7), 'b' by 'C' (ada.md:8), "
            "'C' by 'A' (bob.md:8); take one of these lines out"
        )
    with pytest.raises(TakebackError, match=r"'A' by 'A' \(ada.md:7\);"):
        merge([tree("- a\n  - A\n")])
    with pytest.raises(TakebackError, match="circle"):
        ProblemGraph.of(tree("- a {#a}\n  - b\n    - [a](#a)\n"))


def test_a_decision_that_makes_a_circle_is_refused(tmp_path):
    path = tmp_path / "p.txt"
    path.write_text("same a <=> c\n")
    with pytest.raises(TakebackError, match="circle"):
        merge([tree("- a\n  - b\n    - c\n")], read_decisions(path))


@settings(max_examples=25, deadline=None)
@given(trees("Ada"), trees("Bob"), trees("Cy"), st.randoms(use_true_random=False))
def test_order_does_not_matter_and_merging_again_changes_nothing(ada, bob, cy, chance):
    read = [ada, bob, cy]
    first = text(*read)
    chance.shuffle(read)
    assert text(*read) == first
    big = parse_tree(first, "big.md")
    assert text(big) == first
    assert text(*read, *read) == first
    mixed = [big, *read[:2]]
    chance.shuffle(mixed)
    assert text(*mixed) == first


@settings(max_examples=25, deadline=None)
@given(trees("Ada"), trees("Bob"))
def test_nothing_is_lost_and_nothing_made_up(ada, bob):
    """Problems, who is under whom, and who said what are those of both, worked out slowly."""
    big = again(ada, bob)
    graph = ProblemGraph.of(big)
    problems, edges, said = set(), set(), set()
    for one in (ada, bob):
        stack = [(None, node) for node in one.nodes]
        while stack:
            above, node = stack.pop()
            problems.add(normalised(node.words))
            said.add((one.front.author, normalised(node.words)))
            if above is not None:
                edges.add((normalised(above.words), normalised(node.words)))
            stack += [(node, child) for child in node.children]
    assert set(graph.nodes) == problems
    assert {(a, b) for a, below in graph.children.items() for b in below} == edges
    found = {(who.author, key) for key, nodes in graph.nodes.items() for n in nodes for who in n.own.said}
    assert found == said


@settings(max_examples=25, deadline=None)
@given(trees("Ada"), trees("Bob"))
def test_a_copy_to_extend_adds_nothing_until_something_is_new(ada, bob):
    big = again(ada, bob)
    copy = parse_tree(format_tree(extended(big, "Cy", "2026-11-20")), "cy.md")
    merged = merge([big, copy]).tree
    assert merged.nodes == big.nodes
    assert merged.front.of == ("ada.md", "bob.md", "cy.md")


def test_what_is_new_in_a_copy_is_its_authors():
    big = again(tree(ADA), tree(BOB, "Bob"))
    body = format_tree(extended(big, "Cy", "2026-11-21"))
    body = body.replace("- cost {#cost}\n", "- price {#cost}\n    > mine\n    - new\n")
    cy = parse_tree(body, "cy.md")
    for read in ([big, cy], [cy, big], [again(big, cy, name="next.md"), cy]):
        bigger = parse_tree(text(*read), "next.md")
        said = {node.words: {one.author for one in node.own.said} for node in bigger.walk() if node.own.said}
        assert said["cost"] == {"Ada", "Cy"}
        assert said["new"] == {"Cy"}
        assert said["Noise" if "Noise" in said else "noise"] == {"Ada", "Bob"}
        assert find(bigger, "cost").own.notes == ("mine (Cy)",)
    assert format_tree(bigger) == text(big, cy)
    with pytest.raises(TakebackError, match=r"cy.md is a copy of big.md"):
        merge([cy])
    with pytest.raises(TakebackError, match="merged one"):
        extended(tree(ADA), "Cy", "2026-11-21")


def test_an_id_outlives_its_problem_when_two_become_one(tmp_path):
    big = again(tree(ADA), tree(BOB, "Bob"))
    copy = parse_tree(format_tree(extended(big, "Cy", "2026-11-21")), "cy.md")
    path = tmp_path / "p.txt"
    path.write_text("same no name for parts <=> no names for parts\n")
    united = again(big, decisions=read_decisions(path))
    node = find(united, "No names for parts")
    assert node.own.was == ("no-names-for-parts",)
    assert node.id == "no-name-for-parts"
    assert merge([united, copy]).tree.nodes == united.nodes


def test_a_wording_chosen_by_hand_in_a_merged_tree_stays():
    big = again(tree(ADA), tree(BOB, "Bob"))
    chosen = parse_tree(
        format_tree(big).replace("- No names for parts {", "- Parts have no names {"), "big.md"
    )
    assert find(again(chosen, tree(ADA), tree(BOB, "Bob")), "Parts have no names").own.said[0].author == "Ada"


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=20))
def test_normalised_wordings_are_their_own(words):
    assert normalised(normalised(words)) == normalised(words)


@pytest.mark.parametrize("words", ["Don’t STOP", "don't  stop!", "(dont) stop", "ｄｏｎｔ stop"])
def test_wordings_that_are_normalised_alike(words):
    assert normalised(words) == "dont stop"


def test_likeness_is_that_of_the_slow_formula():
    keys = ["all weights moved", "weights moved", "moved weights all", "no goal", "the goal is known"]
    found = {(a, b): likeness for likeness, a, b in near_pairs(keys, 0.0)}
    for (a, one), (b, other) in itertools.combinations(enumerate(keys), 2):
        left, right = (" ".join(sorted(words.split())) for words in (one, other))
        expected = 2 * _common(left, right) / (len(left) + len(right))
        assert found.get((a, b), 0.0) == pytest.approx(expected)


def _common(one: str, other: str) -> int:
    """Return the length of the longest common subsequence, by its recurrence."""
    rows = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            rows[i + 1][j + 1] = rows[i][j] + 1 if a == b else max(rows[i][j + 1], rows[i + 1][j])
    return rows[-1][-1]


@pytest.mark.slow
def test_two_thousand_problems_of_ten_people_merge_in_ten_seconds_of_work():
    read = large(10, 200, seed=0)
    began = time.process_time()
    found = merge(read)
    assert time.process_time() - began < 10
    assert sum(len(node.own.said) for node in found.tree.walk()) >= 1990
    assert found.proposals
