"""A policy as a player of games."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from takeback.policies.policy import Policy

if TYPE_CHECKING:
    from takeback.arenas import Arena


def player(policy: Policy, arena: Arena[Any], seed: int) -> Callable[[Sequence[Any]], list[str]]:
    """Return a player that answers each situation with a sample from the policy, at temperature 1.

    The same player asked the same questions in the same order repeats its answers.
    """
    generator = torch.Generator().manual_seed(seed)
    return lambda situations: policy.choose(arena, situations, generator)
