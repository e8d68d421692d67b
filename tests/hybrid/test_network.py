"""Hybrids of policy networks: the laws of copying on disk and in memory, and the fast way equals the slow."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import networks
from partition import assert_partition
from takeback.anatomy import Anatomy, anatomy_of
from takeback.checkpoint import Network, Pair, load_network, open_checkpoint, open_pair
from takeback.checkpoint.shards import read_metadata
from takeback.component import ComponentSet
from takeback.hybrid import hybrid, taken_back, write_hybrid
from takeback.hybrid.network import NetworkHybrids
from takeback.hybrid.walk import path_of
from takeback.run.errors import TakebackError

NARROW, WIDE = (4, 6, 5, 3), (3, 7, 70)
KINDS = ("narrow", "wide", "PPO", "A2C", "DQN")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Pair]:
    """Pairs of every kind: MLPs with few and many outputs, agents before and after some training."""
    folder = tmp_path_factory.mktemp("pairs")
    sides = {
        "narrow": networks.save_pair(folder / "narrow", NARROW, "tanh"),
        "wide": networks.save_pair(folder / "wide", WIDE),
        **networks.save_agents(folder),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAKEBACK_CACHE", str(folder / "cache"))
        return {name: open_pair(*both) for name, both in sides.items()}


def tensors(network: Network) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and torch.equal(one[name].contiguous().view(torch.uint8), other[name].contiguous().view(torch.uint8))
        for name in one
    )


def entry_by_entry(
    anatomy: Anatomy, base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], taken: ComponentSet
):
    """The slow reference: ask of every stretch of every tensor who owns it."""
    mixed = {name: values.clone() for name, values in tuned.items()}
    for name, values in mixed.items():
        for component, region in anatomy.of_tensor(name):
            if component in taken:
                values[region.index] = base[name][region.index]
    return mixed


def drawn(data: st.DataObject, universe: ComponentSet) -> ComponentSet:
    return ComponentSet(data.draw(st.lists(st.sampled_from(list(universe)), max_size=12)), universe)


# Law 1


@pytest.mark.parametrize("resolution", ["heads", "neurons"])
@pytest.mark.parametrize("kind", KINDS)
def test_components_are_a_partition(kind: str, resolution: str, pairs: Mapping[str, Pair]) -> None:
    network = load_network(pairs[kind].tuned)
    for anatomy in (pairs[kind].anatomy(resolution), anatomy_of(network, resolution)):
        assert_partition(anatomy, dict(network.named_parameters()))
        assert set(anatomy.shapes) == set(dict(network.named_parameters()))
        kinds = {component.kind for component in anatomy.universe}
        assert kinds == ({"U", "OUTPUTS"} if (kind, resolution) == ("wide", "heads") else {"U"})
    units = sum(layer.out_features for layer in network.layers)
    assert len(pairs[kind].anatomy("neurons").universe) == units


def test_more_than_64_outputs_are_one_component() -> None:
    for outputs, parts in ((64, 64), (65, 1)):
        universe = anatomy_of(networks.build((2, 3, outputs), 0)).universe
        assert len(universe) == 3 + parts


# Law 2


@pytest.mark.parametrize("resolution", ["heads", "neurons"])
@pytest.mark.parametrize("kind", KINDS)
def test_ends_are_bit_exact(kind: str, resolution: str, pairs: Mapping[str, Pair], tmp_path: Path) -> None:
    pair = pairs[kind]
    base, tuned = load_network(pair.base), load_network(pair.tuned)
    before, source = tensors(tuned), tensors(base)
    assert not any(torch.equal(before[name], source[name]) for name in before)
    for text, expected, side in (("", before, pair.tuned), ("*", source, pair.base)):
        taken = pair.anatomy(resolution).parse(text)
        file = write_hybrid(
            hybrid(pair, taken), tmp_path / f"{text or 'none'}.safetensors".replace("*", "all")
        )
        made = open_checkpoint(file)
        assert made.digest == side.digest
        assert made.dtypes == side.dtypes
        assert same({name: made.read(name) for name in made.shapes}, expected)
        assert made.runs_as == pair.tuned.runs_as
        assert read_metadata(file)["takeback"].startswith(pair.tuned.ref)
        with taken_back(tuned, base, taken):
            assert same(tensors(tuned), expected)
    assert same(tensors(tuned), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtypes_are_kept_on_disk(dtype: torch.dtype, tmp_path: Path) -> None:
    files = [
        networks.write(
            tmp_path / f"{seed}.safetensors",
            {name: one.to(dtype) for name, one in networks.tensors_of(NARROW, seed).items()},
        )
        for seed in (0, 1)
    ]
    pair = open_pair(*files)
    for text, side in (("", pair.tuned), ("*", pair.base), ("L0.U1 L2.U0", None)):
        made = open_checkpoint(
            write_hybrid(
                hybrid(pair, pair.anatomy().parse(text)), tmp_path / "made.safetensors", overwrite=True
            )
        )
        assert set(made.dtypes.values()) == {dtype}
        assert side is None or made.digest == side.digest


def test_a_hybrid_on_disk_is_the_one_in_memory_and_runs(pairs: Mapping[str, Pair], tmp_path: Path) -> None:
    for kind, text in (("narrow", "L0.U3 L1.U0 L2.U2"), ("wide", "L0.U1 OUTPUTS"), ("PPO", "L1.*")):
        pair = pairs[kind]
        taken = pair.anatomy().parse(text)
        made = load_network(
            open_checkpoint(write_hybrid(hybrid(pair, taken), tmp_path / f"{kind}.safetensors"))
        )
        base, tuned = load_network(pair.base), load_network(pair.tuned)
        expected = entry_by_entry(pair.anatomy(), tensors(base), tensors(tuned), taken)
        assert same(tensors(made), expected)
        rows = torch.randn(5, tuned.inputs, generator=torch.Generator().manual_seed(0))
        with taken_back(tuned, base, taken):
            assert same(tensors(tuned), expected)
            assert torch.equal(tuned(rows), made(rows))


def test_a_folder_s_hybrid_is_a_file(tmp_path: Path) -> None:
    pair = open_pair(*networks.save_pair(tmp_path, NARROW))
    with pytest.raises(TakebackError, match=r"is one file; end its name in \.safetensors"):
        write_hybrid(hybrid(pair, pair.anatomy().parse("*")), tmp_path / "made")


# Law 3


@given(data=st.data())
@settings(max_examples=8, deadline=None)
@pytest.mark.parametrize("resolution", ["heads", "neurons"])
@pytest.mark.parametrize("kind", ["narrow", "wide", "DQN"])
def test_one_after_the_other_is_the_union_in_any_order(
    kind: str, resolution: str, data: st.DataObject, pairs: Mapping[str, Pair]
) -> None:
    pair = pairs[kind]
    anatomy = pair.anatomy(resolution)
    a, b = (drawn(data, anatomy.universe) for _ in range(2))
    base, tuned = load_network(pair.base), load_network(pair.tuned)
    before = tensors(tuned)
    expected = entry_by_entry(anatomy, tensors(base), before, a | b)
    for first, second in ((a, b), (b, a)):
        with taken_back(tuned, base, first), taken_back(tuned, base, second):
            assert same(tensors(tuned), expected)
        assert same(tensors(tuned), before)
    with taken_back(tuned, base, a | b):
        assert same(tensors(tuned), expected)
    assert same({name: hybrid(pair, a | b).read(name) for name in expected}, expected)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_inside_leaves_the_network_as_it_was(
    error: type[BaseException], pairs: Mapping[str, Pair]
) -> None:
    base, tuned = load_network(pairs["PPO"].base), load_network(pairs["PPO"].tuned)
    before, anatomy = tensors(tuned), pairs["PPO"].anatomy()
    with pytest.raises(error), taken_back(tuned, base, anatomy.parse("L0.*")):  # noqa: SIM117
        with taken_back(tuned, base, anatomy.parse("L0.U1 L2.U0")):
            raise error
    assert same(tensors(tuned), before)


# Law 5


def slowly(tuned: Network, base: Network, rows: Tensor, sets: list[ComponentSet]) -> list[Tensor]:
    """Each hybrid in place, run as a whole on all rows."""
    anatomy = anatomy_of(tuned, sets[0].resolution)
    found: list[Tensor] = []
    for taken in sets:
        with torch.no_grad(), taken_back(tuned, base, taken, anatomy):
            found.append(tuned(rows).clone())
    return found


def fast(hybrids: NetworkHybrids, rows: Tensor, sets: list[ComponentSet]) -> list[Tensor]:
    """The outputs of each hybrid, those of the unchanged network where no block has a row."""
    with torch.inference_mode():
        unchanged = hybrids.model(rows)
        found = [unchanged.clone() for _ in sets]
    seen: list[list[int]] = [[] for _ in sets]
    places: list[int] = []
    with torch.inference_mode():
        for block in hybrids.outputs(rows, [path_of(taken) for taken in sets]):
            places.append(block.place)
            seen[block.place] += block.rows.tolist()
            found[block.place][block.rows] = block.values
            block.values.fill_(7)
    assert places == sorted(places)
    assert all(some == sorted(set(some)) for some in seen)
    return found


@torch.no_grad()
def summed(tuned: Network, base: Network, rows: Tensor) -> float:
    """Return the largest output if nothing cancels; no activation here is larger than what goes into it."""
    values = rows.abs()
    for one, other in zip(tuned.layers, base.layers, strict=True):
        values = values @ torch.maximum(one.weight.abs(), other.weight.abs()).T
        if one.bias is not None and other.bias is not None:
            values = values + torch.maximum(one.bias.abs(), other.bias.abs())
    return float(values.max())


def assert_fast_is_slow(tuned: Network, base: Network, rows: Tensor, sets: list[ComponentSet]) -> None:
    """Hold two ways to 1e-5 of the outputs, and to float32's rounding of what is added up in them."""
    before, given_back = tensors(tuned), tensors(base)
    expected = slowly(tuned, base, rows, sets)
    hybrids = NetworkHybrids(tuned, base)
    rounding = 2.0**-23 * summed(tuned, base, rows)
    for found in (fast(hybrids, rows, sets), fast(NetworkHybrids(tuned, given_back), rows, sets)):
        for taken, one, other in zip(sets, found, expected, strict=True):
            bound = 1e-5 * float(other.abs().max()) + rounding
            assert float((one - other).abs().max()) <= bound, taken
    assert same(tensors(tuned), before)
    assert same(tensors(base), given_back)


@st.composite
def nets(draw: st.DrawFn) -> tuple[Network, Network, str]:
    hidden = draw(st.lists(st.integers(1, 9), max_size=3))
    widths = [draw(st.integers(1, 4)), *hidden, draw(st.sampled_from([1, 2, 5, 66]))]
    activation = draw(st.sampled_from(["relu", "tanh", "identity"]))
    biases = draw(st.booleans())
    base, tuned = (networks.build(widths, seed, activation, biases) for seed in (0, 1))
    if hidden and draw(st.booleans()):
        with torch.no_grad():  # units that no observation wakes, in one network or in both
            for one in draw(st.sampled_from([(base,), (tuned,), (base, tuned)])):
                one.layers[0].weight[0] = 0
                if biases:
                    one.layers[0].bias[0] = -1
    return base, tuned, draw(st.sampled_from(["heads", "neurons"]))


@given(nets(), st.data(), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_random_sets_equal_the_network_run_as_a_whole(
    made: tuple[Network, Network, str], data: st.DataObject, n: int
) -> None:
    base, tuned, resolution = made
    rows = torch.from_numpy(np.random.default_rng(n).normal(size=(n, tuned.inputs)).astype(np.float32))
    universe = anatomy_of(tuned, resolution).universe
    sets = [drawn(data, universe) for _ in range(4)]
    assert_fast_is_slow(tuned, base, rows, [*sets, ~sets[0]])


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
@pytest.mark.parametrize(
    ("widths", "resolution"),
    [
        ((3, 66), "heads"),
        ((3, 66), "neurons"),
        ((3, 2), "heads"),
        ((3, 9, 66), "heads"),
        ((3, 9, 66), "neurons"),
        ((3, 9, 8, 2), "heads"),
        ((3, 5, 4, 3, 66), "heads"),
    ],
)
def test_sets_of_every_kind(widths: tuple[int, ...], resolution: str, activation: str, biases: bool) -> None:
    base, tuned = (networks.build(widths, seed, activation, biases) for seed in (0, 1))
    universe = anatomy_of(tuned, resolution).universe
    everything = list(universe)
    sets = [ComponentSet([one], universe) for one in [*everything[:9], *everything[9:][-3:]]]
    layers = sorted({one.layer for one in everything if one.layer is not None})
    whole = [ComponentSet([one for one in everything if one.layer == layer], universe) for layer in layers]
    last = sets[-1]
    sets += [
        *whole,
        *(~one for one in whole),
        universe,
        universe ^ universe,
        *(one | last for one in sets[::5]),
    ]
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(13, 3)).astype(np.float32))
    assert_fast_is_slow(tuned, base, rows, sets)


def test_rows_that_no_unit_changes_are_left_out() -> None:
    """One relu wakes for positive inputs only; what is taken back above it counts in every row."""
    base, tuned = networks.build((1, 2, 2), 0), networks.build((1, 2, 2), 1)
    with torch.no_grad():
        for one, slope in ((base, 2.0), (tuned, 1.0)):
            one.layers[0].weight.copy_(torch.tensor([[slope], [-1.0]]))
            one.layers[0].bias.zero_()
    rows = torch.tensor([[-1.0], [1.0], [-2.0], [3.0]])
    anatomy = anatomy_of(tuned)
    hybrids = NetworkHybrids(tuned, base)

    def given_rows(text: str) -> list[int]:
        return [
            row
            for block in hybrids.outputs(rows, [path_of(anatomy.parse(text))])
            for row in block.rows.tolist()
        ]

    assert given_rows("L0.U0") == [1, 3]
    assert given_rows("L0.U1") == []
    assert given_rows("L0.U0 L1.U1") == [0, 1, 2, 3]
    assert_fast_is_slow(tuned, base, rows, [anatomy.parse(text) for text in ("L0.U0", "L0.U1", "L0.* L1.U1")])


def test_blocks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    base, tuned = networks.build(NARROW, 0), networks.build(NARROW, 1)
    sets = [anatomy_of(tuned).parse(text) for text in ("", "L0.U2", "L0.* L2.U1", "L2.U0", "*")]
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(11, 4)).astype(np.float32))
    for block in (1, 3 * 4, 2**20):
        monkeypatch.setattr(import_module("takeback.hybrid.network"), "BLOCK", block)
        assert_fast_is_slow(tuned, base, rows, sets)


def test_other_observations_are_computed_anew() -> None:
    base, tuned = networks.build(NARROW, 0), networks.build(NARROW, 1)
    hybrids, sets = NetworkHybrids(tuned, base), [anatomy_of(tuned).parse("L1.U0")]
    for seed in range(3):
        rows = torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(fast(hybrids, rows, sets)[0], fast(NetworkHybrids(tuned, base), rows, sets)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda given: given.pop("policy.1.bias"),
            r"has nothing as policy\.1\.bias, the network shape \[5\]",
        ),
        (lambda given: given.update({"policy.0.weight": torch.ones(6, 3)}), r"shape \[6, 3\] as policy\.0"),
    ],
)
def test_a_source_that_does_not_fit_is_told(change: object, message: str) -> None:
    given_tensors = tensors(networks.build(NARROW, 0))
    change(given_tensors)
    with pytest.raises(TakebackError, match=message):
        NetworkHybrids(networks.build(NARROW, 1), given_tensors)
