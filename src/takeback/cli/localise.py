"""Commands on what a change is made of: which parts carry it, how they work together, what each explains."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from takeback.cli.options import (
    Base,
    Controls,
    DeviceOptions,
    Graft,
    Measures,
    OutOptions,
    PlaceOptions,
    ReadOptions,
    Sets,
    Share,
    Source,
    TakeBack,
    Threads,
    Tuned,
    Untie,
    alone,
    argument,
    chosen_set,
    option,
)
from takeback.cli.plain import print_cost, print_floor
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.progress import Display

if TYPE_CHECKING:
    from takeback.draw.result import Results
    from takeback.findings.localise import LocaliseSettings
    from takeback.measure.bench import Bench


def localise(
    base: Base,
    tuned: Annotated[
        list[str],
        argument("TUNED", "Checkpoint after tuning; of several (seeds of an arm) means are told."),
    ],
    place: PlaceOptions,
    read: ReadOptions,
    output: OutOptions,
    measures: Measures = None,
    what: Annotated[
        list[str] | None,
        option(
            "--with",
            "PART",
            "shares, curves, carriers, pairs, shapley, groups, strength, directions, sources, or all; "
            "repeatable. Default: shares, curves, carriers, groups.",
        ),
    ] = None,
    sets: Sets = None,
    share: Share = 0.9,
    controls: Controls = 19,
    untie: Untie = False,
) -> None:
    """Tell which parts of a change carry it: needed, sufficient, redundant, by degree and direction.

    Without --measure, it is the change of the utility that changed most.
    """
    from takeback.checkpoint import open_pair
    from takeback.draw.result import Results
    from takeback.findings.localise import DEFAULT, PARTS, LocaliseSettings, across
    from takeback.findings.sweep import chosen_sets
    from takeback.weights.runs import Label

    wanted = tuple(PARTS) if "all" in (what or ()) else tuple(what or DEFAULT)
    for name in wanted:
        if name not in PARTS:
            raise unknown_name("part", name, (*PARTS, "all"))
    settings = LocaliseSettings(
        tuple(sets) if sets else None, carried=share, controls=controls, seed=place.seed
    )
    out = output.out
    found: dict[str, Results] = {}
    names = [Label.of(ref).name for ref in tuned]
    for name, ref in zip(names if len(set(names)) == len(tuned) else tuned, tuned, strict=True):
        if name in found:
            raise TakebackError(f"{ref} is named twice; name each run once")
        folder = out / re.sub(r"[\s/]+", "-", name).strip("-") if out and len(tuned) > 1 else out
        pair = open_pair(base, ref, untie=untie)
        chosen_sets(pair.anatomy(), settings.sets)  # an unknown name is refused before anything is read
        bench = place.bench(pair, measures, read.setup(folder))
        measures = list(bench.measures)
        quiet = output.as_json and len(tuned) > 1
        found[name] = _localise_one(bench, wanted, settings, replace(output, out=folder), quiet)
    if len(tuned) > 1:
        title = f"{len(tuned)} fine-tunes of {base}"
        means = across({name: one.tables for name, one in found.items()})
        output.show(Results(title, (), {"across": means}, "across"))


def _localise_one(
    bench: Bench, wanted: tuple[str, ...], settings: LocaliseSettings, output: OutOptions, quiet: bool
) -> Results:
    """Localise the change of one fine-tune, write it and show it, unless others are to be shown with it."""
    from takeback.findings.localise import localise as run
    from takeback.findings.sweep import chosen_sets
    from takeback.measure.read import Ask

    asked = chosen_sets(bench.anatomy, settings.sets)
    both = [made(one.components) for one in asked for made in (Ask, Ask.graft)]
    print_cost(bench, both, quiet=output.as_json, least=True)
    found = run(bench, wanted, settings)
    if not quiet:
        output.show(found)
    elif output.out is not None:
        found.write(output.out)
    print_floor(bench, output.as_json)
    return found


def attribute(
    base: Base,
    tuned: Tuned,
    place: PlaceOptions,
    read: ReadOptions,
    output: OutOptions,
    measures: Measures = None,
    method: Annotated[
        str, option("--method", "NAME", "near, output, path or gradient; with --precision also none.")
    ] = "near",
    steps: Annotated[
        int, option("--steps", "N", "With path: stretches of the line between models.", min=1)
    ] = 4,
    precision: Annotated[
        float | None,
        option(
            "--precision",
            "SIZE",
            "Measure exactly on some situations until intervals are +- this; all hold together.",
        ),
    ] = None,
    exact: Annotated[
        bool, option("--exact/--no-exact", None, "Measure exact effects too, and how well they agree.")
    ] = True,
    untie: Untie = False,
) -> None:
    """Estimate the effect of taking back every component at once, by gradients or to a precision.

    Without --measure, it is the effect on the utility that changed most.
    """
    from takeback.checkpoint import open_pair
    from takeback.draw.result import Result, Results
    from takeback.findings.attribution import Aim, check_method, estimate
    from takeback.findings.attribution import attribute as run

    aim = None if precision is None else Aim(precision, seed=place.seed, method=method)
    if aim is None:
        check_method(method)
    pair = open_pair(base, tuned, untie=untie)
    bench = place.bench(pair, measures, read.setup(output.out))
    parts, quiet = alone(bench.anatomy.universe), output.as_json
    found: dict[str, Result] = {}
    if aim is not None:
        print_cost(bench, parts, quiet, least=True)
        found["precise"] = estimate(bench, aim)
    else:
        with Display(["attribution"]):
            estimated = run(bench, method, steps)
        if exact:
            print_cost(bench, parts, quiet)
        found["attribution"] = estimated.checked() if exact else estimated
    output.show(Results(f"{base} → {tuned}", (), found, "attribution"))
    print_floor(bench, quiet)


def explain(
    base: Base,
    tuned: Tuned,
    place: PlaceOptions,
    on: DeviceOptions,
    output: OutOptions,
    take_back: TakeBack = None,
    graft: Graft = None,
    source: Source = "base",
    boards: Annotated[int, option("--boards", "N", "Positions or prompts to draw: most changed.", min=0)] = 3,
    controls: Controls = 5,
    measures: Measures = None,
    untie: Untie = False,
    threads: Threads = 1,
) -> None:
    """Tell in words, and boards or texts, what taking back or grafting a set changes in behaviour."""
    from takeback.checkpoint import open_pair
    from takeback.findings.explanation import explain as run
    from takeback.measure.read import Ask
    from takeback.measure.setup import Setup

    pair = open_pair(base, tuned, untie=untie)
    chosen_set(pair.anatomy(), take_back, graft)
    setup = Setup(output.out, threads=threads, placement=on.placement)
    bench = place.bench(pair, measures, setup, every=True)
    named = bench.anatomy.parse((graft if take_back is None else take_back) or "")
    asked = Ask.graft(named) if graft is not None else Ask(named, source)
    print_cost(bench, [asked], quiet=output.as_json, least=True)
    told = run(bench, named, graft is not None, source, controls, place.seed)
    output.show(replace(told, boards=boards))
    print_floor(bench, output.as_json)
