"""What policies are asked, as far as what is measured of them depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from takeback.arenas.capabilities import Featured, ForNetworks
from takeback.arenas.listed import Listed, Open
from takeback.arenas.protocol import Arena, Goal
from takeback.run.identity import told
from takeback.run.own import is_reference, load_own


@dataclass(frozen=True)
class Asked:
    """An arena with situations, for `identity`: what they are worth and of which kind, not what it is called.

    Attributes:
        arena: where policies act.
        situations: what they are read on; none where a result depends on more than can be listed.
        goals: names of goals besides the arena's own, such as a user's `package.module:function`.
    """

    arena: Arena[Any]
    situations: Sequence[Any] = ()
    goals: Sequence[str] = ()


@told.register(Asked)
def _(asked: Asked) -> Any:
    place, some = asked.arena, asked.situations
    return {
        "arena": place,
        "kinds": place.kinds,
        "outputs": place.outputs if isinstance(place, ForNetworks) else (),
        "situations": [(place.prompt(one), str(place.cluster(one)), place.legal(one)) for one in some],
        "listings": [place.listing(one) for one in some] if isinstance(place, Listed) else (),
        "worth": _all_worth(place, some),
        "features": place.features(some) if some and isinstance(place, Featured) else {},
        "own goals": [load_own(goal, "goal") for goal in asked.goals if is_reference(goal)],
    }


def _all_worth(place: Arena[Any], some: Sequence[Any]) -> Any:
    """Return what answers are worth by each goal; of an open arena, what says it."""
    if isinstance(place, Open):
        return [place.draws, list(some)]
    return {name: _worth(goal, some) for name, goal in place.goals.items()} if some else {}


def _worth(goal: Goal[Any], situations: Sequence[Any]) -> list[Any]:
    """Return a goal's utilities and where it applies; the last digits differ between machines."""
    return [goal.utility(situations).round(12), goal.applies(situations)]
