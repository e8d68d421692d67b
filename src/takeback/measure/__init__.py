"""Measures of policies: what a readout says as numbers, and what hybrids of a pair are asked."""

from typing import TYPE_CHECKING

from takeback.run.lazy import lazy_names

if TYPE_CHECKING:
    from takeback.measure.effects import Change as Change
    from takeback.measure.effects import effects as effects
    from takeback.measure.effects import most_changed as most_changed
    from takeback.measure.measure import MeasureContext as MeasureContext
    from takeback.measure.measures import measure_values as measure_values
    from takeback.measure.measures import measures as measures
    from takeback.measure.outcomes import Outcomes as Outcomes
    from takeback.measure.shift import shift as shift

lazy_names(__name__)
