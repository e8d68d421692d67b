"""The command that packs a run of checkpoints into a stream of sparse deltas."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from takeback.cli.options import Folder, Json, argument, option
from takeback.cli.plain import print_json, print_table


def pack(
    run: Annotated[
        str,
        argument("RUN", "Folder of a run: runs/NAME/arms/ARM/seed-N, or one with a Trainer's checkpoint-N."),
    ],
    out: Folder,
    started: Annotated[
        str | None, option("--base", "BASE", "What it started from, where the run does not say it: step 0.")
    ] = None,
    without: Annotated[bool, option("--no-base", None, "Leave out what the run started from.")] = False,
    every: Annotated[
        int | None,
        option(
            "--anchor-every",
            "N",
            "Put a whole model at every N-th step; by default where the deltas since the last add up to one.",
            min=1,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Pack a run of checkpoints into a stream of sparse deltas; its steps read as DIR@step=N."""
    from takeback.weights.runs.pack import pack as run_pack

    packed = run_pack(run, out, started, every=every, with_base=not without)
    if as_json:
        totals = {"out": str(out), "bytes": packed.nbytes, "checkpoints": packed.before}
        return print_json({**totals, "steps": [asdict(step) for step in packed.steps]})
    print_table([_row(asdict(step)) for step in packed.steps], f"{run}, step by step")
    typer.echo(str(packed))


def _row(step: dict[str, Any]) -> dict[str, Any]:
    named = {"before": "checkpoint", "nbytes": "bytes"}
    return {named.get(name, name): value for name, value in step.items()}
