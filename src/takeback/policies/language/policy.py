"""A language model as a policy: it answers prompts token by token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from takeback.arenas import Arena, TextArena
from takeback.checkpoint import Checkpoint, load_model, load_tokenizer
from takeback.hybrid.walk import Hybrids
from takeback.policies.language.expand import Step, laid_out
from takeback.policies.language.forward import ready
from takeback.policies.language.plan import ReadoutPlan
from takeback.policies.language.read import check_vocabulary, read_each, read_plan
from takeback.policies.language.scores import Apart
from takeback.policies.policy import Policy, View
from takeback.policies.readout import SAMPLES, TOLERANCE, Readouts
from takeback.run.errors import TakebackError, unknown_name

LONGEST = 8
"""Tokens after which a drawn answer is cut off."""

STRETCHES = 5
"""At most so many stretches lie between the layers at which hidden states are read."""

_BATCH = 64
_PROMPTS = 256


@dataclass(frozen=True)
class LanguagePolicy:
    """A Hugging Face causal language model with its tokenizer, asked in one style of prompt."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    style: str = "compact"

    def prepare(self, arena: Arena[Any], situations: Iterable[Any]) -> ReadoutPlan:
        """Make situations ready for models with this tokenizer.

        Raises:
            TakebackError: there are none, the arena writes no prompts, or the tokenizer can't spell answers.
        """
        return ReadoutPlan.prepare(text_arena(arena), situations, self.tokenizer, self.style)

    def read(
        self, plan: ReadoutPlan, *, tolerance: float = TOLERANCE, samples: int = SAMPLES, seed: int = 0
    ) -> Readouts:
        """Read what this policy does in a plan's situations; see `read_plan`."""
        return read_plan(self.model, plan, tolerance=tolerance, samples=samples, seed=seed)

    def choose(self, arena: Arena[Any], situations: Sequence[Any], generator: torch.Generator) -> list[str]:
        """Draw one answer in each situation, at temperature 1."""
        answers: list[str] = []
        for start in range(0, len(situations), _BATCH):
            prompts = [arena.prompt(s, self.style) for s in situations[start : start + _BATCH]]
            answers += [_answer(self, ids) for ids in _sample(self, prompts, generator)]
        return answers

    def states(self, arena: Arena[Any], situations: Sequence[Any]) -> NDArray[np.float64]:
        """Return the hidden states at the prompt's last token, shape (n, places × width).

        Places are the embedding, the last layer's normed output, and up to four layers between them, at even
        distances.
        """
        place = text_arena(arena)
        found: list[NDArray[np.float64]] = []
        for start in range(0, len(situations), _PROMPTS):
            prompts = [place.prompt(s, self.style) for s in situations[start : start + _PROMPTS]]
            found.append(_states(self, prompts))
        return np.concatenate(found)

    def unlike(self, other: Policy) -> str | None:
        """Tell that the tokenizers differ, where they do."""
        same = isinstance(other, LanguagePolicy) and other.tokenizer.get_vocab() == self.tokenizer.get_vocab()
        return None if same else "another tokenizer"

    def hybrids(self, source: Policy | Mapping[str, Tensor]) -> Hybrids:
        """Return what runs this model with components from another language model, or from a state dict."""
        if isinstance(source, Mapping):
            return Hybrids(self.model, source)
        if isinstance(source, LanguagePolicy):
            return Hybrids(self.model, source.model)
        raise TakebackError("a language model's components come from another language model")

    def read_hybrids(
        self, plan: ReadoutPlan, views: Sequence[View], tolerance: float, steps: Sequence[Step] | None = None
    ) -> tuple[list[Readouts], tuple[Step, ...]]:
        """Read several hybrids, decided on the same prefixes; see `read_each`.

        Raises:
            TakebackError: a model has fewer tokens than the plan's tokenizer.
        """
        for hybrids in {id(hybrids): hybrids for hybrids, _ in views}.values():
            check_vocabulary(hybrids.model, plan)
        return read_each(Apart.of(views), plan, tolerance=tolerance, steps=steps)

    def marks(self, steps: Sequence[Step]) -> list[NDArray[np.int64]]:
        """Say steps in plain numbers: which prefixes of each situation grow; see `Step`."""
        return [step.marks for step in steps]

    def steps(self, plan: ReadoutPlan, marks: Sequence[NDArray[np.int64]]) -> tuple[Step, ...]:
        """Lay out the steps that `marks` gave, in any plan that holds their situations."""
        return laid_out(plan, marks)


def load_language_policy(
    checkpoint: Checkpoint, arena: Arena[Any], style: str | None = None
) -> LanguagePolicy:
    """Load a language model and its tokenizer as a policy; see `load_policy`.

    Raises:
        UnknownName: the arena has no such style.
        TakebackError: it has no tokenizer or can't be loaded, or the arena writes no prompts.
    """
    place, tokenizer = text_arena(arena), load_tokenizer(checkpoint)
    if style is None:
        style = "compact" if tokenizer.get_vocab() == place.tokenizer().get_vocab() else "sentence"
    elif style not in place.styles:
        raise unknown_name("prompt style", style, place.styles)
    return LanguagePolicy(load_model(checkpoint), tokenizer, style)


def text_arena(arena: Arena[Any]) -> TextArena[Any]:
    """Return an arena if it writes prompts for language models.

    Raises:
        TakebackError: it does not.
    """
    if not isinstance(arena, TextArena):
        raise TakebackError(
            f"arena {arena.name} writes no prompts for language models; name a policy network"
        )
    return arena


def _sample(policy: LanguagePolicy, prompts: list[str], generator: torch.Generator) -> list[list[int]]:
    """Draw token by token, each row until its answer ends; rows are padded on the left."""
    end: Any = policy.tokenizer.eos_token_id
    tokens, mask = _padded(policy, prompts)
    length = tokens.shape[1]
    device = policy.model.device
    with ready(policy.model):
        for _ in range(LONGEST):
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


def _padded(policy: LanguagePolicy, prompts: list[str]) -> tuple[Tensor, Tensor]:
    """Return the tokens of prompts and which are real, both (rows, length), padded on the left."""
    end: Any = policy.tokenizer.eos_token_id
    rows = [[token for token in policy.tokenizer(prompt)["input_ids"] if token != end] for prompt in prompts]
    length = max(map(len, rows))
    tokens = torch.tensor([[end] * (length - len(row)) + row for row in rows])
    return tokens, torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])


def _states(policy: LanguagePolicy, prompts: list[str]) -> NDArray[np.float64]:
    tokens, mask = _padded(policy, prompts)
    inputs = {
        "input_ids": tokens,
        "attention_mask": mask,
        "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
    }
    with ready(policy.model):
        output = policy.model(
            **{name: value.to(policy.model.device) for name, value in inputs.items()},
            use_cache=False,
            output_hidden_states=True,
            logits_to_keep=1,
        )
    last = len(output.hidden_states) - 1
    places = np.linspace(0, last, min(last, STRETCHES) + 1).round().astype(int)
    return torch.cat([output.hidden_states[place][:, -1] for place in places], dim=1).cpu().double().numpy()


def _answer(policy: LanguagePolicy, ids: list[int]) -> str:
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
