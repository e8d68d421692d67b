"""Runs of several sizes or arenas side by side, on the same measures, with intervals over training runs."""

from takeback.study.comparison import show as show
from takeback.study.comparison.comparison import Comparison as Comparison
from takeback.study.comparison.comparison import compare as compare
