"""Drawing a pool: each side answers every prompt, once, by seed; the answers are scored once and frozen."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.arenas import Arena
from takeback.arenas.listed import GIVEN
from takeback.arenas.rows import DrawnRows, OpenRows, PooledRows, Row, refuse_silent
from takeback.arenas.rows.pool import LOG, REWARD, pooled_rows
from takeback.arenas.rows.spec import DRAWN
from takeback.checkpoint import Checkpoint, Placement, load_tokenizer
from takeback.checkpoint.placement import BOTH
from takeback.measure.setup import Setup
from takeback.measure.sides import Sides
from takeback.policies.answers import AnswerReadouts
from takeback.policies.language.answers import AnswerPlan
from takeback.policies.language.generate import DrawnAnswer, check_room, generate
from takeback.policies.language.policy import LanguagePolicy
from takeback.policies.language.prompts import prompt_tokens
from takeback.policies.language.vllm import served
from takeback.run.errors import TakebackError
from takeback.run.files import missing_folders, remove_empty
from takeback.run.identity import identity
from takeback.run.parts import collect, discard_parts
from takeback.run.progress import piece_of
from takeback.run.tables import read_table, write_table

STAGE: Final = "drawing answers and reading them"
"""What drawing a pool is called where it is shown."""

FOLDER: Final = "pool"
"""Where an output folder or a run keeps its pools."""

PROMPTS: Final = 8
"""Prompts that are answered together: a kill costs no more."""

TURNS: Final = 512
"""The same where one model is held, which is loaded two times for them."""


@dataclass(frozen=True, eq=False)
class PoolDraw:
    """The work of drawing a pool, cut into some prompts at a time.

    Attributes:
        arena: the open arena.
        asked: its rows.
        models: who answers, by the name of the side.
        setup: how models are loaded.
    """

    arena: OpenRows
    asked: tuple[Row, ...]
    models: Mapping[str, Checkpoint]
    setup: Setup
    name: str = FOLDER

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "sides"}

    @property
    def identity(self) -> str:
        """What the pool depends on: rows, rewards, how answers are drawn, and by whom."""
        return self._identity

    @cached_property
    def _identity(self) -> str:
        digests = {side: [model.digest, model.runs_as] for side, model in self.models.items()}
        settings = [self.setup.threads, self.placement.dtype, self.setup.draw_by]
        return identity(self.asked, self.arena, self.arena.draws, digests, settings)

    @property
    def placement(self) -> Placement:
        """Where the sides run, settled."""
        return self.setup.placement.settled(*self.models.values())

    @cached_property
    def sides(self) -> Sides:
        """The live sides."""
        return Sides(self.models, self.arena, self.setup.load, self.placement)

    def policy(self, side: str) -> LanguagePolicy:
        """Return a live side.

        Raises:
            TakebackError: it is no language model, or its tokenizer differs from the other's.
        """
        policy = self.sides.policy(side)
        if not isinstance(policy, LanguagePolicy):
            raise TakebackError(f"{self.models[side].ref} is no language model, so it answers no prompts")
        return policy

    def check(self) -> None:
        """Refuse prompts without room for an answer before the first is answered.

        Raises:
            TakebackError: a prompt has none, or can't be written.
        """
        for model in self.models.values():
            if model.config is None:
                raise TakebackError(f"{model.ref} is no language model, so it answers no prompts")
            words, given = load_tokenizer(model), self.arena.template_arguments
            prompts = {row.number: prompt_tokens(words, row.shown, given) for row in self.asked}
            check_room(model.config, prompts, self.arena.sampling)

    @property
    def lot(self) -> int:
        """Prompts that are answered together: more where models are loaded in turns."""
        together = self.placement.hold == BOTH and self.setup.draw_by != "vllm"
        return PROMPTS if together else TURNS

    def items(self) -> Sequence[str]:
        """Return the first prompt of each lot."""
        return [str(start) for start in range(0, len(self.asked), self.lot)]

    def rows(self, item: str) -> pd.DataFrame:
        """Draw the answers of every side to some prompts, score them, and read each by every side."""
        some = self.asked[int(item) : int(item) + self.lot]
        drawn = []
        for step, side in enumerate(self.models):
            with self._piece(int(item), len(some), step):
                drawn.append(self._drawn(side, some))
        table = pd.concat([*drawn, self._given(some)])
        table = table.sort_values("place", kind="stable", ignore_index=True)
        rows = [some[place] for place in table["place"]]
        texts, tokens = table["answer"].tolist(), table["tokens"].tolist()
        table["kind"] = self.arena.sort(rows, texts, tokens, table["ended"].tolist())
        for name, numbers in self.arena.score(rows, texts, tokens).items():
            table[f"{REWARD}{name}"] = pd.array(np.where(np.isnan(numbers), np.nan, numbers), "Float64")
        for side in self.models:
            table[f"{LOG}{side}"] = 0.0
        listed = pooled_rows(self.arena, some, table)
        for step, side in enumerate(sorted(self.models, key=lambda side: not self.sides.holds(side))):
            policy = self.policy(side)
            plan = policy.prepare(listed, listed.members)
            assert isinstance(plan, AnswerPlan)
            with self._piece(int(item), len(some), len(self.models) + step):
                readouts = policy.read(plan)
            assert isinstance(readouts, AnswerReadouts)
            table[f"{LOG}{side}"] = readouts.logprobs
        return table.drop(columns="place")

    def _piece(self, begun: int, prompts: int, step: int) -> AbstractContextManager[None]:
        """Let what is told be of one step of some prompts: a side draws answers, then a side reads them."""
        steps, each = 2 * len(self.models), self.arena.spec.answers
        size = prompts * each
        return piece_of(begun * each * steps + size * step, size, len(self.asked) * each * steps, STAGE)

    def _drawn(self, side: str, some: Sequence[Row]) -> pd.DataFrame:
        """Draw a side's answers to some prompts."""
        drawn = self._answers(side, some)
        return _table(
            [
                (place, row, side, draw, one.text, list(one.tokens), one.ended)
                for place, (row, answers) in enumerate(zip(some, drawn, strict=True))
                for draw, one in enumerate(answers)
            ]
        )

    def _answers(self, side: str, some: Sequence[Row]) -> list[list[DrawnAnswer]]:
        arena = self.arena
        sampling, count = arena.sampling, arena.spec.answers
        seed = [arena.spec.seed, list(self.models).index(side)]
        if self.setup.draw_by == "vllm":
            model = served(self.models[side].folder)
            answers = model.generate(self._prompts(model.tokenizer, some), sampling, count, seed)
            del model
            gc.collect()
            return answers
        policy = self.policy(side)
        prompts = self._prompts(policy.tokenizer, some)
        return generate(policy.model, policy.tokenizer, prompts, sampling, count, seed)

    def _prompts(self, tokenizer: Any, some: Sequence[Row]) -> dict[int, list[int]]:
        given = self.arena.template_arguments
        return {row.number: prompt_tokens(tokenizer, row.shown, given) for row in some}

    def _given(self, some: Sequence[Row]) -> pd.DataFrame:
        """Return the reference answers, ended as the tokenizer ends a text."""
        last: Any = self.sides.any
        tokenizer: Any = last.tokenizer
        end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        return _table(
            [
                (
                    place,
                    row,
                    GIVEN,
                    0,
                    row.reference,
                    [*tokenizer.encode(row.reference, add_special_tokens=False), *end],
                    True,
                )
                for place, row in enumerate(some)
                if row.reference is not None
            ]
        )


def with_answers(
    arena: Arena[Any], situations: Sequence[Any], models: Mapping[str, Checkpoint], setup: Setup
) -> tuple[Arena[Any], list[Any]]:
    """Return an arena and situations whose answers are known: of an open arena those that the models draw.

    With an output folder the pool is kept there as a table; a killed draw goes on, and the same one is not
    drawn again.

    Raises:
        TakebackError: a model, a reward or the tokenizer can't serve; there is no half pool then.
    """
    if not isinstance(arena, OpenRows):
        return arena, list(situations)
    if arena.spec.reading == DRAWN:
        return DrawnRows(arena), list(situations)
    refuse_unweighted(arena)
    draw = PoolDraw(arena, tuple(situations), models, setup)
    if setup.out is None:
        draw.check()
        table = collect(draw, None, 1, setup.threads)
        refuse_silent(_worth(arena, table))
    else:
        file = setup.out / FOLDER / f"{draw.identity[:16]}.parquet"
        if not file.exists():
            draw.check()
            _keep(draw, file)
        table = read_table(file)
    pool: PooledRows = pooled_rows(arena, situations, table)
    return pool, list(pool.members)


def _keep(draw: PoolDraw, file: Path) -> None:
    """Draw a pool into a file; parts stay until it is written, unless it is refused."""
    parts, made = file.with_suffix(""), missing_folders(file.with_suffix(""))
    table = collect(draw, parts, draw.setup.workers, draw.setup.threads)
    try:
        refuse_silent(_worth(draw.arena, table))
    except TakebackError:
        discard_parts(parts)
        remove_empty(made or [parts])
        raise
    write_table(table, file)
    discard_parts(parts)
    remove_empty([parts])


def _worth(arena: OpenRows, table: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    columns = {one.name: table[f"{REWARD}{one.name}"] for one in arena.rewards}
    return {name: column.to_numpy(np.float64, na_value=np.nan) for name, column in columns.items()}


def refuse_unweighted(arena: OpenRows) -> None:
    """Refuse draws that importance weights can't stand for.

    Raises:
        TakebackError: answers are drawn greedily, or unlikely tokens are never drawn.
    """
    if arena.sampling.temperature == 0 or arena.sampling.top_p < 1:
        raise TakebackError(
            "a pool weighs answers by their probability, so every answer must be possible: draw with a "
            "temperature above 0 and top-p 1, or let hybrids draw answers of their own: --reading drawn"
        )


def _table(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    names = ("place", "row", "side", "draw", "answer", "tokens", "ended")
    table = pd.DataFrame(rows, columns=list(names))
    told = table.pop("row")
    table.insert(0, "item", [row.number for row in told])
    table.insert(1, "situation", [str(row) for row in told])
    return table
