"""Between runs: whether fine-tunes of one base changed the same weights, the same way, beside controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from takeback.component import Component
from takeback.draw.result import Result, as_table
from takeback.run.errors import unknown_name
from takeback.run.jobs import Workers
from takeback.run.parts import collect
from takeback.weights.runs.comparison import BetweenWork
from takeback.weights.runs.fine_tunes import Label, Ref, open_fine_tunes
from takeback.weights.runs.similarity import COLUMNS, PERMUTED, measured, partner


@dataclass(frozen=True, eq=False, repr=False)
class Between(Result):
    """Holds how alike the changes of several fine-tunes of one base are, for each pair.

    `table` has, for each component, tensor and layer and for everything (`level` and `scope`), a row per pair
    i, j of `labels` with the measures of `COLUMNS`; `relation` says how the two runs are related. Beside each
    stands its control, in which Δ_j is permuted within strata: its relation is `permuted`, and `control_of`
    holds that of the real pair.
    """

    name = "between"
    base: str
    labels: tuple[Label, ...]
    table: pd.DataFrame = field(metadata=as_table("between", COLUMNS))

    def matrix(self, measure: str, scope: str = "all", permuted: bool = False) -> pd.DataFrame:
        """Return one measure as a square: the row's checkpoint is i, the column's j; the diagonal is missing.

        Args:
            measure: one of `COLUMNS`; one of i, such as `overlap_i_stored`, is seen from the row's side.
            scope: a component, tensor or layer, or `all`.
            permuted: take the controls.

        Raises:
            UnknownName: there is no such measure or scope.
        """
        self._check(measure)
        if scope not in set(self.table["scope"]):
            raise unknown_name("scope", scope, self.table["scope"].unique())
        rows = self.table[(self.table["scope"] == scope) & ((self.table["relation"] == PERMUTED) == permuted)]
        rows = rows.drop_duplicates(["i", "j"])
        names = [label.name for label in self.labels]
        square = pd.DataFrame(index=names, columns=names, dtype="Float64")
        for row in rows.to_dict("records"):
            square.loc[row["i"], row["j"]] = row[measure]
            square.loc[row["j"], row["i"]] = row[partner(measure)]
        return square

    def by_component(
        self, measure: str, relation: str, permuted: bool = False
    ) -> dict[Component, float | None]:
        """Return each component's mean of a measure over the pairs of a relation, or over their controls.

        Raises:
            UnknownName: there is no such measure or relation.
        """
        self._check(measure)
        if relation not in self.relations:
            raise unknown_name("relation", relation, self.relations)
        chosen = self.table["control_of" if permuted else "relation"] == relation
        rows = self.table[chosen & (self.table["level"] == "component")]
        means = rows.groupby("scope", sort=False)[measure].mean()
        return {
            Component.parse(str(name)): None if pd.isna(mean) else float(mean) for name, mean in means.items()
        }

    @property
    def relations(self) -> tuple[str, ...]:
        """How the runs of the real pairs are related, each relation once."""
        found = self.table["relation"].unique()
        return tuple(sorted((str(one) for one in found if one != PERMUTED), reverse=True))

    def _check(self, measure: str) -> None:
        if measure not in COLUMNS:
            raise unknown_name("measure", measure, COLUMNS)


def between(
    base: Ref,
    tuned: Sequence[Ref] | Mapping[Label, Ref],
    energy: float = 0.5,
    seed: int = 0,
    out: str | Path | None = None,
    workers: Workers = 1,
) -> Between:
    """Compare the changes of several fine-tunes of one base, reading a few rows of a tensor at a time.

    Args:
        base: what all of them were tuned from.
        tuned: the fine-tuned checkpoints, two or more; a mapping gives each its label, else arm and seed are
            read from the path (`…/arms/ARM/seed-N/final`).
        energy: the share of ‖Δ‖² that a matrix's leading subspaces hold.
        seed: of the permuted controls.
        out: a folder that keeps finished parts, so that a killed run goes on.
        workers: local processes that share the work; several need `out`.

    Raises:
        PairMismatch: a checkpoint has not the base's architecture and shapes.
        TakebackError: there are fewer than two, two have one name, or a value is not finite.
    """
    fine_tunes = open_fine_tunes(base, tuned)
    work = BetweenWork(fine_tunes, energy, seed)
    table = measured(collect(work, out, workers), fine_tunes.labels)
    title = f"{len(fine_tunes.labels)} fine-tunes of {fine_tunes.base.ref}"
    return Between(title, fine_tunes.base.ref, fine_tunes.labels, table)
