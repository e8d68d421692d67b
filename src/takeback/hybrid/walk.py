"""The hybrids of two models in memory, run together: what several have in common is computed once.

A hybrid's path is what it takes back in the embedding, in each layer, and above them. Hybrids are walked as a
tree over these stages, depth first: those with the same path up to a stage share one computation up to there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from transformers import PreTrainedModel

from takeback.anatomy import Anatomy, anatomy_of
from takeback.component import Component, ComponentSet
from takeback.hybrid.live import ReadableWeights, anatomy_for, exchanged, slices
from takeback.hybrid.memory import is_out_of_memory, units_of
from takeback.hybrid.replay import Call, Inputs, Replay, members_given, plain_logits
from takeback.run.errors import TakebackError, warned

ROWS = 16
"""Most prompts in one batch: more gain nothing on a CPU and cost memory traffic."""
MEMORY = 2**28
"""Bytes of hidden states that are held for hybrids to share."""

PREPARED = 4096
"""Most sets whose slices are kept ready, as views of both models."""

HELD = 2**29
"""Bytes of slices that are kept ready where they are read from disk, for each unit of work, but at most
an eighth of the model's own."""

InMemory: TypeAlias = PreTrainedModel | Mapping[str, Tensor] | ReadableWeights
"""Where slices come from: another model in memory, its state dict, or a checkpoint."""

MISFITS = (TypeError, ValueError, RuntimeError, AttributeError, LookupError)
"""What a model raises whose layers can't be run one by one."""

State: TypeAlias = tuple[Tensor, tuple[Call, ...]]
"""Hidden states, and the arguments with which each layer is called."""

Path: TypeAlias = tuple[ComponentSet, ...]
"""What a hybrid takes back at each stage: the embedding, each layer, all above them."""


def path_of(components: ComponentSet) -> Path:
    """Return what a set takes back at each stage.

    >>> from takeback.component import Component
    >>> names = ["EMBED", "L0.MLP", "L1.MLP", "NORM"]
    >>> universe = ComponentSet([Component.parse(name) for name in names])
    >>> [str(members) for members in path_of(ComponentSet([Component.parse("L1.MLP")], universe))]
    ['', '', 'L1.MLP', '']
    """
    universe = components.universe
    above = 2 + max((component.layer for component in universe if component.layer is not None), default=-1)
    stages: list[list[Component]] = [[] for _ in range(above + 1)]
    for component in components:
        place = 0 if component.kind in ("EMBED", "EMBED+") else above
        stages[place if component.layer is None else component.layer + 1].append(component)
    return tuple(ComponentSet(members, universe) for members in stages)


class Hybrids:
    """Hybrids of a model in memory: sets of its components from `source`, all others its own.

    The model's slices are replaced in place while hybrids run, and are its own again afterwards. Whether its
    layers can be run one by one is tried on the first row that is asked; if not, hybrids run one by one.

    Attributes:
        model: the model, in evaluation mode.
    """

    def __init__(self, model: PreTrainedModel, source: InMemory, anatomy: Anatomy | None = None) -> None:
        self.model, self._source = model, source
        self._anatomy = anatomy or anatomy_of(model)
        self._replay: Replay | None = None
        self._tried = False
        self._slices: dict[ComponentSet, list[tuple[Tensor, Tensor]]] = {}
        self._on_disk = not isinstance(source, (PreTrainedModel, Mapping))
        own = sum(one.numel() * one.itemsize for one in model.parameters())
        self._held, self._most = 0, min(HELD * units_of(model), own // 8)

    def logits(self, inputs: Inputs, paths: Sequence[Path]) -> Iterator[tuple[int, Tensor]]:
        """Yield each hybrid's place among `paths` and its logits, shape (rows, reads, vocabulary).

        They come in the order of the walk; see `ends`.
        """
        for place, end in self.ends(inputs, paths):
            yield place, end.logits()

    @torch.inference_mode()
    def ends(self, inputs: Inputs, paths: Sequence[Path]) -> Iterator[tuple[int, End]]:
        """Yield each hybrid's place among `paths` and where its layers end, of which logits can be asked.

        An end is good until the next one is asked for. The model must be in evaluation mode; at most
        2 + log2(hybrids) hidden states of these inputs are held at a time.
        """
        if inputs.order is not None:
            if not self._tried:
                self._tried = True
                self._one_by_one_as("it takes no trees of tokens")
            yield from self._one_by_one(inputs, paths)
            return
        if not self._tried:
            row = inputs.rows(0, 1).arguments
            last = inputs.arguments["input_ids"].shape[1] - 1
            ends = torch.tensor([[last, 0]], device=self.model.device)  # masks that go by order show here
            self._replay, self._tried = self._fitting(Inputs(row, ends)), True
        if self._replay is None:
            yield from self._one_by_one(inputs, paths)
        else:
            walk = _Walk(self, self._replay, inputs, paths)
            yield from walk.below(0, list(range(len(paths))), walk.start)

    def taken_back(self, components: ComponentSet) -> AbstractContextManager[None]:
        """Take a set back in place until the block ends."""
        if components not in self._slices:
            found = slices(self.model, self._source, components, self._anatomy)
            read = sum(new.numel() * new.itemsize for _, new in found) if self._on_disk else 0
            if read > self._most:
                return exchanged(iter(found))  # which lets go of them when they are in the model
            if len(self._slices) >= PREPARED or self._held + read > self._most:
                self._slices.clear()
                self._held = 0
            self._held += read
            self._slices[components] = found
        return exchanged(self._slices[components])

    def _one_by_one(self, inputs: Inputs, paths: Sequence[Path]) -> Iterator[tuple[int, End]]:
        for place, path in enumerate(paths):
            whole = path[0]
            for members in path[1:]:
                whole = whole | members
            with self.taken_back(whole):
                logits = plain_logits(self.model, inputs)
            yield place, End(logits, lambda part: part)

    def _fitting(self, row: Inputs) -> Replay | None:
        """Return the fastest replay that gives the model's own logits on a row, else None and a warning."""
        try:
            logits, members = members_given(self.model, row)
        except TakebackError as error:
            return self._one_by_one_as(str(error))
        wanted = logits.float()
        near = 1e-4 if wanted.dtype == self.model.dtype else 0.1
        why = "its layers do not give what its forward gives"
        for cut in (True, False):
            try:
                replay = Replay.of(self.model, cut, members)
                walk = _Walk(self, replay, row, [path_of(self._anatomy.universe - self._anatomy.universe)])
                ((_, end),) = walk.below(0, [0], walk.start)
                found = end.logits()
            except (TakebackError, *MISFITS) as error:
                if is_out_of_memory(error):
                    raise
                why = str(error)
                continue
            if float((found.float().to(wanted.device) - wanted).abs().max()) <= near * float(
                wanted.abs().max()
            ):
                return replay
        return self._one_by_one_as(why)

    def _one_by_one_as(self, why: str) -> None:
        warned(f"hybrids of {type(self.model).__name__} run one by one: {why}")


@dataclass(frozen=True, eq=False)
class End:
    """Where the layers of a hybrid end.

    Attributes:
        states: the last layer's output, shape (…, rows, reads, width).
        head: what makes logits of hidden states: all that the model does after its layers.
    """

    states: Tensor
    head: Callable[[Tensor], Tensor]

    @torch.inference_mode()
    def logits(self) -> Tensor:
        """Return all logits, shape (rows, reads, vocabulary)."""
        return self.head(self.states)

    @torch.inference_mode()
    def some(self, places: Tensor, most: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the logits, shape (some, vocabulary), at places of rows x reads, at most so many at once."""
        flat = self.states.flatten(-3, -2)
        for chunk in places.split(most):
            yield chunk, self.head(flat[..., chunk, :].unsqueeze(-3))[0]


class _Walk:
    """One walk over the tree of hybrids on one batch of inputs."""

    def __init__(self, hybrids: Hybrids, replay: Replay, inputs: Inputs, paths: Sequence[Path]) -> None:
        self._hybrids, self._replay, self._inputs, self._paths = hybrids, replay, inputs, paths
        self.start: State = replay.start(inputs)

    def below(self, stage: int, members: list[int], state: State) -> Iterator[tuple[int, End]]:
        """Yield the ends of hybrids that agree below a stage, from the hidden states that they share there.

        The largest branch goes last and takes the place of what it came from, so that few states are held.
        With the states goes how layers are called, since embeddings may be among what they are given.
        """
        with ExitStack() as until_the_end:
            while stage < len(state[1]) + 2:
                *branches, (largest, members_of_largest) = self._branches(stage, members)
                for part, branch in branches:
                    with ExitStack() as until_its_end:
                        passed = self._step(stage, state, part, until_its_end)
                        yield from self.below(stage + 1, branch, passed)
                state = self._step(stage, state, largest, until_the_end)
                stage, members = stage + 1, members_of_largest
            for place in members:
                yield place, End(state[0], self._replay.logits)

    def _branches(self, stage: int, members: list[int]) -> list[tuple[ComponentSet, list[int]]]:
        found: dict[ComponentSet, list[int]] = {}
        for place in members:
            found.setdefault(self._paths[place][stage], []).append(place)
        return sorted(found.items(), key=lambda branch: (len(branch[1]), not branch[0]))

    def _step(self, stage: int, state: State, part: ComponentSet, later: ExitStack) -> State:
        """Compute one stage with what is taken back there in place; the last one is left to `End`.

        A layer's part is put back at once, so that no more than a layer is in memory twice; what stages above
        may read as well stays until `later`.
        """
        hidden, calls = state
        with ExitStack() as now:
            at_once = 0 < stage <= len(calls) and self._replay.alone[stage - 1]
            (now if at_once else later).enter_context(self._hybrids.taken_back(part))
            if stage == 0:
                return self._replay.start(self._inputs) if part else state
            if stage <= len(calls):
                return self._replay.layer(stage - 1, hidden, calls[stage - 1], self._inputs.read), calls
            return state


def hybrid_logits(
    model: PreTrainedModel,
    source: InMemory,
    sets: Sequence[ComponentSet],
    inputs: Inputs,
    *,
    memory: int = MEMORY,
) -> Iterator[tuple[int, slice, Tensor]]:
    """Yield the logits of the hybrids that take each of `sets` back from `source`, batch by batch.

    They equal those of the model with each set swapped in and run as a whole, up to rounding. How the rows
    are cut into batches depends on their shape, the number of sets and `memory` alone.

    Args:
        model: a decoder of Hugging Face of a known family, in evaluation mode; it is left as it was.
        source: what the sets are taken from.
        sets: sets of the model's components.
        inputs: the prompts, rows of equal length, and the positions to read.
        memory: bytes of hidden states that may be held for hybrids to share; one row is run in any case.

    Yields:
        A set's place, the rows of the batch, and their logits, shape (rows, reads, vocabulary).

    Raises:
        TakebackError: a set is of another model, or `source` does not fit.
    """
    hybrids = Hybrids(model, source, anatomy_for(model, sets[0]) if sets else None)
    paths = [path_of(components) for components in sets]
    rows, length = inputs.arguments["input_ids"].shape
    row_bytes = length * model.config.get_text_config().hidden_size * model.dtype.itemsize
    size = max(1, min(ROWS, memory // (row_bytes * (2 + len(sets).bit_length()))))
    for start in range(0, rows, size):
        batch = inputs.rows(start, start + size)
        for place, logits in hybrids.logits(batch, paths):
            yield place, slice(start, min(start + size, rows)), logits
