"""The shape of a change: ranks, drift and rotation of every matrix, what lies on its leading subspaces."""

from takeback.weights.spectra import show as show
from takeback.weights.spectra.shape import Options as Options
from takeback.weights.spectra.spectra import COLUMNS as COLUMNS
from takeback.weights.spectra.spectra import Spectra as Spectra
from takeback.weights.spectra.spectra import SpectraWork as SpectraWork
from takeback.weights.spectra.spectra import spectra as spectra
