"""What a source of weights is: anything that gives tensors by name, one at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from takeback.anatomy import Anatomy, Region

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig


class Weights(Protocol):
    """Gives the tensors of one model by their canonical names; a checkpoint is one, a hybrid too.

    `config` is None for a plain state dict. What `read` returns must not be written to.
    """

    @property
    def ref(self) -> str:
        """What the user called it."""
        ...

    @property
    def config(self) -> PreTrainedConfig | None:
        """The architecture's settings, or None for a plain state dict."""
        ...

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each tensor by canonical name."""
        ...

    @property
    def dtypes(self) -> Mapping[str, torch.dtype]:
        """The element type of each tensor by canonical name."""
        ...

    @property
    def digest(self) -> str:
        """The content hash of the weights."""
        ...

    def read(self, name: str) -> torch.Tensor:
        """Read one tensor, in its own element type."""
        ...

    def read_region(self, region: Region) -> torch.Tensor:
        """Read one stretch of a tensor."""
        ...

    def anatomy(self, resolution: str = "heads") -> Anatomy:
        """Return which entries belong to which component."""
        ...


def weights_digest(weights: Weights) -> str:
    """Return the SHA-256 of all tensors' names, types, shapes and bytes, however files hold them.

    Sharding, the order in a file and a prefix missing from stored names make no difference.
    """
    total = hashlib.sha256()
    for name in sorted(weights.shapes):
        tensor = weights.read(name)
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        total.update(hashlib.sha256(raw_bytes(tensor)).digest())
    return total.hexdigest()


def names_digest(names: Iterable[str]) -> str:
    """Return the SHA-256 of the names of a model's tensors."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def stacked(read: Callable[[str], torch.Tensor], parts: Iterable[Iterable[str]]) -> torch.Tensor:
    """Return a tensor of the live module whose slices files hold in `parts`, joined on their first axis."""
    import torch

    return torch.stack([torch.cat([read(name) for name in names]) for names in parts])


def raw_bytes(tensor: torch.Tensor) -> memoryview:
    """Return the bytes of a tensor's entries in row-major order, copied only where they lie otherwise."""
    import torch

    if not tensor.numel():
        return memoryview(b"")
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def all_finite(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor holds no NaN and no infinite value, without a mask as large as it.

    >>> import torch
    >>> all_finite(torch.tensor([1.0, -2.0])), all_finite(torch.tensor([1.0, float("nan")]))
    (True, False)
    """
    import torch

    if not tensor.numel() or not tensor.dtype.is_floating_point:
        return bool(tensor.isfinite().all())
    ends = torch.aminmax(tensor.float() if tensor.itemsize == 1 else tensor)  # NaN is passed on
    return bool(torch.stack(ends).isfinite().all())


def narrowest_dtype(*dtypes: torch.dtype) -> torch.dtype:
    """Return the narrowest floating-point type that holds every value of each of `dtypes` exactly.

    >>> import torch
    >>> narrowest_dtype(torch.bfloat16, torch.float16)
    torch.float32
    >>> narrowest_dtype(torch.bfloat16, torch.bfloat16)
    torch.bfloat16
    """
    import torch

    if len(set(dtypes)) == 1:
        return dtypes[0]
    floats = (
        torch.float8_e4m3fn,
        torch.float8_e5m2,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
    )
    return next(wide for wide in floats if all(_holds(wide, dtype) for dtype in dtypes))


def _holds(wide: torch.dtype, narrow: torch.dtype) -> bool:
    """Compare precision, the largest value and the smallest (subnormal) one; only e4m3 has no infinity."""
    import torch

    if wide == narrow:
        return True
    if wide == torch.float8_e4m3fn:
        return False
    big, small = torch.finfo(wide), torch.finfo(narrow)
    return (
        big.eps <= small.eps
        and big.max >= small.max
        and big.smallest_normal * big.eps <= small.smallest_normal * small.eps
    )
