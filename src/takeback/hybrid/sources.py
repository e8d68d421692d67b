"""What can stand in base's place when components are taken back, by name: controls and transplants."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from takeback.checkpoint.derived import Derived
from takeback.checkpoint.pair import Pair, open_pair
from takeback.checkpoint.weights import Weights
from takeback.run.errors import TakebackError, unknown_name
from takeback.weights.spectra.directions import LowRank

SOURCES: Mapping[str, str] = {
    "base": "base, the source of an ordinary takeback",
    "zeros": "zeros",
    "noise:SEED": "base + Gaussian noise of Δ's norm in each component's part of each tensor",
    "permuted:SEED": "base + Δ with its entries permuted within each component's part of each tensor",
    "strength:A": "tuned + A (base − tuned): 0 is tuned, 1 base; below 0 and above 1 lie beyond them",
    "without-top:K": "tuned without the K leading singular directions of each matrix's Δ",
    "only-top:K": "base with only the K leading singular directions of each matrix's Δ",
    "without-random:K:SEED": "as without-top, with random directions",
    "only-random:K:SEED": "as only-top, with random directions",
    "largest:SHARE": "base with only the largest entries of each tensor's Δ, this share, as TIES trims",
    "checkpoint:REF": "another checkpoint of the same architecture, such as another arm or seed",
}
"""What each source is; after a number of directions, `:scaled` stretches the Δ that is left to ‖Δ‖."""

_FORMS = {form.partition(":")[0]: form for form in SOURCES}


def source_of(text: str, pair: Pair) -> Weights:
    """Return what a name in `SOURCES` stands for with this pair; no weights are read yet.

    `hybrid(pair, components, source_of(text, pair))` takes the components' entries from it. `base`,
    `strength:0` and `strength:1` are sides of the pair, bit for bit, and `largest:SHARE` has entries of both.
    All others are computed in float32 or
    wider and rounded to the stored type, so they are not bit-exact; in bfloat16 the rounding can lose much
    of a small change, and float32 checkpoints keep it.

    Raises:
        UnknownName: there is no such source.
        TakebackError: a number is missing or out of range, or the checkpoint makes no pair with base.
    """
    name = text.partition(":")[0]
    if name not in _FORMS:
        raise unknown_name("source", name, SOURCES)
    _, *wanted = _FORMS[name].split(":")
    plain = text.removesuffix(":scaled") if "K" in wanted else text
    _, *words = plain.split(":", 1 if "REF" in wanted else -1)
    if len(words) != len(wanted):
        raise _malformed(text, f"it has {len(words)} of {len(wanted)} values")
    values = [_READERS[kind](word, text) for kind, word in zip(wanted, words, strict=True)]
    if name.endswith(("-top", "-random")):
        return _directions(pair, name, plain != text, *values)
    return _MAKERS[name](pair, *values)


@dataclass(frozen=True, eq=False)
class Zeros(Derived):
    """Is a model of nothing but zeros."""

    @property
    def ref(self) -> str:
        """What it is made of, in words."""
        return "zeros"

    def _made(self, name: str) -> torch.Tensor:
        return torch.zeros_like(self.pair.base.read(name))


@dataclass(frozen=True, eq=False)
class Interpolated(Derived):
    """Is tuned + A (base − tuned): a takeback by degree; 0 is tuned and 1 base.

    The line between two models: Ilharco et al. 2022, "Editing Models with Task Arithmetic", arXiv 2212.04089.
    """

    degree: float

    @property
    def ref(self) -> str:
        """What it is made of, in words."""
        return f"{self.pair.tuned.ref} taken back to {self.pair.base.ref} by {self.degree:g}"

    def _made(self, name: str) -> torch.Tensor:
        base, tuned = self._sides(name)
        return torch.lerp(tuned, base, self.degree)


@dataclass(frozen=True, eq=False)
class _Matched(Derived):
    """Is base + a random change that is as large as Δ in every component's part of every tensor.

    Components are those of the resolution `heads`. Each part has its own random numbers, from the seed, the
    tensor's name and the part's place, so that nothing depends on what is read before.
    """

    seed: int

    @abstractmethod
    def _change(self, delta: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Return a random change in place of Δ, of its shape and norm."""

    def _made(self, name: str) -> torch.Tensor:
        base, tuned = self._sides(name)
        made = base.clone()
        for _, region in self.anatomy().of_tensor(name):
            place = f"{name} {region.axis} {region.start}"
            rng = np.random.default_rng([self.seed, *place.encode()])
            made[region.index] += self._change(tuned[region.index] - base[region.index], rng)
        return made


@dataclass(frozen=True, eq=False)
class Noise(_Matched):
    """Is base + Gaussian noise of Δ's norm."""

    @property
    def ref(self) -> str:
        """What it is made of, in words."""
        return f"{self.pair.base.ref} + noise of the norm of {self.pair.tuned.ref}'s Δ (seed {self.seed})"

    def _change(self, delta: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        noise = torch.from_numpy(rng.standard_normal(tuple(delta.shape)))
        norms = [torch.linalg.vector_norm(one, dtype=torch.float64) for one in (delta, noise)]
        return (noise * (norms[0] / norms[1])).to(delta.dtype)


@dataclass(frozen=True, eq=False)
class Permuted(_Matched):
    """Is base + Δ with its entries permuted."""

    @property
    def ref(self) -> str:
        """What it is made of, in words."""
        return f"{self.pair.base.ref} + {self.pair.tuned.ref}'s Δ with permuted entries (seed {self.seed})"

    def _change(self, delta: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        order = torch.from_numpy(rng.permutation(delta.numel()))
        return delta.reshape(-1)[order].reshape(delta.shape)


@dataclass(frozen=True, eq=False)
class Trimmed(Derived):
    """Is base with only the largest entries of each tensor's Δ, a share of them; these are tuned's own.

    It is the first step of TIES (Yadav et al. 2023, "TIES-Merging", arXiv 2306.01708), tensor by tensor. Of
    entries that moved equally far at the edge all are kept. Values are copied, so no bit is new.
    """

    share: float

    @property
    def ref(self) -> str:
        """What it is made of, in words."""
        return f"{self.pair.base.ref} + the largest {self.share:g} of entries of {self.pair.tuned.ref}'s Δ"

    def _made(self, name: str) -> torch.Tensor:
        base, tuned = self._sides(name)
        far = (tuned - base).abs_()
        dropped = far.numel() - math.ceil(self.share * far.numel())
        if not dropped:
            return tuned
        by_size = far.flatten().numpy()
        by_size.partition(dropped)  # in place, as these tensors are the largest thing in memory
        edge = by_size[dropped].item()
        return torch.where(torch.sub(tuned, base, out=far).abs_() >= edge, tuned, base)


def _strength(pair: Pair, degree: float) -> Weights:
    """Return a point of the line between the sides; its ends are they themselves."""
    ends: dict[float, Weights] = {0.0: pair.tuned, 1.0: pair.base}
    return ends[degree] if degree in ends else Interpolated(pair, degree)


def _directions(pair: Pair, name: str, scaled: bool, k: int, seed: int | None = None) -> Weights:
    return LowRank(pair, k, seed, rest=name.startswith("without"), rescale=scaled)


def _other(pair: Pair, ref: str) -> Weights:
    return open_pair(pair.base, ref, pair.untied).tuned


def _whole(word: str, text: str, least: int = 0) -> int:
    if not word.isdecimal() or int(word) < least:
        raise _malformed(text, f"{word!r} is not a whole number from {least}")
    return int(word)


def _real(word: str, text: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _malformed(text, f"{word!r} is not a number")
    return number


def _share(word: str, text: str) -> float:
    if not 0 < (number := _real(word, text)) <= 1:
        raise _malformed(text, f"{word!r} is no share above 0 and up to 1")
    return number


def _malformed(text: str, why: str) -> TakebackError:
    return TakebackError(f"source {text!r}: {why}; write {_FORMS[text.partition(':')[0]]}")


_READERS: Mapping[str, Callable[[str, str], Any]] = {
    "SEED": _whole,
    "K": partial(_whole, least=1),
    "A": _real,
    "SHARE": _share,
    "REF": lambda word, _: word,
}
_MAKERS: Mapping[str, Callable[..., Weights]] = {
    "base": lambda pair: pair.base,
    "zeros": Zeros,
    "noise": Noise,
    "permuted": Permuted,
    "strength": _strength,
    "largest": Trimmed,
    "checkpoint": _other,
}
