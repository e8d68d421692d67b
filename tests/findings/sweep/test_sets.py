from collections import Counter

import pytest

import models
from takeback.anatomy import anatomy_of
from takeback.anatomy.sets import families_of
from takeback.checkpoint import open_checkpoint
from takeback.findings.localise.search import built_in
from takeback.findings.sweep.sets import (
    ABOUT_SIZE,
    OTHER_SIZE,
    SAME_NORM,
    SAME_SIZE,
    chosen_sets,
    random_controls,
)
from takeback.run.errors import UnknownName

ANATOMY = anatomy_of(models.on_meta("llama-mha"))
DELTA = {component: float(place + 1) for place, component in enumerate(ANATOMY.universe)}


def make_up(components):
    return Counter(component.kind for component in components)


def test_families_and_names_become_sets():
    sets = chosen_sets(ANATOMY, ["heads of each layer", "L0.H0 L1.MLP", ""])
    assert [(named.family, named.name) for named in sets] == [
        ("heads of each layer", "L0 heads"),
        ("heads of each layer", "L1 heads"),
        ("by name", "L0.H0 L1.MLP"),
        ("by name", ""),
    ]
    assert str(sets[2].components) == "L0.H0 L1.MLP"
    assert not sets[3].components


@pytest.mark.parametrize("kind", ["llama-mha", "qwen2"])
def test_the_name_of_every_set_takes_it_back(kind):
    anatomy = anatomy_of(models.on_meta(kind))
    sets = chosen_sets(anatomy, None)
    assert {named.name for named in sets} >= {"L0 heads", "L0", "all heads", "embeddings", "L1 mlp"}
    for named in [*sets, *built_in(anatomy.universe)]:
        assert anatomy.parse(named.name) == named.components
        assert chosen_sets(anatomy, [named.name])[0].components == named.components
    for control in random_controls(anatomy, sets, dict.fromkeys(anatomy.universe, 1.0), number=2, seed=0):
        assert anatomy.parse(str(control.components)) == control.components


@pytest.mark.parametrize("request_", ["each haed", "L9.H0", "L0.H0 L0.MPL"])
def test_an_unknown_set_is_an_error(request_):
    with pytest.raises(UnknownName):
        chosen_sets(ANATOMY, [request_])


def test_controls_have_the_make_up_and_size_of_what_they_match_and_are_other_sets():
    sets = chosen_sets(ANATOMY, ["heads of each layer", "each layer"])
    controls = random_controls(ANATOMY, sets, DELTA, number=4, seed=0)
    by_name = {named.name: named for named in sets}
    assert Counter(control.family for control in controls) == {SAME_SIZE: 8, SAME_NORM: 4}
    for control in controls:
        for target in (by_name[name] for name in control.matches):
            assert make_up(control.components) == make_up(target.components)
            assert ANATOMY.parameters(control.components) == ANATOMY.parameters(target.components)
        assert control.components not in {named.components for named in sets}


def test_the_norm_of_a_norm_matched_control_is_nearest():
    sets = chosen_sets(ANATOMY, ["heads of each layer"])
    controls = random_controls(ANATOMY, sets, DELTA, number=5, seed=0)
    norm = {control.name: sum(DELTA[c] for c in control.components) for control in controls}
    for named in sets:
        wanted = sum(DELTA[c] for c in named.components)
        (matched,) = [c for c in controls if c.family == SAME_NORM and c.matches == (named.name,)]
        others = [abs(norm[c.name] - wanted) for c in controls if c.family == SAME_SIZE]
        assert abs(norm[matched.name] - wanted) < sorted(others)[len(others) // 2]


def test_a_set_that_is_alone_in_its_make_up_has_controls_of_about_its_size_that_share_little_with_it():
    anatomy = open_checkpoint("endgame-base").anatomy()
    sets = chosen_sets(anatomy, ["each kind"])
    delta = dict.fromkeys(anatomy.universe, 1.0)
    controls = random_controls(anatomy, sets, delta, number=3, seed=0)
    for named in sets:
        matching = [control for control in controls if control.matches == (named.name,)]
        by_norm = [control for control in matching if control.family == SAME_NORM]
        size = anatomy.parameters(named.components)
        least = size * 2 - anatomy.parameters(anatomy.universe)
        assert len(matching) - len(by_norm) == 3
        for control in matching:
            assert control.components != named.components
            count = anatomy.parameters(control.components)
            if named.name == "all norms":
                assert control.family == OTHER_SIZE, "16,384 parameters are not about 1,152"
                assert f"{count:,} parameters, not {size:,}" in control.name
                continue
            assert control.family in (ABOUT_SIZE, SAME_NORM)
            assert 0.8 * size <= count <= size
            assert anatomy.parameters(control.components & named.components) <= max(0, least) + 0.1 * size


def test_no_control_says_that_it_is_about_as_large_when_it_is_not():
    """In every family's tiny anatomy: a control of a family that names a size has that size."""
    for request in families_of(ANATOMY.universe):
        sets = chosen_sets(ANATOMY, [request])
        size = {named.name: ANATOMY.parameters(named.components) for named in sets}
        for control in random_controls(ANATOMY, sets, DELTA, number=4, seed=1):
            count = ANATOMY.parameters(control.components)
            for name in control.matches:
                alike = max(count, size[name]) <= 1.25 * min(count, size[name])
                assert alike == (control.family != OTHER_SIZE)


def test_single_components_are_their_siblings_controls_or_have_siblings_drawn():
    assert random_controls(ANATOMY, chosen_sets(ANATOMY, ["each head"]), DELTA, number=3, seed=0) == []
    controls = random_controls(ANATOMY, chosen_sets(ANATOMY, ["L0.H0"]), DELTA, number=3, seed=0)
    assert len({control.components for control in controls}) == 3
    assert {make_up(control.components)["H"] for control in controls} == {1}


def test_names_are_keys_and_every_larger_set_is_matched():
    sets = chosen_sets(
        ANATOMY,
        [*families_of(ANATOMY.universe), "L0.H0 L1.MLP", "L0.H0 L0.H1", "L0.H0 L0.H1", "L0.H0 L0.H1 L0.H2"],
    )
    controls = random_controls(ANATOMY, sets, DELTA, number=2, seed=0)
    keys = [(named.family, named.name) for named in (*sets, *controls)]
    assert len(set(keys)) == len(keys)
    matched = {name for control in controls for name in control.matches}
    larger = {named.name for named in sets if len(named.components) > 1}
    assert larger <= matched


def test_the_same_seed_draws_the_same_controls():
    sets = chosen_sets(ANATOMY, None)
    one, again, other = (random_controls(ANATOMY, sets, DELTA, 3, seed) for seed in (0, 0, 1))
    assert one == again
    assert one != other
