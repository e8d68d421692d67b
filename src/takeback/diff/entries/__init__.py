"""Entry by entry: sums over both files in one streamed pass, and the steps of bfloat16 that entries moved."""

from takeback.diff.entries.diff import COLUMNS as COLUMNS
from takeback.diff.entries.diff import Diff as Diff
from takeback.diff.entries.diff import diff as diff
from takeback.diff.entries.moments import TOLERANCES as TOLERANCES
from takeback.diff.entries.moments import Moments as Moments
from takeback.diff.entries.stream import Pass as Pass
from takeback.diff.entries.ulps import Ulps as Ulps
from takeback.diff.entries.ulps import UlpsWork as UlpsWork
from takeback.diff.entries.ulps import ulps as ulps
