"""A planted change is explained by what was planted, chance by nothing, and the tables add up."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.draw.result import Results
from takeback.findings.explanation import explain
from takeback.findings.explanation.changes import MOVED, by_kind, contrast
from takeback.findings.explanation.explanation import ASKED, EVERYTHING, RANDOM, Intervention, explanation
from takeback.findings.explanation.kinds import LEAST, facts_of, kinds_of
from takeback.findings.explanation.show import text_board
from takeback.findings.explanation.words import sentences, strongest
from takeback.measure.bench import Bench
from takeback.measure.measure import MeasureContext
from takeback.policies.readout import Readouts
from takeback.run.errors import TakebackError
from takeback.run.grouping import sum_by
from takeback.run.stats import mean_estimate

ENDGAMES = arena("endgames")
SITUATIONS = 120
WHERE = ENDGAMES, ENDGAMES.situations("held-out", SITUATIONS, 0)
HALVES = np.arange(0, SITUATIONS, 2), np.arange(1, SITUATIONS, 2)
CHANGE = Intervention("base", "tuned", "L9.H9")


def made_up(seed: int = 0) -> Readouts:
    """Readouts of no model: random probabilities of the legal moves, and 4% of two illegal classes."""
    random = np.random.default_rng(seed)
    _, situations = WHERE
    actions = tuple(ENDGAMES.legal(situation) for situation in situations)
    masses = np.zeros((SITUATIONS, len(ENDGAMES.kinds)))
    masses[:, :2] = 0.02
    legal = [0.96 * random.dirichlet(np.ones(len(each))) for each in actions]
    return Readouts(
        arena="endgames",
        situations=tuple(ENDGAMES.prompt(situation) for situation in situations),
        clusters=tuple(str(ENDGAMES.cluster(situation)) for situation in situations),
        actions=actions,
        probabilities=np.concatenate(legal),
        illegal=ENDGAMES.kinds,
        masses=masses,
        undecided=np.zeros(SITUATIONS),
        greedy=np.array([int(each.argmax()) for each in legal]),
        drawn_legal=np.ones(SITUATIONS),
        samples=0,
        errors=np.zeros_like(masses),
        lower_bound=np.zeros(SITUATIONS, np.bool_),
    )


def toward(before: Readouts, wanted: np.ndarray, share: np.ndarray) -> Readouts:
    """Move a share of each situation's legal mass onto the wanted moves, where it has any."""
    owner, n = before.owner, len(before)
    count = sum_by(owner, wanted, n)
    share = np.where(count > 0, share, 0.0)[owner]
    even = wanted / np.maximum(count, 1)[owner] * before.legal_mass[owner]
    return replace(before, probabilities=(1 - share) * before.probabilities + share * even)


def shaken(before: Readouts, seed: int, size: float = 0.3) -> Readouts:
    """Mix with other random probabilities, as much in one situation as in another on average."""
    random = np.random.default_rng(seed)
    share = size * random.random(len(before))[before.owner]
    mixed = (1 - share) * before.probabilities + share * made_up(seed + 1000).probabilities
    return replace(before, probabilities=mixed)


@pytest.fixture(scope="module")
def before() -> Readouts:
    return made_up()


@pytest.fixture(scope="module")
def context(before) -> MeasureContext:
    return MeasureContext.of(before, ENDGAMES)


@pytest.fixture(scope="module")
def planted(before, context):
    """Half of the mass goes onto retreats, with a queen on the board only, and twice as much is blocked."""
    queen = np.array(["Q" in text for text in before.situations])
    after = toward(before, context.features["retreat"], np.where(queen, 0.5, 0.0))
    masses, retreating = after.masses.copy(), np.where(queen, 0.1, 0.0)
    masses[:, ENDGAMES.kinds.index("blocked")] += retreating
    lost = (retreating / after.legal_mass)[after.owner] * after.probabilities
    after = replace(after, masses=masses, probabilities=after.probabilities - lost)
    controls = {(RANDOM, f"#{seed}"): shaken(before, seed, 0.02) for seed in (1, 2)}
    return explanation(CHANGE, WHERE, before, {(ASKED, "L9.H9"): after, **controls}, HALVES)


def test_a_change_in_one_kind_of_situation_is_explained_by_it(planted):
    holding = strongest(planted.kinds, "difference", "holds")
    assert tuple(holding.iloc[0][["name", "measure"]]) == ("with Q", MOVED)
    best = strongest(planted.moves)
    assert best[best["change"] > 0].iloc[0]["name"] == "retreat"
    assert strongest(planted.illegal)["name"].tolist() == ["blocked"]
    grown = strongest(planted.illegal).iloc[0]
    assert "Q" in grown["grew_most_in"]
    assert grown["grew_by"] == pytest.approx(0.1)
    told = " ".join(sentences(planted))
    for words in (
        "situations with Q on the board",
        "Moves of the kind 'retreat' gain",
        "'blocked' become more",
        "2 random sets",
    ):
        assert words in told


def test_where_nothing_changes_the_words_say_so(before):
    same = explanation(CHANGE, WHERE, before, {(ASKED, "L9.H9"): before}, HALVES)
    first, second = sentences(same)
    assert "moves 0% of a situation's probability" in first
    assert second.startswith("Nothing beyond noise: over 120 situations")
    assert not same.kinds["holds"].any()


@pytest.mark.slow
def test_chance_seldom_makes_a_kind_hold(before, context):
    situations = [ENDGAMES.parse(text) for text in before.situations]
    kinds = kinds_of(facts_of(ENDGAMES, situations), context)
    drawn = [made_up(seed) for seed in range(40)]
    tables = [by_kind(one, shaken(one, seed), context, kinds, HALVES) for seed, one in enumerate(drawn)]
    signed = [table[table["measure"].str.startswith("utility")] for table in tables]
    assert sum(table["holds"].any() for table in signed) <= 4
    bare = [((table["low"] > 0) | (table["high"] < 0)).any() for table in signed]
    assert sum(bare) <= 16  # five measures, each wrong in 5% of 40 at most


def test_a_contrast_is_welchs():
    random = np.random.default_rng(0)
    values, members = random.normal(size=50) * np.linspace(1, 3, 50), np.arange(50) < 17
    found = contrast(values, members, np.arange(50), 0.99)
    expected = stats.ttest_ind(values[members], values[~members], equal_var=False)
    ends = expected.confidence_interval(0.99)
    assert found is not None
    np.testing.assert_allclose([found.low, found.high], [ends.low, ends.high])
    assert contrast(values, np.ones(50, np.bool_), np.arange(50)) is None


def test_kinds_are_what_the_arena_says(before, context):
    situations = [ENDGAMES.parse(text) for text in before.situations]
    kinds = {kind.name: kind.members for kind in kinds_of(facts_of(ENDGAMES, situations), context)}
    np.testing.assert_array_equal(kinds["with R"], ["R" in text for text in before.situations])
    edge = [set(text[-2:]) & set("ah18") != set() for text in before.situations]
    np.testing.assert_array_equal(kinds["k on the edge"], edge)
    won = [4 <= (ENDGAMES.distance(situation) or 0) <= 7 for situation in situations]
    np.testing.assert_array_equal(kinds["win in 4–7"], won)
    for members in kinds.values():
        assert min(members.sum(), (~members).sum()) >= LEAST
    assert len({min(m.tobytes(), (~m).tobytes()) for m in kinds.values()}) == len(kinds)


def test_tables_add_up(planted, before, context):
    outcomes = planted.outcomes
    totals = outcomes.groupby("item")[["before", "after"]].sum()
    np.testing.assert_allclose(totals, 1.0)
    for table in (outcomes, planted.values):
        np.testing.assert_array_equal(table["change"], table["after"] - table["before"])
    half = outcomes.groupby("item")["change"].apply(lambda change: change.abs().sum() / 2)
    np.testing.assert_allclose(planted.situations["total variation"], half, atol=1e-9)
    legal = outcomes[outcomes["kind"] == "legal"]
    assert legal["outcome"].tolist() == [action for actions in before.actions for action in actions]
    np.testing.assert_array_equal(legal["feature check"].astype(float), context.features["check"])
    applies = context.applies["win"][context.owner]
    np.testing.assert_array_equal(legal["utility win"].notna(), applies)
    assert outcomes.loc[outcomes["kind"] != "legal", ["feature check", "utility win"]].isna().all(axis=None)
    win = planted.values[planted.values["measure"] == "utility win"]
    row = planted.measures.set_index(["role", "name"]).loc[(ASKED, "utility win")]
    assert row["change"] == pytest.approx(win["change"].mean())
    assert row["n"] == len(win) == context.applies["win"].sum()


@pytest.mark.slow
def test_the_shown_forms_hold_the_controls_and_no_nan(planted, capsys):
    found = Results("what L9.H9 does", (), {"explain": planted}, "explain")
    page = found.page()
    assert "random sets" in page
    assert ">nan" not in page
    assert "NaN" not in found.to_json()
    rows = json.loads(found.to_json())["explain"]["kinds"]
    assert {row["role"] for row in rows} == {ASKED, RANDOM}
    replace(planted, boards=1).print()
    told = capsys.readouterr().out
    assert "a b c d e f g h" in told
    assert "→" in told


def test_a_board_in_letters():
    lines = text_board({"d4": "K", "a8": "k"})
    assert lines[0] == "8 ♚ · · · · · · ·"
    assert lines[4] == "4 · · · ♔ · · · ·"
    assert text_board({}) == []


@pytest.fixture(scope="module")
def bench(players):
    return Bench.held_out(open_pair(*players), ENDGAMES, ("entropy", "utility win"), (16, 0))


@pytest.mark.slow
def test_a_pair_from_end_to_end(bench, tmp_path):
    components = bench.anatomy.parse("L0.H0 L1.MLP")
    found = explain(bench, components, controls=2)
    assert found.measures["role"].value_counts().index.tolist() == [RANDOM, ASKED, EVERYTHING]
    answers = bench.answer([components, bench.nothing])
    table = found.measures.set_index(["role", "name"]).loc[ASKED]
    for measure in bench.measures:
        change = answers.mean(answers.change(components, measure, bench.nothing))
        row = table.loc[measure]
        np.testing.assert_allclose(
            row[["change", "low", "high"]].tolist(), [change.value, change.low, change.high], atol=1e-6
        )
    Results("pair", (), {"explain": found}, "explain").write(tmp_path / "out")
    kept = pd.read_parquet(tmp_path / "out" / "outcomes.parquet")
    np.testing.assert_allclose(kept.groupby("item")[["before", "after"]].sum(), 1.0, atol=1e-9)


@pytest.mark.slow
def test_grafting_starts_at_base_and_everything_is_the_other_side(bench):
    found = explain(bench, bench.anatomy.parse("L0.*"), graft=True, controls=1)
    np.testing.assert_array_equal(found.before.probabilities, bench.ends["base"].probabilities)
    tuned = bench.ends["tuned"]
    whole = found.measures.set_index(["role", "name"]).loc[(EVERYTHING, "legal"), "after"]
    assert whole == pytest.approx(mean_estimate(tuned.legal_mass).value, abs=1e-6)
    with pytest.raises(TakebackError, match="takes the place of base"):
        explain(bench, bench.anatomy.parse("L0.*"), graft=True, source="zeros")


@pytest.mark.slow
def test_nothing_taken_back_changes_nothing(bench):
    found = explain(bench, bench.nothing)
    assert sentences(found)[1].startswith("Nothing beyond noise")
    assert found.outcomes["change"].abs().max() == 0.0
