"""Commands on agency: what turns a model to another goal, and what takebacks do to probes."""

from __future__ import annotations

from typing import Annotated

from takeback.cli.options import (
    Base,
    Controls,
    DeviceOptions,
    Json,
    Model,
    OutOptions,
    PlaceOptions,
    ReadOptions,
    Run,
    Share,
    Threads,
    Untie,
    alone,
    argument,
    option,
)
from takeback.cli.plain import print_cost, print_done, print_floor, print_json, print_table


def agency(
    model: Model,
    place: PlaceOptions,
    on: DeviceOptions,
    goals: Annotated[
        list[str] | None, option("--goal", "GOAL", "A goal; repeatable. Default: all but random.")
    ] = None,
    horizon: Annotated[int, option("--horizon", "N", "Moves of an episode.", min=1)] = 3,
    games: Annotated[int, option("--games", "N", "Games played from each situation.", min=1)] = 2,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Tell how directed one policy is at goals: given what it can, over episodes, and as facts change."""
    from takeback.checkpoint import open_checkpoint
    from takeback.measure.agency.policy_agency import AgencySettings, policy_agency
    from takeback.policies.load import load_policy
    from takeback.run.tables import records
    from takeback.run.threads import cpu_threads

    arena = place.at(open_checkpoint(model))
    asked = AgencySettings(tuple(goals) if goals else None, horizon, games, place.seed)
    with cpu_threads(threads):
        chosen = arena.situations("held-out", place.situations, place.seed)
        policy = load_policy(model, arena, placement=on.placement)
        rows = records(policy_agency(policy, arena, chosen, asked))
    if as_json:
        print_json(rows)
        return
    shown = ("measure", "goal", "unit", "value", "low", "high", "beta", "note")
    print_table([{name: row[name] for name in shown} for row in rows], f"{model} in {arena.name}")


def retarget(
    base: Base,
    tuned: Annotated[str, argument("TUNED", "The model to turn to another goal.")],
    other: Annotated[str, argument("OTHER", "A model of the same base that pursues that goal.")],
    place: PlaceOptions,
    read: ReadOptions,
    output: OutOptions,
    goal: Annotated[
        str | None, option("--goal", "GOAL", "Its goal. Default: the one it has most more of than TUNED.")
    ] = None,
    share: Share = 0.9,
    lost: Annotated[float, option("--lost", "SHARE", "The most legal mass that may be lost.", min=0)] = 0.01,
    controls: Controls = 19,
    untie: Untie = False,
) -> None:
    """Find how few components of another arm turn a model to that arm's goal."""
    from takeback.arenas.listed import Listed, Open
    from takeback.checkpoint import open_checkpoint, open_pair
    from takeback.findings.localise.retarget import Retargeting, check_goal
    from takeback.findings.localise.retarget import retarget as run
    from takeback.measure.bench import Bench
    from takeback.measure.read import Ask

    pair = open_pair(base, tuned, untie=untie)
    arena = place.at(pair.base)
    check_goal(arena, goal)
    closed = not isinstance(arena, Listed | Open)
    drawn = arena.situations("held-out", place.situations, place.seed)
    asked, answering = ["legal"] if closed else (), {"other": open_checkpoint(other)}
    bench = Bench.answering(pair, arena, drawn, asked, read.setup(output.out), answering)
    asks = [Ask(one, f"checkpoint:{other}") for one in alone(bench.anatomy.universe)]
    print_cost(bench, asks, quiet=output.as_json, least=True)
    output.show(run(bench, other, goal, Retargeting(share, lost, controls, place.seed)))
    print_floor(bench, output.as_json)


def probes(run: Run, as_json: Json = False) -> None:
    """Add to a run what taking back each component does to probes of hidden states."""
    from takeback.study.probes import add_probes

    files = [str(path) for path in add_probes(run)]
    print_done({"files": files}, "\n".join(files), as_json)
