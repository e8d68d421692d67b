"""The command that proposes a block for a model type, and tries the laws with it."""

from __future__ import annotations

from typing import Annotated

import typer

from takeback.cli.options import Json, argument
from takeback.cli.plain import print_json


def family(
    model: Annotated[str, argument("MODEL", "A checkpoint, of which config.json is read, or that file.")],
    as_json: Json = False,
) -> None:
    """Propose a block for a model type that no family has, and try laws 1 to 4 with it on a tiny model.

    What it prints goes into a file of your own, which --families FILE names. Ends with 3 if a law fails.
    """
    from takeback.hybrid.propose import propose

    found = propose(model)
    if as_json:
        print_json(found.to_dict())
    else:
        typer.echo(str(found), nl=False)
    if not found.holds:
        raise typer.Exit(3)
