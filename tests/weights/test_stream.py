"""The streamed pass: equal to a dense reference for all types, shapes and cuts, and to itself however run."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import models
from adapters import LLAMA, PLAIN, save_adapter
from dense_diff import dense
from kill import run, run_and_kill
from takeback.anatomy import Cut
from takeback.checkpoint import Pair, open_checkpoint, open_pair
from takeback.checkpoint.flat import STORAGE, upcast
from takeback.run.errors import TakebackWarning
from takeback.run.parts import Shard, collect, collect_shard
from takeback.run.threads import cpu_threads
from takeback.weights import diff
from takeback.weights.entries import Moments, Pass, stream
from takeback.weights.entries.stream import Stretches, stretch_moments

FAST = (torch.bfloat16, torch.float16, torch.float32)
PAIRS = [(one, one) for one in FAST] + [(FAST[0], FAST[2]), (FAST[2], FAST[1]), (FAST[1], FAST[0])]
SLOW = (torch.float64, torch.float8_e4m3fn, torch.float8_e5m2)
TOLERANCES = (1e-5, 1e-4, 1e-3)
SUMS = ("base_square", "tuned_square", "delta_square", "delta_sum")
COUNTS = ("differing", "differing_bf16", "sign_flips", "off_cast")


@dataclass(frozen=True)
class Held:
    """A tensor in memory, as a `Flat`."""

    tensor: torch.Tensor
    mapped: bool = True

    @property
    def element(self) -> str:
        return str(self.tensor.dtype).removeprefix("torch.")

    def block(self, start: int, stop: int) -> np.ndarray:
        bits = self.tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
        entries = bits.view(STORAGE[self.element])[start:stop].copy()
        entries.flags.writeable = False
        return entries


def moved(shape: tuple[int, ...], dtypes: Any, seed: int, scale: float = 1.0) -> tuple[torch.Tensor, ...]:
    """Return the two sides of a tensor in which a part of the entries moved, some across zero, some to it."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator, dtype=torch.float64) * 0.02
    step = torch.randn(shape, generator=generator, dtype=torch.float64) * 1e-3
    draw = torch.rand(shape, generator=generator)
    tuned = base + step * (draw < 0.3)
    base[draw > 0.97], tuned[draw > 0.99] = 0.0, -0.0
    tuned[(draw > 0.6) & (draw < 0.62)] *= -1
    return (base * scale).to(dtypes[0]), (tuned * scale).to(dtypes[1])


def precision(dtypes: tuple[torch.dtype, torch.dtype]) -> float:
    """How far sums may be off: those of two 16-bit types are begun in float32."""
    return 2e-7 if all(dtype.itemsize == 2 for dtype in dtypes) else 1e-12


def cut_at(axis: int | None, *edges: int) -> tuple[Cut, ...]:
    """Return a cut of its own for each stretch between two edges."""
    if axis is None:
        return (Cut("t", "MLP", 0),)
    return tuple(
        Cut("t", "H", 0, place, axis, start, stop - start)
        for place, (start, stop) in enumerate(pairwise(edges))
    )


def parts_of(tensor: torch.Tensor, cuts: tuple[Cut, ...]) -> list[torch.Tensor]:
    return [tensor[cut.region(0).index] for cut in cuts]


def assert_equal_to_dense(
    base: torch.Tensor, tuned: torch.Tensor, cuts: tuple[Cut, ...], found: Moments, limit: float
) -> None:
    places = zip(parts_of(base, cuts), parts_of(tuned, cuts), strict=True)
    for place, (before, after) in enumerate(places):
        w, v = before.double().numpy().ravel(), after.double().numpy().ravel()
        expected = dense(before, after)
        size = len(w)
        assert found.parameters[place] == size
        assert found.differing[place] == round(expected["changed_bitwise"] * size)
        assert found.differing_bf16[place] == round(expected["changed_bf16"] * size)
        rounded = before.float().to(after.dtype) if after.dtype.itemsize == 2 else before
        assert found.off_cast[place] == int((rounded.double() != after.double()).sum())
        assert found.sign_flips[place] == np.sum((w < 0) & (v > 0) | (w > 0) & (v < 0))
        assert found.beyond[place].tolist() == [int(np.sum(np.abs(v - w) > one)) for one in TOLERANCES]
        assert found.max_abs[place] == pytest.approx(expected["max_abs"], rel=2**-24, abs=0)
        sums = (math.fsum(w**2), math.fsum(v**2), math.fsum((v - w) ** 2), math.fsum(np.abs(v - w)))
        for name, value in zip(SUMS, sums, strict=True):
            assert getattr(found, name)[place] == pytest.approx(value, rel=limit, abs=0), name
        near = limit * math.fsum(np.abs(w * v)) + size * 2**-149  # each product of float32 has its last bit
        assert found.product[place] == pytest.approx(math.fsum(w * v), rel=0, abs=near)


SHAPES: list[tuple[tuple[int, ...], tuple[Cut, ...]]] = [
    ((), cut_at(None)),
    ((1,), cut_at(0, 0, 1)),
    ((777,), cut_at(0, 0, 5, 6, 700, 777)),
    ((40, 300), cut_at(0, 0, 1, 10, 39, 40)),  # rows
    ((64, 512), cut_at(1, 0, 128, 384, 512)),  # heads of an output matrix
    ((70, 96), cut_at(1, *range(97))),  # a column for each neuron
    ((33, 60), cut_at(1, 0, 10, 20, 60)),
    ((3, 50, 40), cut_at(0, 0, 1, 2, 3)),  # stacked experts
    ((2, 7, 90), cut_at(1, 0, 3, 7)),
    ((2000, 64), cut_at(1, *range(0, 65, 16))),
]


@pytest.mark.slow
@pytest.mark.parametrize("dtypes", PAIRS)
@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_equals_the_dense_reference(
    dtypes: tuple[torch.dtype, torch.dtype], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape, cuts = SHAPES[number]
    monkeypatch.setattr(stream, "SMALL", 1)  # the fast path for all
    base, tuned = moved(shape, dtypes, number)
    found = stretch_moments(Held(base), Held(tuned), Stretches.of(shape, cuts), TOLERANCES)
    assert_equal_to_dense(base, tuned, cuts, found, precision(dtypes))
    monkeypatch.setattr(stream, "BLOCK", 1000)  # many blocks, at other places
    again = stretch_moments(Held(base), Held(tuned), Stretches.of(shape, cuts), TOLERANCES)
    assert_equal_to_dense(base, tuned, cuts, again, precision(dtypes))


@pytest.mark.parametrize("dtypes", [(one, other) for one in SLOW for other in (*SLOW, torch.bfloat16)])
def test_types_without_a_kernel_are_upcast_by_blocks(
    dtypes: tuple[torch.dtype, torch.dtype], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HELD_BLOCK", 1000)
    shape, cuts = SHAPES[3]
    base, tuned = moved(shape, dtypes, 1, scale=20)
    found = stretch_moments(
        Held(base, mapped=False), Held(tuned, mapped=False), Stretches.of(shape, cuts), TOLERANCES
    )
    assert_equal_to_dense(base, tuned, cuts, found, 1e-14)


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e18, 1e35])
@pytest.mark.parametrize("number", [2, 3, 5])
def test_numbers_whose_squares_float32_cannot_hold(
    scale: float, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SMALL", 1)
    shape, cuts = SHAPES[number]
    base, tuned = moved(shape, (torch.bfloat16, torch.bfloat16), number, scale)
    found = stretch_moments(Held(base), Held(tuned), Stretches.of(shape, cuts), TOLERANCES)
    assert_equal_to_dense(base, tuned, cuts, found, 2e-7)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", FAST)
def test_large_tensors_are_right_to_more_digits(dtype: torch.dtype) -> None:
    base, tuned = moved((600, 1000), (dtype, dtype), 0)
    for cuts in (cut_at(None), cut_at(1, 0, 1000)):
        found = stretch_moments(Held(base), Held(tuned), Stretches.of((600, 1000), cuts), TOLERANCES)
        assert_equal_to_dense(base, tuned, cuts, found, 3e-8 if dtype.itemsize == 2 else 1e-12)


SPECIAL = [0.0, -0.0, 1.0, -1.0, 1e-5, 2.0**-133, -(2.0**-126), 2.0**-24, 6e4, -3e38, 1e-40, 0.001, 1.0078125]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_values_in_any_stretches(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    axis = data.draw(st.sampled_from([None, 0, 1]))
    extent = (rows, columns)[axis or 0]
    inner = data.draw(st.sets(st.integers(1, max(1, extent - 1)), max_size=5)) - {extent}
    cuts = cut_at(axis, 0, *sorted(inner), extent)
    dtypes = data.draw(st.sampled_from(PAIRS))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32 - 1)))
    values = torch.tensor(data.draw(st.lists(st.sampled_from(SPECIAL), min_size=1, max_size=6)))
    base, tuned = (
        values[torch.randint(len(values), (rows, columns), generator=generator)].to(dtype) for dtype in dtypes
    )
    noise = torch.randn((rows, columns), generator=generator) * 10.0 ** data.draw(st.integers(-8, 0))
    tuned = torch.where(torch.rand((rows, columns), generator=generator) < 0.5, base + noise, tuned)
    tuned = tuned.to(dtypes[1])
    assume(bool(torch.isfinite(base).all() and torch.isfinite(tuned).all()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "SMALL", data.draw(st.sampled_from([1, 1 << 16])))
        patch.setattr(stream, "BLOCK", data.draw(st.sampled_from([64, 1 << 21])))
        found = stretch_moments(Held(base), Held(tuned), Stretches.of((rows, columns), cuts), TOLERANCES)
    assert_equal_to_dense(base, tuned, cuts, found, 3e-7)


def test_upcasts_are_exact() -> None:
    for dtype in (torch.bfloat16, torch.float16):
        bits = torch.arange(-(2**15), 2**15, dtype=torch.int16)
        values = bits.view(dtype).double()
        held = Held(bits.view(dtype)).block(0, 2**16)
        np.testing.assert_array_equal(upcast(held, str(dtype).removeprefix("torch.")), values.numpy())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", FAST)
def test_every_16_bit_number_survives_the_kernel(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SMALL", 1)
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16)
    values = every.view(torch.bfloat16 if dtype == torch.bfloat16 else torch.float16)
    values = values[torch.isfinite(values) & (values.abs().float() < 1e15)].to(dtype)
    zeros = torch.zeros_like(values)
    cuts = cut_at(0, *range(len(values) + 1))
    found = stretch_moments(Held(values), Held(zeros), Stretches.of(values.shape, cuts), TOLERANCES)
    np.testing.assert_array_equal(found.max_abs, values.double().abs().numpy())
    np.testing.assert_array_equal(found.differing, (values != 0).numpy())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return open_pair(*models.save_pair("llama-gqa-biases", tmp_path_factory.mktemp("pair"), torch.bfloat16))


@pytest.mark.parametrize("cuts", [cut_at(None), cut_at(0, 0, 100, 900), cut_at(1, *range(0, 701, 100))])
def test_any_number_of_threads_gives_the_same_bits(
    cuts: tuple[Cut, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BLOCK", 1 << 14)
    base, tuned = moved((900, 700), (torch.bfloat16, torch.bfloat16), 0)
    tables: list[pd.DataFrame] = []
    for threads in (1, 2, 5):
        with cpu_threads(threads):
            found = stretch_moments(Held(base), Held(tuned), Stretches.of((900, 700), cuts), TOLERANCES)
        tables.append(found.to_table())
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_exact=True)


@pytest.mark.parametrize("resolution", ["heads", "neurons"])
def test_shards_give_the_table_of_one_run(pair: Pair, resolution: str, tmp_path: Path) -> None:
    work, expected = Pass(pair, resolution, TOLERANCES), collect(Pass(pair, resolution, TOLERANCES))
    for number in (3, 1, 2):
        collect_shard(work, tmp_path, Shard(number, 3))
    pd.testing.assert_frame_equal(collect(work, tmp_path), expected, check_exact=True)
    again = diff(pair, resolution, tolerances=TOLERANCES, out=tmp_path)
    assert again.to_json() == diff(pair, resolution, tolerances=TOLERANCES).to_json()


def test_a_pass_with_other_settings_is_another(pair: Pair) -> None:
    work = Pass(pair, "heads", TOLERANCES)
    others = [replace(work, tolerances=(1e-5,)), replace(work, resolution="neurons")]
    others.append(replace(work, pair=open_pair(pair.base, pair.base)))
    assert len({work.identity, *(other.identity for other in others)}) == 4


@pytest.mark.slow
def test_workers_and_a_kill_change_nothing(pair: Pair, tmp_path: Path) -> None:
    out, expected = tmp_path / "out", diff(pair)
    code = f"""
from takeback.checkpoint import open_pair
from takeback.weights.entries import diff, stream
if __name__ == "__main__":
    diff(open_pair({pair.base.ref!r}, {pair.tuned.ref!r}), out={str(out)!r}, workers=2)
"""
    parts = out / ".parts" / "diff"
    run_and_kill(code, lambda: len(list(parts.glob("[0-9]*.parquet"))) > 2, tmp_path / "log")
    done = {file.name: file.stat().st_mtime_ns for file in parts.glob("[0-9]*.parquet")}
    found = diff(pair, out=out, workers=2)
    assert found.to_json() == expected.to_json()
    assert all((parts / name).stat().st_mtime_ns == time for name, time in done.items())


@pytest.mark.parametrize("name", ["llama-gqa-biases", "gpt2"])
def test_an_adapter_is_streamed_as_the_model_it_makes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.build(name).save_pretrained(tmp_path / "base")
    settings = LLAMA if name != "gpt2" else {**PLAIN, "target_modules": ["c_attn", "c_proj"]}
    merged = save_adapter(tmp_path / "base", tmp_path / "lora", torch.float32, **settings)
    pair = open_pair(tmp_path / "base", f"{tmp_path / 'base'}+{tmp_path / 'lora'}")
    whole = {stored: pair.tuned.read(one) for one, stored in pair.tuned.stored.items()}
    for one, tensor in merged.items():
        torch.testing.assert_close(pair.tuned.read(one), tensor, rtol=1e-6, atol=1e-6)
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "config.json").write_bytes((tmp_path / "base" / "config.json").read_bytes())
    save_file(whole, tmp_path / "merged" / "model.safetensors", {"format": "pt"})
    monkeypatch.setattr(stream, "SMALL", 1)
    monkeypatch.setattr(stream, "HELD_BLOCK", 100)  # no multiple of a row
    monkeypatch.setattr(stream, "BLOCK", 100)
    found, expected = diff(pair), diff(open_pair(tmp_path / "base", tmp_path / "merged"))
    assert set(found.tensors["read"]) == {"as stored", "merged"}
    for level in ("tensors", "components", "layers", "total"):
        tables = [getattr(one, level).drop(columns="read", errors="ignore") for one in (found, expected)]
        pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_blocks_of_a_tensor_are_its_entries(tmp_path: Path) -> None:
    models.build("gpt2").save_pretrained(tmp_path / "base")
    settings = {**PLAIN, "target_modules": ["c_attn", "c_proj"]}
    save_adapter(tmp_path / "base", tmp_path / "lora", torch.bfloat16, **settings)
    opened = open_checkpoint(f"{tmp_path / 'base'}+{tmp_path / 'lora'}")
    for name, shape in opened.shapes.items():
        flat, size = opened.flat(name), math.prod(shape)
        cuts = [0, size // 3, size // 2, size]
        blocks = [flat.block(start, stop) for start, stop in pairwise(cuts)]
        assert not any(block.flags.writeable for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks), opened.read(name).reshape(-1).numpy())


def test_entries_at_odd_places_of_a_file(tmp_path: Path) -> None:
    folders = models.save_pair("llama-mha", tmp_path)
    expected = diff(open_pair(*folders)).total
    for folder in folders:
        file = folder / "model.safetensors"
        raw = file.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        header = json.dumps(json.loads(raw[8 : 8 + length])).encode()
        header += b" " * ((3 - len(header)) % 8)
        file.write_bytes(len(header).to_bytes(8, "little") + header + raw[8 + length :])
        assert open_checkpoint(folder).entries["model.norm.weight"].offset % 4
    pd.testing.assert_frame_equal(diff(open_pair(*folders)).total, expected, check_exact=True)


def test_a_table_says_how_tensors_were_read(tmp_path: Path) -> None:
    folders = models.save_pair("llama-mha", tmp_path)
    file = folders[1] / "model.safetensors"
    tensors = load_file(file)
    tensors["model.norm.weight"] = tensors["model.norm.weight"].to(torch.float8_e4m3fn)
    save_file(tensors, file, {"format": "pt"})
    with pytest.warns(TakebackWarning, match="FP8 and no scales"):
        pair = open_pair(*folders)
    read = diff(pair).tensors.set_index("tensor")["read"]
    assert read["model.norm.weight"] == "upcast"
    assert set(read.drop("model.norm.weight")) == {"as stored"}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_largest_tensor(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (90_000, 1024)  # 360 MB a side in float32
    for side in ("base", "tuned"):
        (tmp_path / side).mkdir()
        weight = torch.randn(shape, generator=generator)
        save_file({"0.weight": weight}, tmp_path / side / "policy.safetensors")
    sides = [str(tmp_path / side / "policy.safetensors") for side in ("base", "tuned")]
    code = f"""
import threading, time
peak = 0
def watch():
    global peak
    while True:
        status = open("/proc/self/status").read()
        peak = max(peak, int(status.split("RssAnon:")[1].split()[0]))
        time.sleep(0.002)
threading.Thread(target=watch, daemon=True).start()
from takeback.checkpoint import open_pair
from takeback.weights.entries import diff
diff(open_pair(*{sides!r})).total
print(peak)
"""
    run(code)  # compiled and kept
    assert int(run(code).stdout.split()[-1]) < 300_000
