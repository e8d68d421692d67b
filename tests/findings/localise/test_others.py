"""Other sources: a set's effect from each, relative to tuned and to base, beside its controls."""

from __future__ import annotations

import numpy as np
import pytest

from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.draw.result import section_of
from takeback.findings.localise.others import COLUMNS, MATCHED, OTHERS, OtherSources, other_sources
from takeback.findings.localise.shares import Controls
from takeback.findings.sweep.sets import CONTROLS, chosen_sets
from takeback.measure.bench import Bench
from takeback.measure.read import Ask
from takeback.run.errors import UnknownName
from takeback.run.stats import paired_difference

MEASURES = ("utility win", "legal")


@pytest.fixture(scope="module")
def bench(players: tuple[str, str]) -> Bench:
    return Bench.held_out(open_pair(*players), arena("endgames"), MEASURES, (8, 0))


@pytest.fixture(scope="module")
def controls(bench: Bench) -> Controls:
    return Controls(dict.fromkeys(bench.anatomy.universe, 1.0), 2)


@pytest.fixture(scope="module")
def found(bench: Bench, controls: Controls, players: tuple[str, str]) -> OtherSources:
    sets = chosen_sets(bench.anatomy, ["L0.H0 L1.MLP"])
    sources = ("zeros", "noise:0", "noise:1", "permuted:0", f"checkpoint:{players[1]}")
    return other_sources(bench, sets, controls, sources)


def test_effects_are_paired_differences(found: OtherSources, bench: Bench) -> None:
    chosen = bench.anatomy.parse("L0.H0 L1.MLP")
    asks = [bench.nothing, Ask(chosen), Ask(chosen, "noise:1")]
    numbers = bench.answer(asks)
    for measure in MEASURES:
        tuned, base, noise = (numbers.of(ask, measure) for ask in asks)
        table = found.table[(found.table["measure"] == measure) & (found.table["source"] == "noise:1")]
        for name, under in (("effect", tuned), ("beside", base)):
            both = np.isfinite(noise + under)
            expected = paired_difference(noise[both], under[both], bench.clusters[both])
            for column, number in ((name, expected.value), (f"{name}_low", expected.low)):
                assert table[column].iloc[0] == pytest.approx(number, abs=1e-6)


def test_from_tuned_itself_nothing_changes(found: OtherSources) -> None:
    own = found.table[found.table["kind"] == "checkpoint"]
    np.testing.assert_allclose(own["effect"].astype(float), 0, atol=1e-7)
    base = found.table[found.table["kind"] == "base"]
    assert (base["beside"] == 0).all()


def test_controls_stand_in_the_same_table(found: OtherSources) -> None:
    assert list(found.table.columns) == list(COLUMNS)
    random = found.table[found.table["family"].isin(CONTROLS)]
    assert set(random["source"]) == {"base"}
    assert set(random["n_components"]) == {2}
    assert set(random["matches"]) == {"L0.H0 L1.MLP"}
    assert set(MATCHED) < set(found.table["kind"])
    assert {source.partition(":")[0] for source in OTHERS} == {"zeros", *MATCHED}


def test_an_unknown_source_is_told(bench: Bench, controls: Controls) -> None:
    sets = chosen_sets(bench.anatomy, ["L0.H0"])
    with pytest.raises(UnknownName, match="unknown source"):
        other_sources(bench, sets, controls, ("zero",))


def test_it_is_shown_with_controls_marked(found: OtherSources, capsys: pytest.CaptureFixture[str]) -> None:
    section = section_of(found)
    assert [figure.title for figure in section.figures] == [f"{name}: change from tuned" for name in MEASURES]
    picture = str(section.figures[0].picture)
    assert picture.count('stroke="var(--control,#8b9096)" stroke-width="1.6"><circle') == 3  # noise, permuted
    assert ">zeros<" not in picture
    found.print()
    assert "noise" in capsys.readouterr().out
