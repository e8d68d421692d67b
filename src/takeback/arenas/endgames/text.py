"""The arena in words: prompts, the small tokenizer made for it, and both as arrays of token numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from takeback.arenas.endgames.geometry import LETTER, PROMOTIONS, SOURCE, SQUARES, TARGET
from takeback.arenas.endgames.situations import Endgame
from takeback.arenas.endgames.solver import unpack
from takeback.run.errors import unknown_name

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD: Final = "<pad>"
EOS: Final = "<eos>"
UNKNOWN: Final = "<unk>"
PROMPT_LENGTH: Final = 4
COMPLETION_LENGTH: Final = 4

_PIECE_NAMES: Final = {"K": "king", "Q": "queen", "R": "rook", "P": "pawn"}
VOCABULARY: Final[tuple[str, ...]] = (
    PAD,
    EOS,
    UNKNOWN,
    "w",
    *PROMOTIONS[1:],
    *SQUARES,
    *(f" {piece}{square}" for piece in "KQRPk" for square in SQUARES),
)
"""Every token's text; a token's number is its place here."""
_FIRST_LETTER: Final = VOCABULARY.index(PROMOTIONS[1])
_FIRST_SQUARE: Final = VOCABULARY.index(SQUARES[0])
_FIRST_PIECE: Final = VOCABULARY.index(f" K{SQUARES[0]}")


def compact(situation: Endgame) -> str:
    """Write the shortest prompt, which `Endgame.parse` reads back.

    >>> compact(Endgame.parse("w Kd4 Ra1 kd6"))
    'w Kd4 Ra1 kd6'
    """
    return str(situation)


def sentence(situation: Endgame) -> str:
    """Write a prompt for an ordinary language model.

    >>> print(sentence(Endgame.parse("w Kd4 Ra1 kd6")))
    White: king d4, rook a1. Black: king d6. White to move. Chess move in UCI notation (as e2e4 or e7e8q):
    """
    king, square, enemy = (SQUARES[n] for n in (situation.white_king, situation.square, situation.black_king))
    return (
        f"White: king {king}, {_PIECE_NAMES[situation.piece]} {square}. Black: king {enemy}. "
        "White to move. Chess move in UCI notation (as e2e4 or e7e8q):"
    )


STYLES: Final[Mapping[str, Callable[[Endgame], str]]] = {"compact": compact, "sentence": sentence}


def prompt(situation: Endgame, style: str = "compact") -> str:
    """Write a situation as a prompt in one of the `STYLES`.

    Raises:
        UnknownName: There is no such style.
    """
    if style not in STYLES:
        raise unknown_name("prompt style", style, STYLES)
    return STYLES[style](situation)


def prompt_tokens(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the tokens of the compact prompts of numbered positions, [N, 4]."""
    kind, king, square, enemy = unpack(positions)
    side = np.full(len(positions), VOCABULARY.index("w"))
    pieces = (king, 64 * (kind + 1) + square, 64 * 4 + enemy)
    return np.stack([side, *(_FIRST_PIECE + piece for piece in pieces)], axis=1)


def completion_tokens(actions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the tokens of actions and the answer's end, padded right, and where is none, each [N, 4]."""
    pad, eos = VOCABULARY.index(PAD), VOCABULARY.index(EOS)
    letter = LETTER[actions]
    third = np.where(letter > 0, _FIRST_LETTER + letter - 1, eos)
    fourth = np.where(letter > 0, eos, pad)
    tokens = np.stack(
        [_FIRST_SQUARE + SOURCE[actions], _FIRST_SQUARE + TARGET[actions], third, fourth], axis=1
    )
    return tokens, tokens != pad


@cache
def _serialised() -> str:
    """Return the tokenizer in the `tokenizers` library's JSON."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    model = models.WordLevel({token: number for number, token in enumerate(VOCABULARY)}, unk_token=UNKNOWN)
    made = Tokenizer(model)
    ordinary = sorted(VOCABULARY[3:], key=lambda token: -len(token))
    pattern = Regex("|".join(map(re.escape, ordinary)))
    made.pre_tokenizer = pre_tokenizers.Split(pattern, "isolated")
    made.decoder = decoders.Fuse()
    return made.to_str()


def tokenizer() -> PreTrainedTokenizerFast:
    """Make the arena's Hugging Face tokenizer: a token per piece on a square, square and promotion letter.

    It adds no token of its own accord, pads left, and decodes to exactly the text that was encoded; the
    tokens of a prompt followed by an answer are those of the prompt followed by those of the answer.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_serialised()),
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=64,
    )
