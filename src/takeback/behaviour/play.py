"""A policy as a player of games."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from takeback.arenas import Arena
from takeback.behaviour.policy import Policy, ready

_BATCH = 64


def player(
    policy: Policy, arena: Arena[Any], seed: int, longest: int = 8
) -> Callable[[Sequence[Any]], list[str]]:
    """Return a player that answers each situation with a sample from the policy, at temperature 1.

    Args:
        policy: who plays.
        arena: where.
        seed: of the samples; the same player asked the same questions in the same order repeats its answers.
        longest: tokens after which an answer is cut off.
    """
    generator = torch.Generator().manual_seed(seed)

    def choose(situations: Sequence[Any]) -> list[str]:
        answers: list[str] = []
        for start in range(0, len(situations), _BATCH):
            prompts = [arena.prompt(s, policy.style) for s in situations[start : start + _BATCH]]
            answers += [_answer(policy, ids) for ids in _sample(policy, prompts, longest, generator)]
        return answers

    return choose


def _sample(policy: Policy, prompts: list[str], longest: int, generator: torch.Generator) -> list[list[int]]:
    """Draw token by token, each row until its answer ends; rows are padded on the left."""
    end: Any = policy.tokenizer.eos_token_id
    rows = [[token for token in policy.tokenizer(prompt)["input_ids"] if token != end] for prompt in prompts]
    length = max(map(len, rows))
    tokens = torch.tensor([[end] * (length - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
    device = policy.model.device
    with ready(policy.model):
        for _ in range(longest):
            places = (mask.cumsum(1) - 1).clamp(min=0)
            inputs = {"input_ids": tokens, "attention_mask": mask, "position_ids": places}
            output = policy.model(
                **{name: value.to(device) for name, value in inputs.items()}, logits_to_keep=1
            )
            probabilities = torch.softmax(output.logits[:, -1].float().cpu(), dim=-1)
            tokens = torch.cat([tokens, torch.multinomial(probabilities, 1, generator=generator)], dim=1)
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
            if bool((tokens[:, length:] == end).any(dim=1).all()):
                break
    return tokens[:, length:].tolist()


def _answer(policy: Policy, ids: list[int]) -> str:
    """Decode what was answered; one that never ended stays unparsable even if it begins with a move.

    An ordinary language model also ends its answer with a blank, as in a readout.
    """
    end: Any = policy.tokenizer.eos_token_id
    if end in ids:
        return str(policy.tokenizer.decode(ids[: ids.index(end)]))
    text = str(policy.tokenizer.decode(ids))
    word = text.split(maxsplit=1)
    blank_after = len(word) > 1 or text[-1:].isspace()
    return word[0] if policy.style != "compact" and word and blank_after else f"{text}…"
