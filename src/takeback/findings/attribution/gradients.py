"""Effects of every component at once, from gradients on the line between tuned and base."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from takeback.anatomy import anatomy_of
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
    alone = [ComponentSet([component], anatomy.universe) for component in anatomy.universe]

    def effect(one: ComponentSet, gradient: Source) -> float:
        with torch.no_grad():
            changes, slopes = (slices(model, source, one, anatomy) for source in (base, gradient))
            pairs = zip(changes, slopes, strict=True)
            return sum(
                float(((new - old) * slope).sum(dtype=torch.float64)) for (old, new), (_, slope) in pairs
            )

    effects = np.zeros((len(bench.measures), len(alone)))
    with _evaluated(model, gradients=True):
        for adjoints, number in _batches(bench, model):
            for total, found in zip(
                effects, _gradients(adjoints.sums(model, number), list(own.values())), strict=True
            ):
                gradient = dict(zip(own, found, strict=True))
                total += [effect(one, gradient) for one in alone]
    return effects


def output_effects(bench: Bench, line: Sequence[Stretch], between: Between = lambda: None) -> Floats:
    """Add up, over stretches, each component's own change of its module's output times the gradient there.

    The module runs again on the inputs that it had, with the component at both ends of the stretch. `between`
    is called between pieces of the work; when it raises, the models are as they were.

    Returns:
        Shape (measures, components, situations), in the order of the bench's.

    Raises:
        TakebackError: a measure has no slopes.
    """
    models = _Line.of(bench)
    owned = modules_of(models.model)
    modules = tuple(dict.fromkeys(module for some in owned.values() for module in some))
    effects = np.zeros((len(bench.measures), len(owned), len(bench.situations)))
    with _evaluated(models.model, gradients=False):
        for stretch in line:
            with models.whole(stretch.at, between):
                batches = _batches(bench, models.model)
                for done, passed in enumerate(_passes(batches, models.model, modules, between)):
                    for place, component in enumerate(owned):
                        tell("attributing", done * len(owned) + place, len(batches) * len(owned))
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


@dataclass(frozen=True, eq=False)
class _Line:
    """The models between tuned and base, made of tuned in place; the slices of both come from elsewhere.

    Slices in memory are found once; those of files are read when they are needed, and not kept.
    """

    model: PreTrainedModel
    tuned: Source
    base: Source
    _found: dict[Component, list[tuple[Tensor, Tensor, Tensor]]] = field(
        default_factory=dict[Component, list[tuple[Tensor, Tensor, Tensor]]]
    )

    @classmethod
    def of(cls, bench: Bench) -> _Line:
        model, base = _models(bench)
        if bench.placement.hold == ONE:
            return cls(model, bench.weights("tuned"), base)
        own = {name: tensor.detach().clone() for name, tensor in tensors_in(model).items()}
        return cls(model, own, base)

    @property
    def components(self) -> tuple[Component, ...]:
        return tuple(anatomy_of(self.model).universe)

    def entries(self, component: Component) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return what belongs to a component in the model, and its entries in tuned and in base."""
        if component in self._found:
            return self._found[component]
        anatomy = anatomy_of(self.model)
        alone = ComponentSet([component], anatomy.universe)
        both = (slices(self.model, end, alone, anatomy) for end in (self.tuned, self.base))
        entries = [
            (there, own.to(there.device, there.dtype), new.to(there.device, there.dtype))
            for (there, own), (_, new) in zip(*both, strict=True)
        ]
        if isinstance(self.tuned, Mapping):
            self._found[component] = entries
        return entries

    @contextmanager
    def whole(self, place: float, between: Between) -> Generator[None]:
        """Let the model be the one at a place on the line until the block ends; nothing is held for that."""

        def put(place: float, between: Between = lambda: None) -> None:
            for component in self.components:
                between()
                with torch.no_grad():
                    for there, own, new in self.entries(component):
                        there.copy_(_between(own, new, place))

        try:
            put(place, between)
            yield
        finally:
            put(0.0)

    def one(self, component: Component, place: float) -> AbstractContextManager[None]:
        """Let one component be the one at a place on the line until the block ends."""
        return exchanged((there, _between(own, new, place)) for there, own, new in self.entries(component))


def _between(own: Tensor, new: Tensor, place: float) -> Tensor:
    """Return what lies at a place on the line from one tensor to another; the ends themselves, not copied."""
    ends = {0.0: own, 1.0: new}
    return ends[place] if place in ends else torch.lerp(own, new, place)


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
    if not takes_trees(model):  # its rows are not those of situations
        raise PlainlyRead(
            f"{type(model).__name__} is read plainly, where activations are not attributed; take gradients "
            "by weights (gradient), or measure exact effects (sweep)"
        )
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
