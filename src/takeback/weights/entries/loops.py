# pyright: reportUntypedFunctionDecorator=false, reportMissingParameterType=false, reportUnusedFunction=false
# pyright: reportArgumentType=false, reportOperatorIssue=false
# pyright: reportPrivateImportUsage=false, reportCallIssue=false, reportIndexIssue=false, reportUnnecessaryComparison=false
"""The loops over the entries of two tensors, in the Python that numba compiles; see `machine_code`.

An array's type says how its entries are stored: uint16 holds the bits of bfloat16, int16 those of float16,
float32 and float64 are themselves. `one` is 1 in the type of the arithmetic. Loops are written so that LLVM
turns them into vector instructions: over slices, of a fixed length, with 32-bit integers kept 32 bits wide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic, overload

from takeback.weights.entries.kernel import (
    AHEAD,
    CHUNK,
    LEAST_EXPONENT,
    LINE,
    PIECE,
    ROWS,
    STEP_SHAPE,
    SUMS,
    TILE,
)

_PEAK, _CHANGED, _ROUNDED, _FLIPS, _OFF_CAST = (SUMS.index(name) for name in SUMS[5:])
_LIMITS = len(SUMS)


def _compiled(function: Callable[..., Any]) -> Any:
    """Compile a function with those that call it; sums may be reassociated, NaN and infinities stay."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
    return njit(**options, fastmath={"reassoc", "contract", "nsz"})(function)


@intrinsic
def _as_float(_: Any, bits: Any) -> Any:
    """Read an integer's bits as a float of the same width."""
    real, kind = (types.float32, ir.FloatType()) if bits.bitwidth == 32 else (types.float64, ir.DoubleType())
    return real(bits), lambda _, builder, __, args: builder.bitcast(args[0], kind)


@intrinsic
def _bits(_: Any, value: Any) -> Any:
    """Read a float as a signed integer: in the order of magnitude, where it is not negative."""
    whole = types.int32 if value.bitwidth == 32 else types.int64
    width = ir.IntType(value.bitwidth)
    return whole(value), lambda _, builder, __, args: builder.bitcast(args[0], width)


@intrinsic
def _ask_ahead(_: Any, entries: Any, distance: Any) -> Any:
    """Ask the memory for the line so many entries behind the first of an array; there need be none."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = context.make_array(signature.args[0])(context, builder, args[0]).data
        whole, byte = ir.IntType(32), ir.IntType(8).as_pointer()
        place = builder.bitcast(builder.gep(first, [args[1]]), byte)
        called = ir.FunctionType(ir.VoidType(), [byte, whole, whole, whole])
        prefetch = builder.module.globals.get("llvm.prefetch") or ir.Function(
            builder.module, called, "llvm.prefetch"
        )
        read, near, data = (ir.Constant(whole, value) for value in (0, 3, 1))
        builder.call(prefetch, [place, read, near, data])
        return context.get_dummy_value()

    return types.none(entries, distance), made


def _like(value, other):
    """Return a value in the type of another; numba's own integers grow to 64 bits."""


@overload(_like)
def _like_of(value, other):
    kind = other
    return lambda value, other: kind(value)


def _value(stored, one):
    """Return a stored entry in the type of `one`, exactly."""


@overload(_value)
def _value_of(stored, one):
    real = one
    if stored == types.uint16:
        return lambda stored, one: real(_as_float(np.uint32(np.uint32(stored) << np.uint32(16))))
    if stored == types.int16:
        return lambda stored, one: real(_from_half(stored))
    return lambda stored, one: real(stored)


@_compiled
def _from_half(stored):
    """Move exponent and fraction to their places in a float32, and mend the exponent by a factor."""
    bits = np.uint32(np.uint16(stored))
    sign = np.uint32(np.uint32(bits & np.uint32(0x8000)) << np.uint32(16))
    size = np.uint32(np.uint32(bits & np.uint32(0x7FFF)) << np.uint32(13))
    value = _as_float(size) * np.float32(2.0**112)
    value = np.float32(np.inf) if size >= np.uint32(0x7C00 << 13) else value
    return _as_float(np.uint32(np.uint32(_bits(value)) | sign))


@_compiled
def _to_bf16(value):
    """Return the bits of the nearest bfloat16, ties to even."""
    bits = np.uint32(_bits(np.float32(value)))
    odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
    return np.uint32(np.uint32(bits + np.uint32(np.uint32(0x7FFF) + odd)) >> np.uint32(16))


@_compiled
def _differs_bf16(before, after):
    one, other = _to_bf16(before), _to_bf16(after)
    return (one != other) & (np.uint32((one | other) & np.uint32(0x7FFF)) != np.uint32(0))


@_compiled
def _to_half(value):
    """Return the bits of the nearest float16, ties to even; below 2⁻¹⁴ a sum with 1/2 rounds."""
    bits = np.uint32(_bits(np.float32(value)))
    sign, size = np.uint32(bits >> np.uint32(16)) & np.uint32(0x8000), np.uint32(bits & np.uint32(0x7FFFFFFF))
    odd = np.uint32(np.uint32(size >> np.uint32(13)) & np.uint32(1))
    half = np.uint32(np.uint32(size + np.uint32(np.uint32(0xC8000FFF) + odd)) >> np.uint32(13))
    small = np.uint32(np.uint32(_bits(np.float32(_as_float(size) + np.float32(0.5)))) - np.uint32(0x3F000000))
    half = small if size < np.uint32(0x38800000) else min(half, np.uint32(0x7C00))
    return np.uint32(np.uint32(half) | sign)


@_compiled
def _off_half(before, after):
    one, other = _to_half(before), _to_half(after)
    return (one != other) & (np.uint32((one | other) & np.uint32(0x7FFF)) != np.uint32(0))


@_compiled
def _flipped(before, after, zero):
    return ((before < zero) & (after > zero)) | ((before > zero) & (after < zero))


@_compiled
def _count_beyond(sizes, limit):
    count = np.int32(0)
    for i in range(sizes.size):
        count = np.int32(count + np.int32(sizes[i] > limit))
    return count


@_compiled
def _count_flips(base, tuned, one):
    count = np.int32(0)
    for i in range(base.size):
        flipped = _flipped(_value(base[i], one), _value(tuned[i], one), one - one)
        count = np.int32(count + np.int32(flipped))
    return count


@_compiled
def _count_bf16(base, tuned, one):
    count = np.int32(0)
    for i in range(base.size):
        differs = _differs_bf16(_value(base[i], one), _value(tuned[i], one))
        count = np.int32(count + np.int32(differs))
    return count


@_compiled
def _count_off_half(base, tuned, one):
    count = np.int32(0)
    for i in range(base.size):
        differs = _off_half(_value(base[i], one), _value(tuned[i], one))
        count = np.int32(count + np.int32(differs))
    return count


@_compiled
def _ask_for(entries, distance):
    """Ask the memory for as many entries as these, so far behind them."""
    for place in range(0, entries.size, LINE // entries.itemsize):
        _ask_ahead(entries, distance + place)


@_compiled
def _add_piece(base, tuned, sizes, settings, row):
    """Add the sums over a piece of whole chunks to a row; `sizes` has room for the |Δ|."""
    one, limits, rounding = settings
    zero = one - one
    ww_all = tt_all = wt_all = dd_all = d_all = 0.0
    peak, low = _bits(zero), _bits(one)
    changed = apart = np.int32(0)
    for start in range(0, base.size, CHUNK):
        b, t, x = base[start : start + CHUNK], tuned[start : start + CHUNK], sizes[start : start + CHUNK]
        _ask_for(b, AHEAD)
        _ask_for(t, AHEAD)
        ww = tt = wt = dd = d = zero
        for i in range(CHUNK):
            before, after = _value(b[i], one), _value(t[i], one)
            delta = after - before
            size = abs(delta)
            x[i] = size
            ww += before * before
            tt += after * after
            product = before * after
            wt += product
            dd += delta * delta
            d += size
            peak = _like(max(peak, _bits(size)), peak)
            low = _like(min(low, _bits(abs(product))), low)
            changed = np.int32(changed + np.int32(size > zero))
            apart = np.int32(apart + np.int32(product < zero))
        ww_all += ww
        tt_all += tt
        wt_all += wt
        dd_all += dd
        d_all += d
    row[0] += ww_all
    row[1] += tt_all
    row[2] += wt_all
    row[3] += dd_all
    row[4] += d_all
    if changed:
        top = _as_float(peak)
        row[_PEAK] = max(row[_PEAK], top)
        row[_CHANGED] += changed
        if rounding & 1:
            row[_ROUNDED] += _count_bf16(base, tuned, one)
        if rounding & 2:
            row[_OFF_CAST] += _count_off_half(base, tuned, one)
        row[_FLIPS] += apart if low > 0 else _count_flips(base, tuned, one)  # products may vanish
        for k in range(limits.size):
            if top > limits[k]:
                row[_LIMITS + k] += _count_beyond(sizes[: base.size], limits[k])


@_compiled
def _gather(entries, start, width, stride, lines, piece):
    """Copy stretches of `width`, `stride` apart, into a piece, and fill its last chunk up with zeros."""
    place = 0
    for line in range(lines):
        part = entries[start + line * stride : start + line * stride + width]
        room = piece[place : place + width]
        for i in range(room.size):
            room[i] = part[i]
        place += width
    while place % CHUNK:
        piece[place] = 0
        place += 1
    return place


@_compiled
def _stretch_sums(base, tuned, matrix, edges, settings, widest, scratch, out):
    lines, stride = matrix
    sizes, left, right = scratch
    many = max(1, PIECE // widest)
    for line in range(0, lines, many):
        together = min(many, lines - line)
        for k in range(edges.shape[1]):
            for start in range(edges[0, k], edges[1, k], PIECE):
                place, width = line * stride + start, min(PIECE, edges[1, k] - start)
                if together == 1 and width % CHUNK == 0:
                    b, t = base[place : place + width], tuned[place : place + width]
                else:
                    size = _gather(base, place, width, stride, together, left)
                    _gather(tuned, place, width, stride, together, right)
                    b, t = left[:size], right[:size]
                _add_piece(b, t, sizes, settings, out[k])


def stretch_sums(
    base, tuned, lines, stride, edges, count, one, limits, kinds, rounding, widest, sizes, left, right, out
):
    """Do what `kernel.stretch_sums` says; arrays are addresses, the others but `out` room for a piece."""
    sides = carray(base, lines * stride), carray(tuned, lines * stride)
    settings = one, carray(limits, kinds - _LIMITS), rounding
    scratch = carray(sizes, PIECE), carray(left, PIECE), carray(right, PIECE)
    sums = carray(out, (count, kinds))
    _stretch_sums(*sides, (lines, stride), carray(edges, (2, count)), settings, widest, scratch, sums)


@_compiled
def _add_rounded(base, tuned, one, rounding, sums):
    """Add which entries of a row differ after rounding."""
    zero = one - one
    if rounding & 1:
        counts = sums[_ROUNDED * TILE : (_ROUNDED + 1) * TILE]
        for i in range(base.size):
            counts[i] += one if _differs_bf16(_value(base[i], one), _value(tuned[i], one)) else zero
    if rounding & 2:
        counts = sums[_OFF_CAST * TILE : (_OFF_CAST + 1) * TILE]
        for i in range(base.size):
            counts[i] += one if _off_half(_value(base[i], one), _value(tuned[i], one)) else zero


@_compiled
def _add_row(base, tuned, sizes, settings, sums):
    """Add a row of a tile to the sums of its columns, each kind of sum `TILE` after the one before."""
    one, limits, rounding = settings
    zero = one - one
    peak, signs = _bits(zero), _bits(zero)
    for i in range(base.size):
        before, after = _value(base[i], one), _value(tuned[i], one)
        delta = after - before
        size = abs(delta)
        sizes[i] = size
        sums[i] += before * before
        sums[TILE + i] += after * after
        sums[2 * TILE + i] += before * after
        sums[3 * TILE + i] += delta * delta
        sums[4 * TILE + i] += size
        most = sums[5 * TILE + i]
        sums[5 * TILE + i] = size if size > most else most
        sums[6 * TILE + i] += one if size > zero else zero
        peak = _like(max(peak, _bits(size)), peak)
        signs = _like(signs | _like(_bits(before) ^ _bits(after), signs), signs)
    if peak == 0:
        return
    _add_rounded(base, tuned, one, rounding, sums)
    if signs < 0:
        counts = sums[_FLIPS * TILE : (_FLIPS + 1) * TILE]
        for i in range(base.size):
            counts[i] += one if _flipped(_value(base[i], one), _value(tuned[i], one), zero) else zero
    for k in range(limits.size):
        if _as_float(peak) > limits[k]:
            counts = sums[(_LIMITS + k) * TILE : (_LIMITS + k + 1) * TILE]
            for i in range(base.size):
                counts[i] += one if sizes[i] > limits[k] else zero


@_compiled
def _move(sums, rows, peak):
    """Add sums in the type of the arithmetic to those in float64, and begin them again."""
    if peak:
        for i in range(sums.size):
            rows[i] = max(rows[i], np.float64(sums[i]))
    else:
        for i in range(sums.size):
            rows[i] += np.float64(sums[i])
    for i in range(sums.size):
        sums[i] = 0


@_compiled
def _column_sums(base, tuned, matrix, edges, settings, scratch, out):
    lines, stride = matrix
    first, last = edges[0, 0], edges[1, -1]
    kinds = _LIMITS + settings[1].size
    sums, sizes = scratch
    for start in range(first, last, TILE):
        width = min(TILE, last - start)
        for line in range(lines):
            place = line * stride + start
            end = place + width
            _add_row(base[place:end], tuned[place:end], sizes, settings, sums)
            if line % ROWS == ROWS - 1 or line == lines - 1:
                for kind in range(kinds):
                    _move(sums[kind * TILE : kind * TILE + width], out[kind, start - first :], kind == _PEAK)


def column_sums(
    base, tuned, lines, stride, edges, count, one, limits, kinds, rounding, width, sums, sizes, out
):
    """Do what `kernel.column_sums` says; arrays are addresses, `sums` zeros and `sizes` room for a tile."""
    sides = carray(base, lines * stride), carray(tuned, lines * stride)
    settings = one, carray(limits, kinds - _LIMITS), rounding
    scratch = carray(sums, kinds * TILE), carray(sizes, TILE)
    columns = carray(out, (kinds, width))
    _column_sums(*sides, (lines, stride), carray(edges, (2, count)), settings, scratch, columns)


@_compiled
def _exponent(value):
    """Return e of 2^e ≤ |value| < 2^(e+1), for a float64 that is neither zero nor infinite."""
    size = abs(value)
    if size < 2.0**-1022:
        return np.int64(((_bits(size * 2.0**52) >> 52) & 0x7FF) - 1023 - 52)
    return np.int64(((_bits(size) >> 52) & 0x7FF) - 1023)


@_compiled
def _place(value):
    """Return a value's place among the bfloat16 numbers in order; 0 is that of zero."""
    bits = np.int64(_to_bf16(value))
    size = bits & 0x7FFF
    return -size if bits & 0x8000 else size


@_compiled
def _step_counts(base, tuned, counts):
    last = STEP_SHAPE[0] - 1
    for i in range(base.size):
        before, after = _value(base[i], 1.0), _value(tuned[i], 1.0)
        if not (abs(before) < np.inf and abs(after) < np.inf):
            counts[last, 0] += 1
            continue
        row = 0 if before == 0 else _exponent(before) - LEAST_EXPONENT + 1
        steps = abs(_place(after) - _place(before))
        step_bin = np.int64(min(steps, 1))
        rest = steps - 1
        while rest > 0:
            rest >>= 1
            step_bin += 1
        counts[row, step_bin] += 1


def step_counts(base, tuned, size, counts):
    """Do what `kernel.step_counts` says; arrays are addresses."""
    _step_counts(carray(base, size), carray(tuned, size), carray(counts, STEP_SHAPE))
