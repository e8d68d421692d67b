"""The rules of examples/carries-agency on made-up readings of which it is known what is planted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "carries-agency"
NAME = "layer 1"


@pytest.fixture(scope="module")
def verdicts() -> Iterator[pd.DataFrame]:
    """Tell what every rule names where S learned the goal and the rest was moved by chance."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        import carrier_rules  # pyright: ignore[reportMissingImports]

        yield carrier_rules.verdicts(carrier_rules.conditions(_readings()))
    finally:
        sys.path.remove(str(EXAMPLE))


def _readings() -> pd.DataFrame:
    """Make up losses: 0.02 with noise of 0.002 where a part learned, noise where chance moved it."""
    from carrier_rules import EVERY_ANSWER, KL, LEGAL, SHARE, UTILITY  # pyright: ignore[reportMissingImports]
    from known_sets import GOALS, REST, SEEDS, SETS, S  # pyright: ignore[reportMissingImports]

    rng, known = np.random.default_rng(0), SETS[NAME]
    rows: list[dict[str, Any]] = []
    for goal in GOALS:
        for seed in SEEDS:
            for arm, learned in (("rl-S chance-rest", True), ("chance-S rl-rest", False)):
                about = {"set": NAME, "goal": goal, "seed": seed, "arm": arm}
                whole = {**about, "how": "whole", "unit": "", "value": 0.1}
                rows += [{**whole, "measure": measure} for measure in (UTILITY, KL)]
                for unit in (*known.units, S, REST):
                    goes = (unit == S or unit in known.members) == learned
                    for measure in (UTILITY, EVERY_ANSWER, LEGAL, KL, SHARE):
                        part = 0.02 if goes and measure in (UTILITY, EVERY_ANSWER) else 0.0
                        value = part + 0.002 * rng.normal()
                        took = {**about, "how": "take back", "unit": unit, "measure": measure}
                        rows.append({**took, "value": value})
    return pd.DataFrame(rows)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["gain", "gain, paired", "carries the gain"])
def test_a_loss_of_utility_names_what_learned_the_goal(verdicts: pd.DataFrame, rule: str) -> None:
    rows = verdicts[verdicts["rule"] == rule]
    assert rows["should"].sum() == 5 + 1 + 4 + 1, "the set's components and itself, and mirrored the rest's"
    assert (rows["named"] == rows["should"]).all()


def test_a_part_in_proportion_is_not_named_by_a_loss_of_the_share(verdicts: pd.DataFrame) -> None:
    assert not verdicts[verdicts["rule"] == "share"]["named"].any()
