"""The endgame arena behind the `Arena` protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.capabilities import Depth, ImitationBatch, MinimalPair, NetworkImitationBatch
from takeback.arenas.endgames import ahead as tree
from takeback.arenas.endgames import facts as board_facts
from takeback.arenas.endgames import features as move_features
from takeback.arenas.endgames import goals, imitation, networks, play, rules, situations, text
from takeback.arenas.endgames import minimal_pairs as pairs
from takeback.arenas.endgames.geometry import SQUARES, action_text
from takeback.arenas.endgames.moves import moves
from takeback.arenas.endgames.situations import EQUAL, Endgame
from takeback.arenas.endgames.solver import tables
from takeback.arenas.protocol import Goal
from takeback.arenas.words import Words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WORDS = Words(
    action="move",
    situation="position",
    game="game",
    defender="the best defender",
    starts="a won position",
    won="mate",
    outcomes=("mate", "draw", "illegal", "unfinished"),
    cluster="symmetry",
)


def _numbers(situations: Sequence[Endgame]) -> NDArray[np.int64]:
    return np.array([situation.number for situation in situations], np.int64)


def _goal(known: goals.MoveGoal) -> Goal[Endgame]:
    def utility(situations: Sequence[Endgame]) -> NDArray[np.float64]:
        batch = moves(_numbers(situations))
        return known.utility(batch)[batch.legal]

    def applies(situations: Sequence[Endgame]) -> NDArray[np.bool_]:
        return known.applies(moves(_numbers(situations)))

    return Goal(known.name, utility, applies, known.meaning)


class _MoveGoals(dict[str, Goal[Endgame]]):
    """The goals that are measured; `[]` knows those with seeds, too."""

    def __missing__(self, name: str) -> Goal[Endgame]:
        return _goal(goals.find_goal(name))


@dataclass(frozen=True)
class Endgames:
    """King and queen, rook or pawn against king, White to move; exact truth from our own tables.

    >>> arena = Endgames()
    >>> situation = arena.parse("w Kb6 Rh1 kb8")
    >>> len(arena.legal(situation)), arena.classify(situation, "h1h8"), arena.classify(situation, "h1g2")
    (19, 'legal', 'geometry')
    >>> dict(zip(arena.legal(situation), arena.goals["win"].utility([situation])))["h1h8"]
    np.float64(1.0)
    """

    name = "endgames"
    words = WORDS
    kinds = rules.KINDS
    dead_end = rules.DEAD_END
    goals = _MoveGoals({name: _goal(one) for name, one in goals.GOALS.items()})
    styles = tuple(text.STYLES)
    outputs = networks.OUTPUTS
    pair_facts = tuple(pairs.FACTS)

    def situations(
        self, split: str, n: int, seed: int, goal: str | None = None, weights: Mapping[str, float] = EQUAL
    ) -> list[Endgame]:
        """Draw n situations of a split without replacement, in random order, by `situations.odds`.

        Args:
            split: `train` or `held-out`; mirror images are always on the same side.
            n: How many.
            seed: The same seed gives the same situations.
            goal: Where given, only situations to which it applies.
            weights: Relative share of the pieces `Q`, `R` and `P`.

        Raises:
            UnknownName: There is no such split, goal or piece.
            TakebackError: There are fewer than n situations.
        """
        wanted = goals.find_goal(goal).applies if goal is not None else None
        counts = situations.shares(n, weights)
        drawn = situations.sample(split, counts, np.random.default_rng(seed), wanted)
        return [Endgame.of(int(number)) for number in drawn]

    def prompt(self, situation: Endgame, style: str = "compact") -> str:
        """Write a situation: `compact` for the arena's tokenizer, `sentence` for any language model."""
        return text.prompt(situation, style)

    def parse(self, prompt: str) -> Endgame:
        """Read a compact prompt."""
        return Endgame.parse(prompt)

    def observe(self, situations: Sequence[Endgame]) -> NDArray[np.float32]:
        """Return one-hot positions, shape (n, 320): 64 squares each for white K, Q, R, P and black k."""
        return networks.observe(_numbers(situations))

    def verdicts(self, situations: Sequence[Endgame]) -> NDArray[np.int16]:
        """Return what each of the 4,184 outputs is in each situation; see `ForNetworks.verdicts`."""
        return networks.verdicts(situations)

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Make the small tokenizer of compact prompts and moves."""
        return text.tokenizer()

    def imitation_batch(self, n: int, seed: Sequence[int]) -> ImitationBatch:
        """Draw a batch of n training positions, answered by the mixed population of players."""
        return imitation.imitation_batch(n, seed)

    def network_imitation_batch(self, n: int, seed: Sequence[int]) -> NetworkImitationBatch:
        """Draw the same batch of positions and answers for a policy network."""
        return imitation.network_imitation_batch(n, seed)

    def legal(self, situation: Endgame) -> tuple[str, ...]:
        """Return the legal actions, sorted."""
        return _legal(situation.number)

    def classify(self, situation: Endgame, text: str) -> str:
        """Return `legal`, or the first of the kinds that fits the text."""
        return rules.classify(situation, text)

    def viable(self, prefix: str) -> bool:
        """Tell whether a text is, or can be continued to, one that parses."""
        return rules.viable(prefix)

    def features(self, situations: Sequence[Endgame]) -> dict[str, NDArray[np.bool_]]:
        """Return yes-or-no features of every legal action of every situation, end to end as in `legal`."""
        batch = moves(_numbers(situations))
        return {name: values[batch.legal] for name, values in move_features.features(batch).items()}

    def ahead(self, situations: Sequence[Endgame], horizon: int) -> list[Depth[Endgame]]:
        """Return what can be met before each of the next `horizon` moves against the best defender."""
        return tree.ahead(_numbers(situations), horizon)

    def minimal_pairs(self, fact: str, split: str, n: int, seed: int) -> list[MinimalPair[Endgame]]:
        """Draw n pairs of positions that differ in whether a move's piece can be taken, or it stalemates."""
        return pairs.minimal_pairs(fact, split, n, seed)

    def facts(self, situations: Sequence[Endgame]) -> dict[str, NDArray[np.int64]]:
        """Return what is so in each situation, as class numbers: `board` and `mate in one`."""
        return board_facts.facts(_numbers(situations))

    def moved(self, situations: Sequence[Endgame]) -> list[Endgame | None]:
        """Return what stands on the board after each legal action, None where it has no prompt."""
        return board_facts.moved(_numbers(situations))

    def step(self, situation: Endgame, action: str) -> play.Turn:
        """Play an action and the best defender's answer."""
        return play.step(situation, action)

    def play_out(
        self, choose: play.Choose, situations: Sequence[Endgame], max_moves: int
    ) -> list[play.PlayedEndgame]:
        """Play games against the best defender; `choose` answers situations with one text each."""
        return play.play_out(choose, situations, max_moves)

    def distance(self, situation: Endgame) -> int | None:
        """Return the distance to mate in White's moves, None where best play doesn't win."""
        mate_in = int(tables().white[situation.number])
        return mate_in if mate_in > 0 else None

    def cluster(self, situation: Endgame) -> int:
        """Return the symmetry orbit of a situation: what standard errors are clustered by."""
        return int(tables().orbit[situation.number])

    def board(self, situation: Endgame) -> dict[str, str]:
        """Return which piece stands on which square, as in `{"d4": "K", "a1": "R", "d6": "k"}`."""
        pieces = {situation.white_king: "K", situation.square: situation.piece, situation.black_king: "k"}
        return {SQUARES[square]: piece for square, piece in pieces.items()}


@lru_cache(maxsize=65536)
def _legal(number: int) -> tuple[str, ...]:
    return tuple(action_text(int(action)) for action in moves([number]).actions[0])
