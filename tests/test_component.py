"""Components and their sets: values, algebra, text form and pictures."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from takeback.component import INDEXED_KINDS, LAYER_KINDS, MODEL_KINDS, Component, ComponentSet
from takeback.run.errors import TakebackError, UnknownName

LAYERS = [f"L{layer}.{part}" for layer in (0, 1) for part in ("H0", "H1", "KV0", "ATTN", "MLP", "LN1", "LN2")]
NAMES = ["EMBED", *LAYERS, "NORM", "UNEMBED"]
UNIVERSE = ComponentSet(map(Component.parse, NAMES))


def parse(text: str) -> ComponentSet:
    return ComponentSet.parse(text, UNIVERSE)


def names(components: ComponentSet) -> list[str]:
    return [str(component) for component in components]


@st.composite
def components(draw: st.DrawFn) -> Component:
    kind = draw(st.sampled_from(LAYER_KINDS + MODEL_KINDS))
    layer = draw(st.integers(0, 12)) if kind in LAYER_KINDS else None
    return Component(kind, layer, draw(st.integers(0, 12)) if kind in INDEXED_KINDS else None)


@st.composite
def sets_of_one_universe(draw: st.DrawFn, count: int = 3) -> list[ComponentSet]:
    there = draw(st.lists(components(), min_size=1, max_size=40, unique=True))
    universe = ComponentSet(there)
    return [ComponentSet(draw(st.lists(st.sampled_from(there))), universe) for _ in range(count)]


@given(components())
def test_name_parses_back(component: Component) -> None:
    assert Component.parse(str(component)) == component


@pytest.mark.parametrize(
    "text", ["", "L3", "H5", "L3.H", "L03.H1", "L3.H05", "L3.MLP2", "L3.LN5", "l3.h5", "L3.EMBED"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(TakebackError, match=r"L3\.H5"):
        Component.parse(text)


@pytest.mark.parametrize(
    ("kind", "layer", "index"),
    [("H", 1, None), ("H", None, 1), ("MLP", 1, 1), ("EMBED", 0, None), ("MLP", None, None)],
)
def test_a_component_has_the_places_of_its_kind(kind: str, layer: int | None, index: int | None) -> None:
    with pytest.raises(TakebackError):
        Component(kind, layer, index)


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="'ATTN'"):
        Component("ATN", 1)


def test_canonical_order_runs_through_the_model() -> None:
    shuffled = NAMES.copy()
    random.Random(0).shuffle(shuffled)
    assert [str(component) for component in sorted(map(Component.parse, shuffled))] == NAMES
    assert names(ComponentSet(map(Component.parse, shuffled))) == NAMES
    assert Component("H", 2, 2) < Component("H", 2, 10) < Component("H", 10, 0)


@given(sets_of_one_universe())
def test_algebra_is_that_of_sets(sets: list[ComponentSet]) -> None:
    a, b, c = sets
    everything = frozenset(a.universe)
    plain_a, plain_b = frozenset(a), frozenset(b)
    assert frozenset(a | b) == plain_a | plain_b
    assert frozenset(a & b) == plain_a & plain_b
    assert frozenset(a - b) == plain_a - plain_b
    assert frozenset(a ^ b) == plain_a ^ plain_b
    assert frozenset(~a) == everything - plain_a
    assert (a <= b, a < b, a >= b, a > b) == (
        plain_a <= plain_b,
        plain_a < plain_b,
        plain_a >= plain_b,
        plain_a > plain_b,
    )
    assert (a == b, a.isdisjoint(b)) == (plain_a == plain_b, plain_a.isdisjoint(plain_b))
    assert ~(a | b) == ~a & ~b
    assert a & (b | c) == (a & b) | (a & c)
    assert len({a, a | a, a & a.universe}) == 1
    assert (len(a), list(a)) == (len(plain_a), sorted(plain_a))
    assert all((component in a) == (component in plain_a) for component in everything)


@given(sets_of_one_universe(), st.randoms(use_true_random=False))
def test_text_parses_back_in_any_order(sets: list[ComponentSet], chance: random.Random) -> None:
    for components in sets:
        words = str(components).split()
        assert ComponentSet.parse(" ".join(words), components.universe) == components
        chance.shuffle(words)
        assert ComponentSet.parse("\n ".join(words), components.universe) == components


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("*", " ".join(NAMES)),
        ("L1.*", "L1.H0 L1.H1 L1.KV0 L1.ATTN L1.MLP L1.LN1 L1.LN2"),
        ("*.MLP", "L0.MLP L1.MLP"),
        ("*.H1", "L0.H1 L1.H1"),
        ("L0.H*", "L0.H0 L0.H1"),
        ("L0.LN* EMBED", "EMBED L0.LN1 L0.LN2"),
        ("L0.H* ~L0.H0", "L0.H1"),
        ("~L0.H0 L0.H*", "L0.H1"),
        ("~L0.* ~L1.*", "EMBED NORM UNEMBED"),
        ("~* L0.H0", ""),
        ("~*", ""),
        ("L0-1.MLP", "L0.MLP L1.MLP"),
        ("L1-1.H0", "L1.H0"),
        ("* ~L0-1.*", "EMBED NORM UNEMBED"),
    ],
)
def test_wildcards_and_exceptions(text: str, expected: str) -> None:
    assert names(parse(text)) == expected.split()


def test_a_range_takes_what_its_layers_have() -> None:
    mixed = ComponentSet(map(Component.parse, ["L0.H0", "L1.MLP", "L3.H0", "L3.MLP"]))
    assert names(ComponentSet.parse("L0-3.H*", mixed)) == ["L0.H0", "L3.H0"]
    assert names(ComponentSet.parse("L0-3.*", mixed)) == ["L0.H0", "L1.MLP", "L3.H0", "L3.MLP"]
    assert names(ComponentSet.parse("L1-3.MLP", mixed)) == ["L1.MLP", "L3.MLP"]
    with pytest.raises(UnknownName, match="L0-2"):
        ComponentSet.parse("L0-2.*", mixed)


@pytest.mark.parametrize(
    "text", ["L1-0.MLP", "L0-2.MLP", "L0-1.H7", "L0-1", "L-1.MLP", "L0-999999.*", "L00-1.MLP"]
)
def test_a_range_of_layers_that_there_are_not_is_refused(text: str) -> None:
    with pytest.raises(UnknownName):
        parse(text)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (" ".join(NAMES), "*"),
        ("L0.H1 L0.H0", "L0.H*"),
        ("L1.MLP L0.MLP", "*.MLP"),
        ("L0.* L1.H0", "L0.* L1.H0"),
        ("~L0.H1 ~L1.MLP", "~L0.H1 ~L1.MLP"),
    ],
)
def test_text_is_short(text: str, short: str) -> None:
    assert str(parse(text)) == short


@pytest.mark.parametrize("text", ["L0.H2", "L2.*", "*.E*", "L0.H0 L9.MLP", "~L0.H7", "L0", "H0"])
def test_a_name_that_matches_nothing_is_an_error(text: str) -> None:
    with pytest.raises(UnknownName):
        parse(text)


def test_the_error_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"'L0\.MLP'"):
        parse("L0.MPL")


def test_a_kind_that_is_absent_on_purpose_says_why() -> None:
    universe = ComponentSet(
        [Component("H", 0, 0)], absent={"KV": "each head has its own", "UNEMBED": "it is tied"}
    )
    for text, reason in [("L0.KV0", "its own"), ("*.KV*", "its own"), ("~UNEMBED", "is tied")]:
        with pytest.raises(UnknownName, match=reason):
            ComponentSet.parse(text, universe)
    with pytest.raises(UnknownName, match="is tied"):
        ComponentSet([Component("UNEMBED")], universe)


def test_sets_of_different_universes_do_not_mix() -> None:
    other = ComponentSet([Component("NORM")])
    for mix in (lambda: parse("NORM") | other, lambda: parse("NORM") & other, lambda: parse("NORM") <= other):
        with pytest.raises(TakebackError, match="17 and 1 components"):
            mix()
    assert parse("NORM") != other
    with pytest.raises(TypeError):
        parse("NORM") | {Component("NORM")}
    with pytest.raises(TypeError):
        {Component("NORM")} - parse("NORM")


def test_equal_universes_are_one() -> None:
    again = ComponentSet(map(Component.parse, reversed(NAMES)))
    assert again == UNIVERSE
    assert hash(again) == hash(UNIVERSE)
    assert names(parse("L0.H0") | ComponentSet.parse("L0.H1", again)) == ["L0.H0", "L0.H1"]


def test_a_set_survives_pickling() -> None:
    components = parse("L0.H* NORM")
    assert pickle.loads(pickle.dumps(components)) == components


ELSEWHERE = """
import pickle, sys
from takeback.component import Component, ComponentSet
universe = ComponentSet(map(Component.parse, sys.argv[1].split()))
made = ComponentSet.parse("L0.H* NORM", universe)
hash(made), str(made)  # whatever is cached is there
sys.stdout.buffer.write(pickle.dumps(made))
"""


@pytest.mark.parametrize("seed", ["1", "2"])
def test_a_set_from_another_process_is_the_same(seed: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, " ".join(NAMES)],
        env={**os.environ, "PYTHONHASHSEED": seed},
        stdout=subprocess.PIPE,
        check=True,
    )
    came, here = pickle.loads(told.stdout), parse("L0.H* NORM")
    assert came == here
    assert hash(came) == hash(here)
    assert came in {here}
    assert came | parse("L1.MLP") == parse("L1.MLP") | came == parse("L0.H* NORM L1.MLP")
    assert came <= UNIVERSE


@pytest.mark.parametrize(("layer", "index"), [(-1, 2), (1, -2)])
def test_places_count_from_zero(layer: int, index: int) -> None:
    with pytest.raises(TakebackError, match="count from 0"):
        Component("H", layer, index)


def test_picture_marks_the_members() -> None:
    assert parse("L0.H1 L1.MLP NORM").picture() == (
        "    H   KV  ATTN  MLP  LN1  LN2\n"
        "L0  ·■  ·   ·     ·    ·    ·\n"
        "L1  ··  ·   ·     ■    ·    ·\n"
        "EMBED · NORM ■ UNEMBED ·\n"
        "3 of 17 components"
    )


def test_picture_counts_what_is_many() -> None:
    universe = ComponentSet(Component("N", 0, index) for index in range(100))
    assert ComponentSet([Component("N", 0, 3)], universe).picture().splitlines()[1] == "L0  1/100"
    assert "1/100" in ComponentSet([Component("N", 0, 3)], universe)._repr_html_()


class _Tags(HTMLParser):
    """Checks that tags are balanced and gathers the titles."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.titles: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.titles += [value for key, value in attrs if key == "title" and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_names_every_component_once_and_marks_the_members() -> None:
    tags = _Tags()
    tags.feed(parse("L0.H1 NORM")._repr_html_())
    assert not tags.open
    assert sorted(title.removesuffix(" (in the set)") for title in tags.titles) == sorted(NAMES)
    assert sorted(title for title in tags.titles if "in the set" in title) == [
        "L0.H1 (in the set)",
        "NORM (in the set)",
    ]


@st.composite
def tensor_sets(draw: st.DrawFn, count: int = 3) -> list[ComponentSet]:
    """Sets of whole tensors, of names as models have them and of any names at all."""
    word = st.sampled_from(["model", "layers", "mixer", "norm", "weight", "bias", "0", "1", "10", "L1", "H0"])
    usual = st.lists(word, min_size=1, max_size=5).map(".".join)
    odd = st.text(st.sampled_from("a.0*#~%+ \n:L3é\ud800\"'<T"), max_size=6)
    there = draw(st.lists(usual | odd | st.text(max_size=4), min_size=1, max_size=25, unique=True))
    parts = [Component.of_tensor(name) for name in there]
    parts += draw(st.lists(components(), max_size=3, unique=True))
    universe = ComponentSet(parts)
    return [ComponentSet(draw(st.lists(st.sampled_from(parts))), universe) for _ in range(count)]


@given(tensor_sets(), st.randoms(use_true_random=False))
def test_whole_tensors_parse_back_whatever_their_names(
    sets: list[ComponentSet], chance: random.Random
) -> None:
    for one in sets:
        words = str(one).split()
        assert ComponentSet.parse(" ".join(words), one.universe) == one
        chance.shuffle(words)
        assert ComponentSet.parse("\n".join(words), one.universe) == one
        assert ComponentSet.parse(" ".join(map(str, one)), one.universe) == one
        assert [Component.parse(str(part)) for part in one] == list(one) == sorted(one)
        assert pickle.loads(pickle.dumps(one)) == one


@given(tensor_sets())
def test_algebra_of_whole_tensors_is_that_of_sets(sets: list[ComponentSet]) -> None:
    a, b, c = sets
    assert frozenset(a | b) == frozenset(a) | frozenset(b)
    assert frozenset(~a) == frozenset(a.universe) - frozenset(a)
    assert ~(a | b) == ~a & ~b
    assert a & (b | c) == (a & b) | (a & c)


def test_wildcards_of_whole_tensors() -> None:
    tensors = [
        "wte.weight",
        *(f"h.{layer}.{rest}" for layer in (0, 2, 10) for rest in ("norm.weight", "mixer.norm.weight")),
    ]
    universe = ComponentSet(map(Component.of_tensor, tensors))
    for text, expected in {
        "L2.*": ["h.2.mixer.norm.weight", "h.2.norm.weight"],
        "T:h.#.norm.weight": ["h.0.norm.weight", "h.2.norm.weight", "h.10.norm.weight"],
        "T:h.*.mixer.*": [f"h.{layer}.mixer.norm.weight" for layer in (0, 2, 10)],
        "~L*.*": ["wte.weight"],
        "T:wte.weight": ["wte.weight"],
    }.items():
        assert [one.tensor for one in ComponentSet.parse(text, universe)] == expected
    assert str(ComponentSet.parse("T:h.*.mixer.*", universe)) == "T:h.#.mixer.norm.weight"
    with pytest.raises(UnknownName, match=r"T:h\.2\.norm\.weight"):
        ComponentSet.parse("T:h.2.norm.wieght", universe)
