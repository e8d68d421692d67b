"""Runs of several sizes or arenas side by side, on the same measures, with intervals over training runs."""

from takeback.compare.compare import Comparison as Comparison
from takeback.compare.compare import compare as compare
