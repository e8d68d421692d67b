"""The command that tells what a model does, and what changed in that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from takeback.cli.command import WRITTEN
from takeback.cli.options import DeviceOptions, Json, Measures, Model, PlaceOptions, option
from takeback.cli.plain import print_json, print_table, print_words

if TYPE_CHECKING:
    import pandas as pd

    from takeback.measure.measure import Measure


def behaviour(
    model: Model,
    place: PlaceOptions,
    on: DeviceOptions,
    against: Annotated[
        str | None, option("--against", "BASE", "Another checkpoint: print the change from it, paired.")
    ] = None,
    games: Annotated[int, option("--games", "N", "Games against the best defender.", min=0)] = 0,
    moves: Annotated[
        int, option("--moves", "N", "White moves after which a game counts as unfinished.", min=1)
    ] = 30,
    measures: Measures = None,
    out: Annotated[Path | None, option("--out -o", "DIR", "Also write tables here."), WRITTEN] = None,
    as_json: Json = False,
) -> None:
    """Measure what a model does on held-out situations: legality, utility of every goal, biases, games.

    With --against it tells what changed from another model, whether that is shown, and what both say where
    they differ most; where answers are listed, also which items flipped between pass and fail, and how much
    of the change is pursuit of each reward.
    """
    from takeback.arenas import Playable, able
    from takeback.checkpoint import open_checkpoint
    from takeback.measure.alone import HeldOut
    from takeback.measure.setup import Setup
    from takeback.run.tables import records, write_tables

    setup, arena = Setup(out, placement=on.placement), place.at(open_checkpoint(model))
    if games:
        able(arena, Playable)
    drawn, sides = (place.situations, place.seed), {"base": against, "tuned": model} if against else None
    alone = HeldOut.draw(arena, model, drawn, setup, measures or (), sides)
    tables = alone.changes(against, model) if against else {"measures": alone.measure(model)}
    played = alone.games(model, games, moves, place.seed)["result"] if games else ()
    results: dict[str, int] = dict(Counter(played).most_common())
    if out is not None:
        write_tables(tables, out)
    if as_json:
        return print_json({**{name: records(table) for name, table in tables.items()}, "games": results})
    tell = partial(arena.words.told, kinds=arena.kinds)
    about = tell(f"{len(alone.situations)} held-out situations") + f" of {arena.name}, seed {place.seed}"
    known = {one.name: one for one in alone.known}
    if against:
        _show_change(f"{model} (tuned) against {against} (base): {about}", tables, known)
    else:
        print_table(_columns(tables["measures"], _ALONE), f"{model}: {about}")
    legend = _legend(tables["measures"]["measure"].tolist(), known)
    own = {name for name, one in known.items() if one.reference is not None}
    told = [(name, words if name in own else tell(words)) for name, words in legend]
    print_words(told, "what the rows are")
    if results:
        ended = ", ".join(f"{n} {name}" for name, n in results.items())
        typer.echo(f"games against the best defender: {ended}")


_ALONE: Final = {name: name for name in ("measure", "value", "low", "high", "n")}
_CHANGE: Final = {
    "measure": "measure",
    "base": "base",
    "value": "tuned",
    "effect": "change",
    **{name: name for name in ("low", "high", "floor", "n")},
}
_FLIPS: Final = {
    "rule": "passes",
    "passed_before": "base",
    "passed_after": "tuned",
    **{name: name for name in ("gained", "lost", "p", "n")},
}
_AGENCY: Final = {name: name for name in ("goal", "measure", "value", "low", "high", "beta", "n")}
"""The columns that are printed of each table, and what heads them."""

_PURSUIT: Final = {
    "KL(after || before)": "how far tuned's answers are from base's, in nats",
    "pursuit": "what of that is made by raising the odds of rewarded answers, in nats; beta: how much they "
    "rise with the reward",
    "signed pursuit share": "its share: 1 where the reward explains all of the change, 0 where none of it, "
    "below 0 where tuned turns away from the reward",
    "pursuit share, by weights": "the same, from the answers of both sides by their weights",
}
"""What is printed of how directed a change is, and what it is; the tables have all."""

_EXAMPLES: Final = 3
"""Situations of which is printed what both say."""

_MANY_CUT: Final = 0.3
"""The share of answers that are cut off of which a user is warned."""

_LONGEST: Final = 160
"""Characters of a prompt or an answer that are printed."""


def _show_change(title: str, tables: Mapping[str, pd.DataFrame], known: Mapping[str, Measure]) -> None:
    """Print what changed: the table, what it shows, what both say, flips, and pursuit."""
    table = tables["measures"]
    distances = [name for name, one in known.items() if one.role == "divergence"]
    far = table["measure"].isin(distances)
    table = table.assign(base=(table["value"] - table["effect"]).mask(far))
    if "floor" in table:
        below = ~table["above_floor"].astype(bool)
        table = table.assign(measure=table["measure"].mask(below, "~ " + table["measure"]))
    print_table(_columns(table, _CHANGE), title)
    if "floor" in table:
        typer.echo("~ no more than the noise floor: rounding alone makes effects as large")
    for line in (*_verdicts(tables["measures"], known), *_cut_off(tables["measures"])):
        typer.echo(line)
    for row in tables["said"].head(_EXAMPLES).itertuples():
        if row.moved:
            texts = (("asked", row.situation), ("base", row.before), ("tuned", row.after))
            print_words([(name, _short(str(text))) for name, text in texts], "")
    if len(tables.get("flips", ())):
        print_table(
            _columns(tables["flips"], _FLIPS), "items that flipped between fail and pass (exact McNemar test)"
        )
    pursuit = tables.get("agency")
    if pursuit is not None and len(pursuit := pursuit[pursuit["measure"].isin(list(_PURSUIT))]):
        print_table(_columns(pursuit, _AGENCY), "how much of the change is pursuit of what is rewarded")
        print_words([(name, _PURSUIT[name]) for name in dict.fromkeys(pursuit["measure"])], "")


def _verdicts(table: pd.DataFrame, known: Mapping[str, Measure]) -> list[str]:
    """Say of each utility whether its change is shown."""
    from takeback.run.tables import records

    told: list[str] = []
    for row in records(table):
        measure, name = known.get(row["measure"]), row["measure"]
        if measure is None or measure.role != "utility" or measure.if_legal:
            continue
        low, high = row["low"], row["high"]
        if row.get("above_floor") is False:
            told.append(f"{name}: no change is shown that is larger than what rounding makes")
        elif low is None:
            told.append(f"{name}: no interval, so no change is shown; take more situations")
        elif low > 0 or high < 0:
            way = "rose" if low > 0 else "fell"
            told.append(f"{name} {way} by {abs(row['effect']):.3f} (95%: {low:+.3f} to {high:+.3f})")
        else:
            told.append(f"{name}: no change is shown; if there is one, it lies in {low:+.3f} to {high:+.3f}")
    return told


def _cut_off(table: pd.DataFrame) -> list[str]:
    """Warn where the length limit ended many answers of a side."""
    from takeback.arenas.rows.rewards import CUT_OFF

    row = table[table["measure"] == f"kind, {CUT_OFF}"]
    if not len(row):
        return []
    tuned = float(row["value"].iloc[0])
    shares = {"base": tuned - float(row["effect"].iloc[0]), "tuned": tuned}
    many = [f"{share:.0%} of the answers of {side}" for side, share in shares.items() if share > _MANY_CUT]
    return [f"{' and '.join(many)} are cut off: a larger --max-tokens lets them end"] if many else []


def _legend(names: Sequence[str], known: Mapping[str, Measure]) -> list[tuple[str, str]]:
    """Return what measures are in words, but for their variants by kind and given a legal answer."""
    from takeback.arenas.rows.rewards import CUT_OFF

    asked = [known[name] for name in names if name in known]
    plain = [one for one in asked if not one.if_legal and one.kind in (None, CUT_OFF)]
    return [*((one.name, one.words) for one in plain), ("n", "situations that the row is a mean over")]


def _columns(table: pd.DataFrame, heads: Mapping[str, str]) -> list[dict[str, Any]]:
    from takeback.run.tables import records

    return [{head: row[name] for name, head in heads.items() if name in row} for row in records(table)]


def _short(text: str) -> str:
    """Return a text as one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
