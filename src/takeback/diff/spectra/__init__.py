"""The shape of a change: ranks, drift and rotation of every matrix, what lies on its leading subspaces."""

from takeback.diff.spectra.shape import Options as Options
from takeback.diff.spectra.spectra import COLUMNS as COLUMNS
from takeback.diff.spectra.spectra import Spectra as Spectra
from takeback.diff.spectra.spectra import SpectraWork as SpectraWork
from takeback.diff.spectra.spectra import spectra as spectra
