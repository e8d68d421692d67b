"""Packed rows for models that take no such masks: each way through a tree in a row of its own."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from takeback.anatomy.source import family_in
from takeback.hybrid.replay import Inputs
from takeback.policies.language.packing import PackedRows

_MASKED = {"full_attention", "sliding_attention"}


def takes_trees(model: PreTrainedModel) -> bool:
    """Return whether a node of packed rows sees its prompt and ancestors alone where a mask says so.

    Recurrent and convolutional layers mix all tokens before one; biases by distance are made from a mask of
    another shape. Of a model that no family describes nothing is known.
    """
    config: Any = model.config.get_text_config()
    kinds = set[str](getattr(config, "layer_types", None) or ())
    return (
        family_in(model.config) is not None
        and kinds <= _MASKED
        and not getattr(config, "alibi", False)
        and "position_ids" in inspect.signature(model.forward).parameters
        and not any(isinstance(module, nn.Conv1d) for module in model.modules())
    )


def unrolled(model: PreTrainedModel, rows: PackedRows) -> Inputs:
    """Return rows that any causal model reads as they are: a prompt and the way to a last node.

    What each prompt's end and node of the packed rows is followed by stands where `order` says.
    """
    ways: list[np.ndarray[Any, Any]] = []
    width = rows.nodes + 1
    way, at = (np.zeros((len(rows.tokens), width), np.int64) for _ in range(2))
    for number in range(len(rows.tokens)):
        tokens, positions, sees = rows.tokens[number], rows.positions[number], rows.sees[number]
        end = len(tokens) - width
        prompt = np.flatnonzero(sees[end, : end + 1])
        nodes = end + 1 + np.flatnonzero(positions[end + 1 :])  # what pads them is at position 0
        above = sees[np.ix_(nodes, nodes)]
        last = np.flatnonzero(above.sum(axis=0) == 1)
        for leaf in last if len(last) else [None]:
            path = nodes[above[leaf]] if leaf is not None else nodes[:0]
            path = path[np.argsort(positions[path], kind="stable")]
            way[number, 0], way[number, path - end] = len(ways), len(ways)
            ways.append(tokens[np.concatenate([prompt, path])])
        at[number] = len(prompt) - 1
        at[number, nodes - end] = positions[nodes]
        way[number, np.setdiff1d(np.arange(1, width), nodes - end)] = way[number, 0]
    padded = np.zeros((len(ways), max(map(len, ways))), np.int64)
    for number, one in enumerate(ways):
        padded[number, : len(one)] = one
    there = [torch.from_numpy(array).to(model.device) for array in (padded, way, at)]
    return Inputs({"input_ids": there[0]}, there[2], order=there[1])
