"""Trees of problems that tests make up."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from takeback.planning.trees import Tree, parse_tree

FRONT = "---\nauthor: {}\ndate: 2026-11-20\nstage: {}\n---\n"
POOL = ("No names", "no names", "No names!", "too many weights", "noise", "one run only", "ein Name", "cost")


def tree(body: str, author: str = "Ada", stage: str = "before-reading", name: str = "") -> Tree:
    """Read a tree from its list."""
    return parse_tree(FRONT.format(author, stage) + body, name or f"{author.lower()}.md")


STAGES = ("before-reading", "after-reading")
_NOTES = st.sampled_from([(), ("see there",), ("twice\nas long", "(Ada)"), ("see there (Ada)",)])
_PARTS = st.lists(st.tuples(st.integers(0, len(POOL) - 1), st.integers(0, 3), _NOTES), max_size=7)


def trees(author: str = "Ada") -> st.SearchStrategy[Tree]:
    """Draw small trees in which what stands later in the pool never has what stands earlier below it.

    So trees of several people make no circle; the first three wordings of the pool are one problem.
    """
    return st.builds(_made, st.just(author), st.integers(1, 28), st.sampled_from(STAGES), _PARTS)


def _made(author: str, day: int, stage: str, parts: list[tuple[int, int, tuple[str, ...]]]) -> Tree:
    lines, path = ["- nothing is known"], list[int]()
    for k, depth, notes in parts:
        del path[depth:]
        while path and max(path[-1], 2) >= k:
            path.pop()
        path.append(k)
        margin = "  " * len(path)
        lines.append(f"{margin}- {POOL[k]}")
        noted = "\n\n".join(notes).split("\n") if notes else []
        lines += [f"{margin}  > {line}" if line else f"{margin}  >" for line in noted]
    front = FRONT.format(author, stage).replace("-20", f"-{day:02}")
    return parse_tree(front + "\n".join(lines) + "\n", f"{author.lower()}.md")


def large(people: int, problems: int, seed: int) -> list[Tree]:
    """Return trees with so many problems each, about a third of them shared word for word or nearly."""
    chance = random.Random(seed)
    nouns = [
        f"{a}{b}" for a in ("weight", "head", "goal", "run", "seed", "probe", "layer") for b in "abcdefgh"
    ]
    verbs = ("hides", "moves", "breaks", "mixes with", "needs", "costs", "looks like", "depends on")

    def sentence() -> str:
        return (
            f"{chance.choice(nouns)} {chance.choice(verbs)} {chance.choice(nouns)} in {chance.choice(nouns)}"
        )

    shared = [sentence() for _ in range(problems // 3)]
    found: list[Tree] = []
    for person in range(people):
        mine = [f"{sentence()} for {person}" for _ in range(problems - len(shared))]
        mine += [one if chance.random() < 0.7 else f"{one} too" for one in shared]
        lines, depth = ["- nothing is known"], 0
        for words in sorted(set(mine)):
            depth = chance.randint(1, min(depth + 1, 5))
            lines.append(f"{'  ' * depth}- {words}")
        found.append(tree("\n".join(lines) + "\n", f"Person{person}"))
    return found
