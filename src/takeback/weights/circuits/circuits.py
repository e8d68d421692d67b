"""Circuits, not coordinates: how far heads and MLPs moved, whatever coordinates their weights are written in.

Queries and keys of a head, or its values and outputs, can both move far while nothing happens: only their
products act. Each circuit's change stands beside the raw change of the stored factors, and beside what a
random change of the same size in each factor would do to the circuit.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from takeback.anatomy.wiring import Wiring, wiring_of
from takeback.checkpoint import Pair
from takeback.component import Component
from takeback.draw.result import Result, as_table
from takeback.run.errors import TakebackError
from takeback.run.jobs import Workers
from takeback.run.parts import collect
from takeback.weights.circuits.attention import read_attention
from takeback.weights.circuits.gauge import Array, Distance
from takeback.weights.circuits.neurons import read_neurons
from takeback.weights.circuits.roles import LayerPart, LayerReader, Null
from takeback.weights.circuits.router import read_router
from takeback.weights.work import PairWork

COLUMNS: Mapping[str, str] = {
    "component": "the head, MLP, expert or router; ATTN for what belongs to a layer's heads together",
    "kind": "the kind of component",
    "layer": "the layer",
    "index": "the component's index, missing where a layer has one of its kind",
    "circuit": "which of the component's circuits; `GAUGES` says what each is",
    "raw": "raw change: the root of the summed squares of the next two",
    "raw_out": "‖ΔW‖ / ‖W‖ of the component's entries of the first factor: O, Q, down, or the only one",
    "raw_in": "the same of the second factor: V, K, up; missing where there is none",
    "moved": "‖ΔW‖ of the component's entries of both factors",
    "entries": "number of these entries; where a layer has no biases, with a zero for each",
    "cast": "1 where all of them are base's, rounded to bfloat16 or to float16, else 0",
    "norm": "the circuit's norm in base, norms around it folded in",
    "change": "invariant change: norm of the circuit's difference / norm in base, missing where that is zero",
    "permuted": "the same with each factor's Δ permuted within the component, mean over draws",
    "gaussian": "the same with a Gaussian Δ of each factor's norm, mean over draws",
    "reassigned": "fraction of neurons matched with one at another place in base, missing elsewhere",
}
"""What each column of the table means."""

GAUGES: Mapping[str, str] = {
    "OV": "what a head writes for what it attends to, O V. Ignores V → N V, O → O N⁻¹ with one N for each "
    "key/value group, and value biases",
    "QK": "how a head scores keys for queries. Without RoPE it is QᵀK, and ignores Q → M Q, K → M⁻ᵀ K and "
    "the key bias. With RoPE it is conj(u) vᵀ for each rotated pair, and ignores u → c u, v → v / "
    "conj(c) with a complex c. With norms on queries and keys it is also what these divide by, and "
    "ignores the scales of W_Q and W_K (up to the norms' ε) and what gains and weights share",
    "constant": "what attention or MLP adds whatever it reads: the output bias, and for attention the value "
    "biases through O. Ignores how the two share it",
    "query norm": "what a norm that spans the heads divides queries by, W_QᵀW_Q. Ignores the scale of W_Q "
    "and orthogonal changes of its rows",
    "key norm": "the same of the keys, W_KᵀW_K",
    "gate": "what opens each neuron. Ignores the neurons' order, and with ReLU the gate's length",
    "write": "what each neuron writes for what it reads, the outer product of down and up. Ignores the "
    "neurons' order and up → c up, down → down / c",
    "router": "the scores of the experts. Ignores what all experts get alike",
}
"""What each circuit is, and which changes of coordinates its change ignores."""

EVERYWHERE = (
    "Norms are folded in, so that every circuit ignores what weights undo of the gain and shift of "
    "the norm before attention or MLP, of the gain of a norm behind it, and of the scale of all that "
    "is written to such a norm; with LayerNorms also what is read or written along the all-ones "
    "direction. Not ignored are an exchange of heads, groups or experts, and changes of coordinates "
    "of the whole residual stream."
)
"""The gauge that all circuits share, and what none ignores."""

NULLS: tuple[Null, ...] = get_args(Null)

_WORDS = ("component", "kind", "circuit")


@dataclass(frozen=True, eq=False)
class CircuitsWork(PairWork):
    """Is the work of measuring the circuits of every layer; `draws` random changes make each null."""

    name = "circuits"
    entry_seconds = 70e-9
    draws: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.draws < 1:
            raise TakebackError(f"{self.draws} draws make no null; choose 1 or more")

    def items(self) -> Sequence[str]:
        """Return the layers, `L0` first.

        Raises:
            TakebackError: the roles of the family's tensors are not known.
        """
        self._wiring()
        return [f"L{layer}" for layer in range(self.pair.anatomy().layers)]

    def seconds(self, item: str) -> float:
        """Return about how long one layer takes, with both nulls."""
        anatomy = self.pair.anatomy()
        entries = anatomy.parameters(anatomy.parse(f"{item}.*"))
        return 0.02 + self.entry_seconds * entries * (1 + self.draws)

    def rows(self, item: str) -> pd.DataFrame:
        """Return the rows of one layer.

        Raises:
            TakebackError: a tensor holds values that are not finite, or a file cannot be read any more.
        """
        layer, wiring = int(item[1:]), self._wiring()
        sides = [LayerReader(side, wiring, layer) for side in (self.pair.tuned, self.pair.base)]
        found: list[dict[str, Any]] = []
        for (kind, index, tuned), (_, _, base) in zip(*map(self._blocks, sides), strict=True):
            rng = np.random.default_rng([self.seed, zlib.crc32(f"{item} {kind} {index}".encode())])
            found += _block_rows(Component(kind, layer, index), tuned, base, self._nulls(tuned, base, rng))
        return _table(found)

    def _wiring(self) -> Wiring:
        wiring = wiring_of(self.pair.anatomy().family)
        configs = [side.config for side in (self.pair.base, self.pair.tuned)]
        for config in configs:
            wiring.check(config)
        if len({wiring.gauge(config) for config in configs}) > 1:
            raise TakebackError(
                "by their configs base and tuned differ in the place of norms, in the share of dimensions "
                "that are rotated or in ReLU, so that their circuits are of different kinds"
            )
        return wiring

    def _blocks(self, layer: LayerReader) -> Iterator[tuple[str, int | None, LayerPart]]:
        """Yield the parts of a layer with their component's kind and index; ATTN's holds the heads."""
        anatomy = self.pair.anatomy()
        yield "ATTN", None, read_attention(layer, anatomy.heads, anatomy.groups)
        if layer.experts is None:
            yield "MLP", None, read_neurons(layer)
            return
        yield "ROUTER", None, read_router(layer)
        for expert in range(layer.experts):
            yield "E", expert, read_neurons(layer, expert)

    def _nulls(
        self, tuned: LayerPart, base: LayerPart, rng: np.random.Generator
    ) -> Mapping[str, Mapping[str, Array]]:
        """Return for each null the change of each circuit, mean over draws."""
        found: dict[str, dict[str, Array]] = {}
        for null in NULLS:
            drawn = [tuned.randomised(base, null, rng).changes(base) for _ in range(self.draws)]
            found[null] = {name: np.mean([one[name].relative for one in drawn], axis=0) for name in drawn[0]}
        return found


@dataclass(frozen=True, eq=False, repr=False)
class Circuits(Result):
    """Holds how far every circuit moved: a row of `COLUMNS` for each."""

    name = "circuits"
    table: pd.DataFrame = field(metadata=as_table("circuits", COLUMNS))

    @cached_property
    def components(self) -> pd.DataFrame:
        """A row for each component that has circuits of its own: their squares added, most changed first.

        Relative changes of a head's OV and QK (of an MLP's gate and write) count alike, since neither acts
        without the other: to first order each adds its own relative change to what the component does.
        Constants and spanning norms, which no component owns alone, are left out.
        """
        rows = self.table[~self.table["circuit"].isin(["constant", "query norm", "key norm"])]
        keys = rows.drop_duplicates("component")[["component", "kind", "layer", "index"]].set_index(
            "component"
        )
        added = {
            name: (rows[name] ** 2).groupby(rows["component"], sort=False).sum(min_count=1) ** 0.5
            for name in ("raw", "change", *NULLS)
        }
        of_part = rows.groupby(rows["component"], sort=False)
        sizes = {
            "moved": (rows["moved"] ** 2).groupby(rows["component"], sort=False).sum() ** 0.5,
            "entries": of_part["entries"].sum(),
            "cast": of_part["cast"].min(),
        }
        return (
            keys.assign(**added, **sizes)
            .reset_index()
            .sort_values("change", ascending=False, ignore_index=True)
        )

    @property
    def heads(self) -> pd.DataFrame:
        """The heads among `components`."""
        return self.components[self.components["kind"] == "H"].reset_index(drop=True)


def circuits(
    pair: Pair, draws: int = 1, seed: int = 0, out: str | Path | None = None, workers: Workers = 1
) -> Circuits:
    """Measure how far every circuit of a pair moved, in the gauge that the architecture has.

    A layer's attention or one of its MLPs is held in memory at a time, both sides in float32 (float64 if
    stored so) and what is compared in float64. With `out`, finished parts are kept there and `workers` share
    the work.

    Args:
        pair: Base and tuned.
        draws: Random changes for each null.
        seed: Of the random changes.
        out: A folder for the parts; see `takeback.run.parts.collect`.
        workers: Local processes.

    Raises:
        TakebackError: no draws, the roles of the family's tensors are not known, or a part fails.
    """
    work = CircuitsWork(pair, draws, seed)
    return Circuits(str(pair), collect(work, out, workers))


def _block_rows(
    owner: Component, tuned: LayerPart, base: LayerPart, nulls: Mapping[str, Mapping[str, Array]]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    raw = tuned.raw(base)
    for circuit, change in tuned.changes(base).items():
        if circuit == "constant" and not (change.norm.any() or change.distance.any()):
            continue  # neither side has biases
        first, second = raw[circuit]
        columns = {
            "raw_out": first.relative,
            "raw_in": np.full(1, np.nan) if second is None else second.relative,
            **_sizes(first, second),
            "norm": change.norm,
            "change": change.relative,
            **{null: nulls[null][circuit] for null in NULLS},
        }
        flat = {name: np.broadcast_to(values, change.norm.shape).ravel() for name, values in columns.items()}
        for place in range(change.norm.size):
            part = Component("H", owner.layer, place) if circuit in ("OV", "QK") else owner
            found.append(
                {
                    "component": str(part),
                    "kind": part.kind,
                    "layer": part.layer,
                    "index": part.index,
                    "circuit": circuit,
                    **{name: float(values[place]) for name, values in flat.items()},
                    "reassigned": change.reassigned,
                }
            )
    return found


def _sizes(first: Distance, second: Distance | None) -> dict[str, Array]:
    """Return what says of the stored entries of both factors whether they moved as noise or a cast would."""
    factors = [first] if second is None else [first, second]
    cast = [np.asarray(one.cast, np.float64) for one in factors]
    return {
        "moved": np.sqrt(sum((one.distance**2 for one in factors), np.zeros(1))),
        "entries": np.full(1, float(sum(one.entries for one in factors))),
        "cast": cast[0] if second is None else cast[0] * cast[1],
    }


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Make a table with missing values in place of NaN, and the columns in order."""
    frame = pd.DataFrame(rows)
    frame["raw"] = np.sqrt(frame["raw_out"] ** 2 + frame["raw_in"].fillna(0.0) ** 2)
    types = {name: "Float64" for name in COLUMNS if name not in _WORDS} | {"layer": "Int64", "index": "Int64"}
    return frame[list(COLUMNS)].astype(types)
