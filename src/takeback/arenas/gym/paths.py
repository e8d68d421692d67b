"""Situations of an environment: a reset seed and the actions taken since; the split of seeds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np

from takeback.run.errors import TakebackError, unknown_name

SPLITS: Final = ("train", "held-out")
SEEDS: Final = 1_000_000
"""Situations are drawn from the seeds below this."""
_FORM: Final = re.compile(r"(\d{1,9}):((?: \d{1,6})*)")


@dataclass(frozen=True, slots=True)
class Path:
    """A reset seed and the numbers of the actions taken since: replaying them gives the state exactly.

    >>> Path.parse("17: 0 1 1 2")
    Path(seed=17, actions=(0, 1, 1, 2))
    >>> str(Path(17, ()))
    '17:'
    """

    seed: int
    actions: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Path:
        """Read the text form.

        Raises:
            TakebackError: The text is no seed with actions.
        """
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise TakebackError(f"{text!r} is no situation: write a seed and actions, as in '17: 0 1 1 2'")
        return cls(int(match[1]), tuple(map(int, match[2].split())))

    def then(self, action: int) -> Path:
        """Return the path that goes one action further."""
        return Path(self.seed, (*self.actions, action))

    def __str__(self) -> str:
        """Write the text form, which parses back."""
        return " ".join((f"{self.seed}:", *map(str, self.actions)))


def number_of(*parts: bytes) -> int:
    """Hash bytes to a number in [0, 2^63), the same on every machine."""
    hashed = blake2b(digest_size=8)
    for part in parts:
        hashed.update(len(part).to_bytes(8, "little") + part)
    return int.from_bytes(hashed.digest(), "little") >> 1


def split_of(seed: int) -> str:
    """Tell on which side of the split a seed is: a fixed fifth is `held-out`, by a hash of the seed alone.

    >>> [split_of(seed) for seed in (4, 5)]
    ['train', 'held-out']
    """
    return "held-out" if number_of(b"split", str(seed).encode()) % 5 == 0 else "train"


def draw_seed(split: str, rng: np.random.Generator) -> int:
    """Draw a seed of a split.

    Raises:
        UnknownName: There is no such split.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    while True:
        seed = int(rng.integers(SEEDS))
        if split_of(seed) == split:
            return seed
