"""Several tuned checkpoints of one base: how alike their changes are, and the path of one run."""

from takeback.weights.runs import show_between as show_between
from takeback.weights.runs import show_path as show_path
from takeback.weights.runs.between import Between as Between
from takeback.weights.runs.between import between as between
from takeback.weights.runs.fine_tunes import Label as Label
from takeback.weights.runs.pack import Packed as Packed
from takeback.weights.runs.pack import pack as pack
from takeback.weights.runs.weight_path import WeightPath as WeightPath
from takeback.weights.runs.weight_path import weight_path as weight_path
