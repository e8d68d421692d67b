"""Circuits the slow and obvious way: full matrices of the live modules, and every match of neurons costed."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

import views


def dense_changes(base: Any, tuned: Any) -> dict[tuple[str, str], float]:
    """Return each component's change of each circuit."""
    found: dict[tuple[str, str], float] = {}
    for number, sides in enumerate(zip(views.blocks(base), views.blocks(tuned), strict=True)):
        found |= {(f"L{number}.{part}", name): value for (part, name), value in _layer(*sides).items()}
    return found


def _layer(base: views.Block, tuned: views.Block) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    before, after = _heads(base), _heads(tuned)
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        for name in old:
            parts = [relative(x, y) for x, y in zip(old[name], new[name], strict=True)]
            found[f"H{number}", name] = float(np.sqrt(np.sum(np.square(parts))))
    for name, old in _of_layer(base).items():
        if old.any():
            found["ATTN", name] = relative(old, _of_layer(tuned)[name])
    for number, (old, new) in enumerate(zip(base.mlps, tuned.mlps, strict=True)):
        part = f"E{number}" if base.router is not None else "MLP"
        gate, write = matched(neurons(base, old), neurons(tuned, new))
        found[part, "gate"], found[part, "write"] = gate, write
    if base.mlp_bias is not None:
        found["MLP", "constant"] = relative(*(_written(side) for side in (base, tuned)))
    if base.router is not None:
        scores = [array(side.router) * _gain(side.mlp_norm) for side in (base, tuned)]
        centre = np.eye(len(scores[0])) - 1 / len(scores[0])
        found["ROUTER", "router"] = relative(centre @ scores[0], centre @ scores[1])
    return found


def relative(base: np.ndarray, tuned: np.ndarray) -> float:
    return float(np.linalg.norm(tuned - base) / np.linalg.norm(base))


def array(tensor: Any) -> np.ndarray:
    return tensor.detach().double().numpy()


def _gain(norm: views.Norm | None) -> Any:
    return 1.0 if norm is None else array(norm.gain)


def _acting(block: views.Block, norm: views.Norm | None, weight: Any, bias: Any) -> np.ndarray:
    """Return rows as they act on (x̂, 1), with the LayerNorm's projection as a matrix."""
    rows = array(weight)
    offset = np.zeros(rows.shape[:-1]) if bias is None else array(bias)
    size = rows.shape[-1]
    if norm is not None and norm.bias is not None:
        offset = offset + rows @ array(norm.bias)
    inner = rows @ np.diag(np.ones(size) * _gain(norm))
    if norm is not None and block.layer_norms:
        inner = inner @ (np.eye(size) - 1 / size)
    return np.concatenate([inner, offset[..., None]], -1)


def _behind(block: views.Block, post: views.Norm | None, hidden: int) -> np.ndarray:
    """Return what stands behind attention or MLP as a matrix."""
    centre = np.eye(hidden) - (1 / hidden if block.layer_norms else 0)
    return np.diag(np.ones(hidden) * _gain(post)) @ centre


def _heads(block: views.Block) -> list[dict[str, list[np.ndarray]]]:
    """Return, for each head, the matrices of each circuit."""
    a = block.attention
    value = _acting(block, block.norm, a.v, a.v_bias)
    behind = _behind(block, block.post, a.o.shape[0])
    query, key = _acting(block, block.norm, a.q, a.q_bias), _acting(block, block.norm, a.k, a.k_bias)
    forms: list[list[np.ndarray]] = []
    if a.q_norm is not None and a.k_norm is not None:
        gains = [array(a.q_norm.gain), array(a.k_norm.gain)]
        if block.spans:
            gains = [gains[0].reshape(query.shape[:-1]), gains[1].reshape(key.shape[:-1])]
            query, key = query / np.linalg.norm(query), key / np.linalg.norm(key)
        else:
            query = query / np.sqrt((query**2).sum((-2, -1), keepdims=True))
            key = key / np.sqrt((key**2).sum((-2, -1), keepdims=True))
            forms = [[q.T @ q, key[g].T @ key[g]] for g in range(len(key)) for q in query[g]]
        query, key = query * gains[0][..., None], key * gains[1][..., None]
    heads = [(g, m) for g in range(query.shape[0]) for m in range(query.shape[1])]
    moved = [array(a.o)[:, g, m] @ value[g][:, :-1] for g, m in heads]
    scale = 1.0 if block.post is None else np.sqrt(sum(np.sum(one**2) for one in moved))
    found = []
    for place, (g, m) in enumerate(heads):
        scores = _score_matrix(query[g, m], key[g], block.pairs, keep_bias=a.q_norm is not None)
        found.append(
            {"OV": [behind @ moved[place] / scale], "QK": [scores, *(forms[place] if forms else [])]}
        )
    return found


def _score_matrix(query: np.ndarray, key: np.ndarray, pairs: int, keep_bias: bool) -> np.ndarray:
    """Return the matrices of all rotated pairs and of the rest, one after the other."""
    found = []
    for f in range(pairs):
        u, v = query[f] + 1j * query[f + pairs], key[f] + 1j * key[f + pairs]
        found.append(np.outer(u.conj(), v))
    rest = query[2 * pairs :].T @ key[2 * pairs :]
    if not keep_bias:
        rest = rest[:, :-1]
    return np.concatenate([np.ravel(one) for one in (*found, rest)])


def _of_layer(block: views.Block) -> dict[str, np.ndarray]:
    a = block.attention
    value = _acting(block, block.norm, a.v, a.v_bias)
    out = array(a.o)
    moved = [out[:, g, m] @ value[g] for g in range(out.shape[1]) for m in range(out.shape[2])]
    scale = 1.0 if block.post is None else np.sqrt(sum(np.sum(one[:, :-1] ** 2) for one in moved))
    total = sum(one[:, -1] for one in moved) + (0 if a.o_bias is None else array(a.o_bias))
    found = {"constant": _behind(block, block.post, len(out)) @ total / scale}
    if block.spans:
        for name, weight, bias in (("query norm", a.q, a.q_bias), ("key norm", a.k, a.k_bias)):
            rows = _acting(block, None, weight, bias)
            rows = rows.reshape(-1, rows.shape[-1])
            found[name] = rows.T @ rows / np.sum(rows**2)
    return found


def neurons(block: views.Block, mlp: views.Neurons) -> tuple[np.ndarray, np.ndarray]:
    """Return the gates, and what each neuron writes for what it reads as a full matrix."""
    gate = _acting(block, block.mlp_norm, mlp.gate, mlp.gate_bias)
    up = np.ones((len(gate), 1)) if mlp.up is None else _acting(block, block.mlp_norm, mlp.up, mlp.up_bias)
    down = array(mlp.down)
    if block.relu:
        lengths = np.linalg.norm(gate, axis=1, keepdims=True)
        gate, down = gate / lengths, down * lengths
    plain = np.einsum("nd,nu->ndu", down, up)
    scale = 1.0 if block.mlp_post is None else np.linalg.norm(plain)
    return gate, np.einsum("ed,ndu->neu", _behind(block, block.mlp_post, down.shape[1]), plain) / scale


def matched(base: tuple[np.ndarray, np.ndarray], tuned: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """Return the relative change of gates and of what is written, over the best order of neurons."""
    squares = [
        np.array([[np.sum((new - old) ** 2) for old in olds] for new in news]) / np.sum(olds**2)
        for olds, news in zip(base, tuned, strict=True)
    ]
    rows, columns = linear_sum_assignment(squares[0] + squares[1])
    gate, write = (float(np.sqrt(one[rows, columns].sum())) for one in squares)
    return gate, write


def _written(block: views.Block) -> np.ndarray:
    bias = array(block.mlp_bias)
    behind = _behind(block, block.mlp_post, len(bias))
    if block.mlp_post is None:
        return behind @ bias
    plain = np.einsum("nd,nu->ndu", array(block.mlps[0].down), array(block.mlps[0].up))
    return behind @ bias / np.linalg.norm(plain)
