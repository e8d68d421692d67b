"""Policy networks as policies: exact readouts of their outputs."""

from takeback.policies.network.plan import NetworkPlan as NetworkPlan
from takeback.policies.network.policy import NetworkPolicy as NetworkPolicy
