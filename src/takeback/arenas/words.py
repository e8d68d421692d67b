"""What an arena calls its things, for reports and messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
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

    def told(self, text: str, kinds: Sequence[str] = ()) -> str:
        """Return in these words what takeback tells of legal actions in situations; names in quotes stay.

        Where no kinds of illegal answers are known, every answer is legal, and legality is not spoken of.

        >>> Words(action="answer", situation="prompt").told("entropy over legal actions, in nats")
        'entropy over answers, in nats'
        >>> Words(action="move").told("whether the likeliest legal action became another", ["unsound"])
        'whether the likeliest legal move became another'
        """
        legal = "legal " if kinds else ""
        put = {"legal action": f"{legal}{self.action}", "situation": self.situation}

        def in_these(found: re.Match[str]) -> str:
            if found["quoted"]:
                return found[0]
            if found["legality"]:
                return found[0] if kinds else ""
            return put[found["word"]]

        return _TOLD.sub(in_these, text)


_TOLD = re.compile(
    r"(?P<quoted>'[^']*')"
    r"|(?P<legality>; illegal answers count 0"
    r"|,? (?:and )?kinds of illegal answers(?: and the undecided rest)?)"
    r"|\b(?P<word>legal action|situation)"
)
"""What is told of an arena's things, and of answers that are not legal."""
