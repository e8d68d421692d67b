"""Drawing answers token by token, with luck that seed, prompt, draw and position fix, and nothing else."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from transformers import Cache, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from takeback.arenas.rows.sampling import Sampling
from takeback.hybrid.replay import CACHES
from takeback.policies.language.forward import ready
from takeback.run.errors import TakebackError
from takeback.run.progress import tell

ROWS = 64
"""Most answers drawn at a time."""

CELLS = 2**23
"""Most logits of one step: rows times vocabulary."""

MEMORY = 2**31
"""Bytes that keys and values of the answers drawn at a time may take; one answer is drawn in any case."""


@dataclass(frozen=True)
class DrawnAnswer:
    """An answer that a model gave.

    Attributes:
        tokens: its tokens, with the end token where there is one, up to the one that completes a stop string.
        text: its text, without end token, stop string and special tokens.
        ended: whether it ended by itself; otherwise it was cut off at the most tokens asked for.
    """

    tokens: tuple[int, ...]
    text: str
    ended: bool


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Mapping[int, Sequence[int]] | Sequence[Sequence[int]],
    sampling: Sampling,
    count: int,
    seed: Sequence[int],
) -> list[list[DrawnAnswer]]:
    """Draw answers to each prompt.

    The luck of an answer depends on the seed, the number of its prompt, the number of the draw and the
    position alone: models that are compared share it, and other prompts and batches have no part in it.

    Args:
        model: any causal language model of transformers.
        tokenizer: the model's.
        prompts: token ids of each prompt, by the prompt's number, which is its place unless given.
        sampling: how to draw.
        count: answers to each prompt.
        seed: whole numbers that fix the luck.

    Returns:
        The answers to each prompt, in the order of the prompts.

    Raises:
        TakebackError: a prompt has no tokens or no room for the answer, or no answer could end.
    """
    numbered = prompts if isinstance(prompts, Mapping) else dict(enumerate(prompts))
    numbers, asked = list(numbered), list(numbered.values())
    ends = end_tokens(getattr(model, "generation_config", None), tokenizer)
    check_prompts(model.config, numbered, sampling, ends)
    drawer = _Drawer(model, tokenizer, sampling, frozenset(ends))
    found: list[list[DrawnAnswer]] = [[] for _ in asked]
    with ready(model):
        done = 0
        for places, draws in _batches(model, asked, sampling, count):
            answers = [_Answer(place, (*seed, numbers[place], draw)) for place in places for draw in draws]
            for position, _ in enumerate(drawer.grow([asked[place] for place in places], answers), 1):
                far = done + len(answers) * position // sampling.max_tokens
                tell("drawing answers", far, len(asked) * count)
            done += len(answers)
            for answer in answers:
                found[answer.place].append(
                    answer_of(tokenizer, answer.tokens, answer.ended, ends, sampling.stop)
                )
    return found


def drawing(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: tuple[int, Sequence[int]],
    sampling: Sampling,
    count: int,
    seed: Sequence[int],
) -> Iterator[list[DrawnAnswer]]:
    """Draw the answers to one prompt that `generate` draws, and give them as they are after every token.

    The model is run while the next ones are asked for: whoever asks sees that it is `ready` then.

    Raises:
        TakebackError: as `generate` does.
    """
    number, tokens = prompt
    ends = end_tokens(getattr(model, "generation_config", None), tokenizer)
    check_prompts(model.config, {number: tokens}, sampling, ends)
    answers = [_Answer(0, (*seed, number, draw)) for draw in range(count)]
    for _ in _Drawer(model, tokenizer, sampling, frozenset(ends)).grow([tokens], answers):
        yield [answer_of(tokenizer, one.tokens, one.ended, ends, sampling.stop) for one in answers]


def end_tokens(config: Any, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return every token that ends an answer, by a model's generation config, if any, or its tokenizer."""
    named: Any = getattr(config, "eos_token_id", None)
    ends: list[Any] = [*(named if isinstance(named, (list, tuple)) else [named]), tokenizer.eos_token_id]
    return {end for end in ends if isinstance(end, int)}


@dataclass(eq=False)
class _Answer:
    """An answer in the making: the place of its prompt, what fixes its luck, its tokens."""

    place: int
    luck: tuple[int, ...]
    tokens: list[int] = field(default_factory=list[int])
    ended: bool = False


@dataclass(frozen=True, eq=False)
class _Drawer:
    """Draws the answers of one batch."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    sampling: Sampling
    ends: frozenset[int]

    def grow(self, prompts: Sequence[Sequence[int]], answers: Sequence[_Answer]) -> Iterator[None]:
        """Draw the answers, as many to each prompt, in the order of the prompts; stop after every token."""
        steps = _Steps.start(self.model, prompts)
        logits = steps.logits.repeat_interleave(len(answers) // len(prompts), dim=0)
        kept = torch.arange(len(prompts)).repeat_interleave(len(answers) // len(prompts))
        open_ = list(answers)
        for position in range(self.sampling.max_tokens):
            tokens = chosen(logits, [(*one.luck, position) for one in open_], self.sampling)
            for answer, token in zip(open_, tokens.tolist(), strict=True):
                self._add(answer, token)
            yield
            going = [number for number, answer in enumerate(open_) if not answer.ended]
            if not going or position + 1 == self.sampling.max_tokens:
                return
            open_ = [open_[number] for number in going]
            steps.keep(kept[going])
            logits = steps.next(tokens[going])
            kept = torch.arange(len(open_))

    def _add(self, answer: _Answer, token: int) -> None:
        answer.tokens.append(token)
        if token in self.ends:
            answer.ended = True
        elif self.sampling.stop:
            longest = max(len(stop.encode()) for stop in self.sampling.stop)
            tail = str(self.tokenizer.decode(answer.tokens[-longest - 4 :]))
            answer.ended = any(stop in tail for stop in self.sampling.stop)


def answer_of(
    tokenizer: PreTrainedTokenizerBase,
    tokens: Sequence[int],
    ended: bool,
    ends: Set[int],
    stops: Sequence[str],
) -> DrawnAnswer:
    """Return the answer that tokens are, of which the last one ended it or completed a stop string."""
    if not ended:
        return DrawnAnswer(tuple(tokens), _text(tokenizer, tokens), False)
    if tokens[-1] in ends:
        return DrawnAnswer(tuple(tokens), _text(tokenizer, tokens[:-1]), True)
    return DrawnAnswer(tuple(tokens), _before_stop(tokenizer, tokens, stops), True)


def _text(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    return str(tokenizer.decode(list(tokens), skip_special_tokens=True))


def _before_stop(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int], stops: Sequence[str]) -> str:
    """Return a text up to its stop string, which special tokens may be part of."""
    text = _text(tokenizer, tokens)
    if (cut := _first_stop(text, stops)) is not None:
        return text[:cut]
    whole = str(tokenizer.decode(list(tokens)))
    whole = whole[: _first_stop(whole, stops)]
    for special in tokenizer.all_special_tokens:
        whole = whole.replace(special, "")
    return whole


def _first_stop(text: str, stops: Sequence[str]) -> int | None:
    return min((at for stop in stops if (at := text.find(stop)) >= 0), default=None)


def chosen(logits: Tensor, luck: Sequence[Sequence[int]], sampling: Sampling) -> Tensor:
    """Return the token of each row: the winner of a race that its luck, whole numbers, decides.

    Each token arrives after a time that luck fixes, exponential with mean 1, over its probability; the first
    one is drawn. So tokens have their probabilities, and two models with total variation d between them draw
    different tokens with the same luck with probability 2d / (1 + d) at most (Daliri, Musco and Suresh 2024,
    "Coupling without communication and drafter-invariant speculative decoding").

    Args:
        logits: shape (rows, vocabulary).
        luck: what fixes each row's times.
        sampling: how to draw.
    """
    if sampling.greedy:
        return logits.argmax(dim=-1).cpu()
    found = scores(logits.cpu(), sampling).numpy()
    times = np.empty(found.shape[1])
    for row, seed in zip(found, luck, strict=True):
        np.random.Generator(np.random.SFC64(list(seed))).standard_exponential(out=times)
        np.subtract(row, np.log(times, out=times), out=row)
    return torch.from_numpy(found.argmax(axis=1))


def scores(logits: Tensor, sampling: Sampling) -> Tensor:
    """Return logits, tempered and in double precision, without the tokens that top p leaves out."""
    found = logits.double() / sampling.temperature
    if sampling.top_p < 1:
        ordered, which = found.sort(dim=-1)
        rest = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - sampling.top_p
        rest[:, -1] = False
        found.masked_fill_(torch.zeros_like(rest).scatter(1, which, rest), -torch.inf)
    return found


@dataclass(eq=False)
class _Steps:
    """Runs a model on rows that grow by a token at a time, with its own cache or by reading all again.

    Attributes:
        tokens: what was read, shape (rows, length), left-padded.
        seen: which of it is no padding.
        cache: the model's keys, values and states; None where it gives no cache that rows can be taken of.
        logits: those after the last token, shape (rows, vocabulary).
    """

    model: PreTrainedModel
    tokens: Tensor
    seen: Tensor
    cache: Cache | None
    logits: Tensor

    @classmethod
    def start(cls, model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> _Steps:
        """Read prompts of any length."""
        longest = max(len(prompt) for prompt in prompts)
        tokens = torch.zeros(len(prompts), longest, dtype=torch.long)
        seen = torch.zeros(len(prompts), longest, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            tokens[row, longest - len(prompt) :] = torch.tensor(list(prompt))
            seen[row, longest - len(prompt) :] = 1
        steps = cls(model, tokens.to(model.device), seen.to(model.device), None, torch.empty(0))
        steps.logits = steps._run(cache_of(model))
        return steps

    def keep(self, rows: Tensor) -> None:
        """Keep these rows, in this order, some of them more than once."""
        rows = rows.to(self.tokens.device)
        if len(rows) == len(self.tokens) and bool(
            (rows == torch.arange(len(rows), device=rows.device)).all()
        ):
            return
        self.tokens, self.seen = self.tokens[rows], self.seen[rows]
        if self.cache is not None:
            self.cache.reorder_cache(cast("torch.LongTensor", rows))

    def next(self, tokens: Tensor) -> Tensor:
        """Read one more token in each row; return the logits after it."""
        more = tokens.to(self.tokens.device)[:, None]
        self.tokens = torch.cat([self.tokens, more], dim=1)
        self.seen = torch.cat([self.seen, torch.ones_like(more)], dim=1)
        self.logits = self._run(None if self.cache is None else cache_of(self.model))
        return self.logits

    def _run(self, name: str | None) -> Tensor:
        """Read what is new, with the cache that the model calls so; without a name it keeps none."""
        new = slice(-1, None) if self.cache is not None else slice(None)
        known = _parameters(self.model)
        given: dict[str, Any] = {"input_ids": self.tokens[:, new], "use_cache": name is not None}
        if "attention_mask" in known:
            given["attention_mask"] = self.seen
        if "position_ids" in known:
            given["position_ids"] = (self.seen.cumsum(dim=1) - 1).clamp(min=0)[:, new]
        if "logits_to_keep" in known:
            given["logits_to_keep"] = 1
        if self.cache is not None and name is not None:
            given[name] = self.cache
        output: Any = self.model(**given)
        found = None if name is None else getattr(output, name, None)
        self.cache = found if isinstance(found, Cache) else None
        return output.logits[:, -1]


def cache_of(model: PreTrainedModel) -> str | None:
    """Return what a model's forward calls the cache that it takes and gives, None where it takes none."""
    known = _parameters(model)
    return next((name for name in CACHES if name in known), None)


def _parameters(model: PreTrainedModel) -> frozenset[str]:
    return _taken_by(type(model))


@cache
def _taken_by(kind: type[PreTrainedModel]) -> frozenset[str]:
    """Return what the forward of a kind of model takes: it is asked for every token."""
    return frozenset(inspect.signature(kind.forward).parameters)


def _batches(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], sampling: Sampling, count: int
) -> Iterator[tuple[list[int], range]]:
    """Yield prompts of like length, and which draws of each, that fit in memory together."""
    config: Any = model.config.get_text_config()
    cells = 2 * config.hidden_size * config.num_hidden_layers * model.dtype.itemsize

    def most(place: int) -> int:
        """Return how many answers to a prompt of this length are drawn at a time."""
        width = cells * (len(prompts[place]) + sampling.max_tokens)
        return max(1, min(ROWS, CELLS // config.vocab_size, MEMORY // width))

    waiting = sorted(range(len(prompts)), key=lambda place: (len(prompts[place]), place))
    while waiting:
        size = 1
        while size < len(waiting) and (size + 1) * count <= most(waiting[size]):
            size += 1
        together, waiting = waiting[:size], waiting[size:]
        draws = max(1, most(together[-1]) // size)
        for first in range(0, count, draws):
            yield together, range(first, min(first + draws, count))


def check_prompts(
    config: PreTrainedConfig, prompts: Mapping[int, Sequence[int]], sampling: Sampling, ends: Set[int]
) -> None:
    """Raise where a prompt can't be answered.

    Raises:
        TakebackError: a prompt has no tokens or no room for the answer, or no answer could end.
    """
    if not ends and not sampling.stop:
        raise TakebackError(
            "neither the model nor its tokenizer names an end token, so every answer would be cut off; "
            "name stop strings, or eos_token_id in generation_config.json"
        )
    check_room(config, prompts, sampling)


def check_room(config: PreTrainedConfig, prompts: Mapping[int, Sequence[int]], sampling: Sampling) -> None:
    """Raise unless a model of this configuration can read each prompt with the longest answer.

    Raises:
        TakebackError: a prompt has no tokens or no room for the answer.
    """
    room: Any = getattr(config.get_text_config(), "max_position_embeddings", None)
    for number, prompt in prompts.items():
        if not len(prompt):
            raise TakebackError(f"prompt {number} has no tokens; give every prompt at least one")
        if isinstance(room, int) and len(prompt) + sampling.max_tokens > room:
            raise TakebackError(
                f"prompt {number} has {len(prompt)} tokens and its answer up to {sampling.max_tokens}, but "
                f"the model reads {room} in all; give shorter prompts or fewer max tokens"
            )
