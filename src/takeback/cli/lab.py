"""The command that opens the lab: a live page of a pair or a run, or a folder that shows a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from takeback.cli.command import WRITTEN
from takeback.cli.options import Json, Measures, PlaceOptions, ReadOptions, Untie, argument, option
from takeback.cli.plain import print_done


def lab(
    what: Annotated[str, argument("BASE|RUN", "A run folder, or a checkpoint before tuning.")],
    place: PlaceOptions,
    read: ReadOptions,
    tuned: Annotated[str | None, argument("TUNED", "The checkpoint after tuning; none of a run.")] = None,
    measures: Measures = None,
    untie: Untie = False,
    live: Annotated[
        bool, option("--live", None, "Of a run: load its models, to read what the record lacks.")
    ] = False,
    export: Annotated[
        Path | None,
        option("--export", "DIR", "Write the page as a folder for any web server, and end."),
        WRITTEN,
    ] = None,
    host: Annotated[
        str,
        option("--host", "HOST", "Listen here; others than this machine need the token that is printed."),
    ] = "127.0.0.1",
    port: Annotated[
        int | None, option("--port", "N", "Listen on this port; by default 8642, or any free one.", max=65535)
    ] = None,
    out: Annotated[
        Path | None, option("--out -o", "DIR", "Keep what is read here, and find what was."), WRITTEN
    ] = None,
    show: Annotated[bool, option("--open", None, "Open the page in a browser.")] = False,
    as_json: Json = False,
) -> None:
    """Open a page on which components are taken back by a click; of a run, what its record holds.

    The page is for this machine alone unless --host says otherwise. Ctrl-C ends it.
    """
    from takeback.checkpoint import open_pair
    from takeback.lab.export import export as write_folder
    from takeback.lab.lab import Lab
    from takeback.lab.server import serve
    from takeback.lab.views import view_of_pair

    if tuned is None:
        from takeback.lab.runs import lab_of_run

        found = lab_of_run(Path(what), live)
    else:
        pair = open_pair(what, tuned, untie=untie)
        drawn = place.situations, place.seed
        found = Lab([view_of_pair(pair, place.at(pair.base), drawn, measures or (), read.setup(out))])
    if export is not None:
        folder = write_folder(found, export)
        line = f"{folder}: open index.html, or put it on any web server"
        return print_done({"out": str(folder)}, line, as_json)
    found.stage(next(iter(found.views)))

    def announce(address: str) -> None:
        print_done({"address": address}, f"lab: {address}  (Ctrl-C ends it)", as_json)
        if show:
            typer.launch(address)

    serve(found, host, port, announce)
