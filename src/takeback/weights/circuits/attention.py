"""A layer's attention: how far each head's OV and QK circuit moved, in the gauge that the architecture has.

Circuits are those of Elhage et al. 2021 ("A Mathematical Framework for Transformer Circuits"). Their gauge
without norms on queries and keys is in "Complete Characterization of Gauge Symmetries in Transformer
Architectures" (NeurReps 2025): any invertible matrix between Q and K and between V and O; with RoPE (Su et
al. 2021, arXiv 2104.09864) between Q and K only what commutes with the rotations, a complex factor for each
pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from takeback.weights.circuits.gauge import (
    Array,
    Distance,
    Factors,
    beside,
    form_change,
    outer_change,
    product_change,
    product_norm,
    together,
)
from takeback.weights.circuits.roles import (
    LayerReader,
    Null,
    Reads,
    Rows,
    Writes,
    randomised,
    randomised_rows,
)


@dataclass(frozen=True, eq=False)
class AttentionCircuits:
    """Holds the weights of a layer's attention: G groups of m heads of width w, in a model of width d.

    `query` is (G, m, w, d + 1), `key` and `value` are (G, 1, w, d + 1), `out` is (G, m, d, w), `out_bias`
    (1, d). The gains of norms on queries and keys are (G, m, w, 1) and (G, 1, w, 1). The first 2 × `pairs`
    dimensions are rotated.
    """

    query: Rows
    key: Rows
    value: Rows
    out: NDArray[Any]
    out_bias: NDArray[Any]
    query_gain: Array
    key_gain: Array
    reads: Reads
    writes: Writes
    norms: Literal["none", "head", "layer"]
    pairs: int

    def changes(self, base: AttentionCircuits) -> Mapping[str, Distance]:
        """Return the change of each head's OV and QK, (G, m), and of what belongs to the layer, (1,)."""
        found = {"OV": ov_change(self, base), "QK": qk_change(self, base)}
        if self.norms == "layer":
            found["query norm"] = form_change(_form(self, "query"), _form(base, "query"))
            found["key norm"] = form_change(_form(self, "key"), _form(base, "key"))
        return {**found, "constant": constant_change(self, base)}

    def raw(self, base: AttentionCircuits) -> Mapping[str, tuple[Distance, Distance | None]]:
        """Return how far the entries of each head's O and V, Q and K moved, and those of the layer."""
        query, key, value, out = (
            Distance.of(getattr(self, role), getattr(base, role), axes=2)
            for role in ("query", "key", "value", "out")
        )
        found: dict[str, tuple[Distance, Distance | None]] = {
            "OV": (out, value),
            "QK": (query, key),
        }
        if self.norms == "layer":
            found["query norm"] = (Distance.of(self.query[None], base.query[None], axes=4), None)
            found["key norm"] = (Distance.of(self.key[None], base.key[None], axes=4), None)
        return {**found, "constant": (Distance.of(self.out_bias, base.out_bias, axes=1), None)}

    def randomised(self, base: AttentionCircuits, null: Null, rng: np.random.Generator) -> AttentionCircuits:
        """Return base's heads with random changes as large as these; norms stay as they are here."""
        return replace(
            self,
            query=randomised_rows(self.query, base.query, null, rng),
            key=randomised_rows(self.key, base.key, null, rng),
            value=randomised_rows(self.value, base.value, null, rng),
            out=randomised(self.out, base.out, null, rng, axes=2),
            out_bias=randomised(self.out_bias, base.out_bias, null, rng, axes=1),
        )


def read_attention(layer: LayerReader, heads: int, groups: int) -> AttentionCircuits:
    """Read a layer's attention.

    Raises:
        TakebackError: a tensor cannot be read.
    """
    out = layer.rows("attention", "out")
    hidden, width = len(out), (out.shape[1] - 1) // heads
    each = (groups, heads // groups, width)
    query, key, value = _queries_keys_values(layer, heads, groups, width)
    query_gain, key_gain = (layer.gain("attention", role) for role in ("query_norm", "key_norm"))
    return AttentionCircuits(
        query=query.reshape(*each, -1),
        key=key.reshape(groups, 1, width, -1),
        value=value.reshape(groups, 1, width, -1),
        out=np.moveaxis(out[:, :-1].reshape(hidden, *each), 0, 2),
        out_bias=out[None, :, -1],
        query_gain=np.ones((*each, 1)) if query_gain is None else _each(query_gain, each),
        key_gain=np.ones((groups, 1, width, 1)) if key_gain is None else _each(key_gain, (groups, 1, width)),
        reads=layer.reads("attention", hidden),
        writes=layer.writes("attention"),
        norms=layer.wiring.qk_norms,
        pairs=layer.wiring.pairs(layer.config, width),
    )


def ov_change(tuned: AttentionCircuits, base: AttentionCircuits) -> Distance:
    """Compare what each head writes for what it attends to, O_h V_g, the norms around it folded in; (G, m).

    Attention weights sum to one, so that a value bias adds the constant O_h b_V, whatever is attended to; it
    is left to `constant_change`. V → N V, O → O N⁻¹ with one N for each group changes nothing, nor does what
    `Reads.fold` and `Writes.fold` say. An RMS norm behind attention divides out the overall scale of what
    the heads write: each side is then relative to the norm of all its O_h V_g before that norm's gain.
    """
    return product_change(_moved(tuned), _moved(base))


def constant_change(tuned: AttentionCircuits, base: AttentionCircuits) -> Distance:
    """Compare what attention adds whatever it attends to: b_O + Σ_h O_h (b_V + W_V β); (1,)."""
    after, before = (_constant(side) for side in (tuned, base))
    return Distance.of(after, before, axes=1)


def qk_change(tuned: AttentionCircuits, base: AttentionCircuits) -> Distance:
    """Compare how each head scores keys for queries; (G, m). Q and K act on (x̂, 1), see `Reads.fold`.

    - Dimensions that are not rotated score xᵀQᵀK y; Q → M Q, K → M⁻ᵀ K changes nothing. The key bias adds the
      same to all keys of a query, which softmax takes out, so that K's last column is left out.
    - A rotated pair f scores Re(e^(iθ(n − m)) conj(u·x) (v·y)) at positions m and n, where u and v are its
      two rows of Q and K as one complex row. All offsets n − m together know conj(u) vᵀ and nothing else: u
      → c u, v → v / conj(c) changes nothing. Here the key bias is no gauge.
    - RMS norms on queries and keys (Henry et al. 2020, arXiv 2010.04245) divide those scores, with the
      norms' gains folded into the rows, by the lengths of W_Q x and W_K y before gains, that is by the
      quadratic forms W_QᵀW_Q and W_KᵀW_K. The scores depend on products and forms and on nothing else. The
      scales of W_Q and W_K are divided out. Where each head has its norms, the squares of the three relative
      changes are added; where they span the heads, the forms belong to the layer, and each head has its
      products.

    So the products know no signs of rows and no quarter turns of pairs that W and gains share.
    """
    after, before = _scores(tuned), _scores(base)
    rotated, inputs = 2 * base.pairs, None if base.norms != "none" else -1
    pairs = outer_change(_paired(after, base.pairs), _paired(before, base.pairs)).summed()
    plain = product_change(_plain(after, rotated, inputs), _plain(before, rotated, inputs))
    scores = together(pairs, plain)
    if base.norms != "head":
        return scores
    forms = (form_change(_form(tuned, role), _form(base, role)) for role in ("query", "key"))
    return beside(scores, *forms)


def _queries_keys_values(layer: LayerReader, heads: int, groups: int, width: int) -> list[Rows]:
    fused = layer.wiring.fused
    if fused == "none":
        return [layer.rows("attention", role) for role in ("query", "key", "value")]
    joined = layer.rows("attention", "joined")
    if fused == "blocks":
        return np.split(joined, [heads * width, (heads + groups) * width])
    return list(np.moveaxis(joined.reshape(heads, 3, width, -1), 1, 0))


def _each(gain: Array, shape: tuple[int, ...]) -> Array:
    """Give each head its gains: norms of each head share one vector, norms of all have a long one."""
    return np.resize(gain, shape)[..., None]


def _moved(side: AttentionCircuits) -> Factors:
    """Return O and Vᵀ of each head as they act on the residual stream."""
    out = side.writes.fold(side.out.swapaxes(-1, -2)).swapaxes(-1, -2)
    return out / _scale(side), side.reads.fold(side.value)[..., :-1].swapaxes(-1, -2)


def _constant(side: AttentionCircuits) -> Array:
    values = side.reads.fold(side.value)[..., -1:]
    total = side.out_bias + (side.out.astype(np.float64) @ values).sum(axis=(0, 1)).T
    return side.writes.fold(total) / _scale(side)


def _scale(side: AttentionCircuits) -> float:
    """Return the scale that a norm behind attention divides out, 1 where there is none."""
    if side.writes.gain is None:
        return 1.0
    values = side.reads.fold(side.value)[..., :-1].swapaxes(-1, -2)
    return float(np.linalg.norm(product_norm((side.out.astype(np.float64), values)))) or 1.0


def _form(side: AttentionCircuits, role: Literal["query", "key"]) -> Array:
    """Return the rows whose lengths a norm on queries or keys divides by, their own scale divided out."""
    rows = side.reads.fold(getattr(side, role))
    if side.norms == "layer":
        rows = rows.reshape(1, -1, rows.shape[-1])
    norms = np.linalg.norm(rows, axis=(-2, -1), keepdims=True)
    return rows / np.where(norms == 0, 1.0, norms)


def _scores(side: AttentionCircuits) -> tuple[Array, Array]:
    """Return the rows of queries and keys that make scores."""
    if side.norms == "none":
        return side.reads.fold(side.query), side.reads.fold(side.key)
    query, key = _form(side, "query").reshape(side.query.shape), _form(side, "key").reshape(side.key.shape)
    return query * side.query_gain, key * side.key_gain


def _paired(rows: tuple[Array, Array], pairs: int) -> Factors:
    query, key = (side[..., :pairs, :] + 1j * side[..., pairs : 2 * pairs, :] for side in rows)
    return query, key


def _plain(rows: tuple[Array, Array], rotated: int, inputs: int | None) -> Factors:
    query, key = rows
    return query[..., rotated:, :].swapaxes(-1, -2), key[..., rotated:, :inputs].swapaxes(-1, -2)
