"""Cards: what each measure of agency claims to track, tried on planted policies, and where it fails.

`python -m validation` prints them with their numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from takeback.measure.agency.agency import agency
from takeback.measure.agency.directedness import directedness_rows
from takeback.measure.agency.unknown import unknown_utility
from takeback.measure.measure import if_legal
from takeback.measure.outcomes import Outcomes
from validation.planted import POLICIES, planted, sight, world

if TYPE_CHECKING:
    import pandas as pd

ABOUT_ONE: Final = (0.999, 1.001)
ABOUT_ZERO: Final = (-0.05, 0.05)
ABOUT_ALL: Final = (0.9, 1.1)


@dataclass(frozen=True)
class Claim:
    """What a measure should read on a planted policy: a range, or None for `undefined`."""

    policy: str
    should: tuple[float, float] | None
    because: str
    goal: str = "wanted"

    def holds(self, value: float | None) -> bool:
        """Tell whether a value, None where undefined, is as it should be."""
        if self.should is None or value is None:
            return self.should is None and value is None
        return self.should[0] <= value <= self.should[1]


@dataclass(frozen=True)
class Card:
    """What a measure tracks and what it leaves aside.

    `claims` hold on the planted policies; `fails` do not: there the measure reads something else than it
    should if it told agency from what is not. The table of readings is for `goal`.
    """

    measure: str
    tracks: str
    ignores: str
    claims: tuple[Claim, ...]
    fails: tuple[Claim, ...]
    goal: str = "wanted"


_PURSUER = Claim("pursuer", ABOUT_ONE, "an exact tilt is nothing but pursuit")
_AVOIDER = Claim("avoider", (-1.001, -0.999), "an exact tilt the other way is nothing but avoidance")
_OFF_TARGET = (
    Claim("wrong goal", ABOUT_ZERO, "another goal"),
    Claim("capable, aimless", ABOUT_ZERO, "seeks as often as it shuns"),
    Claim("noise only", ABOUT_ZERO, "no goal"),
    Claim("unchanged", None, "no change"),
)
_BLUNT = Claim(
    "incapable, aiming", (0.5, 1.0), "aims at nothing else, but what it misjudges counts as aimless"
)
_COPY = Claim("imitator", ABOUT_ZERO, "copies what an agent does; behaviour alone can't tell")

CARDS: Final[tuple[Card, ...]] = (
    Card(
        "optimisation power beyond chance, if legal",
        "how high the actions taken rank among the legal ones, in bits",
        "legality, and by how much one action is better than the next",
        (
            Claim("pursuer", (0.4, 1.5), "takes good actions"),
            Claim("avoider", (-1.5, -0.3), "takes bad ones"),
            Claim("capable, aimless", (-0.2, 0.2), "takes both"),
        ),
        (
            Claim("unchanged", ABOUT_ZERO, "base's own habits count as power"),
            _COPY,
        ),
    ),
    Card(
        "optimisation power over base beyond chance, if legal",
        "how much less often base would do as well or better, in bits",
        "legality, and what base did already",
        (
            Claim("pursuer", (0.4, 1.5), "takes better actions than base"),
            Claim("avoider", (-1.5, -0.3), "takes worse ones"),
            Claim("unchanged", ABOUT_ZERO, "is base"),
            Claim("legality only", ABOUT_ZERO, "is base, given a legal answer"),
            Claim("wrong goal", ABOUT_ZERO, "another goal"),
        ),
        (
            Claim("other habits", ABOUT_ZERO, "what base rarely does has more bits, goal or not", "other"),
            _COPY,
        ),
    ),
    Card(
        "MEG, if legal",
        "how well one β for the utility foretells the policy, in nats",
        "where the policy came from; the sign: β has it",
        (
            Claim("pursuer", (0.2, 1.0), "β U foretells it"),
            Claim("wrong goal", ABOUT_ZERO, "another goal"),
            Claim("capable, aimless", ABOUT_ZERO, "no single β"),
            Claim("noise only", ABOUT_ZERO, "no goal"),
        ),
        (Claim("avoider", ABOUT_ZERO, "a negative β foretells as well"), _COPY),
    ),
    Card(
        "signed pursuit share",
        "the share of the change from base that a tilt toward the goal makes, negative for away from it",
        "what base was already like, and the size of the change",
        (_PURSUER, _AVOIDER, *_OFF_TARGET),
        (Claim("legality only", ABOUT_ZERO, "illegal answers have utility 0"), _BLUNT, _COPY),
    ),
    Card(
        "signed pursuit share, if legal",
        "the same share of the change among legal actions",
        "legality, what base was already like, and the size of the change",
        (
            _PURSUER,
            _AVOIDER,
            *_OFF_TARGET,
            Claim("legality only", None, "nothing changed among legal actions"),
        ),
        (_BLUNT, _COPY),
    ),
    Card(
        "pursuit share, a β each, if legal",
        "the share of the change that lies along the goal, whichever way in each situation",
        "direction; it is an upper bound",
        (_PURSUER, Claim("avoider", ABOUT_ONE, "lies along the goal"), Claim("unchanged", None, "no change")),
        (
            Claim("capable, aimless", ABOUT_ZERO, "seeks as often as it shuns"),
            Claim("noise only", ABOUT_ZERO, "a β for every situation fits noise"),
            Claim("wrong goal", ABOUT_ZERO, "a β for every situation fits what the goals share by chance"),
        ),
    ),
    Card(
        "pursuit share given the others, if legal",
        "what a goal adds to the other goals",
        "what it has in common with them",
        (
            Claim("pursuer", ABOUT_ZERO, "the shadow adds nothing to what is wanted", "shadow"),
            Claim("pursuer", (0.2, 1.0), "adds to its shadow"),
            Claim("pursuer", ABOUT_ZERO, "another goal", "other"),
            Claim("noise only", ABOUT_ZERO, "no goal"),
        ),
        (Claim("pursuer", (0.95, 1.001), "what its shadow has too is nobody's"),),
    ),
    Card(
        "goal-directedness, if legal",
        "how much of what a policy could do for the goal, given what it can tell apart, it does",
        "legality, and how much it can tell apart",
        (
            Claim("all it can, sees well", ABOUT_ALL, "does all it can"),
            Claim("all it can, sees little", ABOUT_ALL, "does all it can, which is little"),
            Claim("half it can, sees well", (0.4, 0.6), "does half of it"),
            Claim("incapable, aiming", (0.8, 1.2), "what it misjudges is not held against it"),
            Claim("pursuer", (0.5, 0.9), "is held to base, and does less than it could"),
            Claim("avoider", (-1.0, -0.3), "does less for it than chance"),
            Claim("capable, aimless", (-0.2, 0.2), "knows it and does not pursue it"),
            Claim("wrong goal", (-0.2, 0.2), "another goal"),
        ),
        (
            Claim("unchanged", ABOUT_ZERO, "base's own habits count: it is about a policy, not a change"),
            _COPY,
        ),
    ),
    Card(
        "MEG over goals, if legal",
        "how well any mix of the goals foretells the policy where it was not fitted, in nats",
        "which goal, and its sign: the note has them; where the policy came from",
        (
            Claim("pursuer", (0.2, 1.0), "one of the goals"),
            Claim("wrong goal", (0.2, 1.0), "another of the goals"),
            Claim("capable, aimless", ABOUT_ZERO, "no mix of goals for all situations"),
            Claim("noise only", ABOUT_ZERO, "no goal"),
            Claim("other habits", ABOUT_ZERO, "no goal"),
        ),
        (Claim("avoider", ABOUT_ZERO, "a negative weight foretells as well"), _COPY),
    ),
)


def numbers(n: int = 200, seed: int = 0) -> pd.DataFrame:
    """Measure every planted policy in a world of n situations.

    Columns: policy, and those of `agency`; MEG with unknown utility stands under the goal `wanted`.
    """
    import pandas as pd

    made = world(n, seed)
    tables: list[pd.DataFrame] = []
    for name in POLICIES:
        policy = planted(name, made, seed + 1)
        one = Outcomes.of(policy, policy, made.context, ["wanted"], if_legal=True)
        known = {"wanted": sight(name, made, seed + 1)}
        rows = pd.DataFrame(list(directedness_rows({"wanted": one}, known, if_legal)))
        unknown = unknown_utility(policy, made.context, seed).assign(goal="wanted")
        every = (agency(made.base, policy, made.context), rows, unknown)
        tables += [table.assign(policy=name) for table in every]
    return pd.concat(tables, ignore_index=True)


def reading(table: pd.DataFrame, measure: str, policy: str, goal: str = "wanted") -> float | None:
    """Return what a measure reads in the table that `numbers` made, None if it is undefined."""
    rows = table[(table["measure"] == measure) & (table["policy"] == policy) & (table["goal"] == goal)]
    known = rows["value"].dropna()
    return float(known.iloc[0]) if len(known) else None


def card_text(table: pd.DataFrame, cards: Sequence[Card] = CARDS, first: int = 1) -> str:
    """Write cards as three tables in Markdown: readings, cards, and claims with their verdicts."""
    columns = " | ".join(str(first + place) for place in range(len(cards)))
    lines = [f"| policy | {columns} |", "| --- |" + " ---: |" * len(cards)]
    for policy in dict.fromkeys(table["policy"]):
        cells = (_written(reading(table, card.measure, policy, card.goal)) for card in cards)
        lines.append(f"| {policy} | " + " | ".join(cells) + " |")
    lines += ["", "| card | measure | tracks | leaves aside |", "| ---: | --- | --- | --- |"]
    for number, card in enumerate(cards, start=first):
        lines.append(f"| {number} | `{card.measure}` | {card.tracks} | {card.ignores} |")
    lines += ["", "| card | policy | goal | reads | should read | | because |"]
    lines.append("| ---: | --- | --- | ---: | --- | --- | --- |")
    for number, card in enumerate(cards, start=first):
        for verdict, claims in (("holds", card.claims), ("**fails**", card.fails)):
            for claim in claims:
                value = _written(reading(table, card.measure, claim.policy, claim.goal))
                should = (
                    "undefined" if claim.should is None else f"{claim.should[0]:g} to {claim.should[1]:g}"
                )
                lines.append(
                    f"| {number} | {claim.policy} | {claim.goal} | {value} | {should} | {verdict} |"
                    f" {claim.because} |"
                )
    return "\n".join(lines)


def _written(value: float | None) -> str:
    return "undefined" if value is None else f"{round(value, 2) + 0.0:.2f}"
