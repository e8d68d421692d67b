"""Where models run and in which element type: what `--device`, `--dtype` and `--hold` say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from takeback.run.errors import TakebackError, unknown_name
from takeback.run.memory import usable_memory

if TYPE_CHECKING:
    import torch

    from takeback.checkpoint.checkpoint import Checkpoint

AUTO: Final = "auto"
CPU: Final = "cpu"
MAP: Final = "map"
"""The device of a model whose layers are spread over all cards."""

DEVICES: Final = (AUTO, CPU, "cuda", "mps", MAP)
DTYPES: Final = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""The element types that models are run in, and what torch calls them."""

FP32: Final = "fp32"
BOTH, ONE = "both", "one"
HOLDS: Final = (AUTO, BOTH, ONE)
"""Which models of a pair are held in memory: both, or one with the slices of the other that are asked for."""

ROOM: Final = 0.6
"""The largest share of a device's free memory that two models may fill; the rest is for what they compute."""

ROOM_ON_CPU: Final = 0.4
"""The same of all the memory that this process may use, of which the system and the process have a part."""


@dataclass(frozen=True)
class Placement:
    """Where models run, in which element type, and how many of a pair are held in memory.

    Attributes:
        device: `cpu`, `cuda`, `cuda:1`, `mps`; `map` spreads the layers of a model over all cards; `auto` is
            the first card if there is one, else `mps`, else `cpu`. A policy network is small and runs on the
            CPU.
        dtype: `fp32`, `bf16`, `fp16`; `auto` is fp32 on a CPU, elsewhere the narrowest of these that holds
            what the checkpoints store.
        hold: `both`, `one`; `auto` is `both` where they fill little enough of the device's free memory, on a
            CPU of what this process may use.
    """

    device: str = AUTO
    dtype: str = AUTO
    hold: str = AUTO

    def __post_init__(self) -> None:
        if self.device.partition(":")[0] not in DEVICES:
            raise unknown_name("device", self.device, DEVICES)
        if self.dtype not in (AUTO, *DTYPES):
            raise unknown_name("dtype", self.dtype, (AUTO, *DTYPES))
        if self.hold not in HOLDS:
            raise unknown_name("way to hold a pair", self.hold, HOLDS)

    @property
    def reduced(self) -> bool:
        """Whether models run in a type so coarse that a reading depends on what is read beside it."""
        return self.dtype not in (AUTO, FP32)

    @property
    def torch_dtype(self) -> torch.dtype:
        """The element type; `auto` has to be settled first."""
        import torch

        return getattr(torch, DTYPES[self.dtype])

    def settled(self, *checkpoints: Checkpoint) -> Placement:
        """Return the placement on this machine of checkpoints that are read together, nothing left to `auto`.

        >>> Placement("cpu").settled()
        Placement(device='cpu', dtype='fp32', hold='both')

        Raises:
            TakebackError: there is no such device here, or it can't compute in this type.
        """
        networks = any(one.settings is None for one in checkpoints)
        if networks and (self.device not in (AUTO, CPU) or self.dtype not in (AUTO, FP32)):
            raise TakebackError(
                "policy networks are small and run on the CPU in fp32; leave --device and --dtype out"
            )
        device = CPU if networks else _device(self.device)
        dtype = self.dtype
        if dtype == AUTO:
            dtype = FP32 if networks or device == CPU else _as_stored(checkpoints)
        _check_computes(device, dtype)
        here = replace(self, device=device, dtype=dtype, hold=BOTH if networks else self.hold)
        if self.device == AUTO and _too_large(here, checkpoints):
            here = replace(here, device=MAP)
        if here.hold != AUTO:
            return here
        cpu = here.device == CPU
        share, there = (ROOM_ON_CPU, usable_memory()) if cpu else (ROOM, free_memory(here.device))
        fits = there is None or sum(map(here.bytes, checkpoints)) <= share * there
        return replace(here, hold=BOTH if fits else ONE)

    def bytes(self, checkpoint: Checkpoint) -> int:
        """Return the memory that a checkpoint takes in a settled type."""
        return sum(map(math.prod, checkpoint.shapes.values())) * self.torch_dtype.itemsize


HERE: Final = Placement(CPU, FP32, BOTH)
"""On the CPU in fp32."""


def found_devices() -> tuple[str, ...]:
    """Return the devices of this machine that models can run on, the best first."""
    import torch

    cards = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return (*cards, *(["mps"] if torch.backends.mps.is_available() else []), CPU)


def decomposing_device(name: str) -> str:
    """Return the device of this machine that matrices are decomposed on in float64.

    >>> decomposing_device("cpu")
    'cpu'

    Raises:
        UnknownName: there is no such device.
        TakebackError: this machine has none, or it does not compute in float64.
    """
    asked = Placement(name).device
    if asked == MAP:
        raise TakebackError("matrices are decomposed one at a time on one device; name cpu, cuda or cuda:1")
    found = CPU if asked == CPU else _device(asked)
    if found == "mps":
        raise TakebackError("mps does not compute in float64; leave --device out, or choose cpu")
    return found


def free_memory(device: str) -> int | None:
    """Return the free bytes of a settled device, of all cards for `map`; None of a CPU.

    What torch has put aside on a card and not given out counts as free.
    """
    import torch

    if device == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    if device == MAP:
        return sum(filter(None, map(free_memory, found_devices())))
    if not device.startswith("cuda"):
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _device(name: str) -> str:
    """Return the device that a name stands for on this machine."""
    found = found_devices()
    best = found[0]
    if name == MAP:
        if not best.startswith("cuda"):
            raise TakebackError(f"there is no card to spread a model over; this machine has {best}")
        return MAP
    wanted = best if name == AUTO else "cuda:0" if name == "cuda" else name
    if wanted not in found:
        raise TakebackError(f"there is no device {name} here; this machine has {', '.join(found)}")
    return wanted


def _as_stored(checkpoints: Iterable[Checkpoint]) -> str:
    """Return the narrowest type that holds what all of these store, fp32 where that is wider."""
    stored = {element for one in checkpoints for element in one.elements.values()}
    return next((name for name in ("bf16", "fp16") if stored == {DTYPES[name]}), FP32)


def _check_computes(device: str, dtype: str) -> None:
    import torch

    where = found_devices()[0] if device == MAP else device
    try:
        one = torch.ones(1, 1, dtype=getattr(torch, DTYPES[dtype]), device=where)
        torch.softmax(one @ one, dim=-1)
    except (RuntimeError, TypeError) as error:
        raise TakebackError(
            f"{where} can't compute in {dtype}; take another --dtype, such as fp32"
        ) from error


def _too_large(here: Placement, checkpoints: Sequence[Checkpoint]) -> bool:
    """Tell whether one model does not fit on one card, and there are several."""
    cards = sum(device.startswith("cuda") for device in found_devices())
    if cards < 2 or not here.device.startswith("cuda"):
        return False
    free = free_memory(here.device)
    return free is not None and max(map(here.bytes, checkpoints), default=0) > free
