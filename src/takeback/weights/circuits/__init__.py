"""Circuits, not coordinates: how far heads and MLPs moved, whatever coordinates they are written in."""

from takeback.weights.circuits import show as show
from takeback.weights.circuits.circuits import GAUGES as GAUGES
from takeback.weights.circuits.circuits import Circuits as Circuits
from takeback.weights.circuits.circuits import CircuitsWork as CircuitsWork
from takeback.weights.circuits.circuits import circuits as circuits
