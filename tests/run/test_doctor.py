"""`takeback doctor` tells what is installed, and finds what is wrong in the cache."""

from __future__ import annotations

import json
import tomllib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from takeback.run import installed
from takeback.run.cache_health import cache_health
from takeback.run.installed import GIVES, Library, extras

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own with a file of each kind, all whole."""
    monkeypatch.setenv("TAKEBACK_CACHE", str(tmp_path))
    for name in ("endgames", "sb3"):
        (tmp_path / name).mkdir()
    np.savez(tmp_path / "endgames" / "tables.npz", a=np.arange(1000))
    save_file({"a": torch.zeros(4)}, tmp_path / "sb3" / "one.safetensors")
    (tmp_path / "sb3" / ".one.safetensors.lock").touch()
    return tmp_path


def test_it_says_what_is_here_and_changes_nothing(call, cache):
    before = sorted(cache.rglob("*"))
    told = json.loads(call("doctor", "--json").out)
    assert told["sound"]
    assert told["wrong"] == []
    assert told["versions"]["torch"] == version("torch")
    assert told["devices"][-1]["device"] == "cpu"
    assert told["machine"]["usable_cores"] >= 1
    assert told["cache"]["files"] == 2
    assert {one["extra"] for one in told["extras"]} <= {*GIVES}
    assert sorted(cache.rglob("*")) == before
    shown = call("doctor").out
    assert shown.endswith("sound\n")
    assert "stable-baselines3" in shown or "yes" in shown


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 7, 40, -1])
@pytest.mark.parametrize("name", ["endgames/tables.npz", "sb3/one.safetensors"])
def test_a_damaged_entry_is_named(call, cache, name, left):
    path = cache / name
    path.write_bytes(path.read_bytes()[:left])
    told = call("doctor", code=3)
    assert str(path) in told.err
    assert "is damaged" in told.err
    assert told.out.endswith("not sound\n")
    path.unlink()
    call("doctor")


def test_flipped_bytes_and_broken_code_are_damage(cache):
    path = cache / "endgames" / "tables.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    (cache / "machine-code").mkdir()
    (cache / "machine-code" / "loop.code").write_bytes(b"\x7fELF not code")
    assert {one.name for one in cache_health().damaged} == {"tables.npz", "loop.code"}


def test_what_this_machine_compiled_is_whole(cache, monkeypatch):
    from takeback.run import machine_code

    monkeypatch.setattr(machine_code, "_LOADED", {})
    types = (*["int64"] * 3, *["*float64"] * 3, "float64", "*float64")
    machine_code.machine_code("takeback.checkpoint.merge", "add_product", *types)
    (kept,) = (cache / "machine-code").glob("*.code")
    assert cache_health().sound
    kept.write_bytes(kept.read_bytes()[:-1])
    assert not cache_health().sound


def test_a_cache_that_is_not_there_yet_is_sound(tmp_path, monkeypatch):
    monkeypatch.setenv("TAKEBACK_CACHE", str(tmp_path / "later" / "cache"))
    assert cache_health().sound
    assert not (tmp_path / "later").exists()


def test_a_cache_that_is_a_file_is_not(call, tmp_path, monkeypatch):
    (tmp_path / "cache").touch()
    monkeypatch.setenv("TAKEBACK_CACHE", str(tmp_path / "cache"))
    assert "can't be written" in call("doctor", code=3).err


def test_a_library_that_is_missing_or_too_old_is_told(call, cache, monkeypatch):
    here = (Library("torch", "1.0", ">=2.8"), Library("rich", None, ">=13"), Library("numpy", "2.1", ">=2"))
    monkeypatch.setattr(installed, "libraries", lambda: here)
    told = json.loads(call("doctor", "--json", code=3).out)
    assert told["wrong"] == ["torch 1.0: allowed is >=2.8", "rich is missing: allowed is >=13"]


def test_every_extra_says_what_it_gives():
    with (ROOT / "pyproject.toml").open("rb") as file:
        named = tomllib.load(file)["project"]["optional-dependencies"]
    assert {*named} == {*GIVES, "all"}
    assert {one.name for one in extras()} <= {*GIVES}
    assert all(one.libraries for one in extras())
