"""Observations as rows of numbers, as the MlpPolicy of Stable-Baselines3 reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from takeback.run.errors import TakebackError

LARGEST_IMAGE: Final = 64
"""Pixels per side; a larger image is meant for a convolutional network."""


@dataclass(frozen=True)
class Encoder:
    """Turns an observation into a row of `width` float32 numbers."""

    width: int
    encode: Callable[[Any], NDArray[np.float32]]


def encoder_of(space: spaces.Space[Any], name: str) -> Encoder:
    """Make the encoder of an observation space.

    It gives what `preprocess_obs` and `FlattenExtractor` of Stable-Baselines3 give: numbers as they are;
    images (three dimensions, bytes from 0 to 255, of any number of channels) channel by channel and divided
    by 255; discrete values one-hot.

    Raises:
        TakebackError: The space is of a kind that no flat row stands for; `name` is the arena's.
    """
    if isinstance(space, spaces.Box):
        return _box(space, name)
    if isinstance(space, spaces.Discrete):
        n, start = int(space.n), int(space.start)
        return Encoder(n, lambda seen: _one_hot(np.asarray(seen) - start, n))
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        counts, starts = [int(n) for n in space.nvec], np.asarray(space.start)
        return Encoder(
            sum(counts),
            lambda seen: np.concatenate(
                [_one_hot(value, n) for value, n in zip(np.asarray(seen) - starts, counts, strict=True)]
            ),
        )
    if isinstance(space, spaces.MultiBinary):
        return Encoder(int(np.prod(space.shape)), lambda seen: np.asarray(seen, np.float32).ravel())
    kind = type(space).__name__
    parts = f" with {', '.join(map(str, space.spaces))}" if isinstance(space, spaces.Dict) else ""
    raise TakebackError(
        f"{name} has observations of the kind {kind}{parts}; Box, Discrete, MultiDiscrete and MultiBinary "
        "are supported: add a wrapper that leaves one of them, as in gym:ENV+FlattenObservation"
    )


def _box(space: spaces.Box, name: str) -> Encoder:
    width = int(np.prod(space.shape))
    if not _is_image(space):
        return Encoder(width, lambda seen: np.asarray(seen).astype(np.float32).ravel())
    channels = int(np.argmin(space.shape))
    sides = sorted(space.shape)[1:]
    if max(sides) > LARGEST_IMAGE:
        raise TakebackError(
            f"{name} shows images of {'x'.join(map(str, space.shape))}, which need a convolutional network; "
            f"at most {LARGEST_IMAGE}x{LARGEST_IMAGE} is supported"
        )
    order = (0, 1, 2) if channels == 0 else (2, 0, 1)
    return Encoder(width, lambda seen: np.transpose(seen, order).astype(np.float32).ravel() / np.float32(255))


def _is_image(space: spaces.Box) -> bool:
    """Tell what Stable-Baselines3 takes for an image."""
    return (
        len(space.shape) == 3
        and space.dtype == np.uint8
        and bool(np.all(space.low == 0))
        and bool(np.all(space.high == 255))
    )


def _one_hot(value: Any, n: int) -> NDArray[np.float32]:
    row = np.zeros(n, np.float32)
    row[int(value)] = 1
    return row
