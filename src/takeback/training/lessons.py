"""What a language model learns from in an arena: prompts, what answers to them earn, and the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from takeback.arenas import Arena, written
from takeback.policies.language.policy import COMPACT, LanguagePolicy
from takeback.training.drawing import best_actions, divided_situations, preferences, tried_situations
from takeback.training.recipe import DPO, RFT, RL, SFT
from takeback.training.reward import ArenaReward, LanguageReward, chance_of


class Lesson(NamedTuple):
    """A prompt with an answer to it, in tokens; the answer has its end."""

    prompt: list[int]
    answer: list[int]


class Preference(NamedTuple):
    """A prompt with a better and a worse answer to it, in tokens; answers have their ends."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


@dataclass(frozen=True, eq=False)
class Trials:
    """What a policy tries its own answers on: a prompt for each answer group of a run, and what scores them.

    Attributes:
        prompts: texts, or chats as lists of messages, in the order of the run.
        score: the reward function that TRL is given.
        sampling: TRL's settings of how answers are drawn, `max_completion_length` among them.
    """

    prompts: list[Any]
    score: LanguageReward
    sampling: dict[str, Any]


class Lessons(Protocol):
    """Makes of an arena what methods teach a language model."""

    def trials(self, recipe: RL | RFT) -> Trials:
        """Return what a policy that learns from its own answers tries them on.

        Raises:
            TakebackError: the arena has too few situations.
        """
        ...

    def best(self, recipe: SFT) -> list[Lesson]:
        """Return a best answer for each situation of a run, ties broken by the seed.

        Raises:
            TakebackError: the arena has too few situations, or no best answers.
        """
        ...

    def preferences(self, recipe: DPO) -> list[Preference]:
        """Return a better and a worse answer for each situation of a run, drawn by the seed.

        Raises:
            TakebackError: no answer is worse than another.
        """
        ...


@dataclass(frozen=True, eq=False)
class ActionLessons:
    """Teaches the legal actions of an arena that knows them, with a goal's utility of each."""

    place: Arena[Any]
    policy: LanguagePolicy

    def trials(self, recipe: RL | RFT) -> Trials:
        """Return situations, none twice, and the reward of legality and utility."""
        situations = tried_situations(self.place, recipe)
        score = ArenaReward((self.place, situations), recipe.goal, self.policy.tokenizer, chance_of(recipe))
        prompts = [written(self.place, one, self.policy.style) for one in situations]
        longest = longest_action(self.place, self.policy, situations)
        return Trials(prompts, score, {"max_completion_length": longest, "temperature": recipe.temperature})

    def best(self, recipe: SFT) -> list[Lesson]:
        """Return the goal's best actions, those of other situations where they are shuffled."""
        random = np.random.default_rng(recipe.seed)
        count = recipe.steps * recipe.batch
        situations = self.place.situations("train", count, recipe.seed, goal=recipe.goal)
        best = best_actions(self.place, recipe.goal, situations, random)
        if recipe.shuffled:
            random.shuffle(best)
        return self.spelled(situations, best)

    def preferences(self, recipe: DPO) -> list[Preference]:
        """Return pairs of legal actions, a best one and a worse one."""
        situations = divided_situations(recipe, self.place)
        pairs = preferences(self.place, recipe.goal, situations, np.random.default_rng(recipe.seed))
        better, worse = (self.spelled(situations, side) for side in zip(*pairs, strict=True))
        return [Preference(*one, other.answer) for one, other in zip(better, worse, strict=True)]

    def spelled(self, situations: Sequence[Any], actions: Sequence[str]) -> list[Lesson]:
        """Return situations and actions in tokens."""
        prompts = [written(self.place, one, self.policy.style) for one in situations]
        return [
            Lesson(list(self.policy.tokenizer(prompt)["input_ids"]), answer_tokens(self.policy, action))
            for prompt, action in zip(prompts, actions, strict=True)
        ]


def answer_tokens(policy: LanguagePolicy, action: str) -> list[int]:
    """Return the tokens of an action and of the answer's end.

    After a prompt that is not compact it follows a blank, if the tokenizer has one.
    """
    texts = [action] if policy.style == COMPACT else [f" {action}", action]
    encoded: list[list[int]] = [policy.tokenizer.encode(text, add_special_tokens=False) for text in texts]
    unknown: Any = policy.tokenizer.unk_token_id
    ids = next((ids for ids in encoded if unknown not in ids), encoded[0])
    end: Any = policy.tokenizer.eos_token_id
    return [*ids, end]


def longest_action(place: Arena[Any], policy: LanguagePolicy, situations: Sequence[Any]) -> int:
    """Return how many tokens the longest legal action of some situations has, with its end."""
    spellings = (len(answer_tokens(policy, action)) for s in situations[:64] for action in place.legal(s))
    return max(4, *spellings)
