"""Contact with reality: what the records of runs say of the problems that are tied to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from takeback.planning.trees.graph import ProblemGraph
from takeback.planning.trees.tree import Link, Tree
from takeback.run.errors import TakebackError, unknown_name

UNTESTED, SUPPORTED, REFUTED = "untested", "supported", "refuted"
MIXED, STUDIED = "mixed", "studied"
TALK: Final = "talk"
"""Of a problem that is tied to nothing."""

STATES: Final = (SUPPORTED, REFUTED, MIXED, STUDIED, UNTESTED, TALK)


class Evidence(NamedTuple):
    """What became of one link of a problem.

    Attributes:
        link: what the problem is tied to.
        state: supported or refuted; untested where the run is not there or finished, or the record can't
            tell; studied for a finished study as a whole.
        told: the numbers that decided it, or why it is untested.
        interval: the number that the rule compares, with its 95% interval over training runs.
    """

    link: Link
    state: str
    told: str
    interval: Any = None
    """A `takeback.study.conjectures.margin.Margin`, or None."""


class Branch(NamedTuple):
    """A problem right under a top one, and how many of its problems are in which state."""

    problem: str
    problems: int
    states: Mapping[str, int]

    @property
    def is_talk(self) -> bool:
        """Whether no run has decided anything in it."""
        return not any(self.states[state] for state in (SUPPORTED, REFUTED, MIXED, STUDIED))


def evidence_of(tree: Tree, runs: str | Path = ".") -> dict[str, tuple[Evidence, ...]]:
    r"""Return what the records say of each problem that is tied to one, by its key in the tree's graph.

    Args:
        tree: of problems.
        runs: the folder that the names of runs start from.

    Raises:
        UnknownName: a run that is there has no conjecture of that name; FILE:LINE comes first.
        TakebackError: a record is damaged, conjectures are about contrasts of one name that mean different
            things, or problems make each other hard in a circle.

    Examples:
        >>> from takeback.planning.trees.read import parse_tree
        >>> front = "---\nauthor: Ada\ndate: 2026-11-20\nstage: before-reading\n---\n"
        >>> tree = parse_tree(front + "- no place for agency\n  conjecture: no-place in runs/nowhere\n")
        >>> evidence_of(tree)["no place for agency"][0].told
        'no run at runs/nowhere'
    """
    graph = ProblemGraph.of(tree)
    root, meant = Path(runs), list[tuple[str, Mapping[str, str]]]()

    @cache
    def settle(link: Link) -> Evidence:
        found, means = _settled(link, root), _meant(link, root)
        if means is not None:
            from takeback.study.definitions import check_same

            check_same([*meant, means])
            meant.append(means)
        return found

    found: dict[str, tuple[Evidence, ...]] = {}
    for key, nodes in graph.nodes.items():
        for node in nodes:
            for link in node.own.links:
                try:
                    found[key] = (*found.get(key, ()), settle(link))
                except TakebackError as error:
                    raise type(error)(f"{tree.name}:{node.line}: {error}") from None
    return found


def state_of(evidence: Iterable[Evidence]) -> str:
    """Return the state of a problem by all it is tied to.

    >>> link = Link("study", "", "runs/demo")
    >>> state_of([Evidence(link, SUPPORTED, ""), Evidence(link, UNTESTED, "")]), state_of([])
    ('supported', 'talk')
    """
    states = {one.state for one in evidence}
    if {SUPPORTED, REFUTED} <= states:
        return MIXED
    return next((state for state in (SUPPORTED, REFUTED, STUDIED, UNTESTED) if state in states), TALK)


def branches(tree: Tree, found: Mapping[str, tuple[Evidence, ...]]) -> list[Branch]:
    """Count for each problem right under a top one how many of its problems are in which state."""
    graph = ProblemGraph.of(tree)
    told: list[Branch] = []
    for key in dict.fromkeys(child for root in graph.roots for child in graph.children[root]):
        states = [state_of(found.get(one, ())) for one in (key, *graph.below(key))]
        counts = {state: states.count(state) for state in STATES}
        told.append(Branch(graph.nodes[key][0].words, len(states), counts))
    return told


def _settled(link: Link, root: Path) -> Evidence:
    run = root / link.run
    if not run.is_dir():
        return Evidence(link, UNTESTED, f"no run at {run}")
    table = run / "conjectures.parquet"
    if not link.name:
        return _studied(link, run, table)
    if not table.exists():
        return _not_yet(link, run)
    rows = _rows(table)
    if link.name not in rows:
        raise unknown_name(f"conjecture of {run}", link.name, rows)
    return _decided(link, run, rows[link.name])


def _studied(link: Link, run: Path, table: Path) -> Evidence:
    from takeback.study.conjectures.record import unfinished

    if lacking := unfinished(run):
        return Evidence(link, UNTESTED, f"{run} is not finished: it lacks {lacking}")
    if not table.exists():
        return Evidence(link, STUDIED, "finished, without conjectures")
    outcomes = [row["outcome"] for row in _rows(table).values()]
    decided = [bool(one) for one in outcomes if one is not None]
    told = f"of {len(outcomes)} conjectures {sum(decided)} true, {len(decided) - sum(decided)} false"
    return Evidence(link, STUDIED, told)


def _not_yet(link: Link, run: Path) -> Evidence:
    """Tell that a run has decided nothing yet, once its conjectures are known to have this one."""
    from takeback.study.conjectures.lock import is_locked, standings

    names = [one.conjecture.name for one in standings(run)]
    if link.name not in names:
        raise unknown_name(f"conjecture of {run}", link.name, names)
    return Evidence(link, UNTESTED, f"{run} is {'not finished' if is_locked(run) else 'not started'}")


def _decided(link: Link, run: Path, row: Mapping[str, Any]) -> Evidence:
    from takeback.study.conjectures.margin import margin
    from takeback.study.conjectures.record import RunTables
    from takeback.study.conjectures.rule import parse_rule

    if row["outcome"] is None:
        return Evidence(link, UNTESTED, f"{row['state']}: {row['why']}")
    holds = bool(row["outcome"]) == (link.kind == "conjecture")
    told = row["why"] if row["edit"] == "as locked" else f"{row['why']} ({row['edit']})"
    interval = margin(parse_rule(row["rule"]), RunTables.of(run))
    return Evidence(link, SUPPORTED if holds else REFUTED, told, interval)


def _meant(link: Link, root: Path) -> tuple[str, Mapping[str, str]] | None:
    """Return what the contrasts mean that a link's conjecture reads, and where; None where it reads none."""
    from takeback.study.conjectures.record import RunTables
    from takeback.study.conjectures.rule import parse_rule
    from takeback.study.definitions import definitions_in

    run = root / link.run
    if not link.name or not (run / "conjectures.parquet").exists():
        return None
    rule = parse_rule(_rows(run / "conjectures.parquet")[link.name]["rule"])
    if not any(one.table == "contrasts" for one in rule.readings()):
        return None
    told = definitions_in(run, RunTables.of(run).get("contrasts"))
    return str(run), {name: told[name] for name in rule.contrasts(told)}


def _rows(table: Path) -> dict[str, Mapping[str, Any]]:
    from takeback.run.tables import read_table, records

    return {str(row["name"]): row for row in records(read_table(table))}
