"""Weight space: how checkpoints differ, entry by entry, in shape and in circuits, and how runs compare."""

from typing import TYPE_CHECKING

from takeback.run.lazy import lazy_names

if TYPE_CHECKING:
    from takeback.weights.circuits import Circuits as Circuits
    from takeback.weights.circuits import circuits as circuits
    from takeback.weights.compare import MEASURES as MEASURES
    from takeback.weights.compare import PairSettings as PairSettings
    from takeback.weights.compare import compare as compare
    from takeback.weights.compare import compare_runs as compare_runs
    from takeback.weights.compare import compare_shard as compare_shard
    from takeback.weights.compare import expected as expected
    from takeback.weights.compare import follow as follow
    from takeback.weights.entries import COLUMNS as COLUMNS
    from takeback.weights.entries import Diff as Diff
    from takeback.weights.entries import Moments as Moments
    from takeback.weights.entries import Ulps as Ulps
    from takeback.weights.entries import diff as diff
    from takeback.weights.entries import ulps as ulps
    from takeback.weights.published import Published as Published
    from takeback.weights.published import RankK as RankK
    from takeback.weights.published import published as published
    from takeback.weights.published import rank_k as rank_k
    from takeback.weights.runs import Between as Between
    from takeback.weights.runs import Label as Label
    from takeback.weights.runs import Packed as Packed
    from takeback.weights.runs import WeightPath as WeightPath
    from takeback.weights.runs import between as between
    from takeback.weights.runs import pack as pack
    from takeback.weights.runs import weight_path as weight_path
    from takeback.weights.spectra import Spectra as Spectra
    from takeback.weights.spectra import spectra as spectra

lazy_names(__name__)
