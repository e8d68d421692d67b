"""How a run was made, and the commands that make it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from takeback.draw.page import Section, Table
from takeback.report.record import Record
from takeback.report.rows import BASE


def made(record: Record) -> Section:
    """Tell the commands, versions, hashes and times of a run."""
    intro = Markup(
        "The tables behind every figure are Parquet files in the folder of the run: <code>diff/</code>, "
        "<code>behaviour/</code>, <code>effects/</code> and <code>localise/</code>. To make the run again, "
        "or parts of it:"
    )
    run = Table(
        ("to", "run, in its folder"),
        tuple((what, Markup("<code>{}</code>").format(line)) for what, line in commands(record)),
        ("to", "run, in its folder"),
    )
    rows = tuple((name, Markup("<code>{}</code>").format(value)) for name, value in facts(record.manifest))
    facts_table = Table(("of the manifest", "value"), rows, ("of the manifest", "value"))
    return Section(
        "How it was made",
        (intro,),
        tables=(run,),
        inside=(Section("Versions, hashes and times", tables=(facts_table,)),),
        name="manifest",
    )


def commands(record: Record) -> list[tuple[str, str]]:
    """Return the commands that make this run, and its parts, again, each with what it does."""
    arm, seed = record.arms[0], record.arms[0].seeds[0]
    plain = record.plan.get("base")
    base = plain if isinstance(plain, str) else "base/final"
    if arm.start != BASE:
        base = f"arms/{arm.start}/seed-{seed}/final"
    pair = f"{base} arms/{arm.name}/seed-{seed}/final"
    again = "takeback demo" if record.plan.get("name") == "demo" else "takeback study run plan.yaml"
    arena = record.plan.get("arena", "ARENA")
    return [
        ("make the run again", again),
        ("see what moved", f"takeback diff {pair}"),
        ("take every set back", f"takeback sweep {pair} --arena {arena} -o effects.parquet"),
        ("make a hybrid", f'takeback hybrid {pair} --take-back "L0.*" -o hybrid'),
    ]


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
