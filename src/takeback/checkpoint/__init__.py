"""Checkpoints opened lazily and only for reading: folders, hub names, base+adapter, plain state dicts."""

from typing import TYPE_CHECKING

from takeback.run.lazy import lazy_names

if TYPE_CHECKING:
    from takeback.checkpoint.checkpoint import Checkpoint as Checkpoint
    from takeback.checkpoint.load import load_model as load_model
    from takeback.checkpoint.load import load_network as load_network
    from takeback.checkpoint.load import load_tokenizer as load_tokenizer
    from takeback.checkpoint.network import Network as Network
    from takeback.checkpoint.network_config import NetworkConfig as NetworkConfig
    from takeback.checkpoint.opening import open_checkpoint as open_checkpoint
    from takeback.checkpoint.pair import Difference as Difference
    from takeback.checkpoint.pair import Pair as Pair
    from takeback.checkpoint.pair import PairMismatch as PairMismatch
    from takeback.checkpoint.pair import open_pair as open_pair
    from takeback.checkpoint.placement import Placement as Placement
    from takeback.checkpoint.shipped import shipped as shipped
    from takeback.checkpoint.shipped import shipped_names as shipped_names
    from takeback.checkpoint.weights import Weights as Weights
    from takeback.checkpoint.weights import narrowest_dtype as narrowest_dtype
    from takeback.checkpoint.weights import raw_bytes as raw_bytes

lazy_names(__name__)
