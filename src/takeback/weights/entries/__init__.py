"""Entry by entry: sums over both files in one streamed pass, and the steps of bfloat16 that entries moved."""

from takeback.weights.entries import show as show
from takeback.weights.entries.diff import COLUMNS as COLUMNS
from takeback.weights.entries.diff import Diff as Diff
from takeback.weights.entries.diff import diff as diff
from takeback.weights.entries.diff import diff_of as diff_of
from takeback.weights.entries.moments import TOLERANCES as TOLERANCES
from takeback.weights.entries.moments import Moments as Moments
from takeback.weights.entries.stream import Pass as Pass
from takeback.weights.entries.ulps import Ulps as Ulps
from takeback.weights.entries.ulps import UlpsWork as UlpsWork
from takeback.weights.entries.ulps import ulps as ulps
