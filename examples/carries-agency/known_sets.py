"""What is trained to try rules that name components: known sets, arms, pairs of arms with known answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BASE: Final = "endgame-base"
GOALS: Final = ("win", "corner")
SEEDS: Final = tuple(range(8))

SITUATIONS: Final = (512, 1500)
"""Held-out situations that everything is read on, and the seed that draws them."""
MATCHING: Final = (128, 1501)
"""Held-out situations on which the distance from base is read while an arm trains, and their seed."""

HALF, FULL = 0.11, 0.22
"""Nats from base at which the second part of a model begins, and at which models are read."""
MOST: Final = 160
"""An arm stops after so many steps, whatever its distance."""

STRONG: Final = ("L0.MLP", "L3.MLP", "EMBED", "L0.H2", "L0.H1", "UNEMBED", "L2.MLP", "L0.H3")
"""Components that cost most in other runs, in their order: a rule is tried on the first four that are not of
the set, where it would err most easily."""

S, REST = "S", "~S"


@dataclass(frozen=True)
class KnownSet:
    """A set of components that is trained in another way than the rest, and how fast.

    Attributes:
        text: the set.
        members: those of its components that a rule may name.
        rate: the learning rate where only the set is free.
    """

    text: str
    members: tuple[str, ...]
    rate: float

    @property
    def units(self) -> tuple[str, ...]:
        """The components that a rule is asked about: the set's, and four of the rest."""
        return (*self.members, *[one for one in STRONG if one not in self.members][:4])


_SIX = ("L0.MLP", "L1.H1", "L1.H3", "L3.H0", "L3.H1", "L3.H3")
SETS: Final = {
    "layer 1": KnownSet("L1.*", ("L1.H0", "L1.H1", "L1.H2", "L1.H3", "L1.MLP"), 1.3e-3),
    "six": KnownSet(" ".join(_SIX), _SIX, 5e-4),
    "two heads": KnownSet("L0.H2 L3.H3", ("L0.H2", "L3.H3"), 1.5e-3),
    "L0.MLP": KnownSet("L0.MLP", ("L0.MLP",), 8e-4),
}
"""In the order in which they are done; `six` and `two heads` were drawn at random (numpy, seed 15)."""

REST_RATE: Final = 1.5e-4
"""The learning rate where all but the set is free."""
CHANCE_RATE: Final = 2.0
"""How many times as high it is where the reward is by chance, which moves a policy more slowly."""

HOW: Final = {
    "rl": {"method": "rl", "kl": 0.01},
    "rft": {"method": "rft"},
    "chance": {"method": "rl", "kl": 0.01, "ignore_output": True},
}


@dataclass(frozen=True)
class Arm:
    """A part of a model that is trained by itself.

    Attributes:
        how: a key of `HOW`.
        free: the set or the rest.
        parent: the arm that it goes on from, where that is 0.11 nats from base; by default base.
        stops: the distances at which a model of it is kept.
    """

    how: str
    free: str
    parent: str = ""
    stops: tuple[float, ...] = (FULL,)


ARMS: Final = {
    "rl-S": Arm("rl", S, stops=(HALF, FULL)),
    "rft-S": Arm("rft", S, stops=(HALF, FULL)),
    "chance-S": Arm("chance", S, stops=(HALF,)),
    "rl-S rft-rest": Arm("rft", REST, "rl-S"),
    "rft-S rl-rest": Arm("rl", REST, "rft-S"),
    "rl-S chance-rest": Arm("chance", REST, "rl-S"),
    "chance-S rl-rest": Arm("rl", REST, "chance-S"),
    "rft-rest": Arm("rft", REST),
    "rl-rest": Arm("rl", REST),
}
APART: Final = ("rft-rest", "rl-rest")
"""Arms of the pairs that are easiest to tell apart; they are trained last."""


@dataclass(frozen=True)
class Known:
    """Two arms that a rule compares, and what it should name in the first.

    Attributes:
        one: the arm in which something is looked for.
        other: its control.
        named: the part that is to be named, `S` or `~S`; empty where nothing is.
    """

    one: str
    other: str
    named: str = ""


MIRRORED: Final = ", mirrored"

PAIRS: Final = {
    "RL or RFT": Known("rl-S rft-rest", "rft-S rl-rest", S),
    f"RL or RFT{MIRRORED}": Known("rft-S rl-rest", "rl-S rft-rest", REST),
    "goal or chance": Known("rl-S chance-rest", "chance-S rl-rest", S),
    f"goal or chance{MIRRORED}": Known("chance-S rl-rest", "rl-S chance-rest", REST),
    "apart": Known("rl-S", "rft-rest", S),
    f"apart{MIRRORED}": Known("rl-rest", "rft-S", REST),
    "same set": Known("rl-S", "rft-S"),
    "chance alone": Known("chance-S", "rft-S"),
}
"""In `RL or RFT` both parts of both models learned the goal, in one model the set by RL and the rest by RFT,
in the other the reverse; in `goal or chance` one part was moved by a reward that ignores the answer."""

EXCHANGED: Final = ("RL or RFT", "goal or chance")
"""Pairs between whose arms the set and the rest are exchanged as wholes, too."""
