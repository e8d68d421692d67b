"""Live takebacks: bit-exact ends (law 2), algebra and restoring (law 3), every base, clear refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

import models
from adapters import LLAMA, save_adapter
from takeback.anatomy import Anatomy, Region, anatomy_of, canonical_name
from takeback.checkpoint import load_model, open_checkpoint
from takeback.component import ComponentSet
from takeback.hybrid.live import grafted, taken_back
from takeback.run.errors import TakebackError, UnknownName

Built = Callable[..., PreTrainedModel]
Bits = dict[str, Tensor]


class Stored:
    """Reads a saved model as slowly and plainly as can be, in the way of a checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.config: Any = json.loads((folder / "config.json").read_text())
        self.folder = folder

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        stored = load_file(self.folder / "model.safetensors")
        return {
            str(canonical_name(self.config["model_type"], name)): tensor for name, tensor in stored.items()
        }

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}

    def read(self, name: str, /) -> Tensor:
        return self.tensors[name]

    def read_region(self, region: Region, /) -> Tensor:
        return self.tensors[region.tensor][region.index]


def bits(model: nn.Module) -> Bits:
    """Return a copy of every parameter as the integers that its bits spell."""
    of_size = {2: torch.int16, 4: torch.int32}
    return {name: p.detach().clone().view(of_size[p.element_size()]) for name, p in model.named_parameters()}


def same(one: Bits, other: Bits) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def expected_bits(anatomy: Anatomy, tuned: Bits, base: Bits, components: ComponentSet) -> Bits:
    """Say entry by entry what a takeback has to give: the slow reference."""
    mixed = {name: values.clone() for name, values in tuned.items()}
    for name, values in mixed.items():
        for component, region in anatomy.of_tensor(name):
            if component in components:
                values[region.index] = base[name][region.index]
    return mixed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_ends_are_bit_exact(name: str, dtype: torch.dtype) -> None:
    base, tuned = models.build(name, 0).to(dtype), models.build(name, 1).to(dtype)
    anatomy, before = anatomy_of(tuned), bits(tuned)
    assert not any(torch.equal(value, bits(base)[tensor]) for tensor, value in before.items())
    with taken_back(tuned, base, anatomy.parse("")):
        assert same(bits(tuned), before)
    with taken_back(tuned, base, anatomy.parse("*")):
        assert same(bits(tuned), bits(base))
        with torch.no_grad():
            assert torch.equal(tuned(models.tokens()).logits, base(models.tokens()).logits)
    assert same(bits(tuned), before)


@pytest.mark.parametrize("resolution", ["heads", "neurons"])
def test_each_set_changes_its_entries_and_no_other(name: str, resolution: str, built: Built) -> None:
    base, tuned = built(name, 0), built(name, 1)
    anatomy = anatomy_of(tuned, resolution)
    before, source = bits(tuned), bits(base)
    sets = [
        components
        for family in ("each head", "each layer", "each kind")
        for components in anatomy.named_sets(family).values()
    ]
    for components in sets:
        with taken_back(tuned, base, components) as model:
            assert model is tuned
            assert same(bits(tuned), expected_bits(anatomy, before, source, components))
        with grafted(tuned, base, components):
            assert same(bits(tuned), expected_bits(anatomy, before, source, ~components))
    assert same(bits(tuned), before)


@given(data=st.data())
@settings(max_examples=5, deadline=None)
@pytest.mark.parametrize("architecture", models.marked(models.CONFIGS))
def test_one_after_the_other_is_the_union_in_any_order(
    architecture: str, data: st.DataObject, built: Built
) -> None:
    base, tuned = built(architecture, 0), built(architecture, 1)
    anatomy, before = anatomy_of(tuned), bits(tuned)
    universe = anatomy.universe
    a, b = (ComponentSet(data.draw(st.lists(st.sampled_from(list(universe)))), universe) for _ in range(2))
    seen: list[Bits] = []
    for first, second in [(a, b), (b, a)]:
        with taken_back(tuned, base, first, anatomy):
            halfway = bits(tuned)
            with taken_back(tuned, base, second, anatomy):
                seen.append(bits(tuned))
            assert same(bits(tuned), halfway)
        assert same(bits(tuned), before)
    with taken_back(tuned, base, a | b, anatomy):
        assert same(bits(tuned), seen[0])
    assert same(seen[0], seen[1])


class _Stop(BaseException):
    pass


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, _Stop])
def test_an_exception_inside_leaves_the_model_as_it_was(error: type[BaseException], built: Built) -> None:
    base, tuned = built("qwen2", 0), built("qwen2", 1)
    anatomy, before = anatomy_of(tuned), bits(tuned)
    with pytest.raises(error), taken_back(tuned, base, anatomy.parse("*.H*")):  # noqa: SIM117
        with taken_back(tuned, base, anatomy.parse("L0.* EMBED")):
            raise error
    assert same(bits(tuned), before)


class _Failing(Stored):
    """Fails at the third slice: a disk that goes away in the middle."""

    reads = 0

    def read_region(self, region: Region, /) -> Tensor:
        self.reads += 1
        if self.reads == 3:
            raise OSError("the disk is gone")
        return super().read_region(region)


def test_a_base_that_fails_halfway_leaves_the_model_as_it_was(built: Built, tmp_path: Path) -> None:
    base, tuned = built("qwen2", 0), built("qwen2", 1)
    base.save_pretrained(tmp_path)
    before, failing = bits(tuned), _Failing(tmp_path)
    with pytest.raises(OSError, match="gone"), taken_back(tuned, failing, anatomy_of(tuned).parse("*")):
        pytest.fail("the block must not run")
    assert failing.reads == 3
    assert same(bits(tuned), before)


def test_every_kind_of_base_gives_the_same(name: str, built: Built, tmp_path: Path) -> None:
    base, tuned = built(name, 0), built(name, 1)
    base.save_pretrained(tmp_path)
    anatomy = anatomy_of(tuned)
    for components in (
        anatomy.parse("*"),
        anatomy.parse("L0.* *.LN2 EMBED"),
        anatomy.parse("*.H1"),
        ~anatomy.parse("L1.*"),
    ):
        expected = expected_bits(anatomy, bits(tuned), bits(base), components)
        for source in (base, base.state_dict(), dict(base.named_parameters()), Stored(tmp_path)):
            with taken_back(tuned, source, components):
                assert same(bits(tuned), expected)


@pytest.mark.parametrize(("name", "layer"), [("mixtral", 1), ("qwen3_moe", 0)])
def test_single_experts_come_from_their_parts_on_disk(
    name: str, layer: int, built: Built, tmp_path: Path
) -> None:
    base, tuned = built(name, 0), built(name, 1)
    base.save_pretrained(tmp_path)
    anatomy = anatomy_of(tuned)
    for text in ("L0.E1", f"L{layer}.E0 L{layer}.E2", "*.E*"):
        expected = expected_bits(anatomy, bits(tuned), bits(base), anatomy.parse(text))
        with taken_back(tuned, Stored(tmp_path), anatomy.parse(text)):
            assert same(bits(tuned), expected)


def test_units_of_a_plain_mlp() -> None:
    base, tuned = models.build_mlp(0), models.build_mlp(1)
    anatomy, before = anatomy_of(tuned), bits(tuned)
    for text in ("", "*", "L0.U3 L1.*", "~L2.U0"):
        components = anatomy.parse(text)
        for source in (base, base.state_dict()):
            with taken_back(tuned, source, components):
                assert same(bits(tuned), expected_bits(anatomy, before, bits(base), components))
    assert same(bits(tuned), before)


def test_tied_embeddings_move_once_and_stay_tied(built: Built) -> None:
    base, tuned = built("gemma2", 0), built("gemma2", 1)
    with taken_back(tuned, base, anatomy_of(tuned).parse("EMBED")):
        assert tuned.lm_head.weight is tuned.model.embed_tokens.weight
        assert torch.equal(tuned.lm_head.weight, base.lm_head.weight)
    with pytest.raises(UnknownName, match="tied"):
        anatomy_of(tuned).parse("UNEMBED")


def test_gradients_flow_inside(built: Built) -> None:
    base, tuned = built("llama-mha", 0), models.build("llama-mha", 1)
    with taken_back(tuned, base, anatomy_of(tuned).parse("L0.H1")):
        tuned(models.tokens()).logits.sum().backward()
    assert all(p.requires_grad and p.is_leaf and p.grad is not None for p in tuned.parameters())


def test_a_base_in_a_narrower_dtype_fits_exactly(built: Built) -> None:
    base, tuned = models.build("qwen3", 0).to(torch.bfloat16), built("qwen3", 1)
    with taken_back(tuned, base, anatomy_of(tuned).parse("*")):
        for one, other in zip(tuned.parameters(), base.parameters(), strict=True):
            assert torch.equal(one, other.float())


def test_a_base_whose_values_do_not_fit_is_refused(built: Built) -> None:
    base, tuned = built("qwen3", 0), models.build("qwen3", 1).to(torch.bfloat16)
    before = bits(tuned)
    with (
        pytest.raises(TakebackError, match=r"load the model in torch\.float32"),
        taken_back(tuned, base, anatomy_of(tuned).parse("L0.MLP")),
    ):
        pytest.fail("the block must not run")
    assert same(bits(tuned), before)
    with taken_back(tuned, models.build("qwen3", 3).to(torch.bfloat16).float(), anatomy_of(tuned).parse("*")):
        assert same(bits(tuned), bits(models.build("qwen3", 3).to(torch.bfloat16)))
    assert same(bits(tuned), before)


@pytest.mark.parametrize("narrow", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_a_base_in_eight_bits_fits_exactly(narrow: torch.dtype) -> None:
    base = {name: p.detach().to(narrow) for name, p in models.build_mlp(0).named_parameters()}
    tuned = models.build_mlp(1).to(torch.bfloat16)
    before, anatomy = bits(tuned), anatomy_of(tuned)
    with taken_back(tuned, base, anatomy.parse("*")):
        assert all(torch.equal(p.double(), base[name].double()) for name, p in tuned.named_parameters())
    assert same(bits(tuned), before)
    with taken_back(tuned.to(torch.float16), base, anatomy.parse("*")):
        assert all(torch.equal(p.double(), base[name].double()) for name, p in tuned.named_parameters())


def test_a_base_of_integers_is_refused() -> None:
    tuned = models.build_mlp(1)
    base = {name: torch.ones_like(p, dtype=torch.int8) for name, p in tuned.named_parameters()}
    with (
        pytest.raises(TakebackError, match="dequantize"),
        taken_back(tuned, base, anatomy_of(tuned).parse("*")),
    ):
        pytest.fail("the block must not run")


def test_an_adapter_on_disk_is_a_base_like_its_merge(tmp_path: Path) -> None:
    models.build("llama-mha", 0).save_pretrained(tmp_path / "base")
    save_adapter(tmp_path / "base", tmp_path / "lora", torch.float32, **LLAMA)
    adapted = open_checkpoint(f"{tmp_path}/base+{tmp_path}/lora")
    tuned, merged = models.build("llama-mha", 1), load_model(adapted)
    anatomy = anatomy_of(tuned)
    assert not same(bits(merged), bits(models.build("llama-mha", 0)))
    for text in ("*", "L0.H1 *.MLP", "~L1.*"):
        expected = expected_bits(anatomy, bits(tuned), bits(merged), anatomy.parse(text))
        with taken_back(tuned, adapted, anatomy.parse(text)):
            assert same(bits(tuned), expected)


def llama(tied: bool, seed: int, **more: Any) -> PreTrainedModel:
    config = models.CONFIGS["llama-mha"]()
    config.update({"tie_word_embeddings": tied, **more})
    return models.randomised(type(models.build("llama-mha"))(config), seed)


@pytest.mark.parametrize("tied", [True, False])
def test_a_pair_tied_on_one_side_only_is_refused(tied: bool, tmp_path: Path) -> None:
    tuned, base = llama(tied, 1), llama(not tied, 0)
    base.save_pretrained(tmp_path)
    before = bits(tuned)
    sources = [base, Stored(tmp_path)] if not tied else [base, base.state_dict(), Stored(tmp_path)]
    for source in sources:
        with (
            pytest.raises(TakebackError, match="has tied embeddings"),
            taken_back(tuned, source, anatomy_of(tuned).parse("L0.H0")),
        ):
            pytest.fail("the block must not run")
    assert same(bits(tuned), before)


def test_a_base_of_another_architecture_is_refused(built: Built) -> None:
    tuned = built("llama-mha", 1)
    components = anatomy_of(tuned).parse("*.MLP")
    for base, message in [
        (llama(False, 0, intermediate_size=20), r"gate_proj\.weight' has shape \(16, 24\).*\(20, 24\)"),
        (models.build_mlp(), "has tied embeddings|has no tensor"),
        ({"lm_head.weight": tuned.lm_head.weight}, "base has no tensor"),
    ]:
        with pytest.raises(TakebackError, match=message), taken_back(tuned, base, components):
            pytest.fail("the block must not run")


def test_a_set_of_another_model_is_refused(built: Built) -> None:
    with (
        pytest.raises(TakebackError, match="different models"),
        taken_back(built("qwen2", 1), built("qwen2", 0), anatomy_of(built("llama-mha")).parse("*.MLP")),
    ):
        pytest.fail("the block must not run")


def test_only_what_is_touched_is_kept(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    base, tuned = built("llama-mha", 0), built("llama-mha", 1)
    anatomy, cloned = anatomy_of(tuned), []
    clone = Tensor.clone

    def counted(tensor: Tensor) -> Tensor:
        cloned.append(tensor.numel())
        return clone(tensor)

    monkeypatch.setattr(Tensor, "clone", counted)
    with taken_back(tuned, base, anatomy.parse("L0.H0 L0.H1")):
        pass
    assert sum(cloned) == anatomy.parameters(anatomy.parse("L0.H0 L0.H1"))
    assert len(cloned) == 4
