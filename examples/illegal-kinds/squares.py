"""What an endgame model answers, sorted whole: the mass of every legal move and of every kind of illegal one.

The bench decides the kinds of heavy prefixes alone and calls the rest undecided: of these models more than
half of the illegal mass. Here each answer is sorted by its two squares, all read in one pass; what follows
them is read where a pawn promotes. The small tokenizer has no token for squares off the board, so `no-square`
can't be answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import rel_entr

from takeback.arenas.endgames import Endgames
from takeback.arenas.endgames.geometry import PROMOTIONS, SQUARES
from takeback.arenas.endgames.rules import KINDS, classify
from takeback.arenas.endgames.situations import Endgame
from takeback.arenas.endgames.text import VOCABULARY, prompt_tokens

Floats = NDArray[np.float64]

FIRST = VOCABULARY.index(SQUARES[0])
LETTERS = [VOCABULARY.index(letter) for letter in PROMOTIONS[1:]]
LEGAL, EMPTY, OPPONENT, NO_MOVE, PROMOTION = "legal", "empty-square", "opponent-piece", KINDS[0], "promotion"
GOALS = ("win", "corner")


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What one model answers.

    Attributes:
        moves: mass of each target of White's king and other piece, [situations, 2, 64].
        letters: mass of each promotion, [promotions, 4].
        kinds: mass of each of `KINDS`, [situations, 9].
        legal: mass of legal moves, [situations].
        utility: of each goal, illegal answers count 0, [goals, situations].
    """

    moves: Floats
    letters: Floats
    kinds: Floats
    legal: Floats
    utility: Floats
    legal_moves: Floats

    def kl(self, before: Outcomes) -> Floats:
        """Return KL(self || before) in nats over legal moves and kinds, shape (situations,)."""
        mine, theirs = (np.concatenate([one.legal_moves, one.kinds], axis=1) for one in (self, before))
        return rel_entr(mine, theirs).sum(axis=1)


class Board:
    """Some situations, made ready to be read by any model of the arena's tokenizer."""

    def __init__(self, situations: list[Endgame]) -> None:
        self.situations = situations
        numbers = np.array([one.number for one in situations])
        self.own = np.array([[one.white_king, one.square] for one in situations])
        self.enemy = np.array([one.black_king for one in situations])
        prompts = prompt_tokens(numbers)
        self.tokens = torch.tensor(np.concatenate([prompts, FIRST + self.own], axis=1))
        sorts = [*KINDS, LEGAL]
        self.sort = np.array(
            [
                [[sorts.index(classify(one, SQUARES[s] + target)) for target in SQUARES] for s in squares]
                for one, squares in zip(situations, self.own, strict=True)
            ]
        )
        self.promoting = np.argwhere(self.sort == KINDS.index(PROMOTION))
        self.worth, self.worth_letters = self._worth()

    def _worth(self) -> tuple[Floats, Floats]:
        arena = Endgames()
        worth = np.zeros((len(GOALS), *self.sort.shape))
        letters = np.zeros((len(GOALS), len(self.promoting), len(LETTERS)))
        place = {tuple(one): number for number, one in enumerate(self.promoting.tolist())}
        for number, goal in enumerate(GOALS):
            values = iter(arena.goals[goal].utility(self.situations))
            for n, one in enumerate(self.situations):
                for move in arena.legal(one):
                    slot = 0 if SQUARES[one.white_king] == move[:2] else 1
                    cell = (n, slot, SQUARES.index(move[2:4]))
                    if len(move) > 4:
                        letters[number, place[cell], PROMOTIONS[1:].index(move[4])] = next(values)
                    else:
                        worth[(number, *cell)] = next(values)
        return worth, letters

    @cached_property
    def mask(self) -> torch.Tensor:
        """Both sources follow the prompt, and neither sees the other; [1, 1, 6, 6]."""
        seen = torch.ones(6, 6).tril()
        seen[5, 4] = 0
        return torch.where(seen > 0, 0.0, torch.finfo(torch.float32).min)[None, None]

    def inputs(self) -> dict[str, Any]:
        """Return what the model is given: prompt and both sources, (situations, 6) tokens."""
        n = len(self.tokens)
        places = torch.tensor([0, 1, 2, 3, 4, 4]).expand(n, -1)
        return {
            "input_ids": self.tokens,
            "attention_mask": self.mask.expand(n, 1, 6, 6),
            "position_ids": places,
        }

    def promotions(self) -> dict[str, Any]:
        """Return what the model is given where a pawn promotes: prompt, source and target."""
        n, slot, target = torch.tensor(self.promoting).T
        tokens = torch.cat(
            [self.tokens[n, :4], self.tokens[n, 4 + slot][:, None], FIRST + target[:, None]], dim=1
        )
        return {"input_ids": tokens}

    @torch.inference_mode()
    def read(self, model: Any) -> Outcomes:
        """Read a model: one pass over prompts and sources, one over promotions."""
        logits = model(**self.inputs(), use_cache=False).logits[:, 3:].double()
        last = model(**self.promotions(), use_cache=False).logits[:, -1].double()
        return self.sorted(logits.softmax(-1).numpy(), last.softmax(-1)[:, LETTERS].numpy())

    def sorted(self, answers: Floats, letters: Floats) -> Outcomes:
        """Sort the masses of answers.

        Args:
            answers: of the first square, and of the second after each of White's, [situations, 3, tokens].
            letters: of each letter where a pawn promotes, [promotions, 4].
        """
        squares = answers[:, :, FIRST : FIRST + 64]
        first, every = squares[:, 0], np.arange(len(squares))
        sources = first[every[:, None], self.own]
        moves = sources[:, :, None] * squares[:, 1:]
        kinds = np.stack([(moves * (self.sort == k)).sum((1, 2)) for k in range(len(KINDS))], axis=1)
        enemy = first[every, self.enemy]
        kinds[:, KINDS.index(OPPONENT)] = enemy
        kinds[:, KINDS.index(EMPTY)] = first.sum(1) - sources.sum(1) - enemy
        kinds[:, KINDS.index(NO_MOVE)] = 1 - first.sum(1) + (sources * (1 - squares[:, 1:].sum(2))).sum(1)
        letters = moves[tuple(self.promoting.T)][:, None] * letters
        promoted = np.zeros(len(squares))
        np.add.at(promoted, self.promoting[:, 0], letters.sum(1))
        kinds[:, KINDS.index(PROMOTION)] -= promoted
        plain = moves * (self.sort == len(KINDS))
        utility = (plain * self.worth).sum((2, 3))
        for goal, worth in zip(utility, self.worth_letters, strict=True):
            np.add.at(goal, self.promoting[:, 0], (letters * worth).sum(1))
        whole = np.concatenate([plain.reshape(len(plain), -1), promoted[:, None]], axis=1)
        return Outcomes(moves, letters, kinds, plain.sum((1, 2)) + promoted, utility, whole)
