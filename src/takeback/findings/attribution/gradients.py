"""Effects of every component at once, from gradients on the line between tuned and base."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from takeback.anatomy import Anatomy, anatomy_of
from takeback.anatomy.source import parameters_of
from takeback.checkpoint.placement import ONE
from takeback.component import Component, ComponentSet
from takeback.findings.attribution.adjoints import Adjoints, ForwardPass
from takeback.findings.attribution.answer_adjoints import AnswerAdjoints, answer_adjoints
from takeback.findings.attribution.modules import Call, modules_of, recorded
from takeback.hybrid.live import Source, exchanged, slices, tensors_in
from takeback.measure.bench import Bench
from takeback.measure.measures import measure_slopes
from takeback.policies.answers import AnswerReadouts
from takeback.policies.language.answers import AnswerPlan
from takeback.policies.language.unroll import takes_trees
from takeback.run.errors import TakebackError
from takeback.run.progress import tell

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_Batch = tuple[Adjoints | AnswerAdjoints, int]
Between = Callable[[], None]
"""Called between pieces of work: what it raises ends the work."""


@dataclass(frozen=True)
class Stretch:
    """A stretch of the line from tuned (0) to base (1), and the point where gradients are taken."""

    start: float
    stop: float
    at: float


def stretches(steps: int) -> tuple[Stretch, ...]:
    """Cut the line into equal stretches with gradients at their middles.

    >>> stretches(2)
    (Stretch(start=0.0, stop=0.5, at=0.25), Stretch(start=0.5, stop=1.0, at=0.75))
    """
    return tuple(Stretch(step / steps, (step + 1) / steps, (step + 0.5) / steps) for step in range(steps))


class PlainlyRead(TakebackError):
    """Raised where a model is read one row at a time, so that only gradients by weights are had."""


def weight_effects(bench: Bench) -> Floats:
    """Multiply each component's change with the gradient, at tuned, of each measure summed over situations.

    Returns:
        Shape (measures, components), in the order of the bench's.

    Raises:
        TakebackError: a measure has no slopes.
    """
    model, base = _models(bench)
    anatomy, own = anatomy_of(model), parameters_of(model)
    universe = anatomy.universe
    regions = {one: anatomy.regions(ComponentSet([one], universe)) for one in universe}
    changes = _changes(model, base, anatomy)
    effects = np.zeros((len(bench.measures), len(regions)))
    with _evaluated(model, gradients=True):
        batches = _batches(bench, model)
        for done, (adjoints, number) in enumerate(batches):
            tell("attributing", done, len(batches))
            found = _gradients(adjoints.sums(model, number), list(own.values()))
            for total, each in zip(effects, found, strict=True):
                gradient = dict(zip(own, each, strict=True))
                for place, (component, parts) in enumerate(regions.items()):
                    slopes = (gradient[part.tensor][part.index] for part in parts)
                    total[place] += _product(changes(component), slopes)
    return effects


@torch.no_grad()
def _product(changes: Sequence[tuple[Tensor, Tensor]], slopes: Iterable[Tensor]) -> float:
    """Add up changes times slopes; rows of a vocabulary that only one side has come last, without a slope."""
    return sum(
        float(((new - old).float() * slope.float()).sum(dtype=torch.float64))
        for (old, new), slope in zip(changes, slopes, strict=False)
    )


def _changes(
    model: PreTrainedModel, base: Source, anatomy: Anatomy
) -> Callable[[Component], list[tuple[Tensor, Tensor]]]:
    """Return what gives a component's entries in the model and in base; those in memory are found once."""

    @torch.no_grad()
    def found(component: Component) -> list[tuple[Tensor, Tensor]]:
        return slices(model, base, ComponentSet([component], anatomy.universe), anatomy)

    return cache(found) if isinstance(base, Mapping) else found


def output_effects(bench: Bench, line: Sequence[Stretch], between: Between = lambda: None) -> Floats:
    """Add up, over stretches, each component's own change of its module's output times the gradient there.

    The module runs again on the inputs that it had, with the component at both ends of the stretch. `between`
    is called between pieces of the work; when it raises, the models are as they were.

    Returns:
        Shape (measures, components, situations), in the order of the bench's.

    Raises:
        TakebackError: a measure has no slopes.
    """
    models = _Line(bench, between)
    if not takes_trees(models.model):  # its rows are not those of situations
        raise PlainlyRead(
            f"{type(models.model).__name__} is read plainly, where activations are not attributed; take "
            "gradients by weights (gradient), or measure exact effects (sweep)"
        )
    owned = modules_of(models.model)
    modules = tuple(dict.fromkeys(module for some in owned.values() for module in some))
    effects = np.zeros((len(bench.measures), len(owned), len(bench.situations)))
    with _evaluated(models.model, gradients=False):
        for part, stretch in enumerate(line):
            with models.whole(stretch.at):
                batches = _batches(bench, models.model)
                of, size = len(line) * len(batches) * len(owned), len(owned)
                for done, passed in enumerate(_passes(batches, models.model, modules, between)):
                    for place, component in enumerate(owned):
                        tell("attributing", (part * len(batches) + done) * size + place, of)
                        between()
                        found = passed.effects(models, component, owned[component], stretch)
                        np.add.at(effects[:, place].T, passed.situations, found.T)
    return effects


def _models(bench: Bench) -> tuple[PreTrainedModel, Source]:
    """Return the model of tuned, and what gives the slices of base.

    Raises:
        TakebackError: they are no language models.
    """
    tuned = bench.policy("tuned").model
    if not isinstance(tuned, PreTrainedModel):
        raise TakebackError(
            "attribution by gradients is for language models; all exact effects of a network take seconds: "
            "takeback sweep, takeback localise"
        )
    return tuned, bench.weights("base")


class _Line:
    """The models between tuned and base, made of tuned in place; the slices of both come from elsewhere.

    Where both models are held, tuned is copied and slices are found once; else those of files are read when
    they are needed, and not kept.
    """

    def __init__(self, bench: Bench, between: Between) -> None:
        self.model, base = _models(bench)
        anatomy = anatomy_of(self.model)
        self.components, self._between = tuple(anatomy.universe), between
        one = bench.placement.hold == ONE
        own = {} if one else {name: each.detach().clone() for name, each in tensors_in(self.model).items()}
        tuned = bench.weights("tuned") if one else own
        self._ends = {end: _changes(self.model, of, anatomy) for end, of in ((0.0, tuned), (1.0, base))}

    def at(self, component: Component, place: float) -> list[tuple[Tensor, Tensor]]:
        """Return what belongs to a component in the model, and what that is at a place on the line."""
        if place in self._ends:
            return self._ends[place](component)
        both = zip(*(end(component) for end in self._ends.values()), strict=True)
        return [
            (there, torch.lerp(own.to(there.device, there.dtype), new.to(there.device, there.dtype), place))
            for (there, own), (_, new) in both
        ]

    @contextmanager
    def whole(self, place: float) -> Generator[None]:
        """Let the model be the one at a place on the line until the block ends; nothing is held for that."""
        moved: list[Component] = []
        try:
            for component in self.components:
                self._between()
                moved.append(component)
                self._put(component, place)
            yield
        finally:
            for component in moved:
                self._put(component, 0.0)

    def _put(self, component: Component, place: float) -> None:
        with torch.no_grad():
            for there, value in self.at(component, place):
                there.copy_(value)

    def one(self, component: Component, place: float) -> AbstractContextManager[None]:
        """Let one component be the one at a place on the line until the block ends."""
        return exchanged(self.at(component, place))


@dataclass(frozen=True, eq=False)
class _Pass:
    """One batch, run forwards and backwards: calls of modules, and the measures' gradients by their outputs.

    Gradients have the shape (measures, *output), `situations` that of each row.
    """

    calls: Mapping[nn.Module, Call]
    gradients: Mapping[nn.Module, Tensor]
    situations: Ints

    def effects(
        self, models: _Line, component: Component, modules: Sequence[nn.Module], stretch: Stretch
    ) -> Floats:
        """Return what a component's change over a stretch brings, shape (measures, rows)."""

        def outputs(place: float) -> list[Tensor]:
            if place == stretch.at:
                return [self.calls[module].output.detach() for module in modules]
            with models.one(component, place):
                return [self.calls[module].again() for module in modules]

        total = 0.0
        ends = zip(modules, outputs(stretch.start), outputs(stretch.stop), strict=True)
        for module, before, after in ends:
            each = self.gradients[module] * (after - before)
            total = total + each.reshape(len(each), len(self.situations), -1).sum(-1).double().cpu().numpy()
        return np.asarray(total)


def _passes(
    batches: Sequence[_Batch], model: PreTrainedModel, modules: Sequence[nn.Module], between: Between
) -> Iterator[_Pass]:
    for adjoints, number in batches:
        between()
        with recorded(modules) as calls:
            sums = adjoints.sums(model, number)
        each = list(_gradients(sums, [call.output for call in calls.values()], between))
        by_module = zip(calls, zip(*each, strict=True), strict=True)
        gradients = {module: torch.stack(found) for module, found in by_module}
        yield _Pass(calls, gradients, adjoints.situations(number))


def _batches(bench: Bench, model: PreTrainedModel) -> list[_Batch]:
    """Read the model, and return each batch of each round with what its probabilities are worth."""
    plan, tuned = bench.plan, bench.ends["tuned"]
    rounds: Sequence[Adjoints | AnswerAdjoints]
    if isinstance(plan, AnswerPlan):
        assert isinstance(tuned, AnswerReadouts)
        slopes = measure_slopes(tuned, bench.context, bench.measures)
        rounds = [answer_adjoints(model, plan, tuned, slopes)]
    else:
        reading = ForwardPass.of(model, plan, bench.steps)
        slopes = measure_slopes(reading.readouts(tuned), bench.context, bench.measures)
        rounds = reading.adjoints(slopes)
    return [(adjoints, number) for adjoints in rounds for number in range(len(adjoints))]


def _gradients(
    sums: Tensor, by: Sequence[Tensor], between: Between = lambda: None
) -> Iterator[tuple[Tensor, ...]]:
    """Give the gradient of one sum after the other by each tensor, zeros where it does not depend on it."""
    for left, one in zip(reversed(range(len(sums))), sums, strict=True):
        between()
        again = left > 0
        yield torch.autograd.grad(one, by, retain_graph=again, allow_unused=True, materialize_grads=True)


@contextmanager
def _evaluated(model: nn.Module, gradients: bool) -> Generator[None]:
    """Switch dropout off, and gradients by weights on or off; put both back when the block ends."""
    training, before = model.training, [(one, one.requires_grad) for one in model.parameters()]
    model.eval().requires_grad_(gradients)
    try:
        with torch.enable_grad():
            yield
    finally:
        model.train(training)
        for one, wanted in before:
            one.requires_grad_(wanted)
