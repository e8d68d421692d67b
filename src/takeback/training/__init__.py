"""Training arms: thin recipes over TRL; and a callback that tells of anybody's training."""

from typing import TYPE_CHECKING

from takeback.run.lazy import lazy_names

if TYPE_CHECKING:
    from takeback.training.callback import Callback as Callback
    from takeback.training.recipe import DPO as DPO
    from takeback.training.recipe import RFT as RFT
    from takeback.training.recipe import RL as RL
    from takeback.training.recipe import SFT as SFT
    from takeback.training.recipe import Agent as Agent
    from takeback.training.recipe import Clone as Clone
    from takeback.training.recipe import Drift as Drift
    from takeback.training.recipe import Fresh as Fresh
    from takeback.training.recipe import Pretrain as Pretrain
    from takeback.training.recipe import Recipe as Recipe
    from takeback.training.recipe import check_recipe as check_recipe
    from takeback.training.recipe import load_recipe as load_recipe
    from takeback.training.run import train as train

lazy_names(__name__)
