"""One model in memory, slices of the other from its files: the same numbers, little more than one model."""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from takeback.arenas import arena
from takeback.checkpoint import Pair, Placement, load_model, open_pair
from takeback.component import ComponentSet
from takeback.hybrid.walk import Hybrids
from takeback.measure.bench import Bench
from takeback.measure.read import Ask
from takeback.measure.setup import Setup

ENDGAMES = arena("endgames")
language = importlib.import_module("takeback.policies.language.policy")
walk = importlib.import_module("takeback.hybrid.walk")


@pytest.fixture(scope="module")
def pair(players: tuple[str, str]) -> Pair:
    return open_pair(*players)


@pytest.fixture(scope="module")
def asks(pair: Pair) -> list[Ask]:
    """Single components, each taken back and grafted; large sets; another source."""
    anatomy = pair.anatomy()
    alone = [ComponentSet([one], anatomy.universe) for one in list(anatomy.universe)[::4]]
    large = [anatomy.parse(text) for text in ("", "*", "L1.*", "*.MLP")]
    made: list[Callable[[ComponentSet], Ask]] = [Ask, Ask.graft]
    return [make(one) for one in (*alone, *large) for make in made] + [Ask(alone[0], "noise:3")]


def bench(pair: Pair, asked: Placement, measures: tuple[str, ...] = ("legal",)) -> Bench:
    return Bench(pair, ENDGAMES, ENDGAMES.situations("held-out", 8, 3), measures, Setup(placement=asked))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("measures", [("legal",), ("entropy",)])
def test_it_gives_the_numbers_of_holding_both(pair, asks, dtype, measures):
    both = bench(pair, Placement("cpu", dtype, "both"), measures).read(asks)
    one = bench(pair, Placement("cpu", dtype, "one"), measures).read(asks)
    for ask, mine, others in zip(asks, one, both, strict=True):
        assert (mine.probabilities == others.probabilities).all(), ask
        assert (mine.masses == others.masses).all(), ask


class Resident:
    """Counts the bytes of models that are alive and of slices kept for them, whenever some are used."""

    def __init__(self) -> None:
        self.models: weakref.WeakSet[Any] = weakref.WeakSet()
        self.hybrids: weakref.WeakSet[Hybrids] = weakref.WeakSet()
        self.most = 0

    def look(self) -> None:
        kept = [new for one in self.hybrids for found in one._slices.values() for _, new in found]
        tensors = [*kept, *(each for model in self.models for each in model.parameters())]
        storages = [each.untyped_storage() for each in tensors]
        self.most = max(self.most, sum({one.data_ptr(): one.nbytes() for one in storages}.values()))


@pytest.fixture
def resident(monkeypatch: pytest.MonkeyPatch) -> Resident:
    counted, exchanged = Resident(), walk.exchanged

    def loaded(*args: Any) -> Any:
        model = load_model(*args)
        counted.models.add(model)
        return model

    class Counted(Hybrids):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            counted.hybrids.add(self)

    def watched(pairs: Any) -> Any:
        counted.look()
        return exchanged(pairs)

    monkeypatch.setattr(walk, "exchanged", watched)
    monkeypatch.setattr(language, "Hybrids", Counted)
    monkeypatch.setattr(language, "load_model", loaded)
    return counted


@pytest.mark.slow
@pytest.mark.parametrize("hold", ["one", "both"])
def test_single_components_need_one_model_and_few_slices(pair, monkeypatch, resident, hold):
    limit = 2**16
    monkeypatch.setattr(walk, "HELD", limit)
    universe = pair.anatomy().universe
    here = Placement("cpu", "bf16", hold)
    model = here.bytes(pair.tuned)
    asked = [make(ComponentSet([one], universe)) for one in universe for make in (Ask, Ask.graft)]
    bench(pair, here).read(asked)
    largest = 2 * max(pair.anatomy().parameters(one) for one in universe)
    if hold == "one":
        assert model <= resident.most <= model + max(limit, largest)
    else:
        assert resident.most >= 2 * model
