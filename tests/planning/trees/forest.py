"""Trees of problems that tests make up."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from takeback.planning.trees import Front, Node, Own, Tree, format_tree, parse_tree

FRONT = "---\nauthor: {}\ndate: 2026-11-20\nstage: {}\n---\n"
POOL = ("No names", "no names", "No names!", "too many weights", "noise", "one run only", "ein Name", "cost")


def tree(body: str, author: str = "Ada", stage: str = "before-reading", name: str = "") -> Tree:
    """Read a tree from its list."""
    return parse_tree(FRONT.format(author, stage) + body, name or f"{author.lower()}.md")


@st.composite
def trees(draw: st.DrawFn, author: str = "Ada", words: st.SearchStrategy[str] | None = None) -> Tree:
    """Draw a small tree whose problems are ordered, so that trees of several people make no circle."""
    words = words or st.sampled_from(POOL)

    def nodes(depth: int, least: int) -> tuple[Node, ...]:
        if depth == 3 or least >= len(POOL):
            return ()
        picked = draw(st.lists(st.integers(least, len(POOL) - 1), max_size=3, unique=True))
        return tuple(Node(_own(draw, POOL[k]), nodes(depth + 1, _after(k))) for k in picked)

    top = Node(Own("nothing is known"), nodes(0, 0))
    front = Front(author, f"2026-11-{draw(st.integers(1, 28)):02}", draw(st.sampled_from(STAGES)))
    return parse_tree(format_tree(Tree(front, (top,))), f"{author.lower()}.md")


STAGES = ("before-reading", "after-reading")


def _after(k: int) -> int:
    """Return the first place in the pool that says something else; its first three say the same."""
    return max(3, k + 1)


def _own(draw: st.DrawFn, words: str) -> Own:
    notes = tuple(draw(st.lists(st.sampled_from(["see there", "twice\nas long", "(Ada)"]), max_size=2)))
    see = tuple(draw(st.lists(st.sampled_from(["arXiv 1", "https://example.org"]), max_size=1)))
    return Own(words, notes=notes, see=see)


def large(people: int, problems: int, seed: int) -> list[Tree]:
    """Return trees with so many problems each, about a third of them shared word for word or nearly."""
    chance = random.Random(seed)
    nouns = [f"{a}{b}" for a in ("weight", "head", "goal", "run", "seed", "probe", "layer") for b in "abcdefgh"]
    verbs = ("hides", "moves", "breaks", "mixes with", "needs", "costs", "looks like", "depends on")

    def sentence() -> str:
        return f"{chance.choice(nouns)} {chance.choice(verbs)} {chance.choice(nouns)} in {chance.choice(nouns)}"

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
