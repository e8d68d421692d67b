"""What each contrast isolates, at a glance: how behaviour differs, and in how many components weights do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from takeback.draw.numbers import ABSENT, interval, number, signed
from takeback.draw.page import Table
from takeback.localise.shares import TAKE_BACK
from takeback.study.contrasts.losses import PURSUIT, SHARE
from takeback.study.contrasts.quantities import BEHAVIOUR, WEIGHTS
from takeback.study.contrasts.reach import LEVEL
from takeback.tables import records

if TYPE_CHECKING:
    from takeback.study.contrasts.contrasts import Contrasts

Row = dict[str, Any]

_BEHAVIOUR: Final = ("pursuit share", "utility gained", "legal mass gained")
_INSIDE: Final = (
    (WEIGHTS, "share", "share of ‖Δ‖²"),
    (TAKE_BACK, SHARE, "what takebacks cost of the pursuit share"),
    (TAKE_BACK, PURSUIT, "what takebacks cost of pursuit in nats"),
    (TAKE_BACK, "legal", "what takebacks do to legality"),
)
_NAMED = 3


def factors(found: Contrasts) -> Table:
    """Tell of each contrast what differs: in whole models, and in which components, with how sure that is."""
    head = ("contrast", "of whole models", *(title for _, _, title in _INSIDE), "smallest p")
    body = [
        tuple(_cells(name, records(table))) for name, table in found.contrasts.groupby("contrast", sort=False)
    ]
    return Table(head, tuple(body), head[:-1])


def _cells(name: Any, rows: Sequence[Row]) -> Iterator[str]:
    yield str(name)
    whole = {row["measure"]: row for row in rows if row["source"] == BEHAVIOUR and not row["component"]}
    yield "; ".join(_whole(whole[measure]) for measure in _BEHAVIOUR if measure in whole) or ABSENT
    for source, measure, _ in _INSIDE:
        yield _inside([row for row in rows if (row["source"], row["measure"]) == (source, measure)])
    yield number(min((row["smallest_p"] for row in rows), default=None), 4)


def _whole(row: Row) -> str:
    if row["estimate"] is None:
        return f"{row['measure']} {ABSENT}"
    clear = "" if row["p"] <= LEVEL else ", not told from 0"
    return f"{row['measure']} {signed(row['estimate'])} {interval(row['low'], row['high'])}{clear}"


def _inside(rows: Sequence[Row]) -> str:
    """Name the components that stand out from chance over all of them, the largest first."""
    rows = [row for row in rows if row["component"] and row["estimate"] is not None]
    if not rows:
        return ABSENT
    some = sorted((row for row in rows if row["p_family"] <= LEVEL), key=lambda row: -abs(row["estimate"]))
    if not some:
        return f"none of {len(rows)} components"
    told = ", ".join(f"{row['component']} {signed(row['estimate'])}" for row in some[:_NAMED])
    more = f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
    return f"{len(some)} of {len(rows)}: {told}{more}"
