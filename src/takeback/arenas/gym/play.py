"""Drawing situations along random play, and playing on from situations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from takeback.arenas.gym.copies import copy_of
from takeback.arenas.gym.paths import Path, draw_seed
from takeback.arenas.gym.replay import Replays, State

if TYPE_CHECKING:
    from gymnasium import Env

Choose = Callable[[Sequence[Path]], Sequence[str]]
"""A player: one text for each situation."""
LONGEST: Final = 200
"""Random play stops here where nothing ends it before."""


@dataclass(frozen=True)
class PlayedEpisode:
    """An episode played on from a situation; `outcome` is one of those of `play_out`."""

    start: Path
    outcome: str
    reason: str
    turns: int
    score: float


def draw(replays: Replays, split: str, rng: np.random.Generator) -> Path:
    """Draw a situation: an episode of the random player, and one time in it, each as likely as any other.

    Raises:
        UnknownName: There is no such split.
    """
    start = draw_seed(split, rng)
    env, seen = replays.start(start)
    actions: list[int] = []
    legal, chosen, kept = seen.legal, 0, State(copy_of(env), seen) if replays.copies else None
    for time in range(1, LONGEST):
        action = int(legal[rng.integers(len(legal))])
        step = replays.step(env, action)
        if step.over:
            break
        actions.append(action)
        legal = step.legal
        if rng.random() < 1 / (time + 1):  # reservoir: each of the times so far is the chosen one equally
            chosen = time
            kept = State(copy_of(env), step.seen) if replays.copies else None
    path = Path(start, tuple(actions[:chosen]))
    if kept is not None:
        replays.remember(path, kept)
    return path


def play_out(
    replays: Replays, outputs: Sequence[str], choose: Choose, situations: Sequence[Path], max_moves: int
) -> list[PlayedEpisode]:
    """Play on from the situations until each episode is over or has had `max_moves` more actions.

    The games go on together: `choose` gets the situations of all that are not over, in their order. Chance
    is that of each path's seed. Outcomes: `ended`, `truncated` (by the time limit), `illegal`, `unfinished`.
    """
    games = [_Going(start, replays.fork(start)) for start in situations]
    for _ in range(max_moves):
        going = [game for game in games if not game.outcome]
        if not going:
            break
        for game, text in zip(going, choose([game.path for game in going]), strict=True):
            game.turns += 1
            reason = classify(replays, outputs, game.path, text)
            if reason != "legal":
                game.outcome, game.reason = "illegal", reason
                continue
            action = outputs.index(text.strip())
            step = replays.step(game.env, action)
            game.score += step.reward
            if step.over:
                game.outcome = "ended" if step.terminated else "truncated"
            else:
                game.path = game.path.then(action)
                replays.remember_seen(game.path, step.seen)
    return [
        PlayedEpisode(start, game.outcome or "unfinished", game.reason, game.turns, game.score)
        for start, game in zip(situations, games, strict=True)
    ]


def classify(replays: Replays, outputs: Sequence[str], path: Path, text: str) -> str:
    """Return `legal`, `unparsable` where a text is no action's name, `no-effect` where it is masked."""
    name = text.strip()
    if name not in outputs:
        return "unparsable"
    return "legal" if outputs.index(name) in replays.seen(path).legal else "no-effect"


class _Going:
    """A game on its way."""

    def __init__(self, path: Path, env: Env[Any, Any]) -> None:
        self.path, self.env = path, env
        self.outcome, self.reason, self.turns, self.score = "", "", 0, 0.0
