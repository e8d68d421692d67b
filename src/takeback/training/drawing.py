"""Drawing the situations that a recipe trains in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from takeback.arenas import Arena, Playable, able, utilities
from takeback.run.errors import TakebackError
from takeback.run.limits import MOST_SEED
from takeback.training.recipe import DPO, OUTCOME, RFT, RL, Tuned

_FIRST = 512
"""So many are looked at before it is said that there is none."""
_SPARE = 1.2
"""How many more situations are drawn than should be needed."""


def training_situations(
    place: Arena[Any],
    recipe: Tuned,
    count: int,
    wanted: Callable[[Sequence[Any]], Sequence[bool]],
    reason: str,
) -> list[Any]:
    """Draw `count` training situations that are wanted, where the goal applies, without replacement.

    Args:
        place: the arena.
        recipe: gives the goal and the seed.
        count: how many.
        wanted: tells of each of several situations whether it is wanted.
        reason: why none may be left, for the error.

    Raises:
        TakebackError: there are too few.
    """
    asked, found = max(count, _FIRST), list[Any]()
    while True:
        try:
            drawn = place.situations("train", asked, recipe.seed, goal=recipe.goal)
        except TakebackError:
            if not found:
                raise
            raise TakebackError(
                f"the run asks for {count} situations and arena {place.name} has only about {len(found)} "
                f"{reason}; take fewer steps"
            ) from None
        found = [one for one, ok in zip(drawn, wanted(drawn), strict=True) if ok]
        if len(found) >= count:
            return found[:count]
        if not found:
            raise TakebackError(f"none of {asked} situations of arena {place.name} is one {reason}")
        asked = int(_SPARE * asked * count / len(found)) + 1


def tried_situations(place: Arena[Any], recipe: RL | RFT) -> list[Any]:
    """Draw the situations in which a policy tries its own answers or begins its games, in their order.

    Games toward `win` begin only where best play wins within the horizon, or within what the recipe says of
    this part of the run: elsewhere every game is worth 0. No situation comes twice.

    Raises:
        TakebackError: there are too few, or games are asked of an arena that has none.
    """
    horizon = recipe.horizon if isinstance(recipe, RL) and recipe.goal == OUTCOME else None
    parts = recipe.mate_within or ((horizon,) if horizon else ())
    if not parts:
        return place.situations("train", recipe.steps * recipe.prompts, recipe.seed, goal=recipe.goal)
    games, drawn = able(place, Playable), dict[Any, None]()
    for number, steps in enumerate(np.array_split(range(recipe.steps), len(parts))):
        within = parts[number]

        def near(situations: Sequence[Any], within: int = within) -> list[bool]:
            return [0 < (games.distance(one) or 0) <= within and one not in drawn for one in situations]

        # Each part draws anew: the same order again would pass over the distances that parts before it had.
        anew = (
            int(np.random.default_rng([recipe.seed, number]).integers(MOST_SEED)) if number else recipe.seed
        )
        reason = f"that is won within {within} moves"
        here = recipe.model_copy(update={"seed": anew})
        found = training_situations(place, here, len(steps) * recipe.prompts, near, reason)
        drawn.update(dict.fromkeys(found))
    return list(drawn)


def legal_utilities(
    place: Arena[Any], goal: str, situations: Sequence[Any]
) -> list[tuple[tuple[str, ...], NDArray[np.float64]]]:
    """Return the legal actions of each situation with a goal's utility of each.

    >>> from takeback.arenas import arena
    >>> endgames = arena("endgames")
    >>> ((actions, utility),) = legal_utilities(endgames, "win", [endgames.parse("w Kb6 Rh1 kb8")])
    >>> actions[int(utility.argmax())], len(actions) == len(utility)
    ('h1h8', True)
    """
    worth = utilities(place, goal, situations)
    return [(place.legal(one), each) for one, each in zip(situations, worth, strict=True)]


def best_actions(
    place: Arena[Any], goal: str, situations: Sequence[Any], random: np.random.Generator
) -> list[str]:
    """Return a best action of each situation, ties broken by chance."""
    return [
        actions[int(random.choice(np.flatnonzero(utility == utility.max())))]
        for actions, utility in legal_utilities(place, goal, situations)
    ]


def preferences(
    place: Arena[Any], goal: str, situations: Sequence[Any], random: np.random.Generator
) -> list[tuple[str, str]]:
    """Return a best action of each situation and a worse one, each drawn evenly among those there are.

    Every situation must have a worse one.
    """
    pairs: list[tuple[str, str]] = []
    for actions, utility in legal_utilities(place, goal, situations):
        best = utility == utility.max()
        chosen, rejected = (int(random.choice(np.flatnonzero(which))) for which in (best, ~best))
        pairs.append((actions[chosen], actions[rejected]))
    return pairs


def divided_situations(recipe: DPO, place: Arena[Any]) -> list[Any]:
    """Draw a run's situations in which some legal action is worse than another, in the order of its steps.

    Raises:
        TakebackError: there are too few.
    """

    def divided(drawn: Sequence[Any]) -> list[bool]:
        return [bool(u.min() < u.max()) for _, u in legal_utilities(place, recipe.goal, drawn)]

    reason = f"in which a legal action is worse than another for goal {recipe.goal}"
    return training_situations(place, recipe, recipe.steps * recipe.batch, divided, reason)
