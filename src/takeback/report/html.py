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
from takeback.report.examples import examples
from takeback.report.moved import MOST, moved
from takeback.report.record import Arm, Record
from takeback.report.takebacks import MOST_SETS, takebacks
from takeback.report.trained import SMOOTH, goals_of, trained
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
            trained=trained(record),
            smooth=SMOOTH,
            goals=goals_of(record),
            moved=moved(record),
            takebacks=takebacks(record),
            examples=examples(record),
            localised=[(arm, seed, found) for arm, seed, found in _localised(record) if found],
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
    return ((arm, seed, record.localised[arm.name, seed]) for arm in record.arms for seed in arm.seeds)


def commands(record: Record) -> str:
    """Return the commands that make this run, and its parts, again."""
    base, arm = record.plan.get("base", "BASE"), record.arms[0]
    base = base if isinstance(base, str) else "base/final"
    tuned = f"arms/{arm.name}/seed-{arm.seeds[0]}/final"
    name = record.plan.get("name")
    again = "takeback demo" if name == "demo" else "takeback demo --plan plan.yaml"
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
