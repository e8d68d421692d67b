# pyright: reportPrivateUsage=false, reportIncompatibleMethodOverride=false
# pyright: reportIncompatibleVariableOverride=false, reportUnusedExpression=false
"""What a diff says of its time beforehand, and where matrices are decomposed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import models
from takeback.checkpoint import Pair, open_pair
from takeback.cli import app, plain
from takeback.run.errors import TakebackError
from takeback.run.parts import Shard, unfinished
from takeback.weights import MEASURES, PairSettings, compare_shard, expected
from takeback.weights.published import published
from takeback.weights.spectra import Options, SpectraWork, spectra


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    for seed, name in enumerate(("base", "tuned")):
        models.build("llama-gqa-biases", seed).save_pretrained(tmp_path / name)
    return open_pair(tmp_path / "base", tmp_path / "tuned")


def test_the_time_is_told_before_and_only_to_people(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    sides = [pair.base.ref, pair.tuned.ref]
    quick = CliRunner().invoke(app, ["diff", *sides])
    assert quick.exit_code == 0
    assert quick.stderr == ""  # seconds of work are not announced
    monkeypatch.setattr(plain, "TOLD", 0.0)
    told = CliRunner().invoke(app, ["diff", *sides, "--with", "spectra"])
    assert told.stderr.startswith("takeback: about ")
    silent = CliRunner().invoke(app, ["diff", *sides, "--json"])
    assert silent.stderr == ""


def test_what_is_done_is_not_counted(pair: Pair, tmp_path: Path) -> None:
    out, everything = tmp_path / "out", tuple(MEASURES)
    before = expected(pair, everything, out=out)
    assert list(before) == ["diff", *everything]
    assert not out.exists()
    assert all(seconds > 0 for seconds in before.values())
    halves = [expected(pair, out=out, shard=Shard(part, 2))["diff"] for part in (1, 2)]
    assert sum(halves) == pytest.approx(before["diff"])
    compare_shard(pair, (), PairSettings(), out, Shard(1, 2))
    assert expected(pair, out=out)["diff"] == pytest.approx(halves[1])
    compare_shard(pair, (), PairSettings(), out, Shard(2, 2))
    assert expected(pair, out=out)["diff"] == 0


def test_more_to_decompose_takes_longer() -> None:
    options = Options()
    sides = [64, 576, 1024, 4096, 16384]
    times = [options.seconds((side, 4 * side)) for side in sides]
    assert times == sorted(times)
    assert options.seconds((576, 49152)) == options.seconds((49152, 576))


class Elsewhere(torch.Tensor):
    """A tensor on a device that is not there: as on a card, it can't be mixed with those of the processor."""

    place = torch.device("cuda:7")

    @property
    def device(self) -> torch.device:
        return self.place

    def cpu(self) -> torch.Tensor:
        with torch._C.DisableTorchFunctionSubclass():
            return self.as_subclass(torch.Tensor)

    def numpy(self) -> Any:
        raise TypeError("can't convert a tensor of a card to numpy")

    @classmethod
    def __torch_function__(cls, function: Any, kinds: Any, arguments: Any = (), named: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            tensors = [one for one in arguments if isinstance(one, torch.Tensor) and one.ndim]
        if not all(isinstance(one, cls) for one in tensors):
            raise RuntimeError(f"tensors on two devices in {function}")
        return super().__torch_function__(function, kinds, arguments, named or {})


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a device of which every tensor remembers that it lies there."""
    plain_to = torch.Tensor.to

    def moved(tensor: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        if arguments and str(arguments[0]) == "cuda:7":
            return tensor.as_subclass(Elsewhere)
        return plain_to(tensor, *arguments, **named)

    monkeypatch.setattr(torch.Tensor, "to", moved)
    return "cuda:7"


@pytest.mark.slow
def test_nothing_of_two_devices_is_mixed(pair: Pair, elsewhere: str) -> None:
    """No card is here; a tensor that refuses to meet those of the processor stands for one."""
    with pytest.raises(RuntimeError, match="two devices"):
        torch.ones(2) @ torch.ones(2).to(elsewhere)
    for sketched in (Options().largest, 8):
        here, there = (
            spectra(pair, Options(largest=sketched, sketched=6, device=device)).table
            for device in ("cpu", elsewhere)
        )
        pd.testing.assert_frame_equal(here, there)
    pd.testing.assert_frame_equal(published(pair).tensors, published(pair, device=elsewhere).tensors)


def test_a_device_that_cannot_decompose_is_refused(pair: Pair) -> None:
    sides = [pair.base.ref, pair.tuned.ref]
    for name, said in (("map", "one device"), ("cuda:9", "cuda"), ("gpu", "device")):
        ran = CliRunner().invoke(app, ["diff", *sides, "--with", "spectra", "--device", name])
        assert isinstance(ran.exception, TakebackError)
        assert said in str(ran.exception)
    ran = CliRunner().invoke(app, ["diff", *sides, "--with", "spectra", "--device", "cpu", "--json"])
    assert ran.exit_code == 0


def test_parts_of_work_that_was_never_begun_are_all_missing(pair: Pair, tmp_path: Path) -> None:
    work = SpectraWork(pair)
    assert unfinished(work) == unfinished(work, tmp_path / "nowhere") == list(work.items())
