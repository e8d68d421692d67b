"""What each contrast isolates, at a glance: how behaviour differs, and in how many components weights do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from takeback.draw.numbers import interval, number, signed
from takeback.draw.page import Table
from takeback.findings.localise.shares import TAKE_BACK
from takeback.run.tables import records
from takeback.study.contrasts.quantities import BEHAVIOUR, WEIGHTS
from takeback.study.contrasts.reach import LEVEL
from takeback.study.pursuit import PURSUIT, SHARE

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


class _Difference(NamedTuple):
    """What differs, in words, with its p-value and the least that so many runs can reach."""

    what: str
    told: str
    p: float
    least: float

    @property
    def sure(self) -> bool:
        return self.p <= LEVEL

    @property
    def certainty(self) -> str:
        if self.sure:
            return f"sure, p {number(self.p, 4)}"
        return f"chance, p {number(self.p, 2)}" + (
            "; no less with so few runs" if self.p <= self.least else ""
        )


def factors(found: Contrasts) -> Table:
    """Tell of each contrast what differs, in whole models and in which components, and how sure that is."""
    head = ("contrast", "what", "difference", "how sure")
    groups = found.contrasts.groupby("contrast", sort=False)
    body = [
        (str(name), one.what, one.told, one.certainty)
        for name, table in groups
        for one in _cells(records(table))
    ]
    return Table(head, tuple(body), head)


def sentences(found: Contrasts) -> tuple[str, ...]:
    """Say which components carry the gain, and of each contrast what it shows for sure."""
    told: list[str] = []
    carriers = found.carriers
    if not carriers.empty:
        some = ", ".join(carriers[carriers["carries"]]["component"])
        told.append(
            f"Carries the gain: {some or f'none of {len(carriers)} components meets every condition'}."
        )
    for name, table in found.contrasts.groupby("contrast", sort=False):
        told.append(_sentence(f"{name} ({formula(found.weights[str(name)])})", records(table)))
    return tuple(told)


def formula(weights: Mapping[str, float]) -> str:
    """Write a contrast as a sum over arms."""
    return " ".join(f"{signed(weight, 2)} {arm}" for arm, weight in weights.items())


def _sentence(name: str, rows: Sequence[Row]) -> str:
    cells = list(_cells(rows))
    said = "; ".join(f"{one.what} {one.told}" for one in cells if one.sure) or "nothing is told from chance"
    rest = [one.what for one in cells if not one.sure]
    return f"{name}: {said}." + (
        f" Not told from chance: {', '.join(rest)}." if rest and len(rest) < len(cells) else ""
    )


def _cells(rows: Sequence[Row]) -> Iterator[_Difference]:
    whole = {row["measure"]: row for row in rows if row["source"] == BEHAVIOUR and not row["component"]}
    for measure in _BEHAVIOUR:
        if (row := whole.get(measure)) and row["estimate"] is not None:
            told = f"{signed(row['estimate'])} {interval(row['low'], row['high'])}"
            yield _Difference(measure, told, row["p"], row["smallest_p"])
    for source, measure, title in _INSIDE:
        family = [row for row in rows if (row["source"], row["measure"]) == (source, measure)]
        family = [row for row in family if row["component"] and row["estimate"] is not None]
        if family:
            least = min(row["p_family"] for row in family)
            yield _Difference(title, _standing_out(family), least, family[0]["smallest_p"])


def _standing_out(rows: Sequence[Row]) -> str:
    """Name the components that stand out from chance over all of them, the largest first."""
    some = sorted((row for row in rows if row["p_family"] <= LEVEL), key=lambda row: -abs(row["estimate"]))
    if not some:
        return f"no component of {len(rows)}"
    told = ", ".join(f"{row['component']} {signed(row['estimate'])}" for row in some[:_NAMED])
    more = f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
    return f"{len(some)} of {len(rows)} components: {told}{more}"
