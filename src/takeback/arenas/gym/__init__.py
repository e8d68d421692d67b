"""Arenas of Gymnasium environments."""

from takeback.arenas.gym.arena import Gym as Gym
from takeback.arenas.gym.goals import Goal as Goal
from takeback.arenas.gym.paths import Path as Path
