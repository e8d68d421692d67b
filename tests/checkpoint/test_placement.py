"""Where models run: what is found, what is refused, and that the element type is part of what was read."""

from __future__ import annotations

import pytest
import torch

from models import build
from takeback.checkpoint import Placement, load_model, open_checkpoint
from takeback.checkpoint.placement import found_devices
from takeback.run.errors import TakebackError, UnknownName


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One tiny model, stored in three types."""
    found: dict[str, str] = {}
    for name in ("float32", "bfloat16", "float16"):
        folder = tmp_path_factory.mktemp(name)
        build("qwen2").to(getattr(torch, name)).save_pretrained(folder)
        found[name] = str(folder)
    return found


@pytest.mark.parametrize("device", found_devices())
@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_a_model_lies_where_it_is_placed(stored, device, name):
    here = Placement(device, name).settled(open_checkpoint(stored["float32"]))
    model = load_model(open_checkpoint(stored["float32"]), here.torch_dtype, here.device)
    held = {(one.device, one.dtype) for one in model.parameters()}
    assert held == {(torch.device(device), here.torch_dtype)}


def test_a_cpu_reads_in_fp32_unless_told(stored):
    one = open_checkpoint(stored["bfloat16"])
    assert Placement("cpu").settled(one) == Placement("cpu", "fp32", "both")
    assert Placement("cpu", "bf16").settled(one).reduced
    assert not Placement("cpu").settled(one).reduced


def test_elsewhere_what_is_stored_decides_the_type(stored, monkeypatch):
    monkeypatch.setattr("takeback.checkpoint.placement.found_devices", lambda: ("cuda:0", "cuda:1", "cpu"))
    monkeypatch.setattr("takeback.checkpoint.placement._check_computes", lambda *_: None)
    monkeypatch.setattr("takeback.checkpoint.placement.free_memory", lambda _: 10**9)
    wide, bf16, fp16 = (open_checkpoint(stored[name]) for name in ("float32", "bfloat16", "float16"))
    assert Placement().settled(bf16, bf16) == Placement("cuda:0", "bf16", "both")
    assert Placement("cuda").settled(fp16).dtype == "fp16"
    assert Placement("cuda:1").settled(bf16, fp16) == Placement("cuda:1", "fp32", "both")
    assert Placement().settled(bf16, wide).dtype == "fp32"
    assert Placement("cpu").settled(bf16).dtype == "fp32"


def test_what_does_not_fit_is_held_one_at_a_time_or_spread(stored, monkeypatch):
    monkeypatch.setattr("takeback.checkpoint.placement.found_devices", lambda: ("cuda:0", "cuda:1", "cpu"))
    monkeypatch.setattr("takeback.checkpoint.placement._check_computes", lambda *_: None)
    one = open_checkpoint(stored["bfloat16"])
    size = Placement("cpu", "bf16").bytes(one)
    assert size == 2 * sum(parameter.numel() for parameter in build("qwen2").parameters())

    def settled(free: int, **more: str) -> tuple[str, str]:
        monkeypatch.setattr("takeback.checkpoint.placement.free_memory", lambda _: free)
        found = Placement(**more).settled(one, one)
        return found.device, found.hold

    assert settled(4 * size) == ("cuda:0", "both")
    assert settled(2 * size) == ("cuda:0", "one"), "two models and nothing beside them"
    assert settled(size - 1) == ("map", "one")
    assert settled(size - 1, device="cuda") == ("cuda:0", "one"), "what is named is taken"
    assert settled(2 * size, hold="both") == ("cuda:0", "both")


def test_on_a_cpu_what_this_process_may_use_decides(stored, monkeypatch):
    one = open_checkpoint(stored["float32"])
    size = Placement("cpu", "fp32").bytes(one)

    def held(usable: int | None, **more: str) -> str:
        monkeypatch.setattr("takeback.checkpoint.placement.usable_memory", lambda: usable)
        return Placement("cpu", **more).settled(one, one).hold

    assert held(5 * size) == "both"
    assert held(int(4.5 * size)) == "one", "both, what they were, and activations need as much"
    assert held(3 * size, hold="both") == "both"
    assert held(None) == "both", "where the system does not tell"


def test_refusals_are_one_line(stored):
    one = open_checkpoint(stored["float32"])
    with pytest.raises(UnknownName, match="did you mean 'cuda'"):
        Placement("cuda0")
    with pytest.raises(UnknownName, match="known: auto, fp32, bf16, fp16"):
        Placement(dtype="int8")
    with pytest.raises(UnknownName, match="known: auto, both, one"):
        Placement(hold="none")
    with pytest.raises(TakebackError, match=r"no device cuda:77 here; this machine has .*cpu") as told:
        Placement("cuda:77").settled(one)
    assert "\n" not in str(told.value)
    if not torch.cuda.is_available():
        with pytest.raises(TakebackError, match="no card to spread a model over"):
            Placement("map").settled(one)


def test_a_type_that_a_device_lacks_is_refused(stored, monkeypatch):
    def lacks(*_: object, **__: object) -> None:
        raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'")

    monkeypatch.setattr("torch.softmax", lacks)
    with pytest.raises(TakebackError, match="cpu can't compute in fp16; take another --dtype"):
        Placement("cpu", "fp16").settled(open_checkpoint(stored["float32"]))


def test_a_full_card_is_told_in_one_line(stored, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("torch.nn.Module.to", full)
    monkeypatch.setattr("takeback.checkpoint.load.free_memory", lambda _: 10**9)
    one = open_checkpoint(stored["float32"])
    with pytest.raises(TakebackError, match=r"does not fit on cuda:0, where 1.0 GB are free: take --dtype"):
        load_model(one, torch.float32, "cuda:0")
