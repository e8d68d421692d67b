"""Attribution: what taking back each component would do, estimated for all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from takeback.component import Component, ComponentSet
from takeback.draw.result import Result
from takeback.findings.attribution.gradients import (
    Between,
    Stretch,
    output_effects,
    stretches,
    weight_effects,
)
from takeback.measure.bench import Answers, Bench
from takeback.measure.measures import estimate_row, typed
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.stats import mean_estimate
from takeback.run.threads import cpu_threads

METHODS: Mapping[str, str] = {
    "gradient": "the change of the weights times the gradient by them, at tuned; means only",
    "output": "the exact change of the module's output times the gradient by it, at tuned",
    "near": "the same with all taken a tenth of the way from tuned to base",
    "path": "the same summed over steps all the way from tuned to base",
}
"""The ways to estimate, by name."""

NEAR = 0.1
"""Where `near` takes gradients: chosen from 0 to 0.5 on one seed of three arms, and checked on two others."""

TOP = 5
"""How many of the largest effects two rankings are compared on."""

COLUMNS: Mapping[str, str] = {
    "component": "what is taken back from tuned",
    "measure": "what the effect is on",
    "effect": "mean over situations of the estimated effect (taken back minus tuned)",
    "se": "its standard error over situations, clustered; missing with method gradient",
    "low": "lower end of its 95% interval, which holds the spread of situations and not the method's error",
    "high": "upper end of it",
    "n": "number of situations",
    "exact": "mean exact effect of the same takeback on the same situations, if it was measured",
}
"""What each column of the table `attribution` means; its interval is not one of the exact effect."""

AGREEMENT: Mapping[str, str] = {
    "components": "number of components compared",
    "spearman": "rank correlation of estimated and exact mean effects over components",
    "pearson": "correlation of estimated and exact mean effects over components",
    "pearson_situations": "the same over all components and situations; missing with method gradient",
    "top": f"how many of the {TOP} largest exact effects are among the {TOP} largest estimated ones",
}
"""What the columns of the table `agreement` mean; a correlation is missing where one side does not vary."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Attribution(Result):
    """The estimated effect of taking back each component alone from tuned: hybrid minus tuned.

    Attributes:
        bench: the pair, the situations and the measures.
        method: one of `METHODS`.
        steps: into how many the line between the models was cut; 1 but for `path`.
        components: the components, in canonical order.
        means: for each measure the mean effect of each component, shape (components,).
        values: for each measure its effects, shape (components, situations), NaN where the measure does not
            apply; none with method `gradient`.
        exact: exact effects of the same takebacks on the same situations, where they were measured.
    """

    name = "attribution"
    bench: Bench
    method: str
    steps: int
    components: tuple[Component, ...]
    means: Mapping[str, Floats]
    values: Mapping[str, Floats]
    exact: Answers | None = None

    def of(self, component: Component, measure: str) -> Floats:
        """Return the effects of one component in all situations, NaN where the measure does not apply.

        Raises:
            UnknownName: the component or the measure was not asked.
            TakebackError: the method gives means only.
        """
        if component not in self.components:
            raise unknown_name("component", str(component), map(str, self.components))
        if measure not in self.means:
            raise unknown_name("measure", measure, self.means)
        if measure not in self.values:
            raise TakebackError(f"method {self.method!r} gives means only; use 'near'")
        return self.values[measure][self.components.index(component)]

    def checked(self) -> Attribution:
        """Return this with the exact effects beside it, which are read now."""
        sets = [self._alone(component) for component in self.components]
        exact = self.bench.answer([*sets, self.bench.nothing])
        return replace(self, exact=exact)

    def against(self, answers: Answers) -> pd.DataFrame:
        """Compare with exact effects of the same takebacks: a row for each measure; see `AGREEMENT`.

        Raises:
            UnknownName: the answers lack a component alone, or the model as it is.
        """
        rows = [self._agreement(measure, self._exact(answers, measure)) for measure in self.means]
        return typed(pd.DataFrame(rows), ("spearman", "pearson", "pearson_situations"))

    @property
    def table(self) -> pd.DataFrame:
        """A row for each measure and component; see `COLUMNS`."""
        rows = [row for measure in self.means for row in self._rows(measure)]
        return typed(pd.DataFrame(rows), ("effect", "se", "low", "high", "exact"))

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The table of effects and, where exact effects were measured, the agreement with them."""
        agreement = {} if self.exact is None else {"agreement": self.against(self.exact)}
        return {"attribution": self.table, **agreement}

    @property
    def columns(self) -> Mapping[str, str]:
        """What the columns mean."""
        return COLUMNS if self.exact is None else {**COLUMNS, **AGREEMENT}

    def _alone(self, component: Component) -> ComponentSet:
        return ComponentSet([component], self.bench.anatomy.universe)

    def _exact(self, answers: Answers, measure: str) -> Floats:
        """Return exact effects, shape (components, situations)."""
        sets = (self._alone(component) for component in self.components)
        return np.array([answers.change(one, measure, self.bench.nothing) for one in sets])

    def _rows(self, measure: str) -> Iterator[dict[str, Any]]:
        exact = None if self.exact is None else np.nanmean(self._exact(self.exact, measure), axis=1)
        n = int(_applies(self.bench, measure).sum())
        for place, component in enumerate(self.components):
            known: dict[str, Any] = {"value": self.means[measure][place], "n": n}
            if measure in self.values:
                numbers = self.values[measure][place]
                kept = np.isfinite(numbers)
                known = estimate_row(mean_estimate(numbers[kept], self.bench.clusters[kept]))
            yield {
                "component": str(component),
                "measure": measure,
                "effect": known["value"],
                **{name: known.get(name) for name in ("se", "low", "high", "n")},
                "exact": None if exact is None else exact[place],
            }

    def _agreement(self, measure: str, exact: Floats) -> dict[str, Any]:
        from scipy.stats import pearsonr, spearmanr

        estimated, wanted = self.means[measure], np.nanmean(exact, axis=1)
        each = self.values.get(measure)
        kept = np.isfinite(exact)
        return {
            "measure": measure,
            "method": self.method,
            "steps": self.steps,
            "components": len(wanted),
            "spearman": _correlation(spearmanr, estimated, wanted),
            "pearson": _correlation(pearsonr, estimated, wanted),
            "pearson_situations": None if each is None else _correlation(pearsonr, each[kept], exact[kept]),
            "top": len(_largest(estimated) & _largest(wanted)),
        }


def check_method(method: str) -> None:
    """Refuse a method that is none.

    Raises:
        UnknownName: there is no such method.
    """
    if method not in METHODS:
        raise unknown_name("attribution method", method, METHODS)


def attribute(
    bench: Bench, method: str = "near", steps: int = 4, between: Between = lambda: None
) -> Attribution:
    """Estimate what taking back each component alone from tuned does to every measure.

    - `gradient`: ⟨∂M/∂W, (base − tuned) of the component⟩ at tuned.
    - `output`: the exact change of the output of the component's module, on the inputs that it has in tuned,
      times ∂M/∂output at tuned: attribution patching (Syed, Rager and Conmy 2023, arXiv 2310.10348) of
      weights. It has a value for each situation and needs no gradients by weights.
    - `near`: the same in the model that is `NEAR` of the way from tuned to base. Taking back one component
      of many goes a short way along this line, and outcomes saturate on it: gradients at tuned hold for no
      distance, those of a whole path for too long a one.
    - `path`: the same along the line, in `steps` stretches with gradients at their middles: integrated
      gradients (Sundararajan, Taly and Yan 2017, arXiv 1703.01365). Summed over components it tends to
      M(base) − M(tuned): it shares out the joint change, from which the effect of a component alone may
      differ.

    But for `gradient`, `between` is called between pieces of the work: what it raises ends it.

    Raises:
        UnknownName: there is no such method.
        TakebackError: a measure has no slopes or applies nowhere, or `steps` is not positive.
    """
    check_method(method)
    if steps < 1:
        raise TakebackError(f"a path of {steps} steps; use at least 1")
    components = tuple(bench.anatomy.universe)
    applies = {name: _applies(bench, name) for name in bench.measures}
    with cpu_threads(bench.setup.threads):
        if method == "gradient":
            sums = zip(bench.measures, weight_effects(bench), strict=True)
            means = {name: found / applies[name].sum() for name, found in sums}
            return Attribution(str(bench.pair), bench, method, 1, components, means, {})
        whole = Stretch(0.0, 1.0, at=NEAR if method == "near" else 0.0)
        line = stretches(steps) if method == "path" else (whole,)
        found = zip(bench.measures, output_effects(bench, line, between), strict=True)
    values = {name: np.where(applies[name], each, np.nan) for name, each in found}
    means = {name: np.nanmean(each, axis=1) for name, each in values.items()}
    return Attribution(str(bench.pair), bench, method, len(line), components, means, values)


def _applies(bench: Bench, measure: str) -> NDArray[np.bool_]:
    applies = bench.asked[measure].of(bench.ends["tuned"], bench.context).applies
    if not applies.any():
        raise TakebackError(f"measure {measure!r} applies to none of these situations; take more situations")
    return applies


def _correlation(kind: Callable[..., Any], one: Floats, other: Floats) -> float | None:
    """Return a correlation, or None where one side does not vary."""
    varies = len(one) > 1 and np.ptp(one) > 0 and np.ptp(other) > 0
    return float(kind(one, other).statistic) if varies else None


def _largest(effects: Floats) -> set[int]:
    return set(np.argsort(-np.abs(effects), kind="stable")[:TOP].tolist())
