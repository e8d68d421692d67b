"""The measures of agency that need the policy itself, not just its readouts, in one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from takeback.arenas import Arena, Episodic, MinimalPairs, Probed, goal_of
from takeback.arenas.rows import OpenRows, PooledRows
from takeback.measure.agency.adaptation import adaptation
from takeback.measure.agency.agency import OVER
from takeback.measure.agency.directedness import goal_directedness
from takeback.measure.agency.episodes import Episode, acts, episode_meg
from takeback.measure.agency.unknown import unknown_utility
from takeback.measure.measure import MeasureContext
from takeback.measure.measures import estimate_row, typed
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    import pandas as pd

    from takeback.policies.policy import Policy

COLUMNS = ("measure", "goal", "unit", "value", "se", "low", "high", "n", "beta", "note")


@dataclass(frozen=True)
class AgencySettings:
    """What is asked of a policy.

    Attributes:
        goals: the goals; the arena's, without `random`, unless some are named.
        horizon: moves of an episode.
        games: games that are played from each situation to know what an episode pays.
        seed: of games, pairs and training situations.
    """

    goals: tuple[str, ...] | None = None
    horizon: int = 3
    games: int = 2
    seed: int = 0

    def of(self, arena: Arena[Any]) -> tuple[str, ...]:
        """Return the goals that are asked about in an arena."""
        return self.goals or tuple(name for name in arena.goals if name != "random")


def policy_agency(
    policy: Policy, arena: Arena[Any], situations: Sequence[Any], asked: AgencySettings | None = None
) -> pd.DataFrame:
    """Measure goal-directedness given capability, MEG over episodes and with unknown utility, and adaptation.

    Columns as in `agency`: measure, goal, unit, value, se, low, high, n, beta, note. What the arena does not
    support is left out: only an arena with known answers has episodes, one that tells facts has probes, one
    with minimal pairs has adaptation. MEG with unknown utility is there in any.

    Raises:
        UnknownName: there is no such goal.
        TakebackError: any text is an answer there.
    """
    import pandas as pd

    asked = asked or AgencySettings()
    if isinstance(arena, OpenRows | PooledRows):
        raise TakebackError(
            f"what one policy pursues is told where its answers can be enumerated, not in {arena.name}; how "
            "much of a change is pursuit of a reward, takeback behaviour TUNED --against BASE tells"
        )
    readouts = policy.read(policy.prepare(arena, situations))
    tables = [
        unknown_utility(readouts, MeasureContext.of(readouts, arena, situations=situations), asked.seed)
    ]
    if isinstance(arena, Probed):
        goals = asked.of(arena)
        tables.append(goal_directedness(policy, arena, situations, goals, asked.seed, readouts))
    if isinstance(arena, Episodic):
        rows = list(_episodes(policy, arena, situations, asked))
        tables.append(typed(pd.DataFrame(rows), ("value", "se", "low", "high", "beta")))
    if isinstance(arena, MinimalPairs):
        tables.append(adaptation(policy, arena, seed=asked.seed))
    return pd.concat([table[list(COLUMNS)] for table in tables], ignore_index=True)


def _episodes(
    policy: Policy, arena: Arena[Any], situations: Sequence[Any], asked: AgencySettings
) -> Iterator[dict[str, Any]]:
    act = acts(policy, arena)
    for goal in asked.of(arena):
        for given, named in enumerate(OVER):
            about = {"measure": named(f"MEG over {asked.horizon} moves"), "goal": goal, "unit": "nats"}
            if not goal_of(arena, goal).applies(situations).any():
                missing = dict.fromkeys(("value", "se", "low", "high", "beta"))
                yield {**about, **missing, "n": 0, "note": "the goal applies to no situation"}
                continue
            episode = Episode.of(arena, situations, goal, asked.horizon, bool(given))
            found = episode_meg(episode, episode.played(act, asked.games, asked.seed))
            yield {
                **about,
                **estimate_row(found.value),
                "beta": found.beta,
                "note": f"at most {found.bound:.4g}; {found.paid.value:.3f} paid a move",
            }
