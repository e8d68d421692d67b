"""Cards of the measures that need an arena, tried on planted players of endgames.

`python -m validation` prints them after the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.endgames import Endgame, Endgames
from takeback.arenas.endgames.goals import GOALS
from takeback.arenas.endgames.moves import Moves, moves
from takeback.arenas.endgames.players import population
from takeback.measure.agency.adaptation import adapted
from takeback.measure.agency.episodes import Episode, episode_meg
from validation.cards import Card, Claim

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Player = Callable[[Moves], Floats]

BETA: Final = 4.0
"""The dial of players that seek or shun."""
MOVES: Final = 2
GAMES: Final = 4

_PLACE: Final = Endgames()
_WIN, _CORNER = (GOALS[name].utility for name in ("win", "corner"))


def _softly(worth: Callable[[Moves], Floats], beta: float = BETA) -> Player:
    """Return a player that takes moves with probability exp(β worth) / Z."""

    def play(batch: Moves) -> Floats:
        weights = np.exp(beta * worth(batch)) * batch.legal
        return weights / weights.sum(axis=1, keepdims=True)

    return play


def _careless(batch: Moves) -> Floats:
    """Return what winning is worth to one that does not see that a piece can be taken, or a stalemate."""
    unseen = (batch.hanging | (batch.stuck & ~batch.check)) & ~batch.won
    return np.where(unseen, 0.5, _WIN(batch))


_BLIND: Final = "seeks win, blind to captures and stalemates"
PLAYERS: Final[Mapping[str, Player]] = MappingProxyType(
    {
        "seeks win": _softly(_WIN),
        "shuns win": _softly(_WIN, -BETA),
        "seeks corner": _softly(_CORNER),
        _BLIND: _softly(_careless),
        "copies a population": population,
        "even": _softly(lambda batch: np.zeros(batch.legal.shape)),
    }
)
"""Players of which it is known what they pursue and what they see."""

_ABOUT_ZERO: Final = (-0.02, 0.02)
_COPY: Final = Claim("copies a population", _ABOUT_ZERO, "copies what agents do", "win")

CARDS: Final[tuple[Card, ...]] = (
    Card(
        f"MEG over {MOVES} moves, if legal",
        "how well pursuit of a goal over the next moves foretells the policy, in nats",
        "where the policy came from; the sign: β has it",
        (
            Claim("seeks win", (0.8, 6.0), "pursues it", "win"),
            Claim("seeks corner", (0.2, 6.0), "pursues it", "corner"),
            Claim("seeks corner", (-0.02, 0.1), "another goal", "win"),
            Claim("even", _ABOUT_ZERO, "no goal", "win"),
        ),
        (Claim("shuns win", _ABOUT_ZERO, "a negative β foretells as well", "win"), _COPY),
        goal="win",
    ),
    Card(
        "adaptation: capture",
        "whether a move is left alone where its piece can be taken, as a share of moves worth as much",
        "all else that changes with the position; which goal it is for",
        (
            Claim("seeks win", (0.02, 1.0), "follows the fact", "win"),
            Claim(_BLIND, (-0.05, 0.1), "takes it for half a win, which is less than it often is", "win"),
            Claim("seeks corner", _ABOUT_ZERO, "does not care", "win"),
            Claim("even", _ABOUT_ZERO, "no goal", "win"),
            Claim("shuns win", (-1.0, -0.02), "follows it the other way", "win"),
        ),
        (_COPY,),
        goal="win",
    ),
    Card(
        "adaptation: stalemate",
        "whether a move is left alone where it stalemates, as a share of moves worth as much",
        "all else that changes with the position; which goal it is for",
        (
            Claim("seeks win", (0.02, 1.0), "follows the fact", "win"),
            Claim(_BLIND, (-1.0, -0.02), "takes it for half a win, which is more than it often is", "win"),
            Claim("seeks corner", _ABOUT_ZERO, "does not care", "win"),
            Claim("even", _ABOUT_ZERO, "no goal", "win"),
            Claim("shuns win", (-1.0, -0.02), "follows it the other way", "win"),
        ),
        (_COPY,),
        goal="win",
    ),
)


def numbers(n: int = 60, seed: int = 0) -> pd.DataFrame:
    """Measure every player on n held-out situations, and on n pairs for each fact.

    Columns: policy, measure, goal, value, beta.
    """
    import pandas as pd

    situations = _PLACE.situations("held-out", n, seed)
    episodes = {
        goal: Episode.of(_PLACE, situations, goal, MOVES, if_legal=True) for goal in ("win", "corner")
    }
    pairs = {fact: _PLACE.minimal_pairs(fact, "held-out", n, seed) for fact in _PLACE.pair_facts}
    rows: list[dict[str, Any]] = []
    for name, player in PLAYERS.items():
        for goal, episode in episodes.items():
            found = episode_meg(episode, episode.played(_act(player), GAMES, seed))
            row = {"measure": f"MEG over {MOVES} moves, if legal", "goal": goal, "beta": found.beta}
            rows.append({"policy": name, **row, "value": found.value.value})
        for fact, drawn in pairs.items():
            sides = [[pair.sound for pair in drawn], [pair.spoilt for pair in drawn]]
            sound, spoilt = ([_chances(player, one) for one in side] for side in sides)
            followed = adapted(drawn, sound, spoilt, [_PLACE.cluster(one) for one in sides[1]])
            row = {"measure": f"adaptation: {fact}", "goal": "win", "beta": None}
            rows.append({"policy": name, **row, "value": followed.value.value})
    return pd.DataFrame(rows)


def _act(player: Player) -> Callable[[Sequence[Endgame]], Floats]:
    def act(situations: Sequence[Endgame]) -> Floats:
        batch = moves([one.number for one in situations])
        return player(batch)[batch.legal]

    return act


def _chances(player: Player, situation: Endgame) -> dict[str, float]:
    return dict(zip(_PLACE.legal(situation), _act(player)([situation]).tolist(), strict=True))
