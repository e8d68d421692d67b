# pyright: reportUntypedFunctionDecorator=false, reportMissingParameterType=false
"""The one definition of a merged LoRA weight: the same bits for an entry in any block."""

from __future__ import annotations

from numba import njit


def add_product(weight, left, right, scale, merged):
    """Set `merged` to weight + (left · right) · scale, in the type of its arrays.

    `left` is (rows, rank), `right` (rank, columns), and `merged` zero. Products are added in the order of the
    rank, each operation is rounded by itself.
    """
    for row in range(weight.shape[0]):
        before, after = weight[row], merged[row]
        for place in range(left.shape[1]):
            factor, other = left[row, place], right[place]
            for column in range(after.size):
                after[column] += factor * other[column]
        for column in range(after.size):
            after[column] = before[column] + after[column] * scale


try:
    add_product = njit(nogil=True, error_model="numpy", cache=True)(add_product)
except RuntimeError:  # no folder for the cache can be written to
    add_product = njit(nogil=True, error_model="numpy")(add_product)
