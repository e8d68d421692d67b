"""Changes of coordinates of live Hugging Face models, by hand for each family: none changes what they do.

Nothing here knows how circuits are measured. Every random factor lies between 1/2 and 2, so that no gauge has
a condition number above 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from views import Attention, Block, Norm, blocks


@dataclass
class Scrambler:
    """Draws random gauges; each method changes a block in place and leaves the model's function alone."""

    generator: torch.Generator
    dtype: torch.dtype = torch.float32
    names: tuple[str, ...] = field(
        default=(
            "values",
            "value_bias",
            "scores",
            "normed_scores",
            "shared_gains",
            "norm_gain",
            "norm_shift",
            "reading_mean",
            "writing_mean",
            "post_scale",
            "post_signs",
            "neurons",
            "router",
        )
    )

    def scramble(self, block: Block) -> None:
        with torch.no_grad():
            for name in self.names:
                getattr(self, name)(block)

    def factors(self, *shape: int) -> Tensor:
        """Return positive factors between 1/2 and 2."""
        return 2 ** (2 * torch.rand(shape, generator=self.generator, dtype=self.dtype) - 1)

    def signs(self, *shape: int) -> Tensor:
        return torch.randint(2, shape, generator=self.generator).to(self.dtype) * 2 - 1

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=self.dtype)

    def matrix(self, size: int) -> Tensor:
        """Return an invertible matrix of condition number at most 4."""
        left, right = (torch.linalg.qr(self.normal(size, size))[0] for _ in range(2))
        return left * self.factors(size) @ right

    def values(self, block: Block) -> None:
        a = block.attention
        for group in range(len(a.v)):
            n = self.matrix(a.v.shape[1])
            a.v[group] = n @ a.v[group]
            if a.v_bias is not None:
                a.v_bias[group] = n @ a.v_bias[group]
            a.o[:, group] = a.o[:, group] @ torch.linalg.inv(n)

    def value_bias(self, block: Block) -> None:
        a = block.attention
        if a.v_bias is not None and a.o_bias is not None:
            shift = self.normal(*a.v_bias.shape)
            a.v_bias += shift
            a.o_bias -= torch.einsum("dgmw,gw->d", a.o, shift)

    def scores(self, block: Block) -> None:
        """Change the coordinates between queries and keys that have no norms."""
        a, turned = block.attention, 2 * block.pairs
        if a.q_norm is not None:
            return
        for group in range(len(a.k)):
            m = torch.eye(a.k.shape[1], dtype=self.dtype)
            if turned < len(m):
                m[turned:, turned:] = self.matrix(len(m) - turned)
            m[:turned, :turned] = self.rotations(block.pairs)
            self._between(a, group, m)
        if a.k_bias is not None:
            a.k_bias[:, turned:] += self.normal(*a.k_bias[:, turned:].shape)

    def rotations(self, pairs: int) -> Tensor:
        """Return complex factors, one for each pair, as a real matrix on first and second halves."""
        sizes, angles = (
            self.factors(pairs),
            6.3 * torch.rand(pairs, generator=self.generator, dtype=self.dtype),
        )
        cos, sin = (torch.diag(sizes * f(angles)) for f in (torch.cos, torch.sin))
        return torch.cat([torch.cat([cos, -sin], 1), torch.cat([sin, cos], 1)])

    def _between(self, a: Attention, group: int, m: Tensor) -> None:
        inverse = torch.linalg.inv(m).T
        a.q[group], a.k[group] = m @ a.q[group], inverse @ a.k[group]
        if a.q_bias is not None and a.k_bias is not None:
            a.q_bias[group], a.k_bias[group] = a.q_bias[group] @ m.T, inverse @ a.k_bias[group]

    def normed_scores(self, block: Block) -> None:
        """Change what norms on queries and keys leave free: signs of pairs in a group, and scales."""
        a, pairs = block.attention, block.pairs
        if a.q_norm is None:
            return
        signs = torch.cat([self.signs(len(a.k), pairs)] * 2, 1)
        q, k = (
            (self.factors(1), self.factors(1))
            if block.spans
            else (self.factors(*a.q.shape[:2]), self.factors(len(a.k)))
        )
        for parts, factor in (((a.q, a.q_bias), q), ((a.k, a.k_bias), k)):
            weight, bias = parts
            shape = (
                (*factor.shape, *[1] * (weight.ndim - 1 - factor.ndim))
                if factor.numel() > 1
                else (1,) * (weight.ndim - 1)
            )
            both = factor.reshape(shape) * (signs[:, None] if weight.ndim == 4 else signs)
            weight *= both[..., None]
            if bias is not None:
                bias *= both

    def shared_gains(self, block: Block) -> None:
        """Change what the gains of norms on queries and keys share with each other and with the weights."""
        a, pairs = block.attention, block.pairs
        if a.q_norm is None or a.k_norm is None:
            return
        owners = range(len(a.k)) if block.spans else [slice(None)]
        for group in owners:
            self._move_gains(block, group, self.factors(pairs).repeat(2))
            self._flip_rows(a, a.q_norm, a.q, a.q_bias, group)
            self._flip_rows(a, a.k_norm, a.k, a.k_bias, group)
            self._quarter_turn(block, group)

    def _gains(self, block: Block, norm: Norm, group: Any) -> Tensor:
        """Return the view of a norm's gains that belong to a group, (…, w)."""
        if not block.spans:
            return norm.weight
        a = block.attention
        return norm.weight.unflatten(0, a.q.shape[:3] if norm is a.q_norm else a.k.shape[:2])[group]

    def _move_gains(self, block: Block, group: Any, factors: Tensor) -> None:
        a = block.attention
        for norm, by in ((a.q_norm, factors), (a.k_norm, 1 / factors)):
            view = self._gains(block, norm, group)
            view.copy_((view + norm.one) * by - norm.one)

    def _flip_rows(self, a: Attention, norm: Norm, weight: Tensor, bias: Tensor | None, group: Any) -> None:
        spans = not isinstance(group, slice)
        signs = self.signs(*(weight[group].shape[:-1] if spans else weight.shape[-2:-1]))
        view = norm.weight.unflatten(0, weight.shape[:-1])[group] if spans else norm.weight
        view.copy_((view + norm.one) * signs - norm.one)
        weight[group] *= signs[..., None]
        if bias is not None:
            bias[group] *= signs

    def _quarter_turn(self, block: Block, group: Any) -> None:
        """Turn one pair by a right angle: its rows change places, one with its sign, and so do its gains."""
        a, one, other = block.attention, 0, block.pairs
        for norm, weight, bias in ((a.q_norm, a.q, a.q_bias), (a.k_norm, a.k, a.k_bias)):
            gains = self._gains(block, norm, group)
            gains[..., [one, other]] = gains[..., [other, one]]
            for part in (weight[group], None if bias is None else bias[group][..., None]):
                if part is not None:
                    part[..., [one, other], :] = torch.stack([-part[..., other, :], part[..., one, :]], -2)

    def norm_gain(self, block: Block) -> None:
        for norm, readers in ((block.norm, _readers(block)), (block.mlp_norm, _mlp_readers(block))):
            if norm is not None:
                factors = self.factors(len(norm.weight)) * self.signs(len(norm.weight))
                norm.multiply(factors)
                for weight, _ in readers:
                    weight.div_(factors)

    def norm_shift(self, block: Block) -> None:
        for norm, readers in ((block.norm, _readers(block)), (block.mlp_norm, _mlp_readers(block))):
            pairs = [*readers]
            biased = all(bias is not None for _, bias in pairs)
            if norm is not None and norm.bias is not None and biased:
                shift = self.normal(len(norm.weight))
                norm.bias += shift
                for weight, bias in pairs:
                    bias.sub_(weight @ shift)

    def reading_mean(self, block: Block) -> None:
        """Add to what reads a LayerNorm a multiple of the direction that it takes out."""
        for norm, readers in ((block.norm, _readers(block)), (block.mlp_norm, _mlp_readers(block))):
            pairs = [*readers]
            biased = all(bias is not None for _, bias in pairs)
            if norm is not None and block.layer_norms and biased:
                for weight, bias in pairs:
                    by = norm.gain.abs().min() * self.normal(*weight.shape[:-1])
                    weight.add_(by[..., None] / norm.gain)
                    bias.sub_(by * (norm.bias / norm.gain).sum())

    def writing_mean(self, block: Block) -> None:
        """Add to what is written the direction that all LayerNorms take out."""
        if block.layer_norms:
            a = block.attention
            a.o += 0.3 * self.normal(*a.o.shape[1:])
            a.o_bias += self.normal(1)
            block.mlp_bias += self.normal(1)
            for mlp in block.mlps:
                mlp.down += 0.3 * self.normal(len(mlp.down))[:, None]

    def post_scale(self, block: Block) -> None:
        if block.post is not None:
            factor = self.factors(1)
            block.attention.o *= factor
            if block.attention.o_bias is not None:
                block.attention.o_bias *= factor
            block.mlps[0].down *= 1 / factor

    def post_signs(self, block: Block) -> None:
        for norm, write, bias in _posts(block):
            signs = self.signs(len(norm.weight))
            norm.multiply(signs)
            write.mul_(signs.reshape(-1, *[1] * (write.ndim - 1)))
            if bias is not None:
                bias.mul_(signs)

    def neurons(self, block: Block) -> None:
        for mlp in block.mlps:
            count = len(mlp.gate)
            factors = self.factors(count)
            inner, bias = (mlp.gate, mlp.gate_bias) if mlp.up is None else (mlp.up, mlp.up_bias)
            if mlp.up is not None:
                factors = factors * self.signs(count)
            if mlp.up is not None or block.relu:
                inner *= factors[:, None]
                mlp.down /= factors[:, None]
                if bias is not None:
                    bias *= factors
            order = torch.randperm(count, generator=self.generator)
            for part in (mlp.gate, mlp.up, mlp.down, mlp.gate_bias, mlp.up_bias):
                if part is not None:
                    part.copy_(part[order].clone())

    def router(self, block: Block) -> None:
        if block.router is not None:
            block.router += self.normal(block.router.shape[1])


def _readers(block: Block) -> Iterator[tuple[Tensor, Tensor]]:
    a = block.attention
    yield from ((a.q, a.q_bias), (a.k, a.k_bias), (a.v, a.v_bias))


def _mlp_readers(block: Block) -> Iterator[tuple[Tensor, Tensor]]:
    for mlp in block.mlps:
        yield mlp.gate, mlp.gate_bias
        if mlp.up is not None:
            yield mlp.up, mlp.up_bias
    if block.router is not None:
        yield block.router, None


def _posts(block: Block) -> Iterator[tuple[Norm, Tensor, Tensor | None]]:
    if block.post is not None and block.mlp_post is not None:
        yield block.post, block.attention.o, block.attention.o_bias
        yield block.mlp_post, block.mlps[0].down.T, block.mlp_bias


def scramble(model: nn.Module, seed: int = 0) -> None:
    """Apply every gauge that a model has to each of its layers."""
    scrambler = Scrambler(torch.Generator().manual_seed(seed), next(model.parameters()).dtype)
    for block in blocks(model):
        scrambler.scramble(block)


def without_epsilon(model: Any) -> Any:
    """Make norms divide by what they say: their ε, not a gauge, is what keeps scales from being one."""
    for module in model.modules():
        for name in ("eps", "variance_epsilon"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 1e-20)
    model.config._experts_implementation = "eager"  # the grouped one has no float64
    return model


def logits(model: Any, tokens: Tensor) -> Tensor:
    """Run a model; one in float64 without the float32 that modeling code falls back to within."""
    with torch.no_grad():
        if next(model.parameters()).dtype == torch.float64:
            with in_double():
                return model(tokens).logits
        return model(tokens).logits


@contextmanager
def in_double() -> Iterator[None]:
    """Let what asks for float32 get float64."""
    with (
        mock.patch.multiple(torch, float32=torch.float64, float=torch.float64),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
    ):
        yield
