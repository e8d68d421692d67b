"""Policy networks as policies: exact readouts of their outputs."""

from takeback.behaviour.network.plan import NetworkPlan as NetworkPlan
from takeback.behaviour.network.policy import NetworkPolicy as NetworkPolicy
