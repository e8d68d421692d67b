"""Streams of sparse deltas: replayed bit for bit, in the layouts of trainers, faults told by step."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import load_file, save_file

import models
from takeback.checkpoint import load_model, open_checkpoint
from takeback.checkpoint.flat import Flat, Held
from takeback.checkpoint.stream.change import BitChange, write_anchor, write_delta
from takeback.checkpoint.stream.folder import Stream, step_file
from takeback.checkpoint.stream.patched import Patched
from takeback.run.errors import TakebackError
from takeback.run.identity import told

State = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class InMemory:
    """A model in memory, as far as packing asks."""

    state: Mapping[str, torch.Tensor]
    digest = "unknown"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(tensor.shape) for name, tensor in self.state.items()}

    @property
    def elements(self) -> dict[str, str]:
        return {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in self.state.items()}

    def read(self, name: str) -> torch.Tensor:
        return self.state[name]

    def flat(self, name: str) -> Flat:
        return Held(self.state[name])


def bits(tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.contiguous().reshape(-1)
    return flat.view(torch.uint8) if len(flat) else torch.zeros(0, dtype=torch.uint8)


def write(folder: Path, states: Mapping[int, State], anchors: set[int]) -> Stream:
    """Write a stream by this package's writer."""
    (folder / "anchors").mkdir(parents=True)
    (folder / "deltas").mkdir()
    before: tuple[int, InMemory] | None = None
    for step, state in states.items():
        side, called = InMemory(state), {name: name for name in state}
        if before is None or step in anchors:
            write_anchor(folder / "anchors" / step_file(step), side, called, step, {})
        else:
            called |= {name: name for name in before[1].state}
            write_delta(
                folder / "deltas" / step_file(step), BitChange(before[1], side, called), step, before[0]
            )
        before = step, side
    return Stream.open(folder)


DTYPES = {
    torch.float32: np.uint32,
    torch.bfloat16: np.uint16,
    torch.float16: np.uint16,
    torch.float64: np.uint64,
    torch.float8_e4m3fn: np.uint8,
}
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Draw a tensor of any bits: NaNs of every kind, both zeros, infinities."""
    dtype = draw(st.sampled_from(list(DTYPES)))
    raw = draw(hnp.arrays(DTYPES[dtype], draw(SHAPES)))
    return torch.from_numpy(np.array(raw).reshape(-1).view(np.uint8)).view(dtype).reshape(raw.shape)


@st.composite
def runs(draw: st.DrawFn) -> dict[int, State]:
    """Draw what a run saved: a few entries change at a step; tensors come, go, and change shape and type."""
    state: State = draw(st.dictionaries(st.sampled_from("abcd"), tensors(), min_size=1))
    states = {draw(st.integers(0, 5)): state}
    for _ in range(draw(st.integers(1, 5))):
        state = {name: tensor.clone() for name, tensor in state.items()}
        for name in draw(st.sets(st.sampled_from(sorted(state)))):
            raw = bits(state[name]).clone()
            if len(raw):
                raw[draw(st.integers(0, len(raw) - 1))] ^= draw(st.integers(0, 255))
            state[name] = raw.view(state[name].dtype).reshape(state[name].shape)
        state |= draw(st.dictionaries(st.sampled_from("abcde"), tensors(), max_size=1))
        if len(state) > 1 and draw(st.booleans()):
            state.pop(draw(st.sampled_from(sorted(state))))
        states[max(states) + draw(st.integers(1, 3))] = state
    return states


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(runs(), st.sets(st.integers(0, 20), max_size=2))
def test_every_step_replays_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, states: dict[int, State], anchors: set[int]
) -> None:
    """Whole, by rows, by columns and a stretch at a time, whatever the bits are."""
    stream = write(tmp_path_factory.mktemp("run") / "packed", states, anchors)
    assert stream.steps == tuple(states)
    for step, state in states.items():
        entries = stream.entries(step)
        assert entries.keys() == state.keys()
        for name, tensor in state.items():
            entry = entries[name]
            assert (entry.shape, entry.element) == (tuple(tensor.shape), str(tensor.dtype)[6:])
            assert torch.equal(bits(entry.read()), bits(tensor))
            for cut in [(slice(1, 3),), (slice(None), slice(0, 2))][: tensor.ndim]:
                assert torch.equal(bits(entry.read(cut)), bits(tensor[cut]))


def bf16_run(folder: Path, steps: int, share: float = 0.02) -> dict[int, State]:
    """Save a Trainer's run in bf16 of which few entries change at a step; step 0 is the base."""
    model = models.build("llama-gqa-biases").bfloat16()
    generator = torch.Generator().manual_seed(0)
    states: dict[int, State] = {}
    for step in range(steps + 1):
        model.save_pretrained(folder / (f"run/checkpoint-{step}" if step else "base"))
        states[step] = load_file(
            folder / (f"run/checkpoint-{step}" if step else "base") / "model.safetensors"
        )
        for parameter in model.parameters():
            chosen = torch.rand(parameter.shape, generator=generator) < share
            parameter.data = torch.where(chosen, parameter.data + 0.125, parameter.data)
    return states


def publish(folder: Path, states: Mapping[int, State], every: int, config: Path, spelling: str) -> Path:
    """Write a stream as trainers do, with the safetensors library alone."""
    (folder / "anchors").mkdir(parents=True)
    (folder / "deltas").mkdir()
    (folder / "config.json").write_bytes(config.read_bytes())
    for step, state in states.items():
        if step % every == 0:
            meta = {"sparse": "False", "model_version": str(step), "sparsity": "0.0"}
            save_file(state, folder / f"anchors/step_{step:06}.safetensors", meta)
            continue
        tensors: State = {}
        meta = {"sparse": "True", "model_version": str(step), "sparsity": "0.98"}
        for name, tensor in state.items():
            flat, before = tensor.reshape(-1), states[step - 1][name].reshape(-1)
            places = (flat != before).nonzero(as_tuple=True)[0]
            if not len(places):
                continue
            if spelling == "gaps":
                gaps = places - torch.cat([places.new_full((1,), -1), places[:-1]]) - 1
                tensors[f"{name}.idx"], tensors[f"{name}.val"] = gaps.to(torch.uint16), flat[places]
                meta["encoding"] = "gap_delta"
            else:
                mixed = places[torch.randperm(len(places), generator=torch.Generator().manual_seed(step))]
                tensors[f"{name}.indices"], tensors[f"{name}.values"] = mixed.int(), flat[mixed]
                meta["changed_params"] = json.dumps(sorted(state))
        save_file(tensors, folder / f"deltas/step_{step:06}.safetensors", meta)
    return folder


@pytest.mark.parametrize("spelling", ["indices", "gaps"])
def test_published_layouts_are_read(tmp_path: Path, spelling: str) -> None:
    """As described for TRL (flat int32 indices and values), and as its later code writes them (gaps)."""
    states = bf16_run(tmp_path, 7)
    folder = publish(tmp_path / "bucket", states, 5, tmp_path / "base" / "config.json", spelling)
    for step in states:
        saved = open_checkpoint(tmp_path / (f"run/checkpoint-{step}" if step else "base"))
        read = open_checkpoint(f"{folder}@step={step}")
        assert read.digest == saved.digest
        assert told(read)[:2] == told(saved)[:2]
    assert open_checkpoint(f"{folder}@step=last").ref == f"{folder}@step=last"


def test_a_step_loads_as_its_checkpoint_does(tmp_path: Path) -> None:
    states = bf16_run(tmp_path, 2)
    folder = publish(tmp_path / "bucket", states, 5, tmp_path / "base" / "config.json", "indices")
    tokens = torch.arange(8)[None]
    for dtype in (torch.float32, None):
        saved, read = (
            load_model(open_checkpoint(ref), dtype)
            for ref in (tmp_path / "run/checkpoint-2", f"{folder}@step=2")
        )
        assert read.dtype == saved.dtype
        assert torch.equal(read(tokens).logits, saved(tokens).logits)


def test_a_stretch_is_made_without_the_tensor(tmp_path: Path) -> None:
    """A few rows of a large tensor allocate a few rows, and cost the same wherever they are."""
    before = {"a": torch.zeros(1 << 20, 4)}
    after = {"a": before["a"].clone()}
    after["a"][::1000] = 1.0
    entry = write(tmp_path / "s", {0: before, 1: after}, set()).entries(1)["a"]
    assert isinstance(entry, Patched)
    rows = entry.read((slice(999_000, 999_010),))
    assert torch.equal(rows, after["a"][999_000:999_010])
    assert rows.untyped_storage().nbytes() == rows.numel() * 4


class TestFaults:
    """What is missing or damaged is told: which file, which step, what to do."""

    @pytest.fixture
    def stream(self, tmp_path: Path) -> Path:
        base = {"a": torch.arange(24.0).reshape(4, 6), "b": torch.ones(5)}
        states = {0: base}
        for step in range(1, 9):
            states[step] = {name: tensor.clone() for name, tensor in states[step - 1].items()}
            states[step]["a"].view(-1)[step] = -1.0
        write(tmp_path / "s", states, {6})
        return tmp_path / "s"

    def refused(self, folder: Path, step: int) -> str:
        with pytest.raises(TakebackError) as error:
            {name: entry.read() for name, entry in Stream.open(folder).entries(step).items()}
        return str(error.value)

    def test_missing(self, stream: Path) -> None:
        (stream / "deltas/step_000003.safetensors").unlink()
        text = self.refused(stream, 5)
        assert "lacks deltas/step_000003.safetensors, on which step 4 follows" in text
        assert "take step 2 or an earlier one, or one from step 6 on" in text
        assert Stream.open(stream).entries(2)
        assert Stream.open(stream).entries(7)

    def test_missing_where_nothing_says_the_base(self, stream: Path) -> None:
        for file in (stream / "deltas").iterdir():
            save_file(load_file(file), file, {"sparse": "True"})
        assert Stream.open(stream).entries(5)
        (stream / "deltas/step_000003.safetensors").unlink()
        assert "lacks deltas/step_000003" in self.refused(stream, 5)

    @pytest.mark.parametrize("place", [-1, -5])
    def test_a_flipped_byte(self, stream: Path, place: int) -> None:
        file = stream / "deltas/step_000003.safetensors"
        raw = bytearray(file.read_bytes())
        raw[place] ^= 1
        file.write_bytes(raw)
        text = self.refused(stream, 4)
        assert "deltas/step_000003.safetensors is damaged in a.values: its checksum is another" in text
        assert "from the next anchor on" in text
        assert Stream.open(stream).entries(2)["a"].read().shape == (4, 6)

    def test_truncated(self, stream: Path) -> None:
        file = stream / "deltas/step_000003.safetensors"
        file.write_bytes(file.read_bytes()[:-3])
        assert "step_000003.safetensors is truncated" in self.refused(stream, 3)

    def test_of_another_run(self, stream: Path) -> None:
        file = stream / "deltas/step_000003.safetensors"
        with_other = {"sparse": "True", "base_step": "2", "base_digest": "of another"}
        save_file(load_file(file), file, with_other)
        assert "on other weights: they are of two runs" in self.refused(stream, 3)

    @pytest.mark.parametrize(
        ("indices", "values", "words"),
        [
            (torch.tensor([0, 24]), torch.ones(2), "outside of the tensor's 24 entries"),
            (torch.tensor([-1]), torch.ones(1), "outside of the tensor's 24 entries"),
            (torch.tensor([3, 1, 3]), torch.ones(3), "names a place twice"),
            (torch.tensor([3, 1]), torch.ones(3), "as many values"),
            (torch.tensor([3.0]), torch.ones(1), "flat indices"),
            (torch.tensor([3]), torch.ones(1).bfloat16(), "in bfloat16, its anchor in float32"),
        ],
    )
    def test_no_changes_of_this_tensor(
        self, stream: Path, indices: torch.Tensor, values: torch.Tensor, words: str
    ) -> None:
        file = stream / "deltas/step_000003.safetensors"
        save_file({"a.indices": indices, "a.values": values}, file, {"base_step": "2"})
        assert words in self.refused(stream, 3)

    def test_a_tensor_that_is_not_there(self, stream: Path) -> None:
        file = stream / "deltas/step_000003.safetensors"
        save_file({"z.indices": torch.tensor([0]), "z.values": torch.ones(1)}, file, {"base_step": "2"})
        assert "changes z, which the steps before it do not hold" in self.refused(stream, 3)

    @pytest.mark.parametrize(
        "metadata",
        [{"base_step": "x"}, {"base_step": "9" * 5000}, {"removed": "{}"}, {"checksums": "[" * 100_000}],
    )
    def test_metadata_that_make_no_sense(self, stream: Path, metadata: dict[str, str]) -> None:
        file = stream / "deltas/step_000003.safetensors"
        save_file(load_file(file), file, metadata)
        text = self.refused(stream, 3)
        assert "is damaged" in text
        assert len(text) < 400

    @pytest.mark.parametrize("total", ["[1]", "{}", '"x"', "1.5", "true"])
    def test_checksums_that_are_no_whole_numbers(self, stream: Path, total: str) -> None:
        file = stream / "deltas/step_000003.safetensors"
        save_file(load_file(file), file, {"base_step": "2", "checksums": f'{{"a": {total}}}'})
        assert "its checksums are not all whole numbers" in self.refused(stream, 3)

    def test_a_delta_that_removes_everything(self, stream: Path) -> None:
        file = stream / "deltas/step_000001.safetensors"
        names = json.dumps(list(load_file(stream / "anchors/step_000000.safetensors")))
        save_file({"a.indices": torch.zeros(0).int(), "a.values": torch.zeros(0)}, file, {"removed": names})
        with pytest.raises(TakebackError, match=r"do not hold|has no tensor left at step 1"):
            open_checkpoint(f"{stream}@step=1")

    def test_a_step_twice(self, stream: Path) -> None:
        (stream / "deltas/step_3.safetensors").write_bytes(b"")
        with pytest.raises(
            TakebackError, match=r"has step 3 in step_000003\.safetensors and in step_3\.safetensors"
        ):
            open_checkpoint(f"{stream}@step=last")

    @pytest.mark.parametrize("name", ["~nobody", "x" * 300, "a\0b"])
    def test_a_name_that_no_file_has(self, name: str) -> None:
        with pytest.raises(TakebackError):
            open_checkpoint(f"{name}@step=3")

    def test_no_such_step(self, stream: Path) -> None:
        with pytest.raises(
            TakebackError, match="has no step 137: it has 9 steps from 0 to 8, the nearest 7 and 8"
        ):
            open_checkpoint(f"{stream}@step=137")

    def test_a_stream_is_no_model(self, stream: Path) -> None:
        with pytest.raises(TakebackError, match=r"is a stream of 9 steps from 0 to 8; name one: .*@step=8"):
            open_checkpoint(stream)

    def test_no_stream(self, tmp_path: Path) -> None:
        with pytest.raises(TakebackError, match="is no stream of deltas: it has no anchors/"):
            open_checkpoint(f"{tmp_path}@step=1")

    def test_no_config(self, tmp_path: Path) -> None:
        states = bf16_run(tmp_path, 1)
        folder = publish(tmp_path / "bucket", states, 5, tmp_path / "base" / "config.json", "indices")
        (folder / "config.json").unlink()
        with pytest.raises(
            TakebackError, match=r"has no config.json beside its anchors; put the one of the model"
        ):
            open_checkpoint(f"{folder}@step=1")


def test_an_anchor_with_other_bits_is_told_when_its_identity_is_asked(tmp_path: Path) -> None:
    from takeback.weights.runs.pack import pack

    bf16_run(tmp_path, 2)
    pack(tmp_path / "run", tmp_path / "out", tmp_path / "base")
    file = tmp_path / "out/anchors/step_000000.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    with pytest.raises(TakebackError, match="@step=2 is damaged: its tensors are not those that were packed"):
        _ = open_checkpoint(f"{tmp_path / 'out'}@step=2").digest


def test_far_from_its_anchor_a_step_costs_what_lies_between(tmp_path: Path) -> None:
    """Each patch is applied once a tensor: what is looked at grows with the steps, not with their square."""
    states = {0: {"a": torch.zeros(1000)}}
    for step in range(1, 200):
        states[step] = {"a": states[step - 1]["a"].clone()}
        states[step]["a"][step * 5] = step
    stream = write(tmp_path / "s", states, set())
    entry = stream.entries(199)["a"]
    assert isinstance(entry, Patched)
    assert len(entry.patches) == 199
    assert sum(math.prod(patch.values.shape) for patch in entry.patches) == 199
    assert torch.equal(entry.read(), states[199]["a"])


def test_experts_that_are_stacked_in_a_stream_are_read_apart(tmp_path: Path) -> None:
    """A trainer publishes a live module's names: the patches are of the whole stack."""
    model = models.build("mixtral")
    states: dict[int, State] = {}
    for step in range(3):
        states[step] = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        model.save_pretrained(tmp_path / f"saved-{step}")
        for parameter in model.parameters():
            parameter.data.reshape(-1)[step :: 7 + step] += 1.0
    config = tmp_path / "saved-0" / "config.json"
    folder = publish(tmp_path / "bucket", states, 5, config, "indices")
    for step in states:
        saved, read = open_checkpoint(tmp_path / f"saved-{step}"), open_checkpoint(f"{folder}@step={step}")
        assert read.digest == saved.digest
