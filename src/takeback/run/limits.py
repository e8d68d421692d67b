"""How large numbers that users choose may be, where what takes them breaks on larger ones."""

from typing import Final

MOST_SEED: Final = 2**32 - 1
"""Of NumPy's global generator, which trainers seed."""

MOST_THREADS: Final = 1024
"""Of torch, which ends the process where the machine can't start them."""
