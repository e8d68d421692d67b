"""Tables of docs/findings/carries-agency.md from its record.

The record is made by `score.py`, and printed by
`python examples/pages.py --blocks docs/findings/carries-agency.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import special

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from carrier_rules import KL, RULES, SHARE, UTILITY  # noqa: E402
from known_sets import ARMS, FULL, GOALS, HALF, MIRRORED, PAIRS, REST, SETS, S  # noqa: E402

from takeback.draw.markdown import table  # noqa: E402
from takeback.draw.numbers import interval, number, signed  # noqa: E402
from takeback.run.crossed import crossed_estimate  # noqa: E402
from takeback.run.power import bound, noncentrality  # noqa: E402
from takeback.run.sign_flips import sign_flip_test  # noqa: E402
from takeback.run.stats import Estimate, seeds_estimate  # noqa: E402
from takeback.run.tables import read_table  # noqa: E402
from takeback.study.conjectures.markdown import of_conjectures  # noqa: E402

MIXED: Final = ("RL or RFT", "goal or chance")
Key = tuple[str, str, str, str]
"""Set, goal, arm, and how it was read."""


class Cells:
    """The readings, by set and goal."""

    def __init__(self, measured: pd.DataFrame) -> None:
        self.sets = [name for name in SETS if name in {*measured["set"]}]
        self._rows = measured.set_index(["set", "goal", "arm", "how", "unit", "measure"]).sort_index()
        self._blocks = [one for one in measured if one[0] == "b" and one[1:].isdecimal()]

    def has(self, name: str, goal: str, arm: str) -> bool:
        """Tell whether an arm was read."""
        return (name, goal, arm) in self._rows.index

    def pick(self, key: Key, unit: str, measure: str = UTILITY) -> pd.DataFrame:
        """Return a row for each seed."""
        return self._rows.loc[(*key, unit, measure)].sort_values("seed")

    def blocks(self, key: Key, unit: str) -> np.ndarray:
        """Return losses of utility, shape (seeds, blocks of situations)."""
        return self.pick(key, unit)[self._blocks].to_numpy(np.float64)

    def lost(self, name: str, goal: str, arm: str, unit: str) -> np.ndarray:
        """Return what taking a unit back loses of an arm's utility."""
        return self.blocks((name, goal, arm, "take back"), unit)

    def whole(self, name: str, goal: str, arm: str) -> np.ndarray:
        """Return what an arm gained."""
        return self.blocks((name, goal, arm, "whole"), "")

    def more(self, name: str, goal: str, pair: str) -> np.ndarray:
        """Return what the known part of a pair costs more than in the control."""
        known = PAIRS[pair]
        one, other = (self.lost(name, goal, arm, known.named) for arm in (known.one, known.other))
        return one - other


class Far:
    """How far kept models were from base on the matching situations."""

    def __init__(self, matched: pd.DataFrame) -> None:
        keys = ["set", "goal", "arm", "wanted", "seed"]
        self._kl = matched.set_index(keys)["kl"].sort_index()

    def of(self, name: str, goal: str, arm: str, wanted: float) -> np.ndarray:
        """Return nats from base, shape (seeds,)."""
        found = self._kl.loc[(name.replace(" ", "-"), goal, arm, wanted)]
        return found.sort_index().to_numpy(np.float64)

    def left(self, cells: Cells, name: str, goal: str) -> tuple[np.ndarray, np.ndarray]:
        """Return how much more RL's set costs because it had gone farther, and what is left.

        By the gain for each nat between 0.11 and 0.22: what RL's set gained alone, less what it costs in the
        model that went on with the rest. That is less than it had gained at 0.11, so that the slope is steep.
        """
        known = PAIRS["RL or RFT"]
        near, full = (self.of(name, goal, "rl-S", wanted) for wanted in (HALF, FULL))
        gained = cells.whole(name, goal, "rl-S").mean(axis=1)
        slope = (gained - cells.lost(name, goal, known.one, S).mean(axis=1)).sum() / (full - near).sum()
        for_distance = slope * (near - self.of(name, goal, "rft-S", HALF))
        return for_distance, cells.more(name, goal, "RL or RFT").mean(axis=1) - for_distance


def blocks(record: Path) -> dict[str, str]:
    """Return each table and number of the page by its key."""
    measured = read_table(record / "measured.parquet")
    told = read_table(record / "verdicts.parquet")
    found = read_table(record / "conditions.parquet")
    decided = read_table(record / "conjectures.parquet")
    cells, far = Cells(measured), Far(read_table(record / "matched.parquet"))
    runs = measured[measured["how"] == "whole"][["set", "goal", "arm", "seed"]].drop_duplicates()
    return {
        "sets": ", ".join(f"{name} (`{SETS[name].text}`)" for name in cells.sets),
        "runs": str(len(runs)),
        "arms": table(("set", "goal", "arm", "nats from base", "utility gained"), _arms(cells)),
        "rules": table(
            ("rule", "pair", "known part named, whole", "components of it named", "named wrongly"),
            _rules(told),
        ),
        "distances": table(
            ("set", "goal", "RL's set, nats", "fine-tuning's", "costs more", "for the distance", "left", "p"),
            _distances(cells, far),
        ),
        "wholes": table(
            ("set", "models", "goal", "part", "costs", "more than in the control", "p", "seen with 80%"),
            _wholes(cells, found),
        ),
        "share": table(
            ("set", "goal", "RL moved", "utility it costs", "part of the gain", "pursuit share it costs"),
            _share(cells),
        ),
        "components": table(
            ("set", "component", "part", *[f"{pair}: {goal}" for pair in MIXED for goal in GOALS]),
            _components(cells.sets, found),
        ),
        "transplants": table(
            ("set", "models", "goal", "RL's set in place of the other's", "and its rest"),
            _transplants(cells),
        ),
        "doses": table(("set", "goal", "part", "none", "all of it", "one and a half"), _doses(cells)),
        "conjectures": of_conjectures(decided),
        "brier": number(float(decided["brier"].mean())),
        "brier-if-right": number(float((decided["probability"] * (1 - decided["probability"])).mean())),
        "locked": str(decided["time"].iloc[0]),
        **_numbers(cells, told),
        **_corrected(cells, far),
    }


def _arms(cells: Cells) -> Iterator[Sequence[str]]:
    for name in cells.sets:
        for goal in GOALS:
            for arm in (arm for arm in ARMS if cells.has(name, goal, arm)):
                far = cells.pick((name, goal, arm, "whole"), "", KL)["value"]
                told = f"{far.mean():.3f} ({far.min():.3f} to {far.max():.3f})"
                yield name, goal, f"`{arm}`", told, _crossed(cells.whole(name, goal, arm))


def _rules(told: pd.DataFrame) -> Iterator[Sequence[str]]:
    for rule in RULES:
        for pair in PAIRS:
            rows = told[(told["rule"] == rule) & (told["pair"] == pair)]
            if not len(rows):
                continue
            whole, single = rows[rows["whole"]], rows[~rows["whole"]]
            right = [_of(some[some["should"]]["named"]) for some in (whole, single)]
            wrong = rows[~rows["should"]]["named"]
            yield rule, pair, *right, _of(wrong)


def _distances(cells: Cells, far: Far) -> Iterator[Sequence[str]]:
    for name in cells.sets:
        for goal in GOALS:
            near = [far.of(name, goal, arm, HALF) for arm in ("rl-S", "rft-S")]
            told = [f"{one.mean():.3f} ({one.min():.3f} to {one.max():.3f})" for one in near]
            more = _crossed(cells.more(name, goal, "RL or RFT"))
            distance, left = far.left(cells, name, goal)
            p = number(sign_flip_test(left), 3)
            yield name, goal, *told, more, signed(distance.mean()), _seeds(seeds_estimate(left)), p


def _wholes(cells: Cells, found: pd.DataFrame) -> Iterator[Sequence[str]]:
    rows = found[(found["rule"] == "gain") & (found["condition"] == "more") & found["whole"]]
    p = rows.set_index(["set", "pair", "goal", "unit"])["p"]
    for name in cells.sets:
        for pair in (one for mixed in MIXED for one in (mixed, mixed + MIRRORED)):
            known = PAIRS[pair]
            for goal in GOALS:
                costs, more = cells.lost(name, goal, known.one, known.named), cells.more(name, goal, pair)
                told = number(float(p.loc[(name, pair, goal, known.named)]), 4)
                least = _least(seeds_estimate(more.mean(axis=1)))
                yield name, pair, goal, _part(known.named), _crossed(costs), _crossed(more), told, least


def _share(cells: Cells) -> Iterator[Sequence[str]]:
    for name in cells.sets:
        for pair in ("RL or RFT", f"RL or RFT{MIRRORED}"):
            arm, part = PAIRS[pair].one, PAIRS[pair].named
            for goal in GOALS:
                lost = cells.lost(name, goal, arm, part)
                of = seeds_estimate(lost.mean(axis=1) / cells.whole(name, goal, arm).mean(axis=1))
                share = cells.pick((name, goal, arm, "take back"), part, SHARE)["value"]
                told = _seeds(seeds_estimate(share.to_numpy(np.float64)))
                yield name, goal, _part(part), _crossed(lost), _seeds(of), told


def _components(sets: Sequence[str], found: pd.DataFrame) -> Iterator[Sequence[str]]:
    rows = found[(found["rule"] == "gain") & (found["condition"] == "more") & ~found["whole"]]
    values = rows.set_index(["set", "unit", "pair", "goal"])[["value", "p"]]
    for name in sets:
        for unit in SETS[name].units:
            part = S if unit in SETS[name].members else REST
            told = [values.loc[(name, unit, pair, goal)] for pair in MIXED for goal in GOALS]
            yield name, unit, _part(part), *(f"{signed(c['value'])} (p {number(c['p'], 3)})" for c in told)


def _transplants(cells: Cells) -> Iterator[Sequence[str]]:
    for name in cells.sets:
        for pair in MIXED:
            one, other = PAIRS[pair].one, PAIRS[pair].other
            for goal in GOALS:
                told: list[str] = []
                for part, (learned, control) in ((S, (one, other)), (REST, (other, one))):
                    out = cells.blocks((name, goal, learned, f"from {control}"), part)
                    into = -cells.blocks((name, goal, control, f"from {learned}"), part)
                    told.append(_crossed((out + into) / 2))
                yield name, pair, goal, *told


def _doses(cells: Cells) -> Iterator[Sequence[str]]:
    arm = PAIRS["RL or RFT"].one
    for name in cells.sets:
        for goal in GOALS:
            gain = cells.whole(name, goal, arm).mean(axis=1)
            for part in (S, REST):
                none = gain - cells.lost(name, goal, arm, part).mean(axis=1)
                more = gain - cells.blocks((name, goal, arm, "dose 1.5"), part).mean(axis=1)
                yield name, goal, _part(part), *(_seeds(seeds_estimate(one)) for one in (none, gain, more))


def _numbers(cells: Cells, told: pd.DataFrame) -> dict[str, str]:
    """Return single numbers for the prose."""
    found: dict[str, str] = {}
    for name in cells.sets:
        for goal in GOALS:
            key = f"{name}-{goal}".replace(" ", "-")
            found[f"{key}-same"] = _crossed(
                cells.whole(name, goal, "rl-S") - cells.whole(name, goal, "rft-S")
            )
            for pair in (one for mixed in MIXED for one in (mixed, mixed + MIRRORED)):
                more = cells.more(name, goal, pair)
                found[f"{key}-{_key(pair)}"] = _crossed(more)
                found[f"{key}-{_key(pair)}-bound"] = number(bound(crossed_estimate(more).both))
    for rule in RULES:
        for pair in PAIRS:
            rows = told[(told["rule"] == rule) & (told["pair"] == pair) & told["should"]]
            for kind, some in (("whole", rows[rows["whole"]]), ("components", rows[~rows["whole"]])):
                found[f"{_key(rule)}-{_key(pair)}-{kind}"] = _of(some["named"])
        wrong = told[(told["rule"] == rule) & ~told["should"] & (told["pair"] != "same set")]
        found[f"{_key(rule)}-wrong"] = _of(wrong["named"])
        same = told[(told["rule"] == rule) & (told["pair"] == "same set")]
        found[f"{_key(rule)}-same"] = _of(same["named"])
    return found


def _corrected(cells: Cells, far: Far) -> dict[str, str]:
    """Return, for the prose, what a larger distance explains, what is left, and the share a set costs."""
    found: dict[str, str] = {}
    for name in cells.sets:
        for goal in GOALS:
            key, arm = f"{name}-{goal}".replace(" ", "-"), PAIRS["RL or RFT"].one
            distance, left = far.left(cells, name, goal)
            share = cells.pick((name, goal, arm, "take back"), S, SHARE)["value"].to_numpy(np.float64)
            found[f"{key}-for-distance"] = signed(distance.mean())
            found[f"{key}-left"] = _seeds(seeds_estimate(left))
            found[f"{key}-share"] = _seeds(seeds_estimate(share))
    return found


def _key(words: str) -> str:
    return words.replace(",", "").replace(" ", "-")


def _crossed(values: np.ndarray) -> str:
    """Write a mean over runs and blocks of situations, with its interval for both."""
    return _seeds(crossed_estimate(values).both)


def _seeds(found: Estimate) -> str:
    return f"{signed(found.value)} {interval(found.low, found.high)}"


def _least(found: Estimate) -> str:
    """Return the smallest effect that 80% of such studies would see at 0.05."""
    assert found.se is not None
    freedom = found.n - 1
    return number(noncentrality(freedom, float(special.stdtrit(freedom, 0.975))) * found.se)


def _part(unit: str) -> str:
    return "the set" if unit == S else "the rest"


def _of(named: pd.Series[Any]) -> str:
    return f"{int(named.sum())} of {len(named)}" if len(named) else "–"
