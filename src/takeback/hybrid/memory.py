"""How much a device holds beside a model, and what is done when that was too much."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

import torch
from torch import nn

from takeback.run.errors import TakebackError, warned

UNIT: Final = 2**30
"""The bytes that one unit of work may take: 16 rows, 2^24 logits, 2^28 bytes of hidden states and slices."""

MOST_UNITS: Final = 16
"""More rows than these units hold gain nothing."""

Work = TypeVar("Work")
Found = TypeVar("Found")


def units_of(model: nn.Module) -> int:
    """Return how many units of work fit beside a model and another one like it, or else beside it alone.

    A power of two, given by the device and the size of the model alone, so that batches are the same each
    time; 1 on a CPU.

    >>> units_of(torch.nn.Linear(2, 2))
    1
    """
    device = next(model.parameters()).device
    if device.type != "cuda":
        return 1
    cards = {parameter.device for parameter in model.parameters()}
    total = sum(torch.cuda.get_device_properties(card).total_memory for card in cards)
    mine = sum(parameter.numel() * parameter.itemsize for parameter in model.parameters())
    room = max(total - 2 * mine, (total - mine) // 2) // len(cards)
    return units_in(room)


def units_in(room: int) -> int:
    """Return how many units of work half of so many bytes hold, a power of two.

    >>> [units_in(gigabytes * 10**9) for gigabytes in (1, 5, 20, 80)]
    [1, 2, 8, 16]
    """
    return min(MOST_UNITS, 2 ** max(0, (room // (2 * UNIT)).bit_length() - 1))


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that a device's memory is full."""
    told = str(error)
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in told or "not enough memory" in told)
    )


def in_halves(
    work: Work, size: int, run: Callable[[Work], Iterator[Found]], halves: Callable[[Work], Iterable[Work]]
) -> Iterator[Found]:
    """Yield what running some rows gives; where memory does not suffice, what each half of them gives.

    Args:
        work: what is run; where it fails, all that it gave before has to be right to keep.
        size: its rows.
        run: runs it; of work that was partly done before, it gives what is left.
        halves: cuts it in two, the first being no smaller.

    Raises:
        TakebackError: a single row does not fit.
    """
    told = ""
    try:
        yield from run(work)
        return
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        told = " ".join(str(error).split())[:160]
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if size < 2:
        raise TakebackError(
            f"one row does not fit in memory ({told}); take a smaller --dtype, --hold one, another --device "
            "or shorter prompts; what was read is kept"
        )
    warned(f"out of memory with {size} rows: going on with {(size + 1) // 2}")
    first, second = halves(work)
    yield from in_halves(first, (size + 1) // 2, run, halves)
    yield from in_halves(second, size // 2, run, halves)
