"""The command on the course of training: when a goal's pursuit begins, and in which components."""

from __future__ import annotations

from typing import Annotated

from takeback.cli.options import Base, OutOptions, PlaceOptions, ReadOptions, Sets, argument, option


def course(
    base: Base,
    run: Annotated[
        str,
        argument(
            "RUN", "Folder of a run: runs/NAME/arms/ARM/seed-N, one with a Trainer's checkpoint-N, or packed."
        ),
    ],
    place: PlaceOptions,
    read: ReadOptions,
    output: OutOptions,
    goal: Annotated[
        str | None, option("--goal", "GOAL", "What is pursued; by default the goal of the run's recipe.")
    ] = None,
    sets: Sets = None,
) -> None:
    """Follow a run over its snapshots: when it starts to pursue its goal, and in which components."""
    from takeback.checkpoint import open_checkpoint
    from takeback.draw.result import Results
    from takeback.findings.sweep import chosen_sets
    from takeback.findings.trajectory import CourseSettings
    from takeback.findings.trajectory import course as follow

    if sets:
        chosen_sets(open_checkpoint(base).anatomy(), sets)
    asked = (place.situations, place.seed, tuple(sets) if sets else None, read.threads)
    arena = place.named()
    setup = read.setup(output.out)
    settings = CourseSettings(goal, *asked, setup.placement)
    found = follow(base, run, arena, settings, output.out, setup.workers)
    output.show(Results(f"{base} → {run}", (), {"course": found}, "course"))
