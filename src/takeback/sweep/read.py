"""Reading hybrids: both models in memory, readouts of many hybrids on the same batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from takeback.anatomy import Anatomy
from takeback.arenas import Arena
from takeback.behaviour import MeasureContext, ReadoutPlan, Readouts, load_policy
from takeback.behaviour.packing import Rows
from takeback.behaviour.policy import arguments
from takeback.behaviour.read import check_vocabulary, read_each
from takeback.behaviour.rounds import Scores
from takeback.checkpoint import Pair
from takeback.component import ComponentSet
from takeback.errors import TakebackError
from takeback.hybrid.replay import Inputs
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


class Reader:
    """Holds both models in memory and reads hybrids of them.

    Every readout is decided on the prefixes that are heavy for base or for tuned, so that an effect does not
    depend on what one side alone left undecided.

    Attributes:
        plan: what is asked of every hybrid.
        before: the readouts of base and tuned, which effects are relative to.
        context: what measures need of base.
    """

    def __init__(
        self,
        pair: Pair,
        anatomy: Anatomy,
        arena: Arena[Any],
        situations: Sequence[Any],
        tolerance: float = TOLERANCE,
    ) -> None:
        base, tuned = (load_policy(side, arena) for side in (pair.base, pair.tuned))
        if tuned.tokenizer.get_vocab() != base.tokenizer.get_vocab():
            raise TakebackError(f"{pair.base.ref} and {pair.tuned.ref} have different tokenizers")
        self.plan = ReadoutPlan.prepare(arena, situations, tuned.tokenizer, tuned.style)
        for policy in (base, tuned):
            check_vocabulary(policy.model, self.plan)
        self._pair, self._anatomy, self._tolerance = pair, anatomy, tolerance
        self._hybrids = {
            "base": Hybrids(base.model, tuned.model, anatomy),
            "tuned": Hybrids(tuned.model, base.model, anatomy),
        }
        self._other: tuple[str, Hybrids] | None = None
        nothing = anatomy.universe - anatomy.universe
        whole = _Both(tuple(HybridScores(self._hybrids[side], [path_of(nothing)]) for side in SIDES))
        readouts, self._steps = read_each(whole, self.plan, tolerance=tolerance)
        self.before = dict(zip(SIDES, readouts, strict=True))
        self.context = MeasureContext.of(self.before["base"], arena)

    def model(self, side: str) -> PreTrainedModel:
        """Return the model of base or tuned."""
        return self._hybrids[side].model

    def read(self, side: str, sets: Sequence[ComponentSet], source: str = BASE) -> list[Readouts]:
        """Read the hybrids that are one side with each of the sets from the other side, or from a source.

        Raises:
            TakebackError: a source other than base is given for base, or it does not fit the pair.
        """
        hybrids = self._hybrids[side] if source == BASE else self._from(side, source)
        scores = HybridScores(hybrids, [path_of(components) for components in sets])
        readouts, _ = read_each(scores, self.plan, tolerance=self._tolerance, steps=self._steps)
        return readouts

    def _from(self, side: str, source: str) -> Hybrids:
        """Return hybrids of tuned with another source, whose tensors are held until the next one is asked."""
        from takeback.hybrid.sources import source_of

        if side != "tuned":
            raise TakebackError(f"{source!r} takes the place of base in tuned, not of tuned in {side}")
        if self._other is None or self._other[0] != source:
            self._other = None
            given = source_of(source, self._pair)
            held = {name: given.read(name).to(torch.float32) for name in given.shapes}
            self._other = source, Hybrids(self.model("tuned"), held, self._anatomy)
        return self._other[1]
