"""Weight space: how far every tensor, component and layer moved between two checkpoints."""

from takeback.diff.measure import COLUMNS as COLUMNS
from takeback.diff.measure import Diff as Diff
from takeback.diff.measure import diff as diff
from takeback.diff.moments import Moments as Moments
