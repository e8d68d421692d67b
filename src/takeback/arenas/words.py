"""What an arena calls its things, for reports and messages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """An arena's own words, in the singular; by default those of an environment.

    >>> Words(action="move", situation="position").situation
    'position'
    """

    action: str = "action"
    """What a policy chooses."""
    situation: str = "situation"
    """Where it chooses."""
    game: str = "episode"
    """What is played on from a situation."""
    defender: str = ""
    """Who answers the policy in a game, such as `the best defender`; empty where nobody does."""
    starts: str = "a held-out situation"
    """Where games start."""
    won: str = ""
    """The outcome of a game that wins it, such as `mate`; empty: games are told by their scores."""
    score: str = "return"
    """What a game's score is."""
    outcomes: tuple[str, ...] = ("ended", "truncated", "illegal", "unfinished")
    """How games end, in the order of tables."""
    endings: str = ""
    """Sentences that say what the outcomes mean; empty where they speak for themselves."""
    cluster: str = ""
    """What situations of one cluster share, such as `symmetry`."""
    reward: str = ""
    """What training rewards an answer with, such as a user's function; empty: legality and utility."""
    text: str = ""
    """A sentence that says how to read a situation's compact prompt; empty where it speaks for itself."""
