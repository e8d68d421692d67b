"""Bytes with their checksum before them, for what would end the process if it were read damaged."""

from __future__ import annotations

import hashlib
from typing import Final

_LENGTH: Final = 32


def seal(data: bytes) -> bytes:
    """Return bytes with their SHA-256 before them."""
    return hashlib.sha256(data).digest() + data


def unseal(sealed: bytes) -> bytes | None:
    """Return what was sealed, or None if any of it is not as it was.

    >>> unseal(seal(b"code")), unseal(seal(b"code")[:-1]), unseal(b"")
    (b'code', None, None)
    """
    data = sealed[_LENGTH:]
    return data if hashlib.sha256(data).digest() == sealed[:_LENGTH] else None
