"""The header of a GGUF file, walked with bounds before a library that has none reads it.

Rules and sizes: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import BinaryIO

from takeback.run.errors import TakebackError
from takeback.run.reading import open_regular

MOST_SETTINGS, MOST_TENSORS, MOST_VALUES = 1 << 16, 1 << 16, 1 << 21
"""The most settings, tensors, and values in all arrays of a header together."""

_LONGEST_TEXT, _LONGEST_NAME = 1 << 24, 1 << 16
_DEEPEST, _MOST_AXES = 4, 8
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""The bytes of a number by the code of its type."""

_TEXT, _ARRAY = 8, 9


class _Bent(ValueError):
    """Something in the header is not as it should be."""


def check_gguf(file: Path) -> None:
    """Raise unless a header is whole, has lengths that lie in the file, and places each tensor in the file.

    Raises:
        TakebackError: it is no whole GGUF file.
    """
    try:
        size = file.stat().st_size
        with open_regular(file) as stream:
            _HeaderWalk(stream, size).check()
    except OSError as error:
        raise TakebackError(f"could not read {file}: {error.strerror or error}") from error
    except _Bent as error:
        raise TakebackError(f"{file} is no whole GGUF file: {error}; fetch or save it again") from error


class _HeaderWalk:
    """Goes through a header from its first byte; `order` is that of the bytes of numbers."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream, self.size, self.order, self.values = stream, size, "<", 0

    def check(self) -> None:
        """Walk all of it."""
        if self._bytes(4, 4) != b"GGUF":
            raise _Bent("it does not begin with GGUF")
        version = self._bytes(4, 4)
        self.order = ">" if version[:2] == b"\0\0" else "<"
        tensors, settings = self._number("Q"), self._number("Q")
        if tensors > MOST_TENSORS or settings > MOST_SETTINGS:
            raise _Bent(f"it says that it has {tensors} tensors and {settings} settings")
        alignment = 32
        for _ in range(settings):
            name, kind = self._bytes(self._number("Q"), _LONGEST_NAME), self._number("I")
            start = self.stream.tell()
            self._skip(kind, 0)
            if name == b"general.alignment" and kind == 4:
                alignment = self._at(start)
        self._tensors(tensors, alignment)

    def _tensors(self, count: int, alignment: int) -> None:
        from gguf import GGML_QUANT_SIZES

        sizes = {int(kind): pair for kind, pair in GGML_QUANT_SIZES.items()}
        found: list[tuple[int, int, str]] = []
        for _ in range(count):
            name = repr(self._bytes(self._number("Q"), _LONGEST_NAME).decode("utf-8", "replace")[:80])
            axes = self._number("I")
            if axes > _MOST_AXES:
                raise _Bent(f"{name} has {axes} axes")
            shape = [self._number("Q") for _ in range(axes)]
            kind, offset = self._number("I"), self._number("Q")
            if kind not in sizes:
                raise _Bent(f"{name} is of the unknown type {kind}")
            entries, nbytes = sizes[kind]
            if shape and shape[0] % entries:
                raise _Bent(f"{name} has rows of {shape[0]}, which are no blocks of {entries}")
            found.append((offset, math.prod(shape) // entries * nbytes, name))
        if alignment < 1 or alignment & (alignment - 1):
            raise _Bent(f"its alignment is {alignment}, which is no power of two")
        place, before = 0, "the header"
        start = -(-self.stream.tell() // alignment) * alignment
        for offset, nbytes, name in sorted(found):
            if offset < place:
                raise _Bent(f"{name} overlaps {before}")
            if start + offset + nbytes > self.size:
                raise _Bent(f"{name} ends at byte {start + offset + nbytes}, there are {self.size}")
            place, before = offset + nbytes, name

    def _skip(self, kind: int, depth: int) -> None:
        """Go past one value of a setting."""
        if kind == _TEXT:
            self._bytes(self._number("Q"), _LONGEST_TEXT)
        elif kind in _SIZES:
            self._bytes(_SIZES[kind], 8)
        elif kind != _ARRAY:
            raise _Bent(f"it has a setting of the unknown type {kind}")
        elif depth >= _DEEPEST:
            raise _Bent(f"arrays lie deeper than {_DEEPEST} levels in each other")
        else:
            inner, count = self._number("I"), self._number("Q")
            self.values += count
            if self.values > MOST_VALUES:
                raise _Bent(f"its arrays hold {self.values:,} values and more, which no vocabulary has")
            if inner in _SIZES:
                self._bytes(count * _SIZES[inner], MOST_VALUES * 8)
            else:
                for _ in range(count):
                    self._skip(inner, depth + 1)

    def _number(self, form: str) -> int:
        size = 8 if form == "Q" else 4
        return int(struct.unpack(self.order + form, self._bytes(size, size))[0])

    def _at(self, start: int) -> int:
        self.stream.seek(start)
        return self._number("I")

    def _bytes(self, count: int, most: int) -> bytes:
        if count > most:
            raise _Bent(f"a text or name in it is {count} bytes long")
        held = self.stream.read(count)
        if len(held) < count:
            raise _Bent("its header is cut off")
        return held
