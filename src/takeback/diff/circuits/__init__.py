"""Circuits, not coordinates: how far heads and MLPs moved, whatever coordinates they are written in."""

from takeback.diff.circuits.circuits import GAUGES as GAUGES
from takeback.diff.circuits.circuits import Circuits as Circuits
from takeback.diff.circuits.circuits import CircuitsWork as CircuitsWork
from takeback.diff.circuits.circuits import circuits as circuits
