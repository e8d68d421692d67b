"""Whole games: the policy plays on against the arena's defender, and all its moves have the game's reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from takeback.arenas import LEGAL, Arena, Playable, able, judge, written
from takeback.policies.language import LanguagePolicy
from takeback.training.recipe import OUTCOME, RL
from takeback.training.reward import Rewarder, answer_of

Choice = tuple[str | None, Any]
"""An answer, None where it did not end, and what the player wants to remember of it."""


@dataclass(frozen=True)
class Played:
    """One game as the policy met it: situations and choices in turn, and the game's score."""

    situations: tuple[Any, ...]
    choices: tuple[Choice, ...]
    score: float

    @property
    def answers(self) -> tuple[str | None, ...]:
        """The policy's answers in turn."""
        return tuple(answer for answer, _ in self.choices)


def play(
    place: Arena[Any], choose: Callable[[Sequence[Any]], Sequence[Choice]], begun: Sequence[Any], horizon: int
) -> list[Played]:
    """Play games from the situations until each is decided or the policy has moved `horizon` times.

    >>> from takeback.arenas import arena
    >>> endgames = arena("endgames")
    >>> start = endgames.parse("w Kb6 Rh1 kb8")
    >>> (game,) = play(endgames, lambda situations: [("h1h8", None)] * len(situations), [start], 3)
    >>> game.answers, game.score
    (('h1h8',), 1.0)
    """
    rounds: list[tuple[Sequence[Any], Sequence[Choice]]] = []

    def answer(situations: Sequence[Any]) -> list[str]:
        rounds.append((list(situations), choose(situations)))
        return [text or "" for text, _ in rounds[-1][1]]

    games = able(place, Playable).play_out(answer, begun, horizon)
    met: list[list[tuple[Any, Choice]]] = [[] for _ in games]
    for number, (situations, choices) in enumerate(rounds):
        going = [mine for mine, game in zip(met, games, strict=True) if game.turns > number]
        for mine, situation, choice in zip(going, situations, choices, strict=True):
            mine.append((situation, choice))
    return [
        Played(tuple(where for where, _ in mine), tuple(choice for _, choice in mine), game.score)
        for mine, game in zip(met, games, strict=True)
    ]


def returns(place: Arena[Any], goal: str, games: Sequence[Played]) -> tuple[list[float], float]:
    """Return what each game is worth, and the share of legal answers among all.

    For `win` a game is worth its score: 1 for a mate, 0 for a draw, an illegal end, or no end within the
    horizon. For another goal it is worth the mean utility of its moves, an illegal one counted as 0.
    """
    situations = [where for game in games for where in game.situations]
    answers = [answer or "" for game in games for answer in game.answers]
    utility, kinds = judge(place, goal, situations, answers)
    legal = kinds.count(LEGAL) / len(kinds)
    if goal == OUTCOME:
        return [game.score for game in games], legal
    ends = np.cumsum([len(game.situations) for game in games])
    return [float(part.mean()) for part in np.split(utility, ends[:-1])], legal


class GameRewarder(Rewarder):
    """Scores games and keeps their moves: the table of completions has the columns `game` and `move`, too."""

    def score_games(self, step: int, games: Sequence[Played]) -> tuple[list[float], float]:
        """Return one reward for each game of a step, and the share of legal answers."""
        earned, legal = returns(self._arena, self._goal, games)
        earned = self._by_chance(step, earned)
        self._seen += [
            {**self._row(step, where, answer, value), "game": number, "move": move}
            for number, (game, value) in enumerate(zip(games, earned, strict=True))
            for move, (where, answer) in enumerate(zip(game.situations, game.answers, strict=True))
        ]
        return earned, legal


class GameReward(GameRewarder):
    """A TRL reward function that passes on what a rollout says its games are worth."""

    def __init__(self, arena: Arena[Any], goal: str, chance: int | None = None) -> None:
        super().__init__(arena, goal, chance)
        self.__name__ = f"reward_{goal}"

    def __call__(
        self, worth: list[float], legal: list[float], log_metric: Callable[[str, float], None], **_: Any
    ) -> list[float | None]:
        """Return the reward of each row."""
        log_metric("legal", legal[0])
        return [*worth]


@dataclass(frozen=True, eq=False)
class GameRollout:
    """TRL's `rollout_func`: plays games and gives one row for each of their moves.

    A row holds the prompt that the policy saw at this move and nothing before it. Rows come in the order
    (start, number of the move, game), so that a group of TRL's is one move of all games of one start: its
    mean reward is that of the start's games. Where a game was over a row is left out of the loss by its mask.
    `where` is the arena, and the situations in which the run's games begin.
    """

    recipe: RL
    horizon: int
    where: tuple[Arena[Any], Sequence[Any]]
    policy: LanguagePolicy
    reward: GameRewarder

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """Return rows of token ids with masks, the worth of their games and the share of legal answers."""
        many = self.recipe.completions
        begun = [self._start[text] for text in prompts[:: self.horizon * many] for _ in range(many)]
        games = play(self.where[0], partial(self._choose, trainer), begun, self.horizon)
        worth, legal = self.reward.score_games(trainer.state.global_step + 1, games)
        rows: dict[str, list[Any]] = {"prompt_ids": [], "completion_ids": [], "env_mask": [], "worth": []}
        for first in range(0, len(games), many):
            for move in range(self.horizon):
                for number in range(first, first + many):
                    prompt, answer, seen = self._move(games[number], move)
                    rows["prompt_ids"].append(prompt)
                    rows["completion_ids"].append(answer)
                    rows["env_mask"].append([seen] * len(answer))
                    rows["worth"].append(worth[number])
        return {**rows, "legal": legal, "logprobs": None}

    @cached_property
    def _start(self) -> dict[str, Any]:
        place, situations = self.where
        return {place.prompt(one): one for one in situations}

    def _choose(self, trainer: Any, situations: Sequence[Any]) -> list[Choice]:
        prompts = [self._prompt(situation) for situation in situations]
        answers, _ = trainer._generate_single_turn(prompts, None, {}, 1)
        return [(answer_of(ids, self.policy.tokenizer), ids) for ids in answers]

    def _move(self, game: Played, move: int) -> tuple[list[int], list[int], int]:
        if move < len(game.situations):
            return self._prompt(game.situations[move]), game.choices[move][1], 1
        end: Any = self.policy.tokenizer.eos_token_id
        return self._prompt(game.situations[0]), [end], 0

    def _prompt(self, situation: Any) -> list[int]:
        ids: Any = self.policy.tokenizer(written(self.where[0], situation, self.policy.style))["input_ids"]
        return ids
