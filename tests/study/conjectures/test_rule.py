import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import takeback.study.conjectures
from takeback.run.errors import TakebackError, UnknownName
from takeback.study.conjectures.rule import FUNCTIONS, TABLES, Rule, parse_rule

GOOD = (
    'mean(agency.value, arm="rl-win", goal="win", measure="signed pursuit share, if legal") > '
    'mean(agency.value, arm="sft-win", goal="win", measure="signed pursuit share, if legal")',
    'most(contrasts.p_family, contrast="optimiser", component="L0.MLP") < 0.05',
    '0 < share(games.result == "mate", arm=["rl", "rft"], seed=0) <= 1',
    "not count(games) == 0 and (least(shifts.low) > -1e-3 or abs(least(shifts.low)) < 1)",
    "count(games.score > 0, seed=(0, 1)) * 2 - -1 >= +3 / 2",
    'mean(diff.components.share, component="L0.MLP") != mean(components.share)',
    'mean(policies.value, measure="legal", last=True) > 0.5',
)

FORBIDDEN = (
    "__import__('os').system('true')",
    "open('x')",
    "(lambda: 1)()",
    "[x for x in (1, 2)]",
    "{1: 2}",
    "{1}",
    "f'{1}'",
    "b'x'",
    "1j",
    "None",
    "...",
    "(y := 1)",
    "1 if 1 else 2",
    "agency.__class__.__mro__[1].__subclasses__()",
    "().__class__",
    "games[0]",
    "games[0:1]",
    "2 ** 9",
    "7 % 2",
    "7 // 2",
    "1 << 30",
    "~1",
    "getattr(games, 'score')",
    "mean.__globals__",
    "mean(agency.__dict__)",
    "mean(games.score, __class__=1)",
    "mean(games.score, **{'arm': 'x'})",
    "mean(*games.score)",
    "mean(games.score, games.score)",
    "mean(mean(games.score))",
    "mean(open('x'))",
    "mean(games.score, arm=open('x'))",
    "mean(games.score, arm=[open('x')])",
    "mean(games.score, arm=[])",
    "mean(games.score)()",
    "games.score",
    "games",
    "count(games.score)",
    "share(games.score)",
    "share(games.score > shifts.effect)",
    "share(1 > 2)",
    "share(games.score in [1])",
    "abs(1, 2)",
    "abs(1, x=2)",
    "1e999",
    "(yield 1)",
    "(await 1)",
)

PLACES = (
    "{}",
    "{} > 1",
    "1 < {} < 2",
    "not {}",
    "1 > 0 and {}",
    "1 > 0 or {} > 1",
    "-({}) > 1",
    "1 + {} > 1",
    "abs({}) > 1",
    "mean({}) > 0",
    "share({}) > 0",
    "share(games.score > {}) > 0",
    "mean(games.score, arm={}) > 0",
    "mean(games.score, arm=['a', {}]) > 0",
    "({}).real > 0",
    "[{}][0] > 0",
)


@pytest.mark.parametrize("text", GOOD)
def test_a_rule_reads_tables_by_the_functions_that_there_are(text):
    for reading in parse_rule(text).readings():
        assert reading.function in FUNCTIONS
        assert reading.table in TABLES


def allowed(place, bad):
    """Tell the few combinations that are rules after all: a value where one belongs, a sum's negation."""
    return (bad, place) in {
        ("games", "count({}) > 0"),
        ("games.score", "mean({}) > 0"),
        ("games.score", "share(games.score > {}) > 0"),
    }


@pytest.mark.parametrize("bad", FORBIDDEN)
def test_whatever_is_not_listed_is_refused_wherever_it_stands(bad):
    for place in PLACES:
        if not allowed(place, bad):
            with pytest.raises(TakebackError) as caught:
                parse_rule(place.format(bad))
            assert "\n" not in str(caught.value)


def test_nothing_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for bad in ("open('made', 'w')", "__import__('pathlib').Path('made').touch()"):
        for place in PLACES:
            with pytest.raises(TakebackError):
                parse_rule(place.format(bad))
    assert not list(tmp_path.iterdir())


def test_the_package_calls_nothing_that_executes_text():
    for path in Path(takeback.study.conjectures.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"eval", "exec", "compile", "__import__"}, f"{path.name}: {called}"
                assert called.split(".")[-1] not in {"eval", "query"}, f"{path.name}: {called}"


PIECES = st.sampled_from(
    [*GOOD, *FORBIDDEN, *FUNCTIONS, *TABLES, *"()[]{}.,:<>=!+-*/'\"\\@~^&|% \n\0#", "not "]
)


@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=12).map("".join)))
def test_any_text_is_a_rule_or_a_mistake_told_in_one_line(text):
    try:
        rule = parse_rule(text)
    except TakebackError as error:
        told = str(error)
    else:
        told = rule.text
        assert isinstance(rule, Rule)
        for reading in rule.readings():
            assert (reading.function in FUNCTIONS, reading.table in TABLES) == (True, True)
    assert len(told.splitlines()) <= 1


@pytest.mark.parametrize(
    "text",
    ["(" * 1900 + "1" + ")" * 1900, "-" * 3900 + "1 > 0", "1+" * 1900 + "1 > 0", "not " * 900 + "1 > 0",
     "9" * 3990 + " > 0", "1 > 0" + " " * 4000, "mean(" * 700 + "1" + ")" * 700],
)  # fmt: skip
def test_a_rule_that_is_too_deep_or_long_is_refused(text):
    with pytest.raises(TakebackError):
        parse_rule(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("meen(games.score) > 0", "did you mean 'mean'"),
        ("mean(gamse.score) > 0", "did you mean 'games'"),
        ("count(diff.component) > 0", "did you mean 'components'"),
    ],
)
def test_an_unknown_name_names_the_nearest(text, told):
    with pytest.raises(UnknownName, match=told):
        parse_rule(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mean(agency.value) > 0", "differ in measure"),
        ('mean(policies.value, measure="legal") > 0', "last=… or step=… or measured=…"),
        ('mean(effects.effect, measure="legal") > 0', "differ in direction"),
    ],
)
def test_a_mean_over_different_things_is_refused(text, told):
    with pytest.raises(TakebackError, match=told):
        parse_rule(text)


def test_a_rule_over_several_lines_is_one():
    assert parse_rule("count(games)\n> 3\n").text == "count(games) > 3"
