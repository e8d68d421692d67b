"""Effects with less work: attribution for all components at once, exact effects on part of the situations."""

from takeback.findings.attribution import show as show
from takeback.findings.attribution import show_precise as show_precise
from takeback.findings.attribution.attribution import METHODS as METHODS
from takeback.findings.attribution.attribution import Attribution as Attribution
from takeback.findings.attribution.attribution import attribute as attribute
from takeback.findings.attribution.attribution import check_method as check_method
from takeback.findings.attribution.precise import Aim as Aim
from takeback.findings.attribution.precise import Precise as Precise
from takeback.findings.attribution.precise import estimate as estimate
