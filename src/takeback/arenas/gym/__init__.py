"""Arenas of Gymnasium environments."""

from takeback.arenas.gym.arena import Gym as Gym
from takeback.arenas.gym.goals import RewardGoal as RewardGoal
from takeback.arenas.gym.paths import Path as Path
