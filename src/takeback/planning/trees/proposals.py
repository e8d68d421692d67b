"""Proposals: problems that may be the same, in a file that a person decides line by line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from takeback.planning.trees.tree import Mention
from takeback.planning.trees.wording import normalised
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.files import atomic_file
from takeback.run.reading import read_text

OPEN, SAME, DIFFERENT = "?", "same", "different"
BETWEEN: Final = " <=> "
HEADER: Final = """\
# Problems that may be the same. Write "same" or "different" for the "?" that a line begins with, and merge
# again: what is the same becomes one problem, what is different is not proposed again, "?" does nothing.
"""
_LINE = re.compile(r"^(\S+)\s+(?:([01]\.\d+)\s+)?(.+)$")

Pair = tuple[str, str]


class Proposal(NamedTuple):
    """Two wordings, how alike they are, what was decided, and who said each (for the reader)."""

    decision: str
    likeness: float
    one: str
    other: str
    said: tuple[Mention, ...] = ()

    @property
    def pair(self) -> Pair:
        """The two wordings, normalised, in alphabetical order."""
        return pair_of(self.one, self.other)


def pair_of(one: str, other: str) -> Pair:
    """Return two wordings, normalised, in alphabetical order."""
    first, second = sorted((normalised(one), normalised(other)))
    return first, second


@dataclass(frozen=True)
class MergeDecisions:
    """What a person decided: by pair of wordings, `same` or `different`, with the line that says so."""

    made: Mapping[Pair, Proposal] = field(default_factory=dict[Pair, Proposal])

    def pairs(self, decision: str) -> list[Pair]:
        """Return the pairs that were decided so."""
        return sorted(pair for pair, one in self.made.items() if one.decision == decision)


def read_decisions(path: str | Path) -> MergeDecisions:
    """Read what a person decided in a file of proposals; none where there is no file.

    Raises:
        TakebackError: a line is wrong, or a pair decided both ways: the message begins with FILE:LINE.
    """
    path = Path(path)
    if not path.exists():
        return MergeDecisions()
    made: dict[Pair, Proposal] = {}
    for number, raw in enumerate(read_text(path).splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        found = _LINE.match(line)
        sides = found[3].split(BETWEEN.strip()) if found else []
        if found is None or len(sides) != 2 or not all(side.strip() for side in sides):
            raise TakebackError(f"{path}:{number}: write 'same' or 'different', then WORDS{BETWEEN}WORDS")
        if found[1] not in (OPEN, SAME, DIFFERENT):
            raise TakebackError(
                f"{path}:{number}: {unknown_name('decision', found[1], (SAME, DIFFERENT, OPEN))}"
            )
        one = Proposal(found[1], float(found[2] or 0), sides[0].strip(), sides[1].strip())
        if one.decision == OPEN:
            continue
        if one.pair in made and made[one.pair].decision != one.decision:
            raise TakebackError(
                f"{path}:{number}: this pair is decided otherwise above; keep one of the lines"
            )
        made[one.pair] = one
    return MergeDecisions(made)


def write_proposals(proposals: Iterable[Proposal], decisions: MergeDecisions, path: str | Path) -> None:
    """Write what is open, most alike first, and below it what was decided.

    Raises:
        TakebackError: the disk refuses.
    """
    lines = [HEADER]
    for one in proposals:
        lines += [f"\n#   {said}\n" for said in one.said[:1]]
        lines += [f"#   {said}\n" for said in one.said[1:]]
        lines.append(_line(one))
    if decisions.made:
        lines.append("\n# decided\n")
        lines += [_line(one) for _, one in sorted(decisions.made.items())]
    with atomic_file(path) as draft:
        draft.write_bytes("".join(lines).encode("utf-8"))


def _line(one: Proposal) -> str:
    sides = BETWEEN.join(side.replace(BETWEEN.strip(), " ") for side in (one.one, one.other))
    return f"{one.decision} {one.likeness:.2f} {sides}\n"
