"""Time sweeps over hybrids: swapping slices and running the module, TransformerLens, nnsight, and takeback.

    python benchmarks/sweep.py [--quick] [--threads 1] [--repeats 3]

prints a Markdown table. TransformerLens and nnsight are left out, with a word, where they are not installed.
Every way gives the same logits; full-forward ways are timed on a fixed sample of the sets, since their cost
does not depend on which.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
import transformers
from torch import Tensor

from takeback.anatomy import Anatomy, anatomy_of
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.component import ComponentSet
from takeback.findings.sweep import Sweep, squared_norms
from takeback.hybrid import taken_back
from takeback.hybrid.live import exchanged, slices
from takeback.hybrid.replay import Inputs
from takeback.hybrid.walk import hybrid_logits
from takeback.measure.bench import Bench
from takeback.measure.measure import TOLERANCE
from takeback.measure.read import Ask, HybridBatch, Reader
from takeback.policies.language.read import read_plan
from takeback.policies.load import load_policy
from takeback.weights import diff

Model = transformers.PreTrainedModel
Way = Callable[[Sequence[ComponentSet]], list[Tensor]]
"""Gives what is read of the hybrid of each set."""

LENGTH = 64
INIT = 0.06
CHANGE = 0.1
"""Noise on a fifth of the entries of every matrix, as a share of their standard deviation."""


@dataclass(frozen=True)
class Case:
    """Sets to sweep, the ways to do it, and the sets on which those that run whole models are timed."""

    name: str
    sets: Sequence[ComponentSet]
    sample: Sequence[ComponentSet]
    ways: dict[str, Way]
    whole: tuple[str, ...]


@dataclass
class Timing:
    """CPU and wall seconds a set, one entry for each repeat, and the largest relative error."""

    cpu: list[float]
    wall: list[float]
    error: float = 0.0


OURS = "takeback"
SWAP = "swap and run"
SMALL_SWAP = "swap and run, 16 rows"
NNSIGHT_KEEP = "nnsight, logits_to_keep=1"


def llama(layers: int, width: int, heads: int, groups: int, inner: int) -> Model:
    """Build a random Llama with a vocabulary of 512."""
    config = transformers.LlamaConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        intermediate_size=inner,
        vocab_size=512,
        initializer_range=INIT,
        bos_token_id=0,
        eos_token_id=1,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, INIT, generator=generator)
    return model


def changed(model: Model) -> Model:
    """Return a copy with noise on a fifth of the entries of each matrix."""
    other = type(model)(model.config).eval()
    other.load_state_dict(model.state_dict())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in other.parameters():
            if parameter.dim() == 2:
                noise = torch.randn(parameter.shape, generator=generator) * CHANGE * float(parameter.std())
                parameter.add_(noise * (torch.rand(parameter.shape, generator=generator) < 0.2))
    return other


def swap_and_run(tuned: Model, base: Model, anatomy: Anatomy, ids: Tensor, rows: int) -> Way:
    """What a careful user does: copy slices, run the module for the last logits, put the slices back."""

    def run(sets: Sequence[ComponentSet]) -> list[Tensor]:
        found: list[Tensor] = []
        for components in sets:
            with taken_back(tuned, base, components, anatomy), torch.inference_mode():
                parts = [
                    tuned(input_ids=part, use_cache=False, logits_to_keep=1).logits[:, -1]
                    for part in ids.split(rows)
                ]
            found.append(torch.cat(parts))
        return found

    return run


def together(tuned: Model, base: Model, ids: Tensor) -> Way:
    """Takeback's engine."""
    inputs = Inputs({"input_ids": ids}, torch.full((len(ids), 1), ids.shape[1] - 1))

    def run(sets: Sequence[ComponentSet]) -> list[Tensor]:
        found: list[list[Tensor]] = [[] for _ in sets]
        for place, _, logits in hybrid_logits(tuned, base, sets, inputs):
            found[place].append(logits[:, -1])
        return [torch.cat(parts) for parts in found]

    return run


def transformer_lens(tuned: Model, base: Model, anatomy: Anatomy, ids: Tensor) -> Way:
    """TransformerLens 4: its bridge around the module, slices written into the module's parameters."""
    from transformer_lens.model_bridge import TransformerBridge  # pyright: ignore[reportMissingImports]

    own = changed(base)
    with tempfile.TemporaryDirectory() as folder:
        own.save_pretrained(folder)
        tokenizer = arena("endgames").tokenizer()
        tokenizer.save_pretrained(folder)
        bridge = TransformerBridge.boot_transformers(folder, hf_model=own, tokenizer=tokenizer)
    named = dict(bridge.original_model.named_parameters())
    live = {name.replace("_original_component.", ""): parameter for name, parameter in named.items()}
    there = dict(base.named_parameters())

    def run(sets: Sequence[ComponentSet]) -> list[Tensor]:
        found: list[Tensor] = []
        for components in sets:
            regions = anatomy.regions(components)
            pairs = [(live[r.tensor].data[r.index], there[r.tensor].data[r.index]) for r in regions]
            with exchanged(pairs), torch.no_grad():
                found.append(bridge(ids, return_type="logits")[:, -1])
        return found

    return run


def nnsight(tuned: Model, base: Model, anatomy: Anatomy, ids: Tensor, **more: int) -> Way:
    """Nnsight: slices written into the module's parameters, then a trace that saves the last logits."""
    from nnsight import NNsight  # pyright: ignore[reportMissingImports]

    traced = NNsight(tuned)

    def run(sets: Sequence[ComponentSet]) -> list[Tensor]:
        found: list[Tensor] = []
        for components in sets:
            with exchanged(slices(tuned, base, components, anatomy)), torch.no_grad():
                with traced.trace(ids, use_cache=False, **more):
                    logits = traced.output.logits[:, -1].save()
                found.append(logits)
        return found

    return run


def optional(ways: dict[str, Way], name: str, make: Callable[[], Way]) -> None:
    """Add a peer where it is installed."""
    try:
        ways[name] = make()
    except ImportError as error:
        print(f"{name} is left out: {error}\n")


def families_of_sets(anatomy: Anatomy) -> tuple[list[ComponentSet], list[ComponentSet], list[ComponentSet]]:
    """Return every head and MLP alone, nested sets that grow by one of them at random, random sets of ten."""
    single = [component for component in anatomy.universe if component.kind in ("H", "MLP")]
    order = np.random.default_rng(0).permutation(len(single))
    alone = [ComponentSet([component], anatomy.universe) for component in single]
    nested = [ComponentSet([single[i] for i in order[: n + 1]], anatomy.universe) for n in range(len(single))]
    drawn = [np.random.default_rng([1, n]).choice(len(single), 10, replace=False) for n in range(len(single))]
    return alone, nested, [ComponentSet([single[i] for i in of], anatomy.universe) for of in drawn]


def small_cases(quick: bool) -> Iterator[Case]:
    """8 layers of 8 heads, width 256."""
    base = llama(8, 256, 8, 8, 1024)
    tuned = changed(base)
    anatomy = anatomy_of(tuned)
    ids = torch.randint(512, (16 if quick else 64, LENGTH), generator=torch.Generator().manual_seed(2))
    ways = {
        SWAP: swap_and_run(tuned, base, anatomy, ids, len(ids)),
        SMALL_SWAP: swap_and_run(tuned, base, anatomy, ids, 16),
        OURS: together(tuned, base, ids),
    }
    alone, nested, drawn = families_of_sets(anatomy)
    peers = dict(ways)
    optional(peers, "TransformerLens", lambda: transformer_lens(tuned, base, anatomy, ids))
    optional(peers, "nnsight", lambda: nnsight(tuned, base, anatomy, ids))
    optional(peers, NNSIGHT_KEEP, lambda: nnsight(tuned, base, anatomy, ids, logits_to_keep=1))
    whole = (SWAP, SMALL_SWAP, "TransformerLens", "nnsight", NNSIGHT_KEEP)
    title = f"8 layers, 8 heads, width 256; {len(ids)} prompts of {LENGTH}"
    yield Case(f"every head and MLP ({title})", alone, alone[::9], peers, whole)
    yield Case("24 nested sets, each three larger, in random order", nested[::3], nested[::9], ways, whole)
    yield Case("24 random sets of 10", drawn[:24], drawn[:24:3], ways, whole)


def large_case(quick: bool) -> Iterator[Case]:
    """The shape of a 135 M-parameter Llama, vocabulary cut to 512; two sets in every third layer."""
    base = llama(6 if quick else 30, 576, 9, 3, 1536)
    tuned = changed(base)
    anatomy = anatomy_of(tuned)
    ids = torch.randint(512, (4 if quick else 16, LENGTH), generator=torch.Generator().manual_seed(3))
    layers = range(1, base.config.num_hidden_layers, 3)
    sets = [anatomy.parse(f"L{layer}.{name}") for layer in layers for name in ("H4", "MLP")]
    ways = {
        SWAP: swap_and_run(tuned, base, anatomy, ids, len(ids)),
        OURS: together(tuned, base, ids),
    }
    shape = f"{base.config.num_hidden_layers} layers, 9 heads, 3 groups, width 576"
    name = f"{len(sets)} heads and MLPs, 2 of every third layer ({shape}; {len(ids)} prompts of {LENGTH})"
    yield Case(name, sets, sets[2::7], ways, (SWAP,))


def endgame_cases(quick: bool, folder: Path) -> Iterator[Case]:
    """The shipped endgame base with its real readouts: exact move probabilities on held-out situations."""
    place = arena("endgames")
    policy = load_policy("endgame-base", place)
    changed(policy.model).save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    pair = open_pair("endgame-base", str(folder))
    situations = place.situations("held-out", 32 if quick else 192, 0)
    what = Sweep(Bench(pair, place, situations), squared_norms(diff(pair)))
    reader, every, anatomy = Reader(pair, place, situations), range(len(situations)), pair.anatomy()
    tuned, base = (reader.policy(side).model for side in ("tuned", "base"))
    _, marks = reader.ends(every, TOLERANCE)

    def swap(sets: Sequence[ComponentSet]) -> list[Tensor]:
        found: list[Tensor] = []
        for components in sets:
            with taken_back(tuned, base, components, anatomy) as model:
                readouts = read_plan(model, reader.plan(every), tolerance=TOLERANCE)
            found.append(torch.from_numpy(readouts.probabilities))
        return found

    def ours(sets: Sequence[ComponentSet]) -> list[Tensor]:
        asks = tuple(map(Ask, sets))
        part = reader.read(HybridBatch(asks, tuple(ask.key for ask in asks), tuple(every), TOLERANCE), marks)
        return list(torch.from_numpy(part.numbers["probabilities"]))

    alone, _, drawn = families_of_sets(anatomy)
    ways: dict[str, Way] = {SWAP: swap, OURS: ours}
    name = f"endgame base, {len(situations)} readouts"
    yield Case(f"every head and MLP ({name})", alone, alone[::4], ways, (SWAP,))
    swept = [named.components for named in what.sets]
    yield Case(f"all {len(swept)} sets of a default sweep ({name})", swept, swept[::12], ways, (SWAP,))
    yield Case(f"20 random sets of 10 ({name})", drawn, drawn[::4], ways, (SWAP,))


def measure(case: Case, repeats: int) -> dict[str, Timing]:
    """Time every way in turn, as often as asked, and compare what they give with swap and run."""
    timings = {name: Timing([], []) for name in case.ways}
    wanted = case.ways[SWAP](case.sample)
    for _ in range(repeats):
        for name, way in case.ways.items():
            sets = case.sample if name in case.whole else case.sets
            cpu, wall = time.process_time(), time.perf_counter()
            found = way(sets)
            timings[name].cpu.append((time.process_time() - cpu) / len(sets))
            timings[name].wall.append((time.perf_counter() - wall) / len(sets))
            places = range(len(sets)) if name in case.whole else [sets.index(one) for one in case.sample]
            errors = [
                float((found[place] - right).abs().max() / right.abs().max())
                for place, right in zip(places, wanted, strict=True)
            ]
            timings[name].error = max(timings[name].error, *errors)
    return timings


def print_case(case: Case, timings: dict[str, Timing]) -> None:
    """Print a row for each way; ratios are medians of those within a repeat."""
    ours = timings[OURS].cpu
    for name, timing in timings.items():
        ratio = median(theirs / own for theirs, own in zip(timing.cpu, ours, strict=True))
        print(
            f"| {case.name} | {name} | {median(timing.cpu):.3f} | {median(timing.wall):.3f} "
            f"| {ratio:.2f} | {timing.error:.0e} |",
            flush=True,
        )


def main() -> None:
    """Run all cases."""
    parser = argparse.ArgumentParser(description="Time sweeps over hybrids, ours beside the peers'.")
    parser.add_argument("--quick", action="store_true", help="small shapes, one repeat")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", default="", help="cases whose name has this text")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    transformers.utils.logging.disable_progress_bar()
    repeats = 1 if chosen.quick else chosen.repeats
    print(
        f"{platform.machine()}, torch {torch.__version__}, transformers {transformers.__version__}, ", end=""
    )
    print(f"{chosen.threads} CPU threads, {repeats} interleaved repeats, medians\n")
    print("| sets | way | CPU s a set | wall s a set | CPU, times takeback's | largest relative error |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        makers = (
            lambda: small_cases(chosen.quick),
            lambda: endgame_cases(chosen.quick, Path(folder)),
            lambda: large_case(chosen.quick),
        )
        for make in makers:
            for case in make():
                if chosen.only in case.name:
                    print_case(case, measure(case, repeats))


if __name__ == "__main__":
    main()
