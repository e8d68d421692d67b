"""From a record to one HTML file that needs no network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from takeback.draw.colour import arm_colour
from takeback.draw.page import Section, colours, environment, finished
from takeback.draw.svg import drawing, mark
from takeback.report.agency import agency
from takeback.report.examples import examples
from takeback.report.games import games
from takeback.report.moved import MOST, moved
from takeback.report.record import Arm, Record
from takeback.report.rows import BASE
from takeback.report.takebacks import MOST_SETS, takebacks
from takeback.report.trained import SMOOTH, trained
from takeback.report.words import lead, learned_words, moved_words, takeback_words


def render(record: Record) -> str:
    """Write the report of a record; the same record gives the same bytes."""
    page = (
        environment(Path(__file__).parent)
        .get_template("report.html.j2")
        .render(
            record=record,
            **colours(),
            legend=[(arm.name, _swatch(arm.place)) for arm in record.arms],
            base_swatch=_swatch(-1),
            lead=lead(record),
            learned=learned_words(record),
            whereabouts=moved_words(record),
            findings=[takeback_words(record, arm) for arm in record.arms],
            terms=record.terms,
            starts=[arm for arm in record.arms if arm.start != BASE],
            trained=trained(record),
            games=games(record),
            agency=agency(record),
            smooth=SMOOTH,
            moved=moved(record),
            takebacks=takebacks(record),
            examples=(shown := examples(record)),
            boards=any(card.figure.picture for one in shown for card in one.first),
            localised=[(arm, seed, found) for arm, seed, found in _localised(record) if found],
            contrasts=record.contrasts,
            conjectures=record.conjectures,
            facts=facts(record.manifest),
            plan=record.plan,
            commands=commands(record),
            several_seeds=len(record.arms[0].seeds) > 1,
            most_components=MOST,
            most_sets=MOST_SETS,
        )
    )
    return finished(page)


def _localised(record: Record) -> Iterator[tuple[Arm, int, tuple[Section, ...]]]:
    """Give what changes are made of: of each arm's first seed all, of the others the words."""
    for arm in record.arms:
        for seed in arm.seeds:
            found = record.localised[arm.name, seed]
            whole = seed == arm.seeds[0]
            yield arm, seed, found if whole else tuple(Section(one.title, one.words) for one in found)


def commands(record: Record) -> str:
    """Return the commands that make this run, and its parts, again."""
    base, arm = record.base, record.arms[0]
    base = base if isinstance(base, str) else "base/final"
    if arm.start != BASE:
        base = f"arms/{arm.start}/seed-{arm.seeds[0]}/final"
    tuned = f"arms/{arm.name}/seed-{arm.seeds[0]}/final"
    name = record.plan.get("name")
    again = "takeback demo" if name == "demo" else "takeback study run plan.yaml"
    return (
        f"{again}\n"
        f"takeback diff {base} {tuned}\n"
        f"takeback sweep {base} {tuned} --arena {record.plan.get('arena', 'ARENA')} -o effects.parquet\n"
        f'takeback hybrid {base} {tuned} --take-back "L0.*" -o hybrid'
    )


def facts(manifest: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten a manifest into names and values.

    >>> facts({"a": 1, "b": {"c": [1, 2], "d": None}})
    [('a', '1'), ('b / c', '1, 2'), ('b / d', 'unknown')]
    """
    found: list[tuple[str, str]] = []
    for name, value in manifest.items():
        if isinstance(value, Mapping):
            found += facts(value, f"{prefix}{name} / ")
        else:
            found.append((f"{prefix}{name}", _plain(value)))
    return found


def _plain(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value)


def _swatch(place: int) -> Markup:
    colour = "var(--soft,#5f666d)" if place < 0 else arm_colour(place)
    return Markup(drawing(12, 12, [mark(6, 6, place, colour, size=4.5)], ""))
