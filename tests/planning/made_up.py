"""Tables and conjectures made up for tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd

from takeback.study.conjectures.conjecture import Conjecture


def tables(planned: dict[str, tuple[Any, ...]] | None = None, **frames: pd.DataFrame) -> SimpleNamespace:
    """Return tables that rules can be judged by."""
    return SimpleNamespace(planned=planned or {}, get=frames.get)


def conjecture(name: str = "one", **changes: Any) -> Conjecture:
    """Return a conjecture that holds in any record with games."""
    told = {"sentence": "There are games.", "rule": "count(games) > 3", "probability": 0.8, "author": "Ada"}
    return Conjecture.model_validate({"name": name, **told, **changes})
