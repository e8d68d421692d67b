"""Policies: what reads a model in an arena; `language/` and `network/` are the two kinds."""

from typing import TYPE_CHECKING

from takeback.run.lazy import lazy_names

if TYPE_CHECKING:
    from takeback.policies.load import load_policy as load_policy
    from takeback.policies.play import player as player
    from takeback.policies.policy import Policy as Policy
    from takeback.policies.policy import read as read
    from takeback.policies.readout import Readout as Readout
    from takeback.policies.readout import Readouts as Readouts

lazy_names(__name__)
