"""Contrasts: what arms of a study differ in, over training runs, and which components carry the gain."""

from takeback.study.contrasts import show as show
from takeback.study.contrasts.contrasts import Contrasts as Contrasts
from takeback.study.contrasts.contrasts import contrasts as contrasts
from takeback.study.contrasts.contrasts import write_contrasts as write_contrasts
from takeback.study.contrasts.reach import announce as announce
from takeback.study.contrasts.reach import reach as reach
