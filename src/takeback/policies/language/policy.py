"""A language model as a policy: it answers prompts token by token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from takeback.arenas import Arena, Enumerable, ForNetworks, Styled, Tokenized, written
from takeback.arenas.listed import Listed
from takeback.arenas.rows import DrawnRows
from takeback.checkpoint import Checkpoint, Placement, load_model, load_tokenizer
from takeback.hybrid.live import ReadableWeights
from takeback.hybrid.memory import units_of
from takeback.hybrid.walk import Hybrids
from takeback.policies.language.answers import AnswerPlan, alone, read_answers
from takeback.policies.language.drawn import DrawPlan, read_drawn
from takeback.policies.language.expand import Expansion, laid_out
from takeback.policies.language.forward import ready
from takeback.policies.language.judge import UNENDED
from takeback.policies.language.plan import LONGEST, ReadoutPlan, several_words
from takeback.policies.language.read import check_vocabulary, read_each, read_plan
from takeback.policies.language.scores import Apart
from takeback.policies.policy import Policy, View
from takeback.policies.readout import SAMPLES, TOLERANCE, Readouts
from takeback.run.errors import TakebackError, unknown_name

Plan: TypeAlias = ReadoutPlan | AnswerPlan | DrawPlan

STRETCHES = 5
"""At most so many stretches lie between the layers at which hidden states are read."""

COMPACT, PLAIN = "compact", "plain"
"""The style of prompts that an answer follows without a blank, and that of arenas which have one style."""

_BATCH = 64
_PROMPTS = 256


@dataclass(frozen=True)
class LanguagePolicy:
    """A Hugging Face causal language model with its tokenizer, asked in one style of prompt.

    After a `compact` prompt an answer follows at once, after any other one it follows a blank.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    style: str = COMPACT

    def prepare(self, arena: Arena[Any], situations: Iterable[Any]) -> Plan:
        """Make situations ready for models with this tokenizer.

        Raises:
            TakebackError: there are none, the arena writes no prompts, or the tokenizer can't spell answers.
        """
        if isinstance(arena, Listed):
            units = units_of(self.model)
            return AnswerPlan.prepare(arena, situations, self.tokenizer, self.model.config, units)
        if isinstance(arena, DrawnRows):
            return DrawPlan.prepare(arena, tuple(situations), self.tokenizer)
        return ReadoutPlan.prepare(readable(arena), situations, self.tokenizer, self.style)

    def read(
        self,
        plan: Plan,
        *,
        tolerance: float = TOLERANCE,
        samples: int = SAMPLES,
        seed: int = 0,
    ) -> Readouts:
        """Read what this policy does in a plan's situations; see `read_plan` and `read_answers`."""
        if isinstance(plan, AnswerPlan):
            with ready(self.model):
                return read_answers([alone(self.model)], plan)[0]
        if isinstance(plan, DrawPlan):
            return plan.answered(self.model)
        return read_plan(self.model, plan, tolerance=tolerance, samples=samples, seed=seed)

    def choose(self, arena: Arena[Any], situations: Sequence[Any], generator: torch.Generator) -> list[str]:
        """Draw one answer in each situation, at temperature 1."""
        answers: list[str] = []
        legal = [] if isinstance(arena, Enumerable) else [arena.legal(one) for one in situations]
        several, longest = several_words(legal), self._longest(legal)
        for start in range(0, len(situations), _BATCH):
            prompts = [written(arena, one, self.style) for one in situations[start : start + _BATCH]]
            answers += [_answer(self, ids, several) for ids in _sample(self, prompts, generator, longest)]
        return answers

    def _longest(self, legal: Iterable[Iterable[str]]) -> int:
        """Return how many tokens an answer may have: more than the longest action, and `LONGEST` at least."""
        texts = {f" {action}" for actions in legal for action in actions}
        return max([LONGEST, *(len(self.tokenizer.encode(text)) + 1 for text in texts)])

    def states(self, arena: Arena[Any], situations: Sequence[Any]) -> NDArray[np.float64]:
        """Return the hidden states at the prompt's last token, shape (n, places × width).

        Places are the embedding, the last layer's normed output, and up to four layers between them, at even
        distances.
        """
        place = readable(arena)
        found: list[NDArray[np.float64]] = []
        for start in range(0, len(situations), _PROMPTS):
            prompts = [written(place, one, self.style) for one in situations[start : start + _PROMPTS]]
            found.append(_states(self, prompts))
        return np.concatenate(found)

    def unlike(self, other: Policy) -> str | None:
        """Tell that the tokenizers differ, where they do."""
        same = isinstance(other, LanguagePolicy) and other.tokenizer.get_vocab() == self.tokenizer.get_vocab()
        return None if same else "another tokenizer"

    def emptied(self) -> LanguagePolicy:
        """Return the same policy whose model has no weights."""
        with torch.device("meta"):
            return replace(self, model=type(self.model)(self.model.config))

    def hybrids(self, source: Policy | Mapping[str, Tensor] | ReadableWeights) -> Hybrids:
        """Return what runs this model with components from a language model in memory, or on disk."""
        if isinstance(source, LanguagePolicy):
            return Hybrids(self.model, source.model)
        if isinstance(source, Mapping) or hasattr(source, "read_region"):
            return Hybrids(self.model, cast("Mapping[str, Tensor] | ReadableWeights", source))
        raise TakebackError("a language model's components come from another language model")

    def read_hybrids(
        self,
        plan: Plan,
        views: Sequence[View],
        tolerance: float,
        steps: Sequence[Expansion] | None = None,
    ) -> tuple[list[Readouts], tuple[Expansion, ...]]:
        """Read several hybrids, decided on the same prefixes; see `read_each`. Listed answers need no steps.

        Raises:
            TakebackError: a model has fewer tokens than the plan's tokenizer.
        """
        if isinstance(plan, AnswerPlan):
            return list[Readouts](read_answers(views, plan)), ()
        if isinstance(plan, DrawPlan):
            return list[Readouts](read_drawn(views, plan)), ()
        for hybrids in {id(hybrids): hybrids for hybrids, _ in views}.values():
            check_vocabulary(hybrids.model, plan)
        return read_each(Apart.of(views), plan, tolerance=tolerance, steps=steps)

    def marks(self, steps: Sequence[Expansion]) -> list[NDArray[np.int64]]:
        """Say steps in plain numbers: which prefixes of each situation grow; see `Expansion`."""
        return [step.marks for step in steps]

    def steps(self, plan: Plan, marks: Sequence[NDArray[np.int64]]) -> tuple[Expansion, ...]:
        """Lay out the steps that `marks` gave, in any plan that holds their situations."""
        if not isinstance(plan, ReadoutPlan):
            return ()
        return laid_out(plan, marks)


def load_language_policy(
    checkpoint: Checkpoint,
    arena: Arena[Any],
    style: str | None,
    placement: Placement,
    held: PreTrainedModel | None = None,
) -> LanguagePolicy:
    """Load a language model and its tokenizer as a policy, at a settled place; see `load_policy`.

    A model of the checkpoint that is `held` there already is taken as it is.

    Raises:
        UnknownName: the arena has no such style.
        TakebackError: it has no tokenizer or can't be loaded, or the arena writes no prompts.
    """
    place, tokenizer = readable(arena), load_tokenizer(checkpoint)
    styles = place.styles if isinstance(place, Styled) else (COMPACT, PLAIN)
    if style is None:
        words = tokenizer.get_vocab().items()
        own = isinstance(place, Tokenized) and place.tokenizer().get_vocab().items() <= words
        style = styles[0] if own else styles[-1]
    elif style not in styles:
        raise unknown_name("prompt style", style, styles)
    model = load_model(checkpoint, placement.torch_dtype, placement.device) if held is None else held
    return LanguagePolicy(model, tokenizer, style)


def readable(arena: Arena[Any]) -> Arena[Any]:
    """Return an arena unless its prompts tell nothing, as those of one that shows things to networks alone.

    Raises:
        TakebackError: they don't.
    """
    if isinstance(arena, ForNetworks) and not isinstance(arena, Styled):
        raise TakebackError(
            f"arena {arena.name} writes no prompts for language models; name a policy network"
        )
    return arena


def _sample(
    policy: LanguagePolicy, prompts: list[str], generator: torch.Generator, longest: int
) -> list[list[int]]:
    """Draw token by token, each row until its answer ends; rows are padded on the left."""
    end: Any = policy.tokenizer.eos_token_id
    tokens, mask = _padded(policy, prompts)
    length = tokens.shape[1]
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


def _answer(policy: LanguagePolicy, ids: list[int], several_words: bool = False) -> str:
    """Decode what was answered; one that never ended is no action even if it begins with one.

    Unless actions have several words, an ordinary language model also ends its answer with a blank, as in a
    readout.
    """
    end: Any = policy.tokenizer.eos_token_id
    if end in ids:
        return str(policy.tokenizer.decode(ids[: ids.index(end)]))
    text = str(policy.tokenizer.decode(ids))
    word = text.split(maxsplit=1)
    blank_after = not several_words and (len(word) > 1 or text[-1:].isspace())
    return word[0] if policy.style != COMPACT and word and blank_after else text + UNENDED
