"""Commands on choosing what to work on: trees of problems, and what evidence they rest on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from takeback.cli.command import WRITTEN, command_of
from takeback.cli.options import Json, argument, option
from takeback.cli.plain import print_done, print_json
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    from takeback.planning.trees import Tree

app = typer.Typer(
    help="Choose what to work on: trees of problems, and what evidence they rest on.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

TreeFile = Annotated[Path, argument("TREE", "A Markdown file with a list of problems.")]
Runs = Annotated[Path, option("--runs", "DIR", "The folder from which the names of runs in a tree start.")]
Near = Annotated[
    float, option("--near", "SHARE", "Least likeness of two wordings that may be the same.", min=0, max=1)
]


@app.callback()
def plan() -> None:
    """Choose what to work on: trees of problems, and what evidence they rest on."""


@command_of(app)
def merge(
    trees: Annotated[list[Path], argument("TREES", "Trees of people, and trees merged before.")],
    out: Annotated[Path, option("--out -o", "FILE", "Where the merged tree goes."), WRITTEN],
    decisions: Annotated[
        Path | None,
        option("--decisions", "FILE", "The file of proposals and decisions; by default beside --out."),
    ] = None,
    near: Near = 0.75,
    as_json: Json = False,
) -> None:
    """Merge trees, keep who said what, and propose what else may be the same in a file to be decided."""
    from takeback.planning.trees import merge as merged_of
    from takeback.planning.trees import read_decisions, read_tree, write_proposals, write_tree
    from takeback.planning.trees.show import merge_words

    path = decisions or out.with_name(f"{out.stem}.proposals.txt")
    decided = read_decisions(path)
    read = [read_tree(one) for one in trees]
    _may_replace(out)
    found = merged_of(read, decided, near)
    write_tree(found.tree, out)
    if found.proposals or decided.made or path.exists():
        write_proposals(found.proposals, decided, path)
    if as_json:
        pairs = [{"likeness": one.likeness, "one": one.one, "other": one.other} for one in found.proposals]
        nodes = sum(not node.own.refers for node in found.tree.walk())
        idle = [list(pair) for pair in found.idle]
        print_json(
            {"tree": str(out), "problems": nodes, "decisions": str(path), "proposals": pairs, "idle": idle}
        )
        return
    for line in merge_words(found, str(out), str(path)):
        typer.echo(line)


@command_of(app)
def common(
    tree: TreeFile,
    top: Annotated[int, option("--top", "N", "How many to print; JSON has all.", min=1)] = 20,
    runs: Runs = Path(),
    as_json: Json = False,
) -> None:
    """Rank problems by how many people named them, how many others they make hard, and what hangs on them."""
    from takeback.planning.trees import common as ranked_of
    from takeback.planning.trees import evidence_of, read_tree
    from takeback.planning.trees.show import plain_common, print_common

    read = read_tree(tree)
    ranked, found = ranked_of(read), evidence_of(read, runs)
    if as_json:
        print_json(plain_common(read, ranked, found))
    else:
        print_common(read, ranked, found, top)


@command_of(app)
def extend(
    tree: TreeFile,
    author: Annotated[str, option("--author", "NAME", "Whose copy it is.")],
    out: Annotated[
        Path | None, option("--out -o", "FILE", "By default TREE-AUTHOR.md beside the tree."), WRITTEN
    ] = None,
    stage: Annotated[str, option("--stage", "STAGE", "before-reading or after-reading.")] = "after-reading",
    date: Annotated[str, option("--date", "DATE", "Of the copy; by default today.")] = "",
    as_json: Json = False,
) -> None:
    """Give a person their own copy of a merged tree, to be extended alone and merged back beside it."""
    from datetime import date as Date

    from takeback.planning.trees import extended, read_tree, write_tree

    name = "-".join(author.lower().split())
    out = out or tree.with_name(f"{tree.stem}-{name}.md")
    if out.exists():
        raise TakebackError(f"{out} exists already; choose another -o or remove it first")
    try:
        day = Date.fromisoformat(date) if date else Date.today()
    except ValueError:
        raise TakebackError(f"{date!r} is no date; write it as 2026-11-20") from None
    write_tree(extended(read_tree(tree), author, day.isoformat(), stage), out)
    line = f"{out}: {author}'s copy; add to it, then merge it together with {tree}"
    print_done({"out": str(out), "author": author}, line, as_json)


@command_of(app)
def compare(before: TreeFile, after: TreeFile, near: Near = 0.75, as_json: Json = False) -> None:
    """Tell what became of a tree: problems added, dropped, moved and reworded."""
    from takeback.planning.trees import compare as changes_of
    from takeback.planning.trees import read_tree
    from takeback.planning.trees.show import print_changes

    old, new = read_tree(before), read_tree(after)
    changes = changes_of(old, new, near)
    if as_json:
        print_json([one._asdict() for one in changes])
    else:
        print_changes(old, new, changes)


@command_of(app)
def draw(
    tree: TreeFile,
    out: Annotated[
        list[Path], option("--out -o", "FILE", "A name that ends in .html or .svg; repeatable."), WRITTEN
    ],
    runs: Runs = Path(),
    as_json: Json = False,
) -> None:
    """Draw a tree as one HTML page that folds and can be searched, or as SVG."""
    from takeback.planning.trees import evidence_of, read_tree
    from takeback.planning.trees.picture import write_picture

    read = read_tree(tree)
    found = evidence_of(read, runs)
    for path in out:
        write_picture(read, path, found)
    files = [*map(str, out)]
    print_done({"files": files}, "\n".join(files), as_json)


@command_of(app)
def evidence(tree: TreeFile, runs: Runs = Path(), as_json: Json = False) -> None:
    """Tell what runs found about the problems tied to them, and which branches rest on talk alone."""
    from takeback.planning.trees import branches, evidence_of, read_tree
    from takeback.planning.trees.show import plain_evidence, print_evidence

    read = read_tree(tree)
    found = evidence_of(read, runs)
    told = branches(read, found)
    if as_json:
        print_json(plain_evidence(read, found, told))
    else:
        print_evidence(read, found, told)


def _may_replace(out: Path) -> Tree | None:
    """Return the merged tree that --out already holds, if any.

    Raises:
        TakebackError: it holds something else, which is not written over.
    """
    from takeback.planning.trees import read_tree

    if not out.exists():
        return None
    there = read_tree(out)
    if not there.is_merged:
        raise TakebackError(f"{out} is {there.front.author}'s tree, not a merged one; choose another -o")
    return there
