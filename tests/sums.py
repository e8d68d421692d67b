"""An arena of one's own: sums of two digits, answered by their last digit."""

from dataclasses import dataclass

import numpy as np

from takeback.arenas import ClosedArena, Words


@dataclass(frozen=True)
class Sum:
    a: int
    b: int

    def __str__(self):
        return f"{self.a}+{self.b}="


class Sums(ClosedArena[Sum]):
    name, words = "sums", Words(action="digit", situation="sum")

    def __init__(self):
        self.goals = self.goals_by(
            right=lambda sum, digit: int(digit) == (sum.a + sum.b) % 10,
            first=lambda sum, digit: int(digit) == sum.a,
        )

    def situations(self, split, n, seed, goal=None):
        every = [Sum(a, b) for a in range(10) for b in range(10)]
        some = [sum for sum in every if ((3 * sum.a + sum.b) % 4 == 0) == (split == "held-out")]
        return [some[place] for place in np.random.default_rng(seed).permutation(len(some))[:n]]

    def legal(self, situation):
        return tuple("0123456789")
