"""Other sources: what each one is, entry by entry, against numpy; and that they go through the same door."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch

import models
from takeback.checkpoint import Pair, load_model, open_checkpoint, open_pair
from takeback.checkpoint.weights import Weights
from takeback.hybrid import hybrid, taken_back, write_hybrid
from takeback.hybrid.sources import SOURCES, source_of
from takeback.run.errors import TakebackError, UnknownName

EACH = [
    "zeros",
    "noise:3",
    "permuted:3",
    "strength:0.25",
    "strength:-1.5",
    "without-top:2",
    "only-top:2:scaled",
    "without-random:2:5:scaled",
    "only-random:2:5",
    "largest:0.3",
]


@pytest.fixture(scope="module", params=models.marked(models.CONFIGS))
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return open_pair(*models.save_pair(request.param, tmp_path_factory.mktemp(request.param)))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return open_pair(*models.save_pair("llama-gqa-biases", tmp_path_factory.mktemp("llama")))


def array(weights: Weights, name: str) -> np.ndarray:
    return weights.read(name).double().numpy()


def parts(pair: Pair, made: Weights, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The change to tuned and the change to `made`, in each component's part of a tensor."""
    base, tuned, other = (array(side, name) for side in (pair.base, pair.tuned, made))
    regions = [region for _, region in pair.anatomy().of_tensor(name)]
    return [((tuned - base)[region.index], (other - base)[region.index]) for region in regions]


def test_the_largest_entries_are_tuneds_own_and_the_rest_bases(family: Pair) -> None:
    """Against numpy's sort: the share is that of each tensor, and no value is new."""
    made, whole = source_of("largest:0.3", family), source_of("largest:1", family)
    for name in family.base.shapes:
        base, tuned, mixed = (one.read(name) for one in (family.base, family.tuned, made))
        far = np.abs(array(family.tuned, name) - array(family.base, name)).ravel()
        kept = np.zeros(far.size, np.bool_)
        kept[np.argsort(-far, kind="stable")[: int(np.ceil(0.3 * far.size))]] = True
        wanted = np.where(kept, tuned.numpy().ravel(), base.numpy().ravel())
        assert (mixed.numpy().ravel() == wanted).mean() > 0.99  # ties at the edge are all kept
        assert bool(((mixed == base) | (mixed == tuned)).all())
        assert torch.equal(whole.read(name), tuned)


def test_noise_and_permutations_match_each_part_of_each_component(family: Pair) -> None:
    noise, permuted = source_of("noise:0", family), source_of("permuted:0", family)
    for name in family.base.shapes:
        for delta, changed in parts(family, noise, name):
            assert np.linalg.norm(changed) == pytest.approx(np.linalg.norm(delta), rel=1e-5)
            assert np.abs(changed - delta).max() > 1e-3
        for delta, changed in parts(family, permuted, name):
            np.testing.assert_allclose(np.sort(changed, None), np.sort(delta, None), atol=1e-6)
            assert delta.size < 8 or np.abs(changed - delta).max() > 1e-3


def test_noise_is_gaussian(llama: Pair) -> None:
    from scipy.stats import kstest

    (_, changed), *_ = parts(llama, source_of("noise:1", llama), "model.embed_tokens.weight")
    assert kstest(changed.ravel() / changed.std(), "norm").pvalue > 0.01


def matrices(pair: Pair, name: str) -> list[tuple[slice, ...] | int]:
    """Where the matrices of a tensor are, if it is one of a layer's."""
    shape = pair.base.shapes[name]
    if pair.anatomy().of_tensor(name)[0][0].layer is None or len(shape) < 2:
        return []
    return list(range(shape[0])) if len(shape) == 3 else [()]


def test_leading_directions_are_those_of_the_svd(family: Pair) -> None:
    words = {
        (rest, scaled): f"{rest}-top:2{scaled}" for rest in ("only", "without") for scaled in ("", ":scaled")
    }
    found = {key: source_of(text, family) for key, text in words.items()}
    for name in family.base.shapes:
        base, tuned = array(family.base, name), array(family.tuned, name)
        for place in matrices(family, name):
            delta = (tuned - base)[place]
            left, values, right = scipy.linalg.svd(delta, full_matrices=False)
            top = left[:, :2] * values[:2] @ right[:2]
            for (rest, scaled), made in found.items():
                part = top if rest == "only" else delta - top
                stretch = np.linalg.norm(delta) / np.linalg.norm(part) if scaled else 1
                np.testing.assert_allclose(array(made, name)[place], base[place] + stretch * part, atol=2e-6)
        if not matrices(family, name):
            for (rest, _), made in found.items():
                assert torch.equal(
                    made.read(name), (family.base if rest == "only" else family.tuned).read(name)
                )


def test_random_directions_are_projections_nested_in_k(family: Pair) -> None:
    for name in family.base.shapes:
        for place in matrices(family, name):
            base, tuned = array(family.base, name)[place], array(family.tuned, name)[place]
            kept = [array(source_of(f"only-random:{k}:1", family), name)[place] - base for k in (1, 3)]
            lost = array(source_of("without-random:3:1", family), name)[place] - base
            np.testing.assert_allclose(kept[1] + lost, tuned - base, atol=2e-6)
            assert abs(np.vdot(kept[1], lost)) < 1e-4
            assert np.linalg.matrix_rank(kept[1], tol=1e-4) == 3
            assert abs(np.vdot(kept[0], kept[1] - kept[0])) < 1e-4
            scaled = array(source_of("only-random:3:1:scaled", family), name)[place] - base
            assert np.linalg.norm(scaled) == pytest.approx(np.linalg.norm(tuned - base), rel=1e-5)


def test_random_directions_hold_their_share_on_average(llama: Pair) -> None:
    """k of n directions on the smaller side hold k / n of ‖Δ‖² in the mean, and all of it when k is n."""
    name = "model.layers.0.mlp.up_proj.weight"
    base, tuned = array(llama.base, name), array(llama.tuned, name)
    whole = np.linalg.norm(tuned - base) ** 2
    shares = [
        np.linalg.norm(array(source_of(f"only-random:4:{seed}", llama), name) - base) ** 2 / whole
        for seed in range(60)
    ]
    assert np.mean(shares) == pytest.approx(4 / min(base.shape), rel=0.1)
    np.testing.assert_allclose(array(source_of("only-random:99:0", llama), name), tuned, atol=2e-6)


def test_strength_is_a_line_with_exact_ends(family: Pair) -> None:
    ends = {"strength:0": family.tuned, "strength:1": family.base, "base": family.base}
    for text, side in ends.items():
        assert source_of(text, family).digest == side.digest
    for name in family.base.shapes:
        base, tuned = array(family.base, name), array(family.tuned, name)
        for degree in (0.25, 1.5, -0.5):
            made = array(source_of(f"strength:{degree}", family), name)
            np.testing.assert_allclose(made, tuned + degree * (base - tuned), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_ends_are_bit_exact_from_any_source(tmp_path: Path, dtype: torch.dtype) -> None:
    pair = open_pair(*models.save_pair("llama-gqa-biases", tmp_path, dtype))
    nothing = pair.anatomy().parse("")
    for text in EACH:
        source = source_of(text, pair)
        assert hybrid(pair, nothing, source).digest == pair.tuned.digest
        assert hybrid(pair, ~nothing, source).digest == source.digest
        assert set(source.dtypes.values()) == {dtype}


def test_two_types_give_the_narrowest_that_holds_both(tmp_path: Path) -> None:
    folders = tmp_path / "base", tmp_path / "tuned"
    for seed, (folder, dtype) in enumerate(zip(folders, (torch.bfloat16, torch.float32), strict=True)):
        models.build("llama-mha", seed).to(dtype).save_pretrained(folder)
    pair = open_pair(*folders)
    for text in EACH:
        made = source_of(text, pair)
        assert made.read("model.norm.weight").dtype == made.dtypes["model.norm.weight"] == torch.float32


@pytest.mark.parametrize("text", EACH)
def test_on_disk_and_in_memory_are_one(llama: Pair, text: str, tmp_path: Path) -> None:
    source = source_of(text, llama)
    chosen = llama.anatomy().parse("L0.H1 L1.KV0 L1.MLP NORM")
    written = write_hybrid(hybrid(llama, chosen, source), tmp_path / "out")
    assert source.ref in (written / "README.md").read_text(encoding="utf-8")
    other, tuned = open_checkpoint(written), load_model(llama.tuned)
    with taken_back(tuned, source, chosen):
        held = tuned.state_dict()
        for name in other.shapes:
            assert torch.equal(other.read(name), held[name])


def test_a_transplant_is_the_other_checkpoint(llama: Pair, tmp_path: Path) -> None:
    third = tmp_path / "third"
    models.build("llama-gqa-biases", 7).save_pretrained(third)
    source = source_of(f"checkpoint:{third}", llama)
    assert source.digest == open_checkpoint(third).digest
    head = llama.anatomy().parse("L0.H1")
    grafted = hybrid(llama, head, source)
    (region,) = [one for one in llama.anatomy().regions(head) if "o_proj" in one.tensor]
    assert torch.equal(grafted.read_region(region), open_checkpoint(third).read_region(region))
    models.build("llama-mha", 7).save_pretrained(tmp_path / "shape")
    with pytest.raises(TakebackError, match="no pair"):
        source_of(f"checkpoint:{tmp_path / 'shape'}", llama)


def test_order_makes_no_difference_and_seeds_do(llama: Pair) -> None:
    names = list(llama.base.shapes)
    for text in EACH:
        one, other = source_of(text, llama), source_of(text, llama)
        forward = {name: one.read(name) for name in names}
        assert all(torch.equal(other.read(name), forward[name]) for name in reversed(names))
    for kind in ("noise:{}", "permuted:{}", "only-random:2:{}"):
        assert source_of(kind.format(0), llama).digest != source_of(kind.format(1), llama).digest


def test_what_did_not_change_stays_as_it_is(llama: Pair) -> None:
    same = Pair(llama.base, llama.base)
    for text in EACH[1:]:
        assert source_of(text, same).digest == llama.base.digest


def test_a_value_that_is_not_finite_is_told(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    for side, value in (("base", 0.0), ("tuned", float("nan"))):
        save_file({"l.weight": torch.full((2, 3), value)}, tmp_path / f"{side}.safetensors")
    pair = open_pair(tmp_path / "base.safetensors", tmp_path / "tuned.safetensors")
    with pytest.raises(TakebackError, match=r"l\.weight .* not finite"):
        source_of("noise:0", pair).read("l.weight")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("noise", "it has 0 of 1 values; write noise:SEED"),
        ("noise:1:2", "it has 2 of 1 values"),
        ("base:1", "it has 1 of 0 values; write base"),
        ("noise:-1", "'-1' is not a whole number from 0"),
        ("noise:1:scaled", "2 of 1 values"),
        ("without-top:0", "'0' is not a whole number from 1; write without-top:K"),
        ("only-random:2", "1 of 2 values; write only-random:K:SEED"),
        ("strength:nan", "'nan' is not a number"),
        ("strength:", "'' is not a number"),
    ],
)
def test_bad_values_are_told_in_one_line(llama: Pair, text: str, told: str) -> None:
    with pytest.raises(TakebackError, match=r"^source ") as caught:
        source_of(text, llama)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_source_is_told_with_the_known_ones(llama: Pair) -> None:
    with pytest.raises(UnknownName, match="did you mean 'noise:SEED'") as caught:
        source_of("nois:1", llama)
    assert all(form in str(caught.value) for form in SOURCES)


def test_a_source_for_another_tensor_is_refused(llama: Pair) -> None:
    for text in EACH:
        with pytest.raises(UnknownName, match="unknown tensor"):
            source_of(text, llama).read("model.nothing")
