"""Commands on what a change is made of: which parts carry it, how they work together, what each explains."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from takeback.cli.options import (
    Address,
    ArenaName,
    Base,
    Count,
    Engine,
    Graft,
    Json,
    Measures,
    Out,
    Seed,
    Situations,
    Source,
    TakeBack,
    Threads,
    TunedArg,
    Untie,
    chosen_set,
    question_for,
    show,
    workers_of,
)
from takeback.run.errors import TakebackError

if TYPE_CHECKING:
    from takeback.draw.result import Results


def localise(
    base: Base,
    tuned: Annotated[
        list[str],
        typer.Argument(help="Checkpoint after tuning; of several (seeds of an arm) means are told."),
    ],
    measures: Measures = None,
    what: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="shares, curves, carriers, pairs, shapley, groups, strength, directions, sources, or all; "
            "repeatable. Default: shares, curves, carriers, groups.",
        ),
    ] = None,
    out: Out = None,
    sets: Annotated[
        list[str] | None, typer.Option(help='A family ("each head") or a set by name ("L0.H*"); repeatable.')
    ] = None,
    share: Annotated[float, typer.Option(help="What the smallest sets are to carry of the change.")] = 0.9,
    controls: Annotated[int, typer.Option(min=1, help="Random sets of each make-up.")] = 19,
    arena_name: ArenaName = "endgames",
    situations: Situations = 192,
    seed: Seed = 0,
    untie: Untie = False,
    count: Count = 1,
    engine: Engine = "local",
    address: Address = None,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Tell which parts of a change carry it: needed, sufficient, redundant, by degree and direction."""
    from takeback.draw.result import Results
    from takeback.findings.localise import DEFAULT, PARTS, LocaliseSettings, across
    from takeback.findings.localise import localise as run
    from takeback.weights.runs import Label

    wanted = tuple(PARTS) if "all" in (what or ()) else tuple(what or DEFAULT)
    settings = LocaliseSettings(tuple(sets) if sets else None, carried=share, controls=controls, seed=seed)
    workers = workers_of(count, engine, address)
    found: dict[str, Results] = {}
    names = [Label.of(ref).name for ref in tuned]
    for name, ref in zip(names if len(set(names)) == len(tuned) else tuned, tuned, strict=True):
        if name in found:
            raise TakebackError(f"{ref} is named twice; name each run once")
        place = out / re.sub(r"[\s/]+", "-", name).strip("-") if out and len(tuned) > 1 else out
        question = question_for((base, ref), measures, arena_name, (situations, seed), untie, threads)
        measures = list(question.measures)
        found[name] = run(question, wanted, settings, place, workers)
        if place is not None:
            found[name].write(place)
        if len(tuned) == 1 or not as_json:
            show(found[name], None, as_json)
    if len(tuned) > 1:
        title = f"{len(tuned)} fine-tunes of {base}"
        means = across({name: one.tables for name, one in found.items()})
        show(Results(title, (), {"across": means}, "across"), out, as_json)


def attribute(
    base: Base,
    tuned: TunedArg,
    measures: Measures = None,
    method: Annotated[
        str, typer.Option(help="near, output, path or gradient; with --precision also none.")
    ] = "near",
    steps: Annotated[int, typer.Option(min=1, help="With path: stretches of the line between models.")] = 4,
    precision: Annotated[
        float | None,
        typer.Option(
            help="Measure exactly on some situations until intervals are +- this; all hold together."
        ),
    ] = None,
    exact: Annotated[bool, typer.Option(help="Measure exact effects too, and how well they agree.")] = True,
    out: Out = None,
    arena_name: ArenaName = "endgames",
    situations: Situations = 192,
    seed: Seed = 0,
    untie: Untie = False,
    count: Count = 1,
    engine: Engine = "local",
    address: Address = None,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Estimate the effect of taking back every component at once, by gradients or to a precision."""
    from takeback.draw.result import Result, Results
    from takeback.findings.attribution import Aim, estimate
    from takeback.findings.attribution import attribute as run

    workers = workers_of(count, engine, address)
    question = question_for((base, tuned), measures, arena_name, (situations, seed), untie, threads)
    found: dict[str, Result] = {}
    if precision is not None:
        found["precise"] = estimate(
            question, Aim(precision, seed=seed, method=method), out=out, workers=workers
        )
    else:
        estimated = run(question, method, steps)
        found["attribution"] = estimated.checked(out, workers) if exact else estimated
    show(Results(f"{base} → {tuned}", (), found, "attribution"), out, as_json)


def explain(
    base: Base,
    tuned: TunedArg,
    take_back: TakeBack = None,
    graft: Graft = None,
    source: Source = "base",
    out: Out = None,
    boards: Annotated[int, typer.Option(min=0, help="Positions to draw: those that changed most.")] = 3,
    controls: Annotated[int, typer.Option(min=1, help="Random sets of the same make-up.")] = 5,
    arena_name: ArenaName = "endgames",
    situations: Situations = 192,
    seed: Seed = 0,
    untie: Untie = False,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Tell in words and boards what taking back or grafting a set changes in behaviour."""
    from takeback.findings.explanation import explain as run

    question = question_for((base, tuned), ["entropy"], arena_name, (situations, seed), untie, threads)
    text = graft if take_back is None else take_back
    chosen_set(question.anatomy, take_back, graft)
    told = run(question, question.anatomy.parse(text or ""), graft is not None, source, controls, seed)
    show(replace(told, boards=boards), out, as_json)
