"""Ordinary RL agents, by Stable-Baselines3."""

from typing import Any


def train_agent(*a: Any) -> None:
    """X"""
    raise NotImplementedError
