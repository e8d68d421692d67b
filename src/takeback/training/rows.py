"""What a language model learns from a user's own rows: rewards as they are, references, choices, a pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from takeback.arenas.rows.pool import REWARD
from takeback.arenas.rows.rewards import CUT_OFF
from takeback.arenas.rows.row import Row
from takeback.arenas.rows.rows import ChoiceRows, OpenRows
from takeback.policies.language.generate import end_tokens, generate
from takeback.policies.language.prompts import prompt_text, prompt_tokens, spelled
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.tables import read_table, write_table
from takeback.training.lessons import ActionLessons, Lesson, Lessons, Preference, Trials
from takeback.training.recipe import DPO, RFT, RL, SFT, Clone, Common, Drift, Pretrain, Sampled, Tuned
from takeback.training.reward import LanguageReward, chance_of
from takeback.training.trainers import LanguageRun

Floats = NDArray[np.float64]

SomeRows: TypeAlias = ChoiceRows | OpenRows
"""The arenas of rows."""

POOL: Final = "pool.parquet"
"""Where a run keeps the answers of its parent that `sft` and `dpo` take the best of."""

_PLAIN = 1.0
"""The temperature that a recipe or an arena has where it says none."""


def refuse_unsuited(recipe: Common, place: SomeRows) -> None:
    """Refuse what can't be trained on rows, before anything is loaded.

    Raises:
        UnknownName: the arena has no such goal.
        TakebackError: the method does not train on rows, no row is to train on, nothing says what answers are
            worth, or answers can't be drawn in training as the arena draws them.
    """
    if isinstance(recipe, Clone | Pretrain) or not isinstance(recipe, Tuned):
        raise TakebackError(f"method {recipe.method} does not train on rows; rl, rft, sft, dpo and drift do")
    if isinstance(recipe, RL) and recipe.horizon is not None:
        raise TakebackError(f"rows of {place.name} are answered once, and no games; leave horizon out")
    if isinstance(recipe, Sampled) and recipe.mate_within:
        raise TakebackError(f"rows of {place.name} know no mates; leave mate_within out")
    if recipe.goal not in place.goals and (place.goals or _learns_from_worth(recipe, place)):
        if not place.goals:
            raise TakebackError(
                f"nothing says what answers to {place.name} are worth, and method {recipe.method} learns it; "
                "name rewards in the arena"
            )
        raise unknown_name("goal", recipe.goal, place.goals)
    place.situations("train", 1, recipe.seed)
    if isinstance(place, OpenRows) and isinstance(recipe, RL | RFT):
        if place.sampling.stop:
            raise TakebackError(
                "answers end at the model's own end token in training; leave the arena's stop strings out"
            )
        _temperature(recipe, place)


def lessons_of(run: LanguageRun) -> Lessons:
    """Return what makes lessons of a run's arena."""
    if isinstance(run.place, SomeRows):
        return RowLessons(run.place, run)
    return ActionLessons(run.place, run.policy)


@dataclass(frozen=True, eq=False)
class RowLessons:
    """Teaches a user's own rows; they begin anew, in another order, as often as a run asks for them."""

    place: SomeRows
    run: LanguageRun

    def trials(self, recipe: RL | RFT) -> Trials:
        """Return prompts, and the user's reward as it is."""
        place, tokenizer = self.place, self.run.policy.tokenizer
        rows = _in_turn(self._rows(recipe), recipe.steps * recipe.prompts, recipe.seed)
        score = RowReward((cast("Any", place), rows), recipe.goal, tokenizer, chance_of(recipe))
        score.ends = frozenset(end_tokens(self.run.policy.model, tokenizer))
        prompts = [
            row.shown if isinstance(row.shown, str) else [dict(message) for message in row.shown]
            for row in rows
        ]
        sampling: dict[str, Any] = {"chat_template_kwargs": dict(place.template_arguments)}
        if isinstance(place, OpenRows):
            drawn = place.sampling
            sampling |= {"max_completion_length": drawn.max_tokens, "top_p": drawn.top_p}
            return Trials(prompts, score, {**sampling, "temperature": _temperature(recipe, place)})
        longest = max(len(self._choice(row, n).answer) for row in set(rows) for n in range(len(row.choices)))
        return Trials(
            prompts, score, {**sampling, "max_completion_length": longest, "temperature": recipe.temperature}
        )

    def best(self, recipe: SFT) -> list[Lesson]:
        """Return reference answers, the best choices, or the best of the answers that the parent drew."""
        random, rows = np.random.default_rng(recipe.seed), self._rows(recipe)
        if not _learns_from_worth(recipe, self.place):
            known = {row.number: [self._reference(row)] for row in rows}
        else:
            known = {
                row.number: [lessons[place] for place in np.flatnonzero(worth == worth.max())]
                for row, lessons, worth in self._divided(recipe, rows)
            }
        asked = [row for row in rows if row.number in known]
        turns = [known[row.number] for row in _in_turn(asked, recipe.steps * recipe.batch, recipe.seed)]
        found = [each[int(random.integers(len(each)))] for each in turns]
        if recipe.shuffled:
            order = random.permutation(len(found))
            found = [Lesson(one.prompt, found[other].answer) for one, other in zip(found, order, strict=True)]
        return found

    def preferences(self, recipe: DPO) -> list[Preference]:
        """Return pairs of a best answer and a worse one, of the choices or of what the parent drew."""
        random = np.random.default_rng(recipe.seed)
        divided = {row: (lessons, worth) for row, lessons, worth in self._divided(recipe, self._rows(recipe))}
        pairs: list[Preference] = []
        for row in _in_turn(list(divided), recipe.steps * recipe.batch, recipe.seed):
            lessons, worth = divided[row]
            best = worth == worth.max()
            chosen, rejected = (lessons[int(random.choice(np.flatnonzero(which)))] for which in (best, ~best))
            pairs.append(Preference(*chosen, rejected.answer))
        return pairs

    def texts(self, recipe: Drift) -> list[Lesson]:
        """Return the rows as texts of which every token is learned, with their reference answers."""
        rows = _in_turn(self._rows(recipe), recipe.steps * recipe.batch, recipe.seed)
        known = {row.number: self._text(row) for row in set(rows)}
        return [Lesson([], known[row.number]) for row in rows]

    def _rows(self, recipe: Tuned) -> list[Row]:
        rows = self.place.situations("train", len(self.place.rows), recipe.seed)
        if isinstance(self.place, OpenRows) or recipe.goal not in self.place.goals:
            return rows
        applies = self.place.goals[recipe.goal].applies(rows)
        return [row for row, ok in zip(rows, applies, strict=True) if ok]

    def _divided(self, recipe: SFT | DPO, rows: Sequence[Row]) -> list[tuple[Row, list[Lesson], Floats]]:
        """Return rows of which some answer is better than another, with their answers and what each is worth.

        Raises:
            TakebackError: there is no such row.
        """
        if isinstance(self.place, ChoiceRows):
            goal = self.place.goals[recipe.goal]
            found = [
                (row, [self._choice(row, n) for n in range(len(row.choices))], goal.utility([row]))
                for row in rows
            ]
        else:
            found = self._drawn(recipe, rows)
        some = [one for one in found if len(one[2]) and one[2].min() < one[2].max()]
        if not some:
            raise TakebackError(
                f"none of {len(rows)} prompts of {self.place.name} has an answer that is worth more than "
                f"another by {recipe.goal}; there is nothing to learn"
            )
        return some

    def _drawn(self, recipe: SFT | DPO, rows: Sequence[Row]) -> list[tuple[Row, list[Lesson], Floats]]:
        """Return what the parent answered and earned, and the reference answers with it."""
        table = self._pool(recipe, rows)
        by_row = dict(list(table.groupby("item")))
        found: list[tuple[Row, list[Lesson], Floats]] = []
        for row in rows:
            some = by_row[row.number]
            worth = some[f"{REWARD}{recipe.goal}"].to_numpy(np.float64, na_value=np.nan)
            prompt = self._prompt(row)
            lessons = [
                Lesson(prompt, list(map(int, tokens)))
                for tokens, value in zip(some["tokens"], worth, strict=True)
                if np.isfinite(value)
            ]
            found.append((row, lessons, worth[np.isfinite(worth)]))
        return found

    def _pool(self, recipe: SFT | DPO, rows: Sequence[Row]) -> pd.DataFrame:
        """Draw the parent's answers, once, or find them in the run's folder.

        Raises:
            TakebackError: a prompt leaves no room for an answer, or a reward fails.
        """
        file, place, policy = self.run.folder / POOL, self.place, self.run.policy
        assert isinstance(place, OpenRows)
        if file.exists():
            return read_table(file)
        self.run.begin()
        if torch.cuda.is_available():
            cast("Any", policy.model).cuda()
        prompts = {row.number: self._prompt(row) for row in rows}
        seed = [place.spec.seed, recipe.seed]
        drawn = generate(policy.model, policy.tokenizer, prompts, place.sampling, place.spec.answers, seed)
        told = [
            (row, draw, one.text, list(one.tokens), one.ended)
            for row, answers in zip(rows, drawn, strict=True)
            for draw, one in enumerate(answers)
        ]
        told += [
            (row, -1, row.reference, self._reference(row).answer, True)
            for row in rows
            if row.reference is not None
        ]
        table = pd.DataFrame(
            {
                "item": [row.number for row, *_ in told],
                "situation": [str(row) for row, *_ in told],
                "draw": [draw for _, draw, *_ in told],
                "answer": [text for _, _, text, *_ in told],
                "tokens": [tokens for *_, tokens, _ in told],
                "ended": [ended for *_, ended in told],
            }
        )
        asked, texts, tokens = [row for row, *_ in told], table["answer"].tolist(), table["tokens"].tolist()
        for name, numbers_of in place.score(asked, texts, tokens).items():
            table[f"{REWARD}{name}"] = pd.array(numbers_of, "Float64")
        write_table(table, file)
        return table

    def _prompt(self, row: Row) -> list[int]:
        return prompt_tokens(self.run.policy.tokenizer, row.shown, self.place.template_arguments)

    def _reference(self, row: Row) -> Lesson:
        tokens = self.run.policy.tokenizer.encode(str(row.reference), add_special_tokens=False)
        return Lesson(self._prompt(row), [*tokens, self._end])

    def _choice(self, row: Row, number: int) -> Lesson:
        assert isinstance(self.place, ChoiceRows)
        listing, tokenizer = self.place.listing(row), self.run.policy.tokenizer
        text = prompt_text(tokenizer, row.shown, self.place.template_arguments)
        chat = not isinstance(row.shown, str)
        before, answer = spelled(tokenizer, text, listing.answers[number].text, chat)
        return Lesson(before, [*answer, self._end])

    def _text(self, row: Row) -> list[int]:
        if row.reference is not None:
            lesson = self._reference(row)
            tokens = [*lesson.prompt, *lesson.answer]
        elif isinstance(row.shown, str):
            tokens = [*self._prompt(row), self._end]
        else:
            given: Any = self.run.policy.tokenizer.apply_chat_template(
                [dict(message) for message in row.shown],
                tokenize=True,
                return_dict=False,
                **self.place.template_arguments,
            )
            tokens = list(given)
        room: Any = getattr(self.run.policy.model.config, "max_position_embeddings", None)
        if isinstance(room, int) and len(tokens) > room:
            raise TakebackError(
                f"row {row.number} of {self.place.name} has {len(tokens)} tokens, the model reads {room}; "
                "cut it, or leave it out"
            )
        return tokens

    @cached_property
    def _end(self) -> int:
        end: Any = self.run.policy.tokenizer.eos_token_id
        if not isinstance(end, int):
            raise TakebackError(
                "the parent's tokenizer names no end token, so no answer could be learned to its end; set "
                "eos_token in tokenizer_config.json"
            )
        return end


class RowReward(LanguageReward):
    """Rewards answers to rows as the user's function does; of choices, with what the chosen one is worth.

    Answers are scored as their text without special tokens, cut off or not, as TRL does. What is none of
    the choices earns as much as the worst of them.
    """

    ends: frozenset[int] = frozenset()

    def scored(
        self, step: int, situations: Sequence[Any], completions: Sequence[Sequence[int]]
    ) -> tuple[list[float], dict[str, float]]:
        """Return each completion's reward, with the share of those cut off and all rewards' means."""
        texts = [str(self._tokenizer.decode(list(ids), skip_special_tokens=True)) for ids in completions]
        told = {CUT_OFF: float(np.mean([not (ids and ids[-1] in self.ends) for ids in completions]))}
        place = self._arena
        if isinstance(place, OpenRows):
            earned = place.score(situations, texts, completions)
            told |= {name: float(np.nanmean(one)) for name, one in earned.items() if np.isfinite(one).any()}
            found = earned.get(self._goal, np.zeros(len(texts))).tolist()
        else:
            found = [self._chosen(row, text) for row, text in zip(situations, texts, strict=True)]
        return self._kept(step, situations, texts, found), told

    def best(self, rewards: Tensor) -> Tensor:
        """Weigh answers for fine-tuning on the best of them; both are [situations, answers].

        A situation's best answers share the weight 1, if there is one that earned less.
        """
        known = torch.nan_to_num(rewards, nan=-torch.inf)
        top = known.amax(dim=1, keepdim=True)
        least = torch.nan_to_num(rewards, nan=torch.inf).amin(dim=1, keepdim=True)
        kept = ((known == top) & (top > least)).float()
        return kept / kept.sum(dim=1, keepdim=True).clamp(min=1)

    def _chosen(self, row: Row, text: str) -> float:
        place = self._arena
        worth = place.goals[self._goal].utility([row])
        choices = [choice.strip() for choice in place.legal(row)]
        return float(worth[choices.index(text.strip())] if text.strip() in choices else worth.min())


def _learns_from_worth(recipe: Tuned, place: SomeRows) -> bool:
    """Return whether a method needs to know what answers are worth."""
    if isinstance(recipe, RL):
        return not recipe.ignore_output
    if isinstance(recipe, SFT):
        return isinstance(place, ChoiceRows) or any(row.reference is None for row in place.rows)
    return isinstance(recipe, RFT | DPO)


def _temperature(recipe: RL | RFT, place: OpenRows) -> float:
    """Return the temperature at which answers are drawn in training: the arena's, or the recipe's.

    Raises:
        TakebackError: both say one, and they differ, or it is 0.
    """
    told = {one for one in (recipe.temperature, place.sampling.temperature) if one != _PLAIN}
    if len(told) > 1:
        raise TakebackError(
            f"the recipe draws at temperature {recipe.temperature:g} and its arena at "
            f"{place.sampling.temperature:g}; say it in one place"
        )
    found = told.pop() if told else _PLAIN
    if not found:
        raise TakebackError(
            "at temperature 0 all answers to a prompt are the same, and none is better; train at another one"
        )
    return found


def _in_turn(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """Return so many rows in turn, in a new order each time they have all been met."""
    found: list[Row] = []
    while len(found) < count:
        epoch = len(found) // len(rows)
        order = np.random.default_rng([seed, epoch]).permutation(len(rows))
        found += [rows[place] for place in order]
    return found[:count]
