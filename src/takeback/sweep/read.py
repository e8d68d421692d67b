"""Reading hybrids: both models in memory, readouts of many hybrids on the same batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from takeback.arenas import Arena
from takeback.behaviour import MeasureContext, Policy, ReadoutPlan, Readouts, load_policy
from takeback.behaviour.packing import Rows
from takeback.behaviour.policy import arguments
from takeback.behaviour.read import check_vocabulary, read_each
from takeback.behaviour.rounds import Scores
from takeback.checkpoint import Pair
from takeback.component import ComponentSet
from takeback.errors import TakebackError
from takeback.hybrid.replay import Inputs
from takeback.hybrid.sources import source_of
from takeback.hybrid.walk import Hybrids, Path, path_of

TOLERANCE = 0.05
"""Most illegal mass of a situation that a hybrid's readout leaves unclassified; legal actions are exact."""

SIDES = ("base", "tuned")
BASE = "base"
"""The source of an ordinary takeback."""


@dataclass(frozen=True)
class HybridScores:
    """Scores packed rows with hybrids of one model: policy i is the one that takes back `paths[i]`."""

    hybrids: Hybrids
    paths: Sequence[Path]

    @property
    def policies(self) -> int:
        """How many hybrids there are."""
        return len(self.paths)

    def __call__(self, rows: Rows, which: Sequence[int], /) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield each hybrid's number and log-probabilities, (rows, 1 + nodes, vocabulary), in any order."""
        count, length = rows.tokens.shape
        model = self.hybrids.model
        read = torch.arange(length - rows.nodes - 1, length, device=model.device).expand(count, -1)
        inputs = Inputs(arguments(model, rows), read)
        for place, logits in self.hybrids.logits(inputs, [self.paths[policy] for policy in which]):
            yield which[place], torch.log_softmax(logits.float(), dim=-1)


@dataclass(frozen=True)
class _Both:
    """Scores rows with policies that are each the only one of other scores."""

    alone: tuple[Scores, ...]

    @property
    def policies(self) -> int:
        return len(self.alone)

    def __call__(self, rows: Rows, which: Sequence[int], /) -> Iterator[tuple[int, torch.Tensor]]:
        for policy in which:
            for _, scored in self.alone[policy](rows, [0]):
                yield policy, scored


class Sides:
    """Holds both models of a pair, loaded when they are first needed; it is sent elsewhere without them."""

    def __init__(self, pair: Pair, arena: Arena[Any]) -> None:
        self.pair, self.arena = pair, arena

    def __getstate__(self) -> dict[str, Any]:
        return {"pair": self.pair, "arena": self.arena}

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of both."""
        return self._policies["tuned"].tokenizer

    @property
    def style(self) -> str:
        """The style of prompts."""
        return self._policies["tuned"].style

    def model(self, side: str) -> PreTrainedModel:
        """Return the model of base or tuned."""
        return self._policies[side].model

    def hybrids(self, side: str, source: str = BASE) -> Hybrids:
        """Return hybrids of one side with sets from the other, or of tuned with sets from a source.

        A source's tensors are held until another one is asked for.

        Raises:
            TakebackError: a source other than base is given for base, or it does not fit the pair.
        """
        if source == BASE:
            return self._hybrids[side]
        if side != "tuned":
            raise TakebackError(f"{source!r} takes the place of base in tuned, not of tuned in {side}")
        if self._other is None or self._other[0] != source:
            self._other = None
            given = source_of(source, self.pair)
            held = {name: given.read(name).to(torch.float32) for name in given.shapes}
            self._other = source, Hybrids(self.model("tuned"), held)
        return self._other[1]

    _other: tuple[str, Hybrids] | None = None

    @cached_property
    def _policies(self) -> dict[str, Policy]:
        base, tuned = (load_policy(side, self.arena) for side in (self.pair.base, self.pair.tuned))
        if tuned.tokenizer.get_vocab() != base.tokenizer.get_vocab():
            raise TakebackError(f"{self.pair.base.ref} and {self.pair.tuned.ref} have different tokenizers")
        return {"base": base, "tuned": tuned}

    @cached_property
    def _hybrids(self) -> dict[str, Hybrids]:
        base, tuned = (self.model(side) for side in SIDES)
        return {"base": Hybrids(base, tuned), "tuned": Hybrids(tuned, base)}


class Reader:
    """Reads hybrids of both models on the same situations.

    Every readout is decided on the prefixes that are heavy for base or for tuned, so that an effect does not
    depend on what one side alone left undecided.

    Attributes:
        sides: both models.
        plan: what is asked of every hybrid.
        steps: what all readouts expand.
        before: the readouts of base and tuned, which effects are relative to.
        context: what measures need of base.
    """

    def __init__(self, sides: Sides, situations: Sequence[Any], tolerance: float = TOLERANCE) -> None:
        self.sides, self._tolerance = sides, tolerance
        self.plan = ReadoutPlan.prepare(sides.arena, situations, sides.tokenizer, sides.style)
        for side in SIDES:
            check_vocabulary(sides.model(side), self.plan)
        universe = sides.pair.anatomy().universe
        nothing = path_of(universe - universe)
        whole = _Both(tuple(HybridScores(sides.hybrids(side), [nothing]) for side in SIDES))
        readouts, self.steps = read_each(whole, self.plan, tolerance=tolerance)
        self.before = dict(zip(SIDES, readouts, strict=True))
        self.context = MeasureContext.of(self.before["base"], sides.arena)

    def model(self, side: str) -> PreTrainedModel:
        """Return the model of base or tuned."""
        return self.sides.model(side)

    def read(self, side: str, sets: Sequence[ComponentSet], source: str = BASE) -> list[Readouts]:
        """Read the hybrids that are one side with each of the sets from the other side, or from a source.

        Raises:
            TakebackError: a source other than base is given for base, or it does not fit the pair.
        """
        scores = HybridScores(self.sides.hybrids(side, source), [path_of(components) for components in sets])
        readouts, _ = read_each(scores, self.plan, tolerance=self._tolerance, steps=self.steps)
        return readouts
