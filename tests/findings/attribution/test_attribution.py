from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray

import models
import readouts_by_hand
import toy_arena
from takeback.anatomy.source import parameters_of
from takeback.checkpoint import open_pair
from takeback.component import Component, ComponentSet
from takeback.draw.result import section_of
from takeback.findings.attribution.attribution import AGREEMENT, COLUMNS, attribute
from takeback.findings.attribution.modules import modules_of
from takeback.hybrid.live import exchanged, slices
from takeback.measure.bench import Bench
from takeback.measure.measures import measure_values
from takeback.run.errors import TakebackError, UnknownName
from toy_arena import EOS, TOKENS, ToyArena

TOY = ToyArena()
PLACES = tuple(TOY.situations("train", 2, 0))
MEASURES = ("utility even", "legal", "entropy, if legal", "illegal, short")
SMALL, SOME, LARGE = 0.0005, 0.02, 0.1

Ask = Callable[[str, float], Bench]
Build = Callable[..., transformers.PreTrainedModel]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Ask about a tiny model and the same with noise of a size added, with every class decided in full."""
    kept: dict[tuple[str, float], Bench] = {}

    def ask(name: str, size: float) -> Bench:
        if (name, size) not in kept:
            folder = tmp_path_factory.mktemp(name)
            sides = models.build(name, 0), models.build(name, 0)
            generator = torch.Generator().manual_seed(1)
            with torch.no_grad():
                for parameter in sides[1].parameters():
                    parameter.add_(size * torch.randn(parameter.shape, generator=generator))
            for side, model in zip(("base", "tuned"), sides, strict=True):
                model.save_pretrained(folder / side)
                TOY.tokenizer().save_pretrained(folder / side)
            bench = Bench(open_pair(folder / "base", folder / "tuned"), TOY, PLACES, MEASURES)
            vars(bench)["asked"] = {
                one: replace(measure, unsorted=0.0) for one, measure in bench.asked.items()
            }
            kept[name, size] = bench
        return kept[name, size]

    return ask


def by_hand(model: torch.nn.Module, bench: Bench) -> NDArray[np.float64]:
    """The mean of each measure, by plain forward passes of a model in float64, answer by answer."""
    legal, illegal = [], []
    for place, prompt in zip(PLACES, bench.plan.prompts, strict=True):
        masses: dict[str, float] = dict.fromkeys((*TOY.legal(place), *TOY.kinds), 0.0)
        for path, mass in toy_arena.answers(model, prompt.tolist(), TOY.viable, [EOS]).items():
            text = "".join(TOKENS[token] for token in path)
            verdict = TOY.classify(place, text)
            masses[text if verdict == "legal" else verdict] += mass
        masses["unparsable"] += 1 - sum(masses.values())
        legal.append([masses[action] for action in TOY.legal(place)])
        illegal.append([masses[kind] for kind in TOY.kinds])
    values = measure_values(readouts_by_hand.make(legal, illegal), bench.context)
    return np.array([values[name].numbers[values[name].applies].mean() for name in MEASURES])


def rates(bench: Bench, weights: NDArray[np.float64], step: float = 1e-3) -> NDArray[np.float64]:
    """How fast measures move if each component's mix moves by its weight: central differences in float64."""
    tuned, base = models_in_double(bench, "tuned"), models_in_double(bench, "base")
    ends = []
    for by in (step, -step):
        mixed = [
            (there, torch.lerp(there, new, by * float(weight)))
            for component, weight in zip(bench.anatomy.universe, weights, strict=True)
            for there, new in slices(tuned, base, ComponentSet([component], bench.anatomy.universe))
        ]
        with exchanged(mixed):
            ends.append(by_hand(tuned, bench))
    return (ends[0] - ends[1]) / (2 * step)


def models_in_double(bench: Bench, side: str) -> torch.nn.Module:
    model = copy.deepcopy(bench.policy(side).model)
    model.set_experts_implementation("eager")
    return model.double().requires_grad_(False)


def means(bench: Bench, method: str, steps: int = 1) -> NDArray[np.float64]:
    found = attribute(bench, method, steps)
    return np.array([found.means[name] for name in MEASURES])


@pytest.mark.slow
def test_the_gradient_is_how_fast_measures_move_along_the_mix_of_components(name: str, asked: Ask) -> None:
    bench = asked(name, LARGE)
    found = means(bench, "gradient")
    weights = np.random.default_rng(0).uniform(-1, 1, found.shape[1])
    wanted = rates(bench, weights)
    np.testing.assert_allclose(found @ weights, wanted, rtol=2e-3, atol=1e-3 * np.abs(found).max())


@pytest.mark.slow
def test_all_methods_agree_on_small_changes(name: str, asked: Ask) -> None:
    bench = asked(name, SMALL)
    gradient = means(bench, "gradient")
    largest = np.abs(gradient).max(axis=1, keepdims=True)
    assert (largest > 0).all()
    for method in ("output", "near", "path"):  # what is left is curvature, in proportion to the change
        np.testing.assert_allclose(means(bench, method) / largest, gradient / largest, atol=0.06)


@pytest.mark.slow
def test_effects_of_small_changes_are_the_exact_ones_situation_by_situation(name: str, asked: Ask) -> None:
    bench = asked(name, SMALL)
    exact = attribute(bench, "gradient").checked().exact
    for method in ("output", "near", "path"):
        found = attribute(bench, method, 1)
        agreement = found.against(exact)
        assert (agreement["spearman"] > 0.9).all(), agreement
        assert (agreement[["pearson", "pearson_situations"]] > 0.98).all(axis=None), agreement


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "gpt2" else pytest.mark.slow)
        for name in sorted(set(models.CONFIGS) - models.WITH_EXPERTS)  # which are chosen changes in jumps
    ],
)
def test_a_path_shares_out_the_whole_change(name: str, asked: Ask) -> None:
    bench = asked(name, SOME)
    components = bench.anatomy.universe
    errors = []
    for steps in (1, 4):
        found = attribute(bench, "path", steps)
        left = []
        for measure in MEASURES:
            ends = (measure_values(bench.ends[side], bench.context)[measure] for side in ("base", "tuned"))
            base, tuned = (np.where(end.applies, end.numbers, np.nan) for end in ends)
            shared = sum(found.of(component, measure) for component in components)
            left.append(np.nanmax(np.abs(shared - (base - tuned))))
        errors.append(max(left))
    assert errors[0] > 2 * errors[1]  # 16 times without kinks; opt has some


def test_tied_embeddings_act_in_two_places(built: Build) -> None:
    for family, wanted in (
        ("llama-gqa-biases", {"embed_tokens", "lm_head"}),
        ("gpt2", {"wte", "wpe", "lm_head"}),
    ):
        model = built(family)
        names = {module: name.rpartition(".")[2] for name, module in model.named_modules()}
        found = modules_of(model)
        assert {names[module] for module in found[Component("EMBED")]} == wanted


def test_modules_are_the_smallest_modules_that_compute_with_a_component(built: Build) -> None:
    model = built("mixtral")
    names = {module: name for name, module in model.named_modules()}
    found = {str(one): [names[module] for module in some] for one, some in modules_of(model).items()}
    assert found["L1.H2"] == found["L1.KV0"] == ["model.layers.1.self_attn"]
    assert found["L0.E1"] == ["model.layers.0.mlp.experts"]
    assert found["L0.ROUTER"] == ["model.layers.0.mlp"]
    assert found["L1.LN1"] == ["model.layers.1.input_layernorm"]
    assert found["EMBED"] == ["model.embed_tokens"]
    assert found["UNEMBED"] == ["lm_head"]


@pytest.mark.parametrize("method", ["gradient", "near"])
def test_the_models_are_left_as_they_were(method: str, asked: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = asked("gpt2", LARGE)
    sides = [bench.policy(side).model for side in ("base", "tuned")]
    sides[1].train()
    next(sides[1].parameters()).requires_grad_(False)

    def state() -> list[object]:
        flags = [one.requires_grad for model in sides for one in model.parameters()]
        hooks = [len(module._forward_hooks) for model in sides for module in model.modules()]
        gradients = [one.grad is None for model in sides for one in model.parameters()]
        return [flags, hooks, gradients, [model.training for model in sides]]

    weights = [{name: one.clone() for name, one in parameters_of(model).items()} for model in sides]
    before = state()
    attribute(bench, method, 2)
    near = "takeback.findings.attribution.modules.Call.again"
    last = {"gradient": "torch.autograd.grad", "near": near}[method]
    with monkeypatch.context() as broken:
        broken.setattr(last, lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            attribute(bench, method, 2)
    assert state() == before
    for model, kept in zip(sides, weights, strict=True):
        assert all(torch.equal(one, kept[name]) for name, one in parameters_of(model).items())


def test_the_table_has_a_row_for_each_component_and_measure_and_no_nan(asked: Ask) -> None:
    found = attribute(asked("gpt2", LARGE), "output").checked()
    assert set(found.table) == set(COLUMNS)
    assert len(found.table) == len(found.components) * len(MEASURES)
    row = found.table.set_index(["measure", "component"]).loc[("utility even", "L0.MLP")]
    numbers = found.of(Component.parse("L0.MLP"), "utility even")
    assert np.isnan(numbers).tolist() == [False, True]
    assert row["effect"] == pytest.approx(np.nanmean(numbers))
    assert row["n"] == 1
    assert row["exact"] == pytest.approx(row["effect"], rel=0.5)
    agreement = found.against(found.exact)
    assert set(agreement) == {"measure", "method", "steps", *AGREEMENT}
    assert agreement["top"].between(3, 5).all()
    bare = attribute(asked("gpt2", LARGE), "gradient").table
    assert bare[["se", "low", "high", "exact"]].isna().all(axis=None)


def test_it_can_be_shown(asked: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    found = attribute(asked("gpt2", LARGE), "output")
    assert "exact effects" in section_of(found).words[1]
    found.checked().print()
    assert "rank correlation with exact effects" in " ".join(capsys.readouterr().out.split())
    assert found.checked()._repr_html_().count("<svg") == 2 * len(MEASURES)


def test_what_has_no_slopes_or_no_name_is_refused(asked: Ask) -> None:
    bench = asked("gpt2", LARGE)
    jumpy = Bench(bench.pair, TOY, PLACES, ("legal, greedy",))
    with pytest.raises(TakebackError, match="exact effects"):
        attribute(jumpy)
    nowhere = Bench(bench.pair, TOY, PLACES[1:2], ("utility even",))
    with pytest.raises(TakebackError, match="applies to none"):
        attribute(nowhere)
    with pytest.raises(UnknownName, match="path"):
        attribute(bench, "paths")
    with pytest.raises(TakebackError, match="at least 1"):
        attribute(bench, "path", 0)
    found = attribute(bench, "gradient")
    with pytest.raises(TakebackError, match="means only"):
        found.of(Component.parse("L0.MLP"), "legal")
    with pytest.raises(UnknownName, match=r"L0\.MLP"):
        found.of(Component.parse("L7.MLP"), "legal")
