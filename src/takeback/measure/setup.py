"""How a bench works, and where it keeps what it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from takeback.checkpoint import Placement
from takeback.measure.sides import Load
from takeback.measure.store import FOLDER, Store
from takeback.policies.load import load_policy
from takeback.run.job import Workers

DRAWERS: Final = ("transformers", "vllm")
"""The libraries that can draw answers: any model in memory, or folders on a machine with vLLM."""


@dataclass(frozen=True)
class Setup:
    """How a bench works.

    Attributes:
        out: the output folder or run whose store it shares with others; None keeps readouts in memory only.
        name: a folder of its own for its stores there, such as that of an arm and seed.
        workers: processes that read hybrids; each holds models of its own.
        threads: CPU threads of each; readouts depend on the number in their last bits.
        placement: where models run, in which element type, and how many of a pair are held.
        load: what loads policies here, for those who hold some already.
        draw_by: what draws the answers of a pool.
    """

    out: Path | None = None
    name: str = ""
    workers: Workers = 1
    threads: int = 1
    placement: Placement = field(default_factory=Placement)
    load: Load = load_policy
    draw_by: str = "transformers"

    def store(self, identity: Callable[[], str]) -> Store:
        """Open the store of what has an identity."""
        return Store(None if self.out is None else self.out / FOLDER / self.name / identity()[:16])
