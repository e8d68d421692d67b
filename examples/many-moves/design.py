"""What is trained and read for the page on a goal over many moves; locked before the run."""

from __future__ import annotations

from typing import Any, Final

BASE: Final = "endgame-base"
SEEDS: Final = tuple(range(8))
NEAR: Final = (1, 2, 3)
"""Thirds of a run: at most so many moves from mate."""
HORIZON: Final = 6
"""Moves in which a game has to be won."""

SINGLE: Final = {"prompts": 48, "completions": 4}
ARMS: Final[dict[str, dict[str, Any]]] = {
    "rl-games": {
        "method": "rl",
        "steps": 48,
        "horizon": HORIZON,
        "mate_within": NEAR,
        "prompts": 24,
        "completions": 8,
    },
    "rl-near": {"method": "rl", "steps": 48, "mate_within": NEAR, **SINGLE},
    "rl-win": {"method": "rl", "steps": 48, **SINGLE},
    "rft-win": {"method": "rft", "steps": 72, **SINGLE},
}
"""RL on whole games that start near mate; RL on single moves where those games start; RL and fine-tuning on
the own best answers on single moves wherever a game is won, as in the core design. No arm has a KL penalty.

`rl-games` is read at its end, the others where they are as far from base as the `rl-games` of their seed.
"""
RATE: Final = 3.0e-4
EVERY: Final = 4
"""Steps between the models among which the one at the distance is found."""
FARTHEST: Final = ("rl-near", "rl-win")
"""Arms that are read at their end, too. `rl-near` was added when the first run had shown that it is farthest
from base in its middle; nothing else of it was known then."""

MATCHING: Final = (256, 7100)
"""How many held-out situations arms are matched on, and the seed they are drawn with."""
READ: Final = (512, 7300)
"""Of the situations for utility, legality and pursuit."""
STARTS: Final = (60, 7200)
"""Of the starts of games: so many of each distance to mate, 1 to `HORIZON`."""
PROBED: Final = (128, 7400)
"""Of the situations that probes are asked of."""
GAMES: Final = 2
"""Games from each start against each defender."""
EPISODE: Final = 3
"""Moves of an episode."""
CUT: Final = ("rl-games", "rl-win")
"""Arms whose components are taken back."""
TAKEN_BACK: Final = ("each head", "each mlp", "EMBED", "UNEMBED")
CONTROLS: Final = 3

SIDE: Final[dict[str, dict[str, Any]]] = {
    "from afar": {"parent": BASE, "steps": 48, "horizon": 8, "prompts": 24, "completions": 8, "seed": 102},
    "longer": {
        "parent": BASE,
        "steps": 96,
        "horizon": 6,
        "mate_within": (1, 2, 3, 4, 5, 6),
        "prompts": 24,
        "completions": 8,
        "kl": 0.01,
        "seed": 103,
    },
    "network": {
        "parent": "endgame-mlp",
        "steps": 96,
        "learning_rate": 1.0e-3,
        "horizon": 6,
        "mate_within": NEAR,
        "prompts": 24,
        "completions": 8,
        "seed": 104,
    },
}
"""Single runs beside the design, for how far games can be learned: from all starts at once, longer and from
farther away, and by the shallow network. Added when two seeds of the design had been read."""
