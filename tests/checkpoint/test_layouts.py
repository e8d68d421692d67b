"""What trainers write: each layout is read as the model that was saved in it, through all commands."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint import HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata
from typer.testing import CliRunner

import models
import takeback
from takeback import cli
from takeback.checkpoint import load_model, open_checkpoint, open_pair
from takeback.checkpoint.forms.form import PICKLE
from takeback.checkpoint.forms.layouts import steps_in
from takeback.hybrid import hybrid, write_hybrid
from takeback.run.errors import TakebackError
from trainers import save_distributed, save_shards, save_slices

SWEEP = ["--arena", "endgames", "--situations", "4", "--controls", "1", "--sets", "L0.H0"]
State = dict[str, torch.Tensor]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    models.build("llama-gqa-biases", 3).save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PICKLE, "1")


def state_of(saved: Path) -> State:
    return load_file(saved / "model.safetensors")


def copy_config(saved: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(saved / "config.json", folder)


def copy_model(saved: Path, folder: Path) -> None:
    shutil.copytree(saved, folder)


def verl(saved: Path, step: Path) -> None:
    copy_config(saved, step / "actor" / "huggingface")
    save_shards(state_of(saved), step / "actor")
    torch.save({"step": 1}, step / "data.pt")


def verl_flat(saved: Path, step: Path) -> None:
    copy_config(saved, step / "actor")
    save_shards(state_of(saved), step / "actor")


def verl_with_model(saved: Path, step: Path) -> None:
    copy_model(saved, step / "actor" / "huggingface")
    (step / "critic").mkdir()
    save_file({"other": torch.ones(2)}, step / "critic" / "model.safetensors")
    (step / "actor" / "model_world_size_1_rank_0.pt").write_bytes(b"never opened")


def skyrl(saved: Path, step: Path) -> None:
    copy_config(saved, step / "policy" / "huggingface")
    save_shards(state_of(saved), step / "policy")


def skyrl_export(saved: Path, step: Path) -> None:
    copy_model(saved, step / "policy")


def openrlhf(saved: Path, step: Path) -> None:
    copy_model(saved, step)


def deepspeed(saved: Path, step: Path) -> None:
    copy_config(saved, step.parent)
    step.mkdir()
    module = {f"module.{name}": tensor for name, tensor in state_of(saved).items()}
    torch.save({"module": module, "ds_version": "0.17"}, step / "mp_rank_00_model_states.pt")


def fsdp_of_accelerate(saved: Path, step: Path) -> None:
    copy_config(saved, step)
    save_distributed({"model": state_of(saved)}, step / "pytorch_model_fsdp_0")


def nemo(saved: Path, step: Path) -> None:
    copy_config(saved, step / "policy" / "tokenizer")
    save_distributed({"model": state_of(saved), "optim": {"lr": 0.1}}, step / "policy" / "weights")


def nemo_plain(saved: Path, step: Path) -> None:
    copy_model(saved, step / "policy" / "weights" / "model" / "consolidated")


def automodel(saved: Path, step: Path) -> None:
    if "save_distributed" not in signature(HuggingFaceStorageWriter).parameters:
        pytest.skip("torch 2.8 writes no slices")
    copy_config(saved, step / "model" / ".hf_metadata")
    save_slices(state_of(saved), step / "model")


def torchtune(saved: Path, step: Path) -> None:
    copy_config(saved, step)
    state = state_of(saved)
    names = sorted(state)
    halves = {"ft-model-00001-of-00002": names[::2], "ft-model-00002-of-00002": names[1::2]}
    for file, own in halves.items():
        save_file({name: state[name] for name in own}, step / f"{file}.safetensors")


def torchtitan(saved: Path, step: Path) -> None:
    copy_config(saved, step)
    save_distributed(state_of(saved), step)


LAYOUTS: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    "verl": ("global_step_{}", verl),
    "verl, config in actor": ("global_step_{}", verl_flat),
    "verl, model in huggingface": ("global_step_{}", verl_with_model),
    "SkyRL": ("global_step_{}", skyrl),
    "SkyRL, exported": ("exports/global_step_{}", skyrl_export),
    "OpenRLHF": ("global_step{}_hf", openrlhf),
    "DeepSpeed": ("_actor/global_step{}", deepspeed),
    "accelerate": ("checkpoint-{}", fsdp_of_accelerate),
    "NeMo-RL": ("step_{}", nemo),
    "NeMo-RL, consolidated": ("step_{}", nemo_plain),
    "Automodel": ("epoch_0_step_{}", automodel),
    "torchtune": ("epoch_{}", torchtune),
    "torchtitan": ("checkpoint/step-{}", torchtitan),
}


@pytest.mark.slow
@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("trainer", LAYOUTS)
def test_a_step_is_the_model_that_was_saved(trainer: str, saved: Path, tmp_path: Path) -> None:
    name, write = LAYOUTS[trainer]
    step = tmp_path / "run" / name.format(10)
    step.parent.mkdir(parents=True, exist_ok=True)
    write(saved, step)
    opened, expected = open_checkpoint(step), open_checkpoint(saved)
    assert opened.digest == expected.digest
    assert opened.stored == expected.stored
    assert steps_in(tmp_path / "run") == ((10, step),)
    asked = {"input_ids": models.tokens()}
    assert load_model(opened)(**asked).logits.equal(load_model(expected)(**asked).logits)


@pytest.mark.usefixtures("allowed")
def test_a_run_of_verl_goes_through_diff_and_hybrid(saved: Path, tmp_path: Path) -> None:
    run, base = tmp_path / "run", tmp_path / "base"
    models.build("llama-gqa-biases", 1).save_pretrained(base)
    verl(saved, run / "global_step_20")
    verl(base, run / "global_step_3")
    (run / "latest_checkpointed_iteration.txt").write_text("20")
    plain, pair = open_pair(base, saved), open_pair(base, run / "global_step_20")
    assert takeback.diff(pair).tensors.equals(takeback.diff(plain).tensors)
    made, same = (hybrid(one, one.anatomy().parse("L0.H1 *.MLP")) for one in (pair, plain))
    written, expected = write_hybrid(made, tmp_path / "out"), write_hybrid(same, tmp_path / "expected")
    assert (written / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()
    from takeback.weights.runs import weight_path

    path = weight_path(run, base)
    assert sorted(set(path.table["step"])) == [3, 20]


@pytest.mark.slow
@pytest.mark.usefixtures("allowed")
def test_a_folder_of_verl_goes_through_a_sweep(tmp_path: Path) -> None:
    base, tuned = models.save_players(tmp_path)
    for side in (base, tuned):
        step = tmp_path / "run" / f"global_step_{len(side.name)}"
        step.mkdir(parents=True)
        shutil.copytree(side, step / "actor" / "huggingface")
        save_shards(load_file(side / "model.safetensors"), step / "actor", world=2)
        (step / "actor" / "huggingface" / "model.safetensors").unlink()
    steps = [str(tmp_path / "run" / f"global_step_{len(side.name)}") for side in (base, tuned)]
    found = [
        CliRunner().invoke(
            cli.app,
            ["sweep", *sides, "-o", str(tmp_path / out / "a.parquet"), *SWEEP, "--json"],
            catch_exceptions=False,
        )
        for sides, out in ((steps, "one"), ((str(base), str(tuned)), "two"))
    ]
    assert [one.exit_code for one in found] == [0, 0], found[0].output
    tables = [pd.read_parquet(tmp_path / out / "a.parquet") for out in ("one", "two")]
    assert tables[0]["effect"].tolist() == tables[1]["effect"].tolist()


def test_an_empty_tensor_is_told_as_what_it_is(saved: Path) -> None:
    file = saved / "model.safetensors"
    text = file.read_bytes()
    length = int.from_bytes(text[:8], "little")
    header = json.loads(text[8 : 8 + length])
    header["lm_head.weight"] = {"dtype": "", "shape": [], "data_offsets": [0, 0]}
    longer = json.dumps(header).encode()
    file.write_bytes(len(longer).to_bytes(8, "little") + longer + text[8 + length :])
    with pytest.raises(TakebackError, match=r"names lm_head.weight and holds nothing of it, as torchtitan"):
        open_checkpoint(saved)


def test_pickles_are_opened_only_when_allowed(saved: Path, tmp_path: Path) -> None:
    verl(saved, tmp_path / "global_step_1")
    with pytest.raises(TakebackError, match=r"is pickled.*--allow-pickle.*verl.model_merger merge"):
        open_checkpoint(tmp_path / "global_step_1")
    deepspeed(saved, tmp_path / "global_step2")
    with pytest.raises(TakebackError, match=r"--allow-pickle.*zero_to_fp32.py .* --safe_serialization"):
        open_checkpoint(tmp_path / "global_step2")


class Runs:
    """Is unpickled by a call, as a harmful file would be."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({str(self.file)!r}, 'w')",))


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("form", ["shard", "index", "states"])
def test_a_harmful_pickle_runs_nothing(form: str, saved: Path, tmp_path: Path) -> None:
    step, mark = tmp_path / "global_step_1", tmp_path / "mark"
    copy_config(saved, step)
    if form == "index":
        save_distributed(state_of(saved), step)
        (step / ".metadata").write_bytes(pickle.dumps(Runs(mark)))
    else:
        file = "model_world_size_1_rank_0.pt" if form == "shard" else "mp_rank_00_model_states.pt"
        torch.save({"module": Runs(mark)}, step / file)
    with pytest.raises(TakebackError, match=r"not opened|weights_only"):
        open_checkpoint(step)
    assert not mark.exists()


@pytest.mark.usefixtures("allowed")
def test_what_is_not_whole_is_refused(saved: Path, tmp_path: Path) -> None:
    verl(saved, tmp_path / "global_step_1")
    actor = tmp_path / "global_step_1" / "actor"
    (actor / "model_world_size_3_rank_1.pt").unlink()
    with pytest.raises(TakebackError, match=r"lacks model_world_size_3_rank_1.pt"):
        open_checkpoint(actor)
    (actor / "model_world_size_2_rank_0.pt").touch()
    with pytest.raises(TakebackError, match="shards of 2 and 3 processes"):
        open_checkpoint(actor)
    torchtitan(saved, tmp_path / "step-1")
    (tmp_path / "step-1" / "__0_0.distcp").rename(tmp_path / "step-1" / "__1_0.distcp")
    with pytest.raises(TakebackError, match=r"places tensors in __0_0.distcp, which is no file"):
        open_checkpoint(tmp_path / "step-1")
    (tmp_path / "step-1" / "__0_0.distcp").write_bytes(b"cut")
    with pytest.raises(TakebackError, match="could not read"):
        open_checkpoint(tmp_path / "step-1").read("model.norm.weight")


def test_partitions_and_foreign_names_are_told(saved: Path, tmp_path: Path) -> None:
    stage3 = tmp_path / "run" / "global_step5"
    copy_config(saved, stage3)
    (stage3 / "zero_pp_rank_0_mp_rank_00_model_states.pt").touch()
    with pytest.raises(TakebackError, match=r"ZeRO-3.*zero_to_fp32.py .*--tag global_step5"):
        open_checkpoint(stage3)
    native = tmp_path / "step-5"
    copy_config(saved, native)
    save_distributed({"tok_embeddings.weight": torch.ones(2, 3), "norm.weight": torch.ones(3)}, native)
    with pytest.raises(TakebackError, match=r"torchtitan's own names.*convert_to_hf"):
        open_checkpoint(native)


def test_several_models_in_a_folder_are_named(saved: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        copy_model(saved, tmp_path / "both" / name)
    with pytest.raises(TakebackError, match="holds one, two; name one of them"):
        open_checkpoint(tmp_path / "both")
    copy_model(saved, tmp_path / "single" / "export" / "best")
    assert open_checkpoint(tmp_path / "single").digest == open_checkpoint(saved).digest


def first(index: Any) -> Any:
    """Return the row of a tensor that has two axes."""
    return next(row for row in index.state_dict_metadata.values() if len(row.size) == 2)


def half_twice(index: Any) -> None:
    """Place one half of a tensor twice: as many entries as there are, and half of them nowhere."""
    row = first(index)
    size = torch.Size([row.size[0] // 2, row.size[1]])
    row.chunks[:] = [ChunkStorageMetadata(torch.Size([0, 0]), size)] * 2


def vast(index: Any) -> None:
    row = first(index)
    row.size = torch.Size([2**20, 2**20])
    row.chunks[:] = [ChunkStorageMetadata(torch.Size([0, 0]), row.size)]


def other_type(index: Any) -> None:
    first(index).properties.dtype = torch.float16


def other_piece(index: Any) -> None:
    """Say of each tensor that it is stored where the largest one is."""
    largest = max(index.storage_data.values(), key=lambda piece: piece.length)
    index.storage_data = dict.fromkeys(index.storage_data, largest)


def no_text(index: Any) -> None:
    rows = index.state_dict_metadata
    rows[3] = rows.pop(next(iter(rows)))


def no_row(index: Any) -> None:
    first(index).properties = None


def long_name(index: Any) -> None:
    pieces = index.storage_data
    index.storage_data = {key: replace(piece, relative_path="x" * 400) for key, piece in pieces.items()}


@pytest.mark.parametrize(
    ("bend", "words"),
    [
        (half_twice, "lacks pieces of"),
        (vast, "and its files have"),
        (other_type, "could not read .* a piece is torch.float32, its index says torch.float16"),
        (other_piece, "could not read .* its index says less"),
        (no_text, "what no tensor has .a name that is no text"),
        (no_row, "what no tensor has"),
        (long_name, "is no file of its folder"),
    ],
)
def test_an_index_that_says_what_is_not_so_is_refused(
    bend: Callable[[Any], None], words: str, saved: Path, tmp_path: Path
) -> None:
    """torch believes the index: it would leave entries unset, cast numbers, or cut a tensor."""
    torchtitan(saved, tmp_path / "step-1")
    file = tmp_path / "step-1" / ".metadata"
    index = pickle.loads(file.read_bytes())
    bend(index)
    file.write_bytes(pickle.dumps(index))
    with pytest.raises(TakebackError, match=words) as told:  # noqa: PT012 some are told when they are read
        found = open_checkpoint(tmp_path / "step-1")
        for name in found.shapes:
            found.read(name)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 1000


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (torch.ones(1).expand(2**20, 2**20), "no plain tensor of numbers"),
        (torch.ones(4).to_sparse(), "no plain tensor of numbers"),
        (torch.ones(4, device="meta"), "no plain tensor of numbers"),
    ],
)
def test_states_that_are_no_plain_numbers_are_refused(
    odd: torch.Tensor, words: str, saved: Path, tmp_path: Path
) -> None:
    deepspeed(saved, tmp_path / "global_step2")
    file = tmp_path / "global_step2" / "mp_rank_00_model_states.pt"
    held = torch.load(file, weights_only=True)
    held["module"] |= {next(iter(held["module"])): odd, 3: torch.ones(2)}
    torch.save(held, file)
    with pytest.raises(TakebackError, match=words):
        open_checkpoint(tmp_path / "global_step2")


@pytest.mark.usefixtures("allowed")
def test_shards_that_do_not_fit_each_other_are_refused(
    saved: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    verl_flat(saved, tmp_path / "global_step_1")
    actor = tmp_path / "global_step_1" / "actor"
    assert open_checkpoint(actor).read("model.embed_tokens.weight").isfinite().all()
    file = actor / "model_world_size_3_rank_1.pt"
    held = torch.load(file, weights_only=False)
    name = next(name for name, tensor in held.items() if tensor.dim() == 2)
    torch.save(held | {name: torch.ones(3, 3)}, file)
    with pytest.raises(TakebackError, match=r"has pieces of .* that do not fit each other"):
        open_checkpoint(actor).read(name)
    for old in actor.glob("*.pt"):
        old.unlink()
    (actor / "model_world_size_0_rank_0.pt").touch()
    with pytest.raises(TakebackError, match="a shard of no processes"):
        open_checkpoint(actor)


@pytest.mark.parametrize("name", ["x" * 400, "a\0b", "../x", 3])
def test_an_index_of_shards_with_names_that_no_file_has(name: object, saved: Path) -> None:
    (saved / "model.safetensors").rename(saved / "other.safetensors")
    index = {"weight_map": {"model.norm.weight": name}}
    (saved / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(TakebackError, match="which is no file of its folder") as told:
        open_checkpoint(saved)
    assert len(str(told.value)) < 500


@pytest.mark.parametrize("named", ["x" * 400, "a\0b"])
def test_an_adapter_of_a_base_that_no_file_is(named: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": named}))
    with pytest.raises(TakebackError, match=r"holds an adapter, not a model; write BASE\+"):
        open_checkpoint(tmp_path)
