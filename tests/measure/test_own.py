from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from readouts_by_hand import make
from takeback.arenas import arena
from takeback.measure.effects import effects
from takeback.measure.measure import Measure, MeasureContext, Values, own_measure
from takeback.measure.measures import find_measures, measure_values, measures, measures_of
from takeback.measure.shift import DIVERGENCES, KL, shift
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError, UnknownName
from toy_arena import ToyArena

TOY = ToyArena()
BEFORE = make(
    [[0.2, 0.3], [0.1, 0.25, 0.05], [0.4], []],
    [[0.1, 0.15, 0.2], [0.3, 0.1, 0.15], [0.2, 0.1, 0.1], [0.5, 0.2, 0.1]],
)
AFTER = make(
    [[0.4, 0.1], [0.2, 0.25, 0.05], [0.6], []],
    [[0.1, 0.15, 0.2], [0.2, 0.1, 0.15], [0.1, 0.1, 0.1], [0.3, 0.2, 0.1]],
)
CONTEXT = MeasureContext.of(BEFORE, TOY)
KNOWN = {measure.name: measure for measure in measures_of(TOY)}
OWN = '''
import numpy as np

from takeback.measure.measure import Measure


def sureness(readouts, context):
    """Probability of the likeliest legal action.

    More is told here.
    """
    best = np.full(len(readouts), np.nan)
    np.fmax.at(best, context.owner, readouts.probabilities)
    return best


LENGTH = Measure("actions", "number of legal actions", lambda r, c: [len(a) for a in c.actions], unsorted=1.0)
NUMBER = 3
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN, encoding="utf-8")
    return path


def sureness(readouts: Readouts, context: MeasureContext) -> list[float]:
    return [max(one.legal.values(), default=float("nan")) for one in readouts]


def test_an_arena_names_what_is_measured_in_it() -> None:
    assert list(measure_values(BEFORE, CONTEXT)) == [*KNOWN][: -len(DIVERGENCES)]
    assert [*KNOWN][-len(DIVERGENCES) :] == list(shift(BEFORE, AFTER))
    roles = {KNOWN[name].role for name in ("legal", "illegal, short", "undecided", "two, if legal")}
    assert roles == {"share"}
    assert {one.goal for one in KNOWN.values() if one.role == "utility"} == set(TOY.goals)
    for one in KNOWN.values():
        assert one.words
        assert one.whole is None or (one.if_legal and not KNOWN[one.whole].if_legal)


@pytest.mark.parametrize("name", KNOWN)
def test_what_needs_no_kinds_does_not_move_with_them(name: str) -> None:
    measure, there = KNOWN[name], replace(CONTEXT, before=AFTER)
    other = replace(BEFORE, masses=BEFORE.masses * [[0.5, 1, 0.5]])
    other = replace(other, undecided=BEFORE.undecided + (BEFORE.masses - other.masses).sum(axis=1))
    one, two = measure.of(BEFORE, there), measure.of(other, there)
    same = (one.numbers == two.numbers)[one.applies].all()
    assert same or measure.needs_kinds
    assert not same or name not in ("entropy", "undecided", KL.name)


@pytest.mark.parametrize("name", [one.name for one in KNOWN.values() if one.slopes is not None])
def test_small_steps_find_the_slopes_that_formulas_give(name: str) -> None:
    formula, steps = (
        one.slopes_at(BEFORE, CONTEXT) for one in (KNOWN[name], replace(KNOWN[name], slopes=None))
    )
    for part in ("legal", "illegal", "undecided"):
        np.testing.assert_allclose(getattr(steps, part), getattr(formula, part), atol=1e-4)


def test_a_distance_is_from_what_its_context_says() -> None:
    there = replace(CONTEXT, before=BEFORE)
    assert (KL.of(AFTER, there).numbers == shift(BEFORE, AFTER)[KL.name]).all()
    assert not KL.of(BEFORE, there).numbers.any()
    with pytest.raises(TakebackError, match="from which"):
        KL.of(AFTER, CONTEXT)


def test_own_ones_are_found_in_files_and_modules_and_as_they_are(file: Path) -> None:
    found = find_measures([f"{file}:sureness", f"{file}:LENGTH", sureness, "legal", "legal"], TOY)
    assert [one.name for one in found] == [f"{file}:sureness", "actions", "sureness", "legal"]
    assert found[0].words == "Probability of the likeliest legal action."
    assert (found[1].words, found[1].needs_kinds, found[0].needs_kinds) == (
        "number of legal actions",
        False,
        True,
    )
    for one in (found[0], found[2], pickle.loads(pickle.dumps(found[0]))):
        values = one.of(BEFORE, CONTEXT)
        assert values.applies.tolist() == [True, True, True, False]
        assert values.numbers[:3].tolist() == [0.3, 0.25, 0.4]
    assert found[1].of(BEFORE, CONTEXT).numbers.tolist() == [2, 3, 1, 0]
    assert own_measure("math:fsum").reference == "math:fsum"


def test_own_ones_stand_in_tables_of_policies_and_of_changes(file: Path) -> None:
    drift = Measure("drift", "by which legal mass is away", drifted, "divergence")
    context = replace(CONTEXT, own=find_measures([f"{file}:sureness", drift], TOY))
    table = measures(BEFORE, TOY, context).set_index("measure")
    assert table.loc[f"{file}:sureness", "value"] == pytest.approx(0.95 / 3)
    assert "drift" not in table.index
    rows = effects(BEFORE, AFTER, TOY, "tuned", context).set_index("measure")
    assert rows.loc[f"{file}:sureness", "effect"] == pytest.approx((0.1 + 0 + 0.2) / 3)
    assert rows.loc["drift", "value"] == rows.loc["drift", "effect"] == pytest.approx((0 + 0.1 + 0.2 + 0) / 4)


def drifted(readouts: Readouts, context: MeasureContext) -> Values:
    assert context.before is not None
    return Values.everywhere(readouts.legal_mass - context.before.legal_mass)


def test_what_is_no_measure_is_refused_with_the_nearest(file: Path) -> None:
    refused = {
        "utility fist": "'utility first'",
        f"{file}:sure": "did you mean 'Measure' or 'sureness'",
        f"{file}:NUMBER": "is int; it must be a function or a Measure",
        "own/missing.py:sureness": "could not import own/missing.py",
        "nowhere.at.all:sureness": "could not import nowhere.at.all",
    }
    for name, why in refused.items():
        with pytest.raises(TakebackError, match=why):
            find_measures(["legal", name], TOY)
    with pytest.raises(UnknownName, match=r"package\.module:function"):
        find_measures(["utility fist"], arena("endgames"))
    with pytest.raises(TakebackError, match="two measures are called 'legal'"):
        find_measures([Measure("legal", "another", sureness)], TOY)


@pytest.mark.parametrize(
    ("gives", "told"),
    [
        (lambda r, c: r.probabilities, r"for each of 4 situations, not ndarray of shape \(6,\)"),
        (lambda r, c: np.full(4, np.inf), "a finite number or NaN"),
        (lambda r, c: "much", "not str"),
        (lambda r, c: None, "not NoneType"),
    ],
)
def test_a_function_that_gives_no_numbers_is_told_so(gives: object, told: str) -> None:
    measure = Measure("mine", "mine", gives)  # type: ignore[arg-type]
    with pytest.raises(TakebackError, match=told):
        measure.of(BEFORE, CONTEXT)
