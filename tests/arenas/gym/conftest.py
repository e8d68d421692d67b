"""Arenas that several modules use, made once."""

from functools import cache

import pytest

import gym_toys  # noqa: F401
from takeback.arenas.gym import Gym


@cache
def gym(name: str) -> Gym:
    return Gym(name)


@pytest.fixture(name="gym", scope="session")
def gym_fixture():
    """A function from a name to its arena."""
    return gym


@pytest.fixture(scope="session")
def cartpole() -> Gym:
    return gym("gym:CartPole-v1")


@pytest.fixture(scope="session")
def grid() -> Gym:
    return gym("gym:MiniGrid-Empty-Random-6x6-v0")


@pytest.fixture(scope="session")
def taxi() -> Gym:
    return gym("gym:Taxi-v4")


@pytest.fixture(scope="session")
def lake() -> Gym:
    return gym("gym:FrozenLake-v1")
