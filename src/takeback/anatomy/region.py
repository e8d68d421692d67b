"""A stretch of one tensor: what a component owns in it."""

from __future__ import annotations

from dataclasses import dataclass

RESOLUTIONS = ("heads", "neurons")
"""How fine a partition is: `neurons` splits each MLP into its neurons, and wide outputs into units."""


@dataclass(frozen=True, slots=True)
class Region:
    """Names the entries of a tensor from `start` to before `stop` on one axis, or all of them (`axis` None).

    >>> Region("model.layers.0.self_attn.o_proj.weight", axis=1, start=8, stop=16).index
    (slice(None, None, None), slice(8, 16, None))
    >>> Region("model.norm.weight").index
    ()
    """

    tensor: str
    axis: int | None = None
    start: int = 0
    stop: int | None = None

    @property
    def index(self) -> tuple[slice, ...]:
        """What to put in brackets behind the tensor (or array) to get these entries as a view."""
        if self.axis is None:
            return ()
        return (slice(None),) * self.axis + (slice(self.start, self.stop),)
