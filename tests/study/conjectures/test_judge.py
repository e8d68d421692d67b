import math

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from made_up import tables
from takeback.run.errors import TakebackError, UnknownName
from takeback.study.conjectures.judge import judge
from takeback.study.conjectures.rule import parse_rule

GAMES = pd.DataFrame(
    {
        "arm": ["rl", "rl", "rl", "sft", "sft", "base"],
        "seed": [0, 0, 1, 0, 1, 0],
        "result": ["mate", "draw", "mate", "mate", "draw", "draw"],
        "score": [1.0, 0.5, 0.25, 0.75, 0.0, 0.125],
        "moves": pd.array([3, 30, 9, None, 30, 30], "Int64"),
        "last": [True, False, True, True, True, True],
        "drawn": [False] * 6,
    }
)


def decide(text, frame=GAMES, **planned):
    return judge(parse_rule(text), tables(planned, games=frame))


@pytest.mark.parametrize(
    ("text", "outcome", "why"),
    [
        ('mean(games.score, arm="rl") > mean(games.score, arm="sft")', True, "0.5833 > 0.375 is true"),
        ("least(games.score) == 0", True, "0 == 0 is true"),
        ('most(games.score, arm=["sft", "base"]) > 0.8', False, "0.75 > 0.8 is false"),
        ('count(games, arm="rl", seed=0) == 2', True, "2 == 2 is true"),
        ("count(games.score > 0.3, last=True) < 2", False, "2 < 2 is false"),
        ('share(games.result == "mate", arm="rl") > 0.6', True, "0.6667 > 0.6 is true"),
        ('share(games.result != "mate", arm="rl") < 0.3', False, "0.3333 < 0.3 is false"),
        ("share(0.2 < games.score <= 0.5) * 6 == 2", True, "2 == 2 is true"),
        ('0.1 < mean(games.score, arm="base") < 0.2 < 0.15', False, "0.1 < 0.125 < 0.2 < 0.15 is false"),
        ("not count(games) > 5", False, "not (6 > 5 is true)"),
        (
            "count(games) > 5 and (count(games) > 6 or 2 > 1)",
            True,
            "6 > 5 is true and (6 > 6 is false or 2 > 1 is true)",
        ),
        ("abs(least(games.score) - most(games.score)) / -2 == -0.5", True, "-0.5 == -0.5 is true"),
        ("count(games, arm='sft', result='mate', seed=1) == 0", True, "0 == 0 is true"),
        ("count(games, drawn=True) == 0", True, "0 == 0 is true"),
    ],
)
def test_what_a_rule_says_by_hand(text, outcome, why):
    verdict = decide(text)
    assert (verdict.outcome, verdict.why) == (outcome, why)


def test_what_was_read_is_told_with_its_rows():
    assert decide('mean(games.score, arm="rl") > 0').read == "mean(games.score, arm='rl') = 0.5833 of 3 rows"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('mean(games.score, arm="rll") > 0', "unknown arm of games 'rll': did you mean 'rl'"),
        ("mean(games.scor) > 0", "unknown column of games 'scor': did you mean 'score'"),
        ("mean(games.score, arn='rl') > 0", "unknown column of games 'arn': did you mean 'arm'"),
        ("count(games, seed=7) == 0", "unknown seed of games '7'"),
        ("count(games, seed='0') == 0", "unknown seed of games '0'"),
        ("count(games, arm=0) == 0", "unknown arm of games '0'"),
        ('share(games.result == "maet") == 0', "unknown result of games 'maet': did you mean 'mate'"),
        ('share(games.resul == "mate") == 0', "unknown column of games 'resul'"),
        ("mean(games.result) > 0", "holds words"),
        ("share(games.result > 1) > 0", "compares words with numbers"),
        ('share(games.score == "mate") > 0', "compares words with numbers"),
        ('share(games.result < "mate") > 0', "words by size"),
        # a wrong name shows although the other side would decide alone, or can't be told
        ('1 > 2 and count(games, arm="rll") > 0', "unknown arm"),
        ('1 / 0 > 1 or count(games, arm="rll") > 0', "unknown arm"),
    ],
)
def test_a_name_that_is_not_there_is_no_null_result(text, told):
    with pytest.raises(TakebackError, match=told):
        decide(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("count(shifts) > 0", "the record has no table shifts"),
        ("mean(games.moves, arm='sft') > 0", "1 of 2 values are missing"),
        ("share(games.moves > 3) > 0", "1 of 6 values are missing"),
        ("count(games.moves > 3) > 0", "1 of 6 values are missing"),
        (
            "mean(games.score, arm='sft', result='mate', seed=1) > 0",
            "no row of games has arm=sft, result=mate",
        ),
        ("share(games.score > 0, arm='sft', result='mate', seed=1) > 0", "no row of games has"),
        ("1 / (count(games) - 6) > 0", "1 / 0 is no number"),
        ("1e300 * 1e300 > 0", "no finite number"),
        ("mean(games.score, arm='rft') > 0", "games has no rows of arm rft"),
        ("1 > 2 and count(shifts) > 0", "the record has no table shifts"),
    ],
)
def test_what_the_record_can_t_tell_is_undecided_with_its_reason(text, told):
    verdict = decide(text, arm=("rl", "rft"))
    assert verdict.outcome is None
    assert told in verdict.why


def test_an_empty_table_is_undecided():
    assert decide("most(games.score) > 0", GAMES.iloc[:0]).outcome is None


ROWS = st.fixed_dictionaries(
    {
        "arm": st.sampled_from(["a", "b", "c"]),
        "seed": st.integers(0, 2),
        "score": st.one_of(st.none(), st.floats(-1e6, 1e6, allow_nan=False)),
    }
)


@pytest.mark.slow
@given(
    st.lists(ROWS, min_size=1, max_size=30),
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=2, unique=True),
    st.integers(0, 2),
    st.floats(-1e6, 1e6, allow_nan=False),
)
def test_readings_agree_with_a_loop_over_the_rows(rows, arms, seed, bound):
    frame = pd.DataFrame(rows).astype({"score": "Float64"})
    assume(set(arms) <= set(frame["arm"]))
    assume(seed in set(frame["seed"]))
    mine = [row["score"] for row in rows if row["arm"] in arms and row["seed"] == seed]
    known = bool(mine) and None not in mine
    expected = {
        "mean(games.score": sum(mine) / len(mine) if known else None,
        "least(games.score": min(mine) if known else None,
        "most(games.score": max(mine) if known else None,
        f"share(games.score > {bound!r}": sum(x > bound for x in mine) / len(mine) if known else None,
        "count(games": len(mine),
    }
    for call, value in expected.items():
        reading = f"{call}, arm={arms!r}, seed={seed})"
        near = 1e-9 * max([1.0, *(abs(x) for x in mine if x is not None)])
        if value is None:
            assert decide(f"{reading} > 0", frame).outcome is None
        else:
            assert decide(f"{value - near!r} <= {reading} <= {value + near!r}", frame).outcome is True
            assert decide(f"{reading} > {value + near!r}", frame).outcome is False


NUMBERS = st.recursive(
    st.floats(-100, 100, allow_nan=False).map(repr),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map("(-{})".format),
        inner.map("abs({})".format),
    ),
    max_leaves=8,
)
STATEMENTS = st.recursive(
    st.lists(st.tuples(NUMBERS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="])), min_size=1, max_size=3)
    .flatmap(lambda pairs: NUMBERS.map(lambda last: " ".join(f"{n} {s}" for n, s in pairs) + f" {last}"))
    .map("({})".format),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map("(not {})".format),
    ),
    max_leaves=5,
)


@given(STATEMENTS)
def test_arithmetic_and_logic_are_python_s(text):
    verdict = decide(text)
    try:
        expected = eval(text, {"__builtins__": {"abs": abs}})  # made of numbers and signs only, above
    except ZeroDivisionError:
        assert verdict.outcome is None
        return
    if verdict.outcome is None:  # it has a part that Python did not get to
        assert "/ 0 is no number" in verdict.why or "no finite number" in verdict.why
    else:
        assert verdict.outcome is expected


def test_numbers_that_differ_are_written_so_that_they_do():
    assert decide("0.1234567 > 0.1234568").why == "0.1234567 > 0.1234568 is false"
    assert math.isclose(float(decide("count(games) / 7 > 0").why.split()[0]), 6 / 7, rel_tol=1e-3)


def test_an_unknown_name_is_its_own_kind_of_error():
    with pytest.raises(UnknownName):
        decide("mean(games.scor) > 0")
