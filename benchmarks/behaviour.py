"""Time what hybrids of a language model say: through the engine, by swapping and running, by drawing anew.

    python benchmarks/behaviour.py [--quick] [--base FOLDER --tuned FOLDER] [--prompts 8] [--threads 1]

prints Markdown tables. Without folders the pair has the shape of SmolLM2-135M and random weights: its times
mean something, its intervals do not. Sets are all layers, all kinds and 60 heads. Swapping and running makes
the very passes that the engine makes, whole, and is timed on a fixed sample of the sets: its cost does not
depend on which. So is drawing. All is measured in one process, one way after the other, in CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from takeback.arenas import arena
from takeback.arenas.rows import DrawnRows, OpenRows
from takeback.checkpoint import open_pair
from takeback.component import ComponentSet
from takeback.hybrid import taken_back
from takeback.hybrid.replay import Inputs, plain_logits
from takeback.hybrid.walk import End
from takeback.measure.bench import Bench
from takeback.measure.setup import Setup
from takeback.policies.answers import AnswerReadouts
from takeback.policies.drawn import DrawnReadouts
from takeback.policies.language.answers import AnswerPlan, asked_logprobs
from takeback.policies.language.forward import inputs_of

SMOL = {
    "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 576,
    "intermediate_size": 1536, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip
TINY = {
    "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 64,
    "intermediate_size": 128, "vocab_size": 512, "tie_word_embeddings": True,
}  # fmt: skip
INIT = 0.06
CHANGE = 0.05
"""Noise on every matrix of a random pair, as a share of its standard deviation."""

REWARD = '''
def short(completions, **_):
    """Short answers that end with an exclamation mark."""
    texts = [one if isinstance(one, str) else one[0]["content"] for one in completions]
    return [0.5 * text.rstrip().endswith("!") + 0.5 * (len(text.split()) <= 8) for text in texts]


def even(completion_ids, **_):
    """The share of even tokens, which means something to random weights."""
    return [sum(token % 2 == 0 for token in tokens) / len(tokens) for tokens in completion_ids]
'''
GOALS = {True: "short", False: "even"}
"""The reward of a pair that chats, and of one of random weights."""
ASKED = [
    "What is the capital of Italy?", "Name an ocean animal.", "How are you today?", "Wish me luck.",
    "What shape has three sides?", "Name a fruit.", "What is the freezing point of water?", "Tell me a joke.",
    "Who wrote Hamlet?", "What colour is the sky?", "Say hello.", "What do bees make?",
]  # fmt: skip
CHOICES = ["Rome", "a fish", "I am well", "three", "honey is made by bees"]


@dataclass
class Cost:
    """What a way of reading sets took: CPU seconds, sets, and the most memory beside what was held before."""

    cpu: float
    sets: int
    memory: float

    @property
    def each(self) -> float:
        """CPU seconds a set."""
        return self.cpu / self.sets


def random_pair(folder: Path, shape: dict[str, Any]) -> tuple[Path, Path]:
    """Save a pair of random weights with a tokenizer of bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE({word: n for n, word in enumerate(["<s>", "</s>", *alphabet])}, []))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>"
    )
    ends = {"bos_token_id": 0, "eos_token_id": 1, "max_position_embeddings": 2048}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape, **ends)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, INIT, generator=generator)
    for side in ("base", "tuned"):
        model.save_pretrained(folder / side)
        tokenizer.save_pretrained(folder / side)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 2:
                    parameter.add_(
                        torch.randn(parameter.shape, generator=generator) * parameter.std() * CHANGE
                    )
    return folder / "base", folder / "tuned"


def arenas(folder: Path, chat: bool, prompts: int, tokens: int, answers: int) -> tuple[Any, OpenRows]:
    """Write the prompts; return them with answers to choose from, and with a reward."""
    asked = (ASKED * prompts)[:prompts]
    shown: list[Any] = [[{"role": "user", "content": text}] if chat else text for text in asked]
    rows = [{"prompt": one, "choices": CHOICES, "answer": 0} for one in shown]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "reward.py").write_text(REWARD, encoding="utf-8")
    data = f"data: {folder / 'rows.jsonl'}"
    drawing = f"max_tokens: {tokens}, answers: {answers}"
    given = arena(f"rows:{{{data}, choices: choices, answer: answer}}")
    free = arena(f"rows:{{{data}, rewards: ['{folder / 'reward.py'}:{GOALS[chat]}'], {drawing}}}")
    assert isinstance(free, OpenRows)
    return given, free


def costs(run: Callable[[], object], sets: int) -> Cost:
    """Time a way of reading sets, and see how far its memory goes."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before, start = _status("VmRSS"), time.process_time()
    run()
    spent = time.process_time() - start
    return Cost(spent, sets, _status("VmHWM") - before)


def _status(name: str) -> float:
    """Return a size of this process in MB, where the system tells it."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return float("nan")
    return float(next(line.split()[1] for line in lines if line.startswith(name))) / 1024


def swapped(bench: Bench, sets: Sequence[ComponentSet]) -> list[np.ndarray]:
    """What a careful user does: swap slices in, run the module on the same rows, put the slices back."""
    tuned: Any = bench.policy("tuned").model
    plan = bench.plan
    assert isinstance(plan, AnswerPlan)
    found: list[np.ndarray] = []
    for components in sets:
        logs = torch.zeros(plan.asked, dtype=torch.float64)
        with taken_back(tuned, bench.policy("base").model, components, bench.anatomy), torch.inference_mode():
            for batch in plan.batches:
                count, length = batch.rows.tokens.shape
                read = torch.arange(length - batch.rows.nodes - 1, length).expand(count, -1)
                logits = plain_logits(tuned, Inputs(inputs_of(tuned, batch.rows).arguments, read))
                some, _ = asked_logprobs(End(logits, lambda part: part), batch, plan.arena.temperature)
                logs.index_add_(0, torch.from_numpy(batch.answer), some)
        found.append(logs.numpy())
    return found


def sets_of(bench: Bench, heads: int) -> dict[str, list[ComponentSet]]:
    """Return all layers, all kinds, and some heads spread over the model, by family."""
    each = {
        family: [*bench.anatomy.named_sets(family).values()]
        for family in ("each layer", "each kind", "each head")
    }
    every = each["each head"]
    places = np.linspace(0, len(every) - 1, min(heads, len(every))).round().astype(int)
    each["each head"] = [every[place] for place in places]
    return each


def read_by_engine(
    bench: Bench, sets: Sequence[ComponentSet], sample: Sequence[ComponentSet], what: str
) -> Cost:
    """Compare the engine with swapping and running; print a row for each, and how far they are apart."""
    _ = bench.ends, bench.weights("base")
    bench.forget()
    ours = costs(lambda: bench.gather(sets), len(sets))
    plain: list[np.ndarray] = []
    theirs = costs(lambda: plain.extend(swapped(bench, sample)), len(sample))
    apart = 0.0
    for one, other in zip(bench.read(sample), plain, strict=True):
        assert isinstance(one, AnswerReadouts)
        far = np.abs(one.logprobs - other[: len(one.logprobs)]) / np.abs(one.logprobs)
        apart = max(apart, float(far.max()))
    tell(what, "takeback", ours, 1.0)
    tell(what, "swap and run, the same passes", theirs, theirs.each / ours.each)
    print(f"\nlargest relative difference of a log-probability: {apart:.1e}\n", flush=True)
    return ours


def tell(what: str, way: str, cost: Cost, ratio: float) -> None:
    """Print a row."""
    print(f"| {what} | {way} | {cost.sets} | {cost.each:.2f} | {ratio:.2f} | {cost.memory:.0f} |", flush=True)


HEADS = (
    "| what | way | sets | CPU s a set | times takeback's | MB beside the models |\n"
    "| --- | --- | --- | --- | --- | --- |"
)


def against_drawing(
    pooled: Bench, drawn: Bench, families: dict[str, list[ComponentSet]], cost: Cost, each: int
) -> None:
    """Print how much CPU drawing takes for intervals as wide as the pool's, by family."""
    print(
        "| sets | sets drawn | CPU s a set, pool | drawing | standard error of an effect, pool | drawing | "
        "drawing, own luck | CPU for the same width, times the pool's | own luck |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    _ = drawn.ends
    (goal,) = drawn.measures
    for family, members in families.items():
        some = [members[place] for place in np.linspace(0, len(members) - 1, each).round().astype(int)]
        drawing = costs(lambda some=some: drawn.gather(some), len(some))
        answers, anew = pooled.answer([*some, pooled.nothing]), drawn.answer([*some, drawn.nothing])
        shares = [_variance(answers.change(one, goal, pooled.nothing)) for one in some]
        lucky = [_variance(anew.change(one, goal, drawn.nothing)) for one in some]
        own = [_own_luck(drawn, one, anew.change(one, goal, drawn.nothing)) for one in some]
        pool, common, alone = (float(np.mean(one)) for one in (shares, lucky, own))
        ratios = [
            width / pool * drawing.each / cost.each if pool else float("nan") for width in (common, alone)
        ]
        errors = [(variance / len(drawn.situations)) ** 0.5 for variance in (pool, common, alone)]
        print(
            f"| {family} | {len(some)} | {cost.each:.2f} | {drawing.each:.2f} | "
            + " | ".join(f"{error:.4f}" for error in errors)
            + " | "
            + " | ".join(f"{ratio:.1f}" for ratio in ratios)
            + " |",
            flush=True,
        )


def _variance(change: np.ndarray) -> float:
    """Return the variance over prompts of an effect."""
    return float(change[np.isfinite(change)].var(ddof=1))


def _own_luck(bench: Bench, components: ComponentSet, change: np.ndarray) -> float:
    """Return what the variance would be if both sides drew with luck of their own.

    The noise of drawing with common luck is taken out, that of two independent sides is put in.
    """
    hybrid, tuned = bench.read([components, bench.nothing])
    assert isinstance(hybrid, DrawnReadouts)
    assert isinstance(tuned, DrawnReadouts)

    def noise(worth: np.ndarray) -> float:
        return float(worth[:, 0].var(axis=1, ddof=1).mean() / worth.shape[2])

    between = max(_variance(change) - noise(hybrid.worth - tuned.worth), 0.0)
    return between + noise(hybrid.worth) + noise(tuned.worth)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny model, a few seconds")
    parser.add_argument("--base", help="folder of a model with a chat template")
    parser.add_argument("--tuned", help="folder of what it became")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--answers", type=int, default=4, help="to each prompt, from each side")
    parser.add_argument("--tokens", type=int, default=20, help="most of an answer")
    parser.add_argument("--heads", type=int, default=60)
    parser.add_argument("--sample", type=int, default=8, help="sets that are swapped and run")
    parser.add_argument("--drawn", type=int, default=3, help="sets of each family that are drawn")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.base is None:
            base, tuned = random_pair(folder, TINY if given.quick else SMOL)
        else:
            base, tuned = Path(given.base), Path(given.tuned)
        pair = open_pair(str(base), str(tuned))
        choices, free = arenas(folder, given.base is not None, given.prompts, given.tokens, given.answers)
        setup = Setup(threads=given.threads)
        what = "random weights" if given.base is None else given.tuned
        print(
            f"{platform.machine()}, torch {torch.__version__}, transformers {transformers.__version__}, "
            f"{given.threads} threads, {what}; {given.prompts} prompts, {given.answers} + {given.answers} "
            f"answers of {given.tokens} tokens at most\n\n{HEADS}"
        )
        rows = choices.situations("held-out", given.prompts, 0)
        bench = Bench.answering(pair, choices, rows, ["utility right"], setup)
        families = sets_of(bench, given.heads)
        sets = [one for members in families.values() for one in members]
        sample = [sets[place] for place in np.linspace(0, len(sets) - 1, given.sample).round().astype(int)]
        read_by_engine(bench, sets, sample, "multiple choice")
        goal = f"utility {GOALS[given.base is not None]}"
        asked = free.situations("held-out", given.prompts, 0)
        pooled = Bench.answering(pair, free, asked, [goal], setup)
        print(HEADS)
        cost = read_by_engine(pooled, sets, sample, "pool")
        drawn = Bench(pair, DrawnRows(free, 2 * given.answers), asked, [goal], setup)
        against_drawing(pooled, drawn, families, cost, given.drawn)


if __name__ == "__main__":
    main()
