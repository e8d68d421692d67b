"""Hybrids on disk: the laws of copying, for every family in both directions, and writing that cannot tear."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import models
from adapters import LLAMA, save_adapter
from takeback.checkpoint import Checkpoint, Pair, Weights, open_checkpoint, open_pair
from takeback.checkpoint import writer as writer_module
from takeback.component import ComponentSet
from takeback.hybrid import Hybrid, hybrid, taken_back, write_hybrid
from takeback.run.errors import TakebackError


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))


def loaded(folder: Path) -> transformers.PreTrainedModel:
    """Load as a user would, and refuse missing, unexpected and mismatched tensors."""
    model, report = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    return model


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def assert_same_weights(one: Weights, other: Weights) -> None:
    assert one.shapes.keys() == other.shapes.keys()
    for name in one.shapes:
        assert same_bits(one.read(name), other.read(name)), name
        assert one.dtypes[name] == one.read(name).dtype
    assert one.digest == other.digest


def picked(pair: Pair, resolution: str = "heads") -> ComponentSet:
    """Take every third component: some of every kind, parts of most tensors."""
    universe = pair.anatomy(resolution).universe
    return ComponentSet(list(universe)[::3], universe)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return open_pair(*models.save_pair("llama-gqa-biases", tmp_path))


# The laws


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_ends_are_the_parents_bit_for_bit(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    pair = open_pair(*models.save_pair(name, tmp_path, dtype))
    universe = pair.anatomy().universe
    for there, back in ((pair, universe), (Pair(pair.tuned, pair.base), universe ^ universe)):
        write_hybrid(hybrid(there, back), tmp_path / "base again", overwrite=True)
        assert_same_weights(open_checkpoint(tmp_path / "base again"), pair.base)
        again, parent = state(loaded(tmp_path / "base again")), state(loaded(pair.base.folder))
        assert all(tensor.dtype == dtype for tensor in (*again.values(), *parent.values()))
        assert all(same_bits(again[name], parent[name]) for name in parent)


def test_written_equals_live(name: str, tmp_path: Path) -> None:
    pair = open_pair(*models.save_pair(name, tmp_path))
    chosen = picked(pair)
    write_hybrid(hybrid(pair, chosen), tmp_path / "out", shard_bytes=9_000)
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 2
    model = loaded(pair.tuned.folder)
    with taken_back(model, pair.base, chosen), torch.no_grad():
        written = loaded(tmp_path / "out")
        assert all(same_bits(tensor, state(model)[name]) for name, tensor in state(written).items())
        assert torch.equal(written(models.tokens()).logits, model(models.tokens()).logits)


def test_every_entry_is_that_of_its_owner(pair: Pair) -> None:
    """The slow reference: one entry at a time, from whichever side owns it."""
    for resolution in ("heads", "neurons"):
        chosen = picked(pair, resolution)
        made = hybrid(pair, chosen)
        for name in made.shapes:
            expected = torch.full(made.shapes[name], float("nan"))
            for component, region in pair.anatomy(resolution).of_tensor(name):
                side = pair.base if component in chosen else pair.tuned
                expected[region.index] = side.read(name)[region.index]
            assert same_bits(made.read(name), expected)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Checkpoint, Checkpoint]:
    folder = tmp_path_factory.mktemp("three")
    for seed in range(3):
        models.build("qwen3", seed).save_pretrained(folder / str(seed))
    first, second, third = (open_checkpoint(folder / str(seed)) for seed in range(3))
    return first, second, third


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_taking_back_twice_is_taking_back_the_union(
    three: tuple[Checkpoint, Checkpoint, Checkpoint], data: st.DataObject
) -> None:
    pair = Pair(*three[:2])
    universe = pair.anatomy().universe
    members = st.sets(st.sampled_from(list(universe)))
    first, second = (ComponentSet(data.draw(members), universe) for _ in range(2))
    once, union = hybrid(pair, first), hybrid(pair, first | second)
    for name in union.shapes:  # the second takeback is made by hand on the result of the first
        result = once.read(name).clone()
        for region in pair.anatomy().regions(second):
            if region.tensor == name:
                result[region.index] = pair.base.read(name)[region.index]
        assert same_bits(result, union.read(name))


def test_slices_come_from_another_source(three: tuple[Checkpoint, Checkpoint, Checkpoint]) -> None:
    base, tuned, arm = three
    pair = Pair(base, tuned)
    everything = pair.anatomy().universe
    assert_same_weights(hybrid(pair, everything, source=arm), arm)
    chosen = picked(pair)
    nested = hybrid(pair, everything, source=hybrid(pair, chosen))
    assert nested.digest == hybrid(pair, chosen).digest
    assert nested.digest != hybrid(pair, chosen, source=arm).digest


# Element types


@pytest.mark.parametrize(
    ("before", "after", "mixed"),
    [
        (torch.float32, torch.bfloat16, torch.float32),
        (torch.bfloat16, torch.float32, torch.float32),
        (torch.float16, torch.bfloat16, torch.float32),
        (torch.float64, torch.float16, torch.float64),
    ],
)
def test_mixed_types_keep_every_bit(
    before: torch.dtype, after: torch.dtype, mixed: torch.dtype, tmp_path: Path
) -> None:
    for seed, (side, dtype) in enumerate({"base": before, "tuned": after}.items()):
        models.build("gpt2", seed).to(dtype).save_pretrained(tmp_path / side)
    pair = open_pair(tmp_path / "base", tmp_path / "tuned")
    assert all(difference.kind == "dtype" for difference in pair.differences())
    made = hybrid(pair, pair.anatomy().parse("L0.H0 L1.MLP"))
    assert made.dtypes["transformer.h.0.attn.c_attn.weight"] == mixed
    assert made.dtypes["transformer.h.1.mlp.c_fc.weight"] == before
    assert made.dtypes["transformer.wte.weight"] == after
    write_hybrid(made, tmp_path / "out")
    assert_same_weights(open_checkpoint(tmp_path / "out"), made)
    live = state(loaded(tmp_path / "out"))
    for name, tensor in live.items():
        assert torch.equal(tensor.double(), made.read(name).double())

    everything = pair.anatomy().universe
    for number, (chosen, parent) in enumerate(
        ((everything, pair.base), (everything ^ everything, pair.tuned))
    ):
        write_hybrid(hybrid(pair, chosen), tmp_path / f"end {number}")
        assert_same_weights(open_checkpoint(tmp_path / f"end {number}"), parent)
        assert {tensor.dtype for tensor in state(loaded(tmp_path / f"end {number}")).values()} == {
            parent.dtypes["transformer.wte.weight"]
        }


@pytest.mark.parametrize("bare", ["base", "tuned"])
def test_prefix_on_one_side_only(bare: str, tmp_path: Path) -> None:
    folders = dict(zip(("base", "tuned"), models.save_pair("gpt2", tmp_path), strict=True))
    loaded(folders[bare]).transformer.save_pretrained(tmp_path / "bare")
    folders[bare] = tmp_path / "bare"
    pair = open_pair(folders["base"], folders["tuned"])
    write_hybrid(hybrid(pair, picked(pair)), tmp_path / "out")
    assert_same_weights(open_checkpoint(tmp_path / "out"), hybrid(pair, picked(pair)))
    stored = load_file(tmp_path / "out" / "model.safetensors").keys()
    assert all(name.startswith("transformer.") == (bare == "base") for name in stored)
    assert state(loaded(tmp_path / "out")).keys() == pair.tuned.shapes.keys()


def test_one_tied_side_is_untied_on_request_only(tmp_path: Path) -> None:
    tied, untied = models.build("gpt2", 0), models.build("gpt2-untied", 1)
    config = transformers.GPT2Config(**{**untied.config.to_dict(), "n_inner": None})
    untied = models.randomised(transformers.AutoModelForCausalLM.from_config(config), 1)
    tied.save_pretrained(tmp_path / "tied")
    untied.save_pretrained(tmp_path / "untied")
    with pytest.raises(TakebackError, match="tied"):
        open_pair(tmp_path / "tied", tmp_path / "untied")
    for base, tuned in (("tied", "untied"), ("untied", "tied")):
        pair = open_pair(tmp_path / base, tmp_path / tuned, untie=True)
        out = tmp_path / f"from {tuned}"
        write_hybrid(hybrid(pair, pair.anatomy().parse("UNEMBED")), out)
        written = state(loaded(out))
        assert torch.equal(written["lm_head.weight"], pair.base.read("lm_head.weight"))
        assert torch.equal(written["transformer.wte.weight"], pair.tuned.read("transformer.wte.weight"))


def test_adapter_is_taken_back_from_its_merge(tmp_path: Path) -> None:
    models.build("llama-mha").to(torch.bfloat16).save_pretrained(tmp_path / "base")
    save_adapter(tmp_path / "base", tmp_path / "lora", torch.float32, **LLAMA)
    pair = open_pair(tmp_path / "base", f"{tmp_path}/base+{tmp_path}/lora")
    nothing = pair.anatomy().parse("")
    write_hybrid(hybrid(pair, nothing), tmp_path / "merged")
    assert_same_weights(open_checkpoint(tmp_path / "merged"), pair.tuned)
    live = state(loaded(tmp_path / "merged"))  # in float32, so that no bit of the merge is lost
    assert all(torch.equal(live[name].double(), pair.tuned.read(name).double()) for name in live)
    write_hybrid(hybrid(pair, ~nothing), tmp_path / "base again")
    assert_same_weights(open_checkpoint(tmp_path / "base again"), pair.base)


def test_plain_state_dicts_give_a_file(tmp_path: Path) -> None:
    for seed, side in enumerate(("base", "tuned")):
        save_file(models.build_mlp(seed).state_dict(), tmp_path / f"{side}.safetensors", {"note": side})
    pair = open_pair(tmp_path / "base.safetensors", tmp_path / "tuned.safetensors")
    made = hybrid(pair, pair.anatomy().parse("L0.U3 L2.*"))
    write_hybrid(made, tmp_path / "out.safetensors")
    written = load_file(tmp_path / "out.safetensors")
    model = models.build_mlp()
    model.load_state_dict(written)
    assert torch.equal(written["0.weight"][3], pair.base.read("0.weight")[3])
    assert torch.equal(written["0.weight"][:3], pair.tuned.read("0.weight")[:3])
    assert torch.equal(written["4.weight"], pair.base.read("4.weight"))
    with pytest.raises(TakebackError, match="safetensors"):
        write_hybrid(made, tmp_path / "folder")
    with pytest.raises(TakebackError, match="exists already"):
        write_hybrid(made, tmp_path / "out.safetensors")


# What lies beside the weights


def save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    vocabulary = {f"w{number}": number for number in range(models.VOCABULARY)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="w0"))
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


def test_folder_is_complete(pair: Pair, tmp_path: Path) -> None:
    save_tokenizer(tmp_path / "tuned")
    (tmp_path / "tuned" / "optimizer.pt").write_bytes(b"no part of a model")
    out = write_hybrid(hybrid(pair, pair.anatomy().parse("L0.H1 *.MLP")), tmp_path / "out")
    assert transformers.AutoTokenizer.from_pretrained(out)("w3")["input_ids"] == [3]
    assert json.loads((out / "config.json").read_text()) == json.loads(
        (tmp_path / "tuned/config.json").read_text()
    )
    assert (out / "generation_config.json").exists()
    assert not (out / "optimizer.pt").exists()


def test_card_names_parents_set_and_command(pair: Pair, tmp_path: Path) -> None:
    import yaml

    out = write_hybrid(hybrid(pair, pair.anatomy().parse("L0.H1 *.MLP")), tmp_path / "out")
    text = (out / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["base_model"] == [str(tmp_path / "base"), str(tmp_path / "tuned")]
    assert front["library_name"] == "transformers"
    for part in (pair.base.digest, pair.tuned.digest, "*.MLP L0.H1", "takeback hybrid"):
        assert part in text


def test_same_hybrid_same_bytes(pair: Pair, tmp_path: Path) -> None:
    contents: list[dict[str, bytes]] = []
    for _ in range(2):
        out = write_hybrid(hybrid(pair, picked(pair)), tmp_path / "out", overwrite=True)
        contents.append({file.name: file.read_bytes() for file in out.iterdir()})
    assert contents[0] == contents[1]


# Refusals


def test_outputs_are_not_overwritten(pair: Pair, tmp_path: Path) -> None:
    made = hybrid(pair, picked(pair))
    out = write_hybrid(made, tmp_path / "out")
    with pytest.raises(TakebackError, match="exists already"):
        write_hybrid(made, out)
    for parent in (pair.base.folder, pair.tuned.folder):
        with pytest.raises(TakebackError, match="parents"):
            write_hybrid(made, parent, overwrite=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("dear")
    with pytest.raises(TakebackError, match="not a hybrid"):
        write_hybrid(made, tmp_path / "other", overwrite=True)
    assert (tmp_path / "other" / "thesis.txt").exists()


def test_sets_and_sources_of_other_models_are_refused(pair: Pair, tmp_path: Path) -> None:
    models.save_pair("llama-mha", tmp_path / "others")
    other = open_checkpoint(tmp_path / "others" / "base")
    with pytest.raises(TakebackError):
        hybrid(pair, other.anatomy().universe)
    with pytest.raises(TakebackError, match=r"has no|of shape"):
        hybrid(pair, pair.anatomy().universe, source=other)


# Killed, and out of space

WRITE = """
import sys, time
from takeback.checkpoint import open_pair
from takeback.checkpoint import writer
from takeback.hybrid import hybrid, write_hybrid
pair = open_pair(sys.argv[1], sys.argv[2])
read = writer.raw_bytes
def slowly(tensor):
    print("tensor", flush=True)
    time.sleep(float(sys.argv[4]))
    return read(tensor)
writer.raw_bytes = slowly
write_hybrid(hybrid(pair, pair.anatomy().parse("*.MLP L0.H1")), sys.argv[3])
"""


@pytest.mark.slow
def test_killed_writer_leaves_nothing_and_runs_again(pair: Pair, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        WRITE,
        str(pair.base.folder),
        str(pair.tuned.folder),
        str(tmp_path / "out"),
    ]
    for tensors in (1, 8):
        process = subprocess.Popen([*command, "0.05"], stdout=subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(tensors):
            assert process.stdout.readline()
        os.kill(process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        process.wait()
        process.stdout.close()
        assert not (tmp_path / "out").exists()
    subprocess.run([*command, "0"], check=True, stdout=subprocess.DEVNULL)
    chosen = pair.anatomy().parse("*.MLP L0.H1")
    assert_same_weights(open_checkpoint(tmp_path / "out"), hybrid(pair, chosen))
    first = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    shutil.rmtree(tmp_path / "out")
    write_hybrid(hybrid(pair, chosen), tmp_path / "out")
    assert first == {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize("overwrite", [False, True])
def test_full_disk_loses_nothing(
    overwrite: bool, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = hybrid(pair, picked(pair))
    if overwrite:
        write_hybrid(hybrid(pair, ~picked(pair)), tmp_path / "out")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    read, written = writer_module.raw_bytes, 0

    def until_full(tensor: torch.Tensor) -> Any:
        nonlocal written
        written += 1
        if written > 5:
            raise OSError(28, "No space left on device")
        return read(tensor)

    monkeypatch.setattr(writer_module, "raw_bytes", until_full)
    with pytest.raises(TakebackError, match="No space left on device"):
        write_hybrid(made, tmp_path / "out", overwrite=overwrite)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    monkeypatch.setattr(writer_module, "raw_bytes", read)
    write_hybrid(made, tmp_path / "out", overwrite=overwrite)
    assert_same_weights(open_checkpoint(tmp_path / "out"), made)


def test_hybrid_reads_lazily(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    read = Checkpoint.read

    def noted(self: Checkpoint, name: str) -> torch.Tensor:
        asked.append(name)
        return read(self, name)

    monkeypatch.setattr(Checkpoint, "read", noted)
    made: Hybrid = hybrid(pair, picked(pair))
    assert asked == []
    made.read("model.norm.weight")
    assert asked == ["model.norm.weight"]
