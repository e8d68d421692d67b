"""Packing a run of checkpoints: exact, small where few bits change, whole after a kill, read by commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import models
import takeback
from adapters import LLAMA, save_adapter
from kill import run_and_kill
from takeback.checkpoint import load_network, open_checkpoint, open_pair
from takeback.checkpoint import writer as writer_module
from takeback.cli import app
from takeback.findings.trajectory import CourseSettings, course
from takeback.hybrid import hybrid, write_hybrid
from takeback.hybrid.patch import write_patch
from takeback.measure.bench import Bench
from takeback.measure.setup import Setup
from takeback.run.errors import TakebackError
from takeback.run.identity import told
from takeback.weights import diff, pack, weight_path


def save_run(folder: Path, steps: int = 6, dtype: torch.dtype = torch.bfloat16, share: float = 0.004) -> Path:
    """Save a base and a Trainer's run that changes a small share of the entries at each step."""
    model = models.build("llama-gqa-biases").to(dtype)
    generator = torch.Generator().manual_seed(0)
    model.save_pretrained(folder / "base")
    for step in range(1, steps + 1):
        for parameter in model.parameters():
            chosen = torch.rand(parameter.shape, generator=generator) < share
            parameter.data = torch.where(chosen, parameter.data + 0.125, parameter.data)
        model.save_pretrained(folder / "run" / f"checkpoint-{10 * step}")
    return folder / "run"


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_steps_have_the_identity_of_their_checkpoints(tmp_path: Path) -> None:
    run = save_run(tmp_path)
    extra = run / "checkpoint-30" / "generation_config.json"
    extra.write_text(json.dumps({"eos_token_id": 1, "max_new_tokens": 7}))
    packed = pack(run, tmp_path / "out", tmp_path / "base")
    assert [step.step for step in packed.steps] == [0, 10, 20, 30, 40, 50, 60]
    assert [step.kind for step in packed.steps][:2] == ["anchor", "delta"]
    assert packed.nbytes < packed.before
    for step in range(0, 70, 10):
        saved = open_checkpoint(run / f"checkpoint-{step}" if step else tmp_path / "base")
        read = open_checkpoint(f"{tmp_path / 'out'}@step={step}")
        assert told(read) == told(saved)
        assert read.stored == saved.stored
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == [
        "anchors",
        "beside",
        "config.json",
        "deltas",
        "generation_config.json",
    ]


def test_an_anchor_at_every_third_step(tmp_path: Path) -> None:
    packed = pack(save_run(tmp_path), tmp_path / "out", tmp_path / "base", every=3)
    kinds = [step.kind for step in packed.steps]
    assert kinds == ["anchor", "delta", "delta", "anchor", "delta", "delta", "anchor"]


def test_a_stream_packs_again(tmp_path: Path) -> None:
    pack(save_run(tmp_path, 4), tmp_path / "out", tmp_path / "base")
    packed = pack(tmp_path / "out", tmp_path / "again", every=2)
    assert [step.kind for step in packed.steps] == ["anchor", "delta"] * 2 + ["anchor"]
    for step in (0, 10, 20, 30, 40):
        one, other = (open_checkpoint(f"{tmp_path / name}@step={step}") for name in ("out", "again"))
        assert told(one) == told(other)


def test_what_changes_everywhere_is_no_larger_than_its_checkpoints(tmp_path: Path) -> None:
    """Steps in fp32 change nearly every entry: whole tensors are written then."""
    packed = pack(save_run(tmp_path, 3, torch.float32, 1.0), tmp_path / "out", tmp_path / "base")
    assert [step.kind for step in packed.steps] == ["anchor"] * 4
    assert packed.nbytes < packed.before + 4 * 8000  # headers


def test_a_step_that_changes_nothing(tmp_path: Path) -> None:
    run = save_run(tmp_path, 2, share=0.0)
    packed = pack(run, tmp_path / "out", tmp_path / "base")
    assert [step.unchanged for step in packed.steps] == [0.0, 1.0, 1.0]
    assert open_checkpoint(f"{tmp_path / 'out'}@step=20").digest == open_checkpoint(tmp_path / "base").digest


def test_element_types_and_tensors_may_change_on_the_way(tmp_path: Path) -> None:
    """A base in fp32 under a run in bf16; a run that unties its embeddings."""
    run = save_run(tmp_path, 3)
    models.build("llama-gqa-biases").save_pretrained(tmp_path / "base")
    config = json.loads((run / "checkpoint-30/config.json").read_text())
    (run / "checkpoint-30/config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    tensors = load_file(run / "checkpoint-30/model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] * 2
    save_file(tensors, run / "checkpoint-30/model.safetensors")
    pack(run, tmp_path / "out", tmp_path / "base")
    for step in (0, 10, 20, 30):
        saved = open_checkpoint(run / f"checkpoint-{step}" if step else tmp_path / "base")
        assert told(open_checkpoint(f"{tmp_path / 'out'}@step={step}")) == told(saved)


def frames(found: Any) -> list[pd.DataFrame]:
    return [found.table.drop(columns="run"), found.paths.drop(columns="run")]


def test_diff_and_course_take_a_stream(tmp_path: Path) -> None:
    """Of a stream they say what they say of the checkpoints."""
    run = save_run(tmp_path, 4)
    pack(run, tmp_path / "out", tmp_path / "base")
    saved, streamed = weight_path(run, tmp_path / "base"), weight_path(tmp_path / "out")
    for one, other in zip(frames(saved), frames(streamed), strict=True):
        pd.testing.assert_frame_equal(one, other)
    refs = [tmp_path / "base", run / "checkpoint-40"]
    streams = [f"{tmp_path / 'out'}@step={step}" for step in (0, 40)]
    one, other = (diff(open_pair(*map(str, sides))) for sides in (refs, streams))
    pd.testing.assert_frame_equal(one.components, other.components)


def test_hybrids_of_steps_are_those_of_their_checkpoints(tmp_path: Path) -> None:
    run = save_run(tmp_path, 4)
    pack(run, tmp_path / "out", tmp_path / "base")
    made = []
    for refs in (
        (tmp_path / "base", run / "checkpoint-40"),
        (f"{tmp_path / 'out'}@step=0", f"{tmp_path / 'out'}@step=40"),
    ):
        pair = open_pair(*refs)
        made.append(hybrid(pair, pair.anatomy().parse("L0.H1 *.MLP")))
    assert made[0].digest == made[1].digest
    write_hybrid(made[1], tmp_path / "hybrid")
    assert open_checkpoint(tmp_path / "hybrid").digest == made[0].digest


@pytest.mark.slow
def test_what_was_read_of_a_checkpoint_is_found_by_its_step(tmp_path: Path) -> None:
    """One identity: the store of a run of networks serves its stream, and course and sweep run on it."""
    network = load_network(open_checkpoint("endgame-mlp"))
    for step in (1, 2):
        for parameter in network.parameters():
            parameter.data.reshape(-1)[step::1000] += 0.5
        network.save_pretrained(tmp_path / "run" / f"checkpoint-{step}")
    packed = pack(tmp_path / "run", tmp_path / "out", "endgame-mlp")
    assert [step.kind for step in packed.steps] == ["anchor", "delta", "delta"]
    arena = takeback.arena("endgames")
    benches = [
        Bench.held_out(open_pair(*sides), arena, ["utility win"], (4, 0), Setup(tmp_path / "read"))
        for sides in (
            ("endgame-mlp", tmp_path / "run/checkpoint-2"),
            (f"{tmp_path / 'out'}@step=0", f"{tmp_path / 'out'}@step=2"),
        )
    ]
    asked = [benches[0].anatomy.parse("OUTPUTS")]
    (one,) = benches[0].read(asked)
    assert benches[1].unread(asked) == 0
    (other,) = benches[1].read(asked)
    assert one.probabilities.tobytes() == other.probabilities.tobytes()
    few = CourseSettings("win", situations=4, sets=("OUTPUTS",))
    saved = course("endgame-mlp", tmp_path / "run", arena, few)
    streamed = course(f"{tmp_path / 'out'}@step=0", tmp_path / "out", arena, few)
    pd.testing.assert_frame_equal(saved.table, streamed.table)
    pd.testing.assert_frame_equal(saved.components, streamed.components)


@pytest.mark.parametrize("of", ["tuned", "base"])
def test_a_patched_side_is_the_hybrid(tmp_path: Path, of: str) -> None:
    """Replayed by torch alone, as a serving engine does."""
    run = save_run(tmp_path, 2)
    pair = open_pair(tmp_path / "base", run / "checkpoint-20")
    made = hybrid(pair, pair.anatomy().parse("L0.H1 L1.MLP EMBED"))
    written = write_patch(made, tmp_path / "p.safetensors", of)
    patch = load_file(tmp_path / "p.safetensors")
    side = load_file((tmp_path / "base" if of == "base" else run / "checkpoint-20") / "model.safetensors")
    for name in [name.removesuffix(".indices") for name in patch if name.endswith(".indices")]:
        assert patch[f"{name}.indices"].dtype == torch.int32
        assert patch[f"{name}.values"].dtype == side[name].dtype
        side[name].view(-1)[patch[f"{name}.indices"].long()] = patch[f"{name}.values"]
    for name in made.shapes:
        assert torch.equal(side[pair.tuned.stored[name]].view(torch.int16), made.read(name).view(torch.int16))
    assert 0 < written.changed < written.entries


def test_patches_that_are_refused(tmp_path: Path) -> None:
    run = save_run(tmp_path, 2)
    models.build("llama-gqa-biases").save_pretrained(tmp_path / "wide")
    pair = open_pair(tmp_path / "wide", run / "checkpoint-20")
    made = hybrid(pair, pair.anatomy().parse("L0.H1"))
    before = content(tmp_path)
    with pytest.raises(TakebackError, match="in float32 and tuned in bfloat16, which a patch can't say"):
        write_patch(made, tmp_path / "p.safetensors")
    pair = open_pair(tmp_path / "base", run / "checkpoint-20")
    made = hybrid(pair, pair.anatomy().parse("L0.H1"))
    with pytest.raises(TakebackError, match=r"a patch is one file; end its name in \.safetensors"):
        write_patch(made, tmp_path / "p")
    with pytest.raises(TakebackError, match="unknown side 'both'"):
        write_patch(made, tmp_path / "p.safetensors", "both")
    with pytest.raises(TakebackError, match="is one of the hybrid's parents"):
        write_patch(made, run / "checkpoint-20/model.safetensors", overwrite=True)
    assert content(tmp_path) == before
    write_patch(made, tmp_path / "p.safetensors")
    with pytest.raises(TakebackError, match="exists already"):
        write_patch(made, tmp_path / "p.safetensors")
    write_patch(made, tmp_path / "p.safetensors", "base", overwrite=True)


CODE = """
from pathlib import Path
from takeback.weights import pack
pack({run!r}, {out!r}, {base!r})
"""


@pytest.mark.slow
def test_killed_it_goes_on_with_the_same_bytes(tmp_path: Path) -> None:
    run = save_run(tmp_path, 40)
    pack(run, tmp_path / "whole", tmp_path / "base")
    out = tmp_path / "out"
    code = CODE.format(run=str(run), out=str(out), base=str(tmp_path / "base"))
    draft = tmp_path / ".out.parts"
    run_and_kill(code, lambda: len([*draft.glob("deltas/step_*.safetensors")]) > 4, tmp_path / "log")
    assert not out.exists()
    kept = {file: file.stat().st_mtime_ns for file in draft.glob("*/step_*.safetensors")}
    assert len(kept) > 4
    pack(run, out, tmp_path / "base")
    assert content(out) == content(tmp_path / "whole")
    assert not draft.exists()
    assert not [*tmp_path.glob(".out*")]
    moved = {out / file.relative_to(draft): time for file, time in kept.items()}
    assert all(file.stat().st_mtime_ns == time for file, time in moved.items())


def test_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = save_run(tmp_path, 4)
    read, written = writer_module.raw_bytes, 0

    def until_full(tensor: torch.Tensor) -> Any:
        nonlocal written
        written += 1
        if written > limit:
            raise OSError(28, "No space left on device")
        return read(tensor)

    monkeypatch.setattr(writer_module, "raw_bytes", until_full)
    before = content(tmp_path)
    limit = 5
    with pytest.raises(TakebackError, match="No space left on device"):
        pack(run, tmp_path / "out", tmp_path / "base")
    assert content(tmp_path) == before
    assert not (tmp_path / ".out.parts").exists()
    written, limit = 0, 100
    with pytest.raises(
        TakebackError, match=r"No space .* steps are kept beside it, and the same command goes on"
    ):
        pack(run, tmp_path / "out", tmp_path / "base")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(writer_module, "raw_bytes", read)
    pack(run, tmp_path / "out", tmp_path / "base")
    pack(run, tmp_path / "again", tmp_path / "base")
    assert content(tmp_path / "out") == content(tmp_path / "again")


class TestRefusals:
    """A refusal leaves nothing."""

    def refused(self, tmp_path: Path, words: str, *args: Any, **more: Any) -> None:
        before = content(tmp_path), sorted(tmp_path.rglob("*"))
        with pytest.raises(TakebackError, match=words):
            pack(*args, **more)
        assert (content(tmp_path), sorted(tmp_path.rglob("*"))) == before

    def test_output_that_exists(self, tmp_path: Path) -> None:
        run = save_run(tmp_path, 2)
        self.refused(tmp_path, "exists already", run, tmp_path / "base")

    def test_no_run(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        self.refused(tmp_path, "holds no recipe", tmp_path / "empty", tmp_path / "new" / "out")

    def test_a_damaged_checkpoint(self, tmp_path: Path) -> None:
        run = save_run(tmp_path, 2)
        file = run / "checkpoint-20/model.safetensors"
        file.write_bytes(file.read_bytes()[:-7])
        self.refused(tmp_path, "truncated", run, tmp_path / "new" / "out", tmp_path / "base")

    def test_adapters(self, tmp_path: Path) -> None:
        models.build("llama-gqa-biases").save_pretrained(tmp_path / "base")
        for step in (1, 2):
            save_adapter(tmp_path / "base", tmp_path / f"lora/checkpoint-{step}", torch.float32, **LLAMA)
        self.refused(tmp_path, "small as they are", tmp_path / "lora", tmp_path / "out", tmp_path / "base")

    def test_what_was_begun_of_another_run(self, tmp_path: Path) -> None:
        run = save_run(tmp_path, 2)
        draft = tmp_path / ".out.parts"
        (draft / "anchors").mkdir(parents=True)
        (draft / "work.json").write_text("{}")
        (draft / "anchors/step_000000.safetensors").write_bytes(b"")
        self.refused(tmp_path, "holds what is done of other checkpoints", run, tmp_path / "out")


def test_command(tmp_path: Path) -> None:
    run = save_run(tmp_path, 3)
    out, base = str(tmp_path / "out"), str(tmp_path / "base")
    done = CliRunner().invoke(app, ["pack", str(run), "-o", out, "--base", base, "--json"])
    assert done.exit_code == 0, done.output
    told_of = json.loads(done.stdout)
    assert told_of["bytes"] < told_of["checkpoints"]
    assert [step["step"] for step in told_of["steps"]] == [0, 10, 20, 30]
    done = CliRunner().invoke(app, ["pack", str(run), "-o", out + "2", "--no-base", "--anchor-every", "2"])
    assert done.exit_code == 0, done.output
    assert "3 steps, 2 of them whole" in " ".join(done.stdout.split())
    done = CliRunner().invoke(app, ["diff", out])
    assert done.exit_code == 0, done.output
    patch = str(tmp_path / "p.safetensors")
    command = ["hybrid", f"{out}@step=0", f"{out}@step=last", "--take-back", "*.MLP", "--as-patch", "tuned"]
    done = CliRunner().invoke(app, [*command, "-o", patch])
    assert done.exit_code == 0, done.output
    assert "sets" in done.stdout
    shutil.rmtree(run)
    assert open_checkpoint(f"{out}@step=20").digest
