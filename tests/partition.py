"""Law 1, counted entry by entry."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from takeback.anatomy import Anatomy


def assert_partition(anatomy: Anatomy, parameters: Mapping[str, torch.Tensor]) -> None:
    """Count, entry by entry, how many components claim it: by component and by tensor."""
    by_component = {name: torch.zeros(tuple(p.shape), dtype=torch.int) for name, p in parameters.items()}
    for component in anatomy.universe:
        for region in anatomy.regions(component):
            by_component[region.tensor][region.index] += 1
    assert all(bool((count == 1).all()) for count in by_component.values())
    for name, count in by_component.items():
        owners = anatomy.of_tensor(name)
        assert [region.start for _, region in owners] == sorted(region.start for _, region in owners)
        for _, region in owners:
            count[region.index] += 1
        assert bool((count == 2).all())
