"""What each contrast isolates, at a glance: how behaviour differs, and in how many components weights do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from takeback.draw.numbers import at_most, interval, number, signed
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
_ALONE = " (in these situations alone)"


class _Difference(NamedTuple):
    """What differs, in words: its p over all of its table, the least there is, what size is not ruled out.

    `steady` tells whether the interval that p goes with excludes 0, over situations too where that is known.
    """

    what: str
    told: str
    p: float
    least: float
    bound: float | None
    detectable: float | None
    steady: bool = True
    of: int = 0
    """Components that it is over; 0 for a whole model."""

    @property
    def sure(self) -> bool:
        return self.p <= LEVEL

    @property
    def certainty(self) -> str:
        if self.sure:
            return f"sure, p {number(self.p, 4)}" + ("" if self.steady else ", in these situations alone")
        few = "; no less with so few runs" if self.p <= self.least else ""
        return f"not told from chance, p {number(self.p, 2)}{few}: {self.at_most}"

    @property
    def at_most(self) -> str:
        told = at_most(self.bound, self.detectable, power=True)
        return f"in each of {self.of} components {told}" if self.of else told

    @property
    def sentence(self) -> str:
        return f"{self.what} {self.told}" + ("" if self.steady else _ALONE)

    @property
    def null(self) -> str:
        return f"{self.what} {self.at_most}"


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
    said = "; ".join(one.sentence for one in cells if one.sure)
    nulls = "; ".join(one.null for one in cells if not one.sure)
    told = [f"{said}."] if said else []
    if nulls:
        told.append(f"{'Not' if said else 'not'} told from chance: {nulls}.")
    return f"{name}: {' '.join(told)}"


def _cells(rows: Sequence[Row]) -> Iterator[_Difference]:
    whole = {row["measure"]: row for row in rows if row["source"] == BEHAVIOUR and not row["component"]}
    for measure in _BEHAVIOUR:
        if (row := whole.get(measure)) and row["estimate"] is not None:
            told = f"{signed(row['estimate'])} {interval(row['low'], row['high'])}"
            limits = row["bound"], row["detectable"]
            found = _Difference(measure, told, row["p_table"], row["smallest_p_table"], *limits)
            yield found._replace(steady=_steady(row))
    for source, measure, title in _INSIDE:
        family = [row for row in rows if (row["source"], row["measure"]) == (source, measure)]
        family = [row for row in family if row["component"] and row["estimate"] is not None]
        if family:
            least = min(row["p_table"] for row in family)
            reach = family[0]["smallest_p_table"], *_limits(family)
            yield _Difference(title, _standing_out(family), least, *reach, of=len(family))


def _steady(row: Row) -> bool:
    return row["low"] is None or not row["low"] <= 0 <= row["high"]


def _limits(rows: Sequence[Row]) -> tuple[float | None, float | None]:
    """Return the largest bound and the largest smallest effect of some components."""
    return _largest(row["bound"] for row in rows), _largest(row["detectable"] for row in rows)


def _largest(values: Iterable[float | None]) -> float | None:
    """Return the largest of values, None where one is not known: it may be larger."""
    known = list(values)
    return None if None in known else max(value for value in known if value is not None)


def _standing_out(rows: Sequence[Row]) -> str:
    """Name the components that stand out from chance over all that the table shows, the largest first."""
    some = sorted((row for row in rows if row["p_table"] <= LEVEL), key=lambda row: -abs(row["estimate"]))
    if not some:
        return f"no component of {len(rows)}"
    told = ", ".join(
        f"{row['component']} {signed(row['estimate'])}" + ("" if _steady(row) else _ALONE)
        for row in some[:_NAMED]
    )
    more = f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
    rest = [row for row in rows if row["p_table"] > LEVEL]
    left = f"; the others {at_most(*_limits(rest), power=True)}" if rest else ""
    return f"{len(some)} of {len(rows)} components: {told}{more}{left}"
