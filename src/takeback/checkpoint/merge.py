# pyright: reportMissingParameterType=false, reportPrivateImportUsage=false
"""The one definition of a merged LoRA weight: the same bits for an entry in any block; see `machine_code`."""

from __future__ import annotations

from numba import carray


def add_product(rows, rank, columns, weight, left, right, scale, merged):
    """Set `merged` to weight + (left · right) · scale, in the type of its arrays, which are addresses.

    `left` is (rows, rank), `right` (rank, columns), and `merged` zero. Products are added in the order of the
    rank, each operation is rounded by itself.
    """
    weights, factors = carray(weight, (rows, columns)), carray(left, (rows, rank))
    others, results = carray(right, (rank, columns)), carray(merged, (rows, columns))
    for row in range(rows):
        before, after = weights[row], results[row]
        for place in range(rank):
            factor, other = factors[row, place], others[place]
            for column in range(columns):
                after[column] += factor * other[column]
        for column in range(columns):
            after[column] = before[column] + after[column] * scale
