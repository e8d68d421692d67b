"""The anatomy of plain stacks of linear layers: units."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import models
from partition import assert_partition
from takeback.anatomy import anatomy_of
from takeback.component import Component
from takeback.run.errors import TakebackError, UnknownName


def test_units_cover_every_entry_once() -> None:
    model = models.build_mlp()
    anatomy = anatomy_of(model)
    assert_partition(anatomy, dict(model.named_parameters()))
    assert [len(anatomy.parse(f"L{layer}.U*")) for layer in range(3)] == [7, 4, 3]
    assert anatomy.parameters(Component("U", 0, 2)) == 5 + 1
    assert anatomy.parameters(Component("U", 2, 2)) == 4


def test_a_unit_is_what_feeds_one_activation() -> None:
    model, inputs = models.build_mlp(), torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model[:3](inputs)
        for region in anatomy_of(model).regions(Component("U", 1, 2)):
            model.get_parameter(region.tensor)[region.index] = 0.0
        after = model[:3](inputs)
    assert not after[:, 2].any()
    assert before[:, 2].all()
    torch.testing.assert_close(after[:, [0, 1, 3]], before[:, [0, 1, 3]])


def test_a_stack_in_a_file_has_the_anatomy_of_the_live_one() -> None:
    linears = OrderedDict((str(layer), nn.Linear(2, 2)) for layer in range(12))
    live = anatomy_of(nn.Sequential(linears))
    shapes = {name: live.shapes[name] for name in sorted(live.shapes)}
    stored = anatomy_of(SimpleNamespace(config=None, shapes=shapes))
    assert stored.universe == live.universe
    assert set(stored.regions(Component("U", 10, 1))) == set(live.regions(Component("U", 10, 1)))
    assert live.of_tensor("10.weight")[0][0] == Component("U", 10, 0)


def test_a_single_linear_layer_is_a_stack() -> None:
    assert str(anatomy_of(nn.Linear(3, 2)).parse("L0.U0 L0.U1")) == "*"


def test_other_modules_are_refused_by_name() -> None:
    with pytest.raises(TakebackError, match=r"1 is a LayerNorm.*llama"):
        anatomy_of(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))


def test_a_state_dict_that_is_no_stack_is_whole_tensors() -> None:
    shapes = {"0.weight": (2, 2), "1.weight": (2,), "1.bias": (2,)}
    anatomy = anatomy_of(SimpleNamespace(config=None, shapes=shapes))
    assert {component.tensor for component in anatomy.universe} == shapes.keys()


def test_a_head_of_a_stack_says_that_there_are_units() -> None:
    anatomy = anatomy_of(models.build_mlp())
    with pytest.raises(UnknownName, match="units"):
        anatomy.parse("L0.H0")
    with pytest.raises(TakebackError, match="empty"):
        anatomy.named_sets("each head")
    assert [str(components) for components in anatomy.named_sets("each layer").values()] == [
        "L0.*",
        "L1.*",
        "L2.*",
    ]
