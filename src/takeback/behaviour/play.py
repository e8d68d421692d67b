"""A policy as a player of games."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from takeback.arenas import Arena
from takeback.behaviour.policy import Policy, ready

_BATCH = 64


def greedy_player(
    policy: Policy, arena: Arena[Any], longest: int = 8
) -> Callable[[Sequence[Any]], list[str]]:
    """Return a player that answers each situation with the policy's greedy decoding.

    Args:
        policy: who plays.
        arena: where.
        longest: tokens after which an answer is cut off.
    """
    tokenizer = policy.tokenizer

    def choose(situations: Sequence[Any]) -> list[str]:
        answers: list[str] = []
        for start in range(0, len(situations), _BATCH):
            prompts = [arena.prompt(s, policy.style) for s in situations[start : start + _BATCH]]
            batch = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
            batch = {name: batch[name].to(policy.model.device) for name in ("input_ids", "attention_mask")}
            with ready(policy.model):
                rows: torch.Tensor = policy.model.generate(  # pyright: ignore[reportCallIssue]
                    **batch, do_sample=False, max_new_tokens=longest, pad_token_id=tokenizer.pad_token_id
                )
            for row in rows[:, batch["input_ids"].shape[1] :].tolist():
                answers.append(_answer(policy, row))
        return answers

    return choose


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
