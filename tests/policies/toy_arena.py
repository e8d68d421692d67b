"""An arena small enough for sums by hand: answers are one or two of the letters a, b, c."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from takeback.arenas import ClosedArena, Goal

TOKENS = ("<eos>", "<unk>", "s", "0", "1", "2", "3", "a", "b", "c", "ab", "abc", "x", " ", " a", "\n")
EOS = 0
LEGAL = {0: ("a", "ab"), 1: ("b", "ba", "cc"), 2: ("c",), 3: ()}
UTILITY = {0: [0.25, 1.0], 1: [0.0, 0.5, 1.0], 2: [0.5], 3: []}


@dataclass(frozen=True)
class Place:
    at: int


class ToyArena(ClosedArena[Place]):
    name = "toy"
    kinds = ("unparsable", "short", "long")
    dead_end = "unparsable"
    outputs = ("a", "b", "c", "ab", "ba", "cc", "abc")
    styles = ("compact", "padded")

    def __init__(self) -> None:
        self.goals = {
            "first": Goal("first", _worth, meaning="by the table"),
            "even": Goal("even", _worth, _is_even, "the same, in even places only"),
        }

    def situations(self, split: str, n: int, seed: int, goal: str | None = None) -> list[Place]:
        return [Place(i % 4) for i in range(n)]

    def prompt(self, situation: Place, style: str = "compact") -> str:
        return f"s{situation.at}" if style == "compact" else "s" * (situation.at + 1) + str(situation.at)

    def parse(self, prompt: str) -> Place:
        return Place(int(prompt[-1]))

    def observe(self, situations: Sequence[Place]) -> NDArray[np.float32]:
        return np.array([[s.at % 2, s.at // 2] for s in situations], np.float32)

    def verdicts(self, situations: Sequence[Place]) -> NDArray[np.int16]:
        rows = [[self._verdict(situation, text) for text in self.outputs] for situation in situations]
        return np.array(rows, np.int16)

    def _verdict(self, situation: Place, text: str) -> int:
        name = self.classify(situation, text)
        legal = LEGAL[situation.at]
        return legal.index(text) if name == "legal" else -1 - self.kinds.index(name)

    def tokenizer(self) -> PreTrainedTokenizerFast:
        made = Tokenizer(models.WordLevel({token: i for i, token in enumerate(TOKENS)}, unk_token="<unk>"))
        longest_first = sorted(TOKENS[2:], key=lambda token: -len(token))
        made.pre_tokenizer = pre_tokenizers.Split(Regex("|".join(map(re.escape, longest_first))), "isolated")
        made.decoder = decoders.Fuse()
        return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<eos>", unk_token="<unk>")

    def legal(self, situation: Place) -> tuple[str, ...]:
        return LEGAL[situation.at]

    def classify(self, situation: Place, text: str) -> str:
        if not re.fullmatch("[abc]{1,2}", text):
            return "unparsable"
        if text in LEGAL[situation.at]:
            return "legal"
        return "short" if len(text) == 1 else "long"

    def viable(self, prefix: str) -> bool:
        return re.fullmatch("[abc]{0,2}", prefix) is not None

    def features(self, situations: Sequence[Place]) -> dict[str, NDArray[np.bool_]]:
        actions = [action for situation in situations for action in LEGAL[situation.at]]
        return {
            "two": np.array([len(action) == 2 for action in actions], np.bool_),
            "all": np.ones(len(actions), np.bool_),
        }

    def cluster(self, situation: Place) -> int:
        return situation.at // 2


def _worth(situations: Sequence[Place]) -> NDArray[np.float64]:
    return np.concatenate([np.zeros(0), *(UTILITY[situation.at] for situation in situations)])


def _is_even(situations: Sequence[Place]) -> NDArray[np.bool_]:
    return np.array([situation.at % 2 == 0 for situation in situations])


def next_probabilities(model: PreTrainedModel, tokens: Sequence[int]) -> NDArray[np.float64]:
    """The slow, obvious way: a plain forward pass of one unpadded sequence."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([list(tokens)])).logits[0, -1]
    return torch.softmax(logits.double(), -1).numpy()


def answers(
    model: PreTrainedModel, prompt: Sequence[int], viable: Callable[[str], bool], ends: Sequence[int]
) -> dict[tuple[int, ...], float]:
    """The probability of every answer that stays viable and ends, by its tokens; prefixes by depth first."""
    found: dict[tuple[int, ...], float] = {}

    def walk(path: tuple[int, ...], text: str, mass: float) -> None:
        probabilities = next_probabilities(model, [*prompt, *path])
        found[path] = mass * sum(probabilities[token] for token in (ends if text.strip() else ends[:1]))
        for token, added in enumerate(TOKENS[2:], start=2):
            if viable(text + added):
                walk((*path, token), text + added, mass * probabilities[token])

    walk((), "", 1.0)
    return found
