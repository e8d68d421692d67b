"""Effects with less work: attribution for all components at once, exact effects on part of the situations."""

from takeback.attribution.attribution import METHODS as METHODS
from takeback.attribution.attribution import Attribution as Attribution
from takeback.attribution.attribution import attribute as attribute
from takeback.attribution.precise import Aim as Aim
from takeback.attribution.precise import Precise as Precise
from takeback.attribution.precise import estimate as estimate
