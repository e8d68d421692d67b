"""What each contrast isolates, at a glance: how behaviour differs, and in how many components weights do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from takeback.draw.numbers import interval, number, signed
from takeback.draw.page import Table
from takeback.localise.shares import TAKE_BACK
from takeback.study.contrasts.quantities import BEHAVIOUR, WEIGHTS
from takeback.study.contrasts.reach import LEVEL
from takeback.study.pursuit import PURSUIT, SHARE
from takeback.tables import records

if TYPE_CHECKING:
    from takeback.study.contrasts.contrasts import Contrasts

Row = dict[str, Any]

_BEHAVIOUR: Final = ("pursuit share", "utility gained", "legal mass gained")
_INSIDE: Final = (
    (WEIGHTS, "share", "where ‖Δ‖² lies, in shares"),
    (TAKE_BACK, SHARE, "pursuit share lost by a takeback"),
    (TAKE_BACK, PURSUIT, "pursuit in nats lost by a takeback"),
    (TAKE_BACK, "legal", "legal mass gained by a takeback"),
)
_NAMED = 3
SURE: Final = "sure"


def factors(found: Contrasts) -> Table:
    """Tell of each contrast what differs, in whole models and in which components, and how sure that is."""
    head = ("contrast", "what", "difference", "how sure")
    groups = found.contrasts.groupby("contrast", sort=False)
    body = [(str(name), *cells) for name, table in groups for cells in _cells(records(table))]
    return Table(head, tuple(body), head)


def sentences(found: Contrasts) -> tuple[str, ...]:
    """Say which components carry agency, and of each contrast what it shows for sure."""
    told: list[str] = []
    carriers = found.agency_carriers
    if not carriers.empty:
        some = ", ".join(carriers[carriers["carries"]]["component"])
        told.append(f"Carries agency: {some or f'none of {len(carriers)} components meets every condition'}.")
    for name, table in found.contrasts.groupby("contrast", sort=False):
        told.append(_sentence(f"{name} ({formula(found.weights[str(name)])})", records(table)))
    return tuple(told)


def formula(weights: Mapping[str, float]) -> str:
    """Write a contrast as a sum over arms."""
    return " ".join(f"{signed(weight, 2)} {arm}" for arm, weight in weights.items())


def _sentence(name: str, rows: Sequence[Row]) -> str:
    sure = [f"{what} {told}" for what, told, words in _cells(rows) if words.startswith(SURE)]
    rest = [what for what, _, words in _cells(rows) if not words.startswith(SURE)]
    said = "; ".join(sure) or "nothing is told from chance"
    return f"{name}: {said}." + (f" Not told from chance: {', '.join(rest)}." if sure and rest else "")


def _cells(rows: Sequence[Row]) -> Iterator[tuple[str, str, str]]:
    whole = {row["measure"]: row for row in rows if row["source"] == BEHAVIOUR and not row["component"]}
    for measure in _BEHAVIOUR:
        if (row := whole.get(measure)) and row["estimate"] is not None:
            told = f"{signed(row['estimate'])} {interval(row['low'], row['high'])}"
            yield measure, told, _sure(row["p"], row["smallest_p"])
    for source, measure, title in _INSIDE:
        family = [row for row in rows if (row["source"], row["measure"]) == (source, measure)]
        family = [row for row in family if row["component"] and row["estimate"] is not None]
        if family:
            yield (
                title,
                _standing_out(family),
                _sure(min(r["p_family"] for r in family), family[0]["smallest_p"]),
            )


def _standing_out(rows: Sequence[Row]) -> str:
    """Name the components that stand out from chance over all of them, the largest first."""
    some = sorted((row for row in rows if row["p_family"] <= LEVEL), key=lambda row: -abs(row["estimate"]))
    if not some:
        return f"no component of {len(rows)}"
    told = ", ".join(f"{row['component']} {signed(row['estimate'])}" for row in some[:_NAMED])
    more = f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
    return f"{len(some)} of {len(rows)} components: {told}{more}"


def _sure(p: float, least: float) -> str:
    """Write a p-value, and whether so few runs could have told more."""
    if p <= LEVEL:
        return f"{SURE}, p {number(p, 4)}"
    return f"chance, p {number(p, 2)}" + ("; no less with so few runs" if p <= least else "")
