"""Time an evaluation task on many hybrids: lm-eval on each, and takeback.

    python benchmarks/evaluation.py [BASE TUNED] [--documents 12] [--sets 30] [--threads 1]

prints a Markdown table of CPU seconds a set. Without two checkpoints it builds a random pair of the shape of
SmolLM2-135M with a vocabulary of 512. The task is a quiz of made-up questions with four answers of several
tokens each and two examples in front. Both give the same log-probabilities: see the largest difference.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from sweep import changed, llama
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.component import ComponentSet
from takeback.findings.sweep import chosen_sets
from takeback.hybrid import taken_back
from takeback.measure.bench import Bench
from takeback.measure.tasks import evaluated
from takeback.run.threads import cpu_threads

NOUNS = ("river", "stone", "window", "garden", "engine", "letter", "bridge", "candle", "mirror", "basket")
SHAPE = {"layers": 30, "width": 576, "heads": 9, "groups": 3, "inner": 1536}
"""Of SmolLM2-135M."""


def write_task(folder: Path, documents: int) -> None:
    """Write a quiz as a task of lm-eval's, with its data."""
    generator = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number in range(documents):
        some = [str(one) for one in generator.permutation(NOUNS)]
        told = f"In story {number} the {some[0]} stood beside the {some[1]} near the {some[2]}."
        question = f"{told} What stood there?"
        options = [f"the {some[place]} and the {some[place + 1]}" for place in (0, 2, 4, 6)]
        rows.append({"question": question, "options": options, "label": 0})
    (folder / "quiz.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "quiz",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "quiz.jsonl")}},
        "test_split": "test",
        "fewshot_split": "test",
        "num_fewshot": 2,
        "output_type": "multiple_choice",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_choice": "options",
        "doc_to_target": "label",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    (folder / "quiz.yaml").write_text(json.dumps(task))


def random_pair(folder: Path) -> tuple[Path, Path]:
    """Write a random pair of the shape of SmolLM2-135M with a byte-level tokenizer."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    words.train_from_iterator(
        [f"the {noun} and Question Answer In story What stood there" for noun in NOUNS], trainer
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>"
    )
    base = llama(**SHAPE)
    for name, model in (("base", base), ("tuned", changed(base))):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder / "base", folder / "tuned"


def by_lm_eval(base: Path, tuned: Path, tasks: Path, sets: list[ComponentSet]) -> list[dict[str, float]]:
    """Run lm-eval on a live model in which each set is taken back, one after the other."""
    from lm_eval import evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    load = transformers.AutoModelForCausalLM.from_pretrained
    model, other = load(tuned), load(base)
    lm = HFLM(pretrained=model, tokenizer=transformers.AutoTokenizer.from_pretrained(tuned), batch_size=16)
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    found: list[dict[str, float]] = []
    for one in sets:
        loaded = manager.load("quiz")
        loaded["tasks"]["quiz"].set_fewshot_seed(1234)
        with taken_back(model, other, one):
            told = evaluate(lm, loaded, bootstrap_iters=0)
        logs = [answer[0][0] for one in told["samples"]["quiz"] for answer in one["resps"]]
        found.append({"acc": told["results"]["quiz"]["acc,none"], **dict(enumerate(logs))})
    return found


def by_takeback(base: Path, tuned: Path, tasks: Path, sets: list[ComponentSet]) -> list[dict[str, float]]:
    """Read all sets on one bench."""
    place = arena(f"lm-eval:{{tasks: quiz, include_path: {tasks}}}")
    bench = Bench(open_pair(base, tuned), place, place.documents, ["acc quiz"])
    found: list[dict[str, float]] = []
    for readouts in bench.read(sets):
        told = evaluated(place, readouts)["quiz"]
        found.append({"acc": told["acc,none"], **dict(enumerate(readouts.logprobs.tolist()))})
    return found


def timed(run: Callable[[], Any]) -> tuple[Any, float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    found = run()
    return found, time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", help="base and tuned")
    parser.add_argument("--documents", type=int, default=12)
    parser.add_argument("--sets", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--family", default="each layer")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, cpu_threads(asked.threads):
        folder = Path(name)
        write_task(folder, asked.documents)
        base, tuned = map(Path, asked.models) if asked.models else random_pair(folder)
        anatomy = open_pair(base, tuned).anatomy()
        every = [one.components for one in chosen_sets(anatomy, [asked.family])]
        sets = every[:: max(1, len(every) // asked.sets)][: asked.sets]
        ways = {"lm-eval on each": by_lm_eval, "takeback": by_takeback}
        told = {way: timed(lambda run=run: run(base, tuned, folder, sets)) for way, run in ways.items()}
    theirs, ours = (told[way][0] for way in ways)
    error = max(abs(a[key] - b[key]) for a, b in zip(theirs, ours, strict=True) for key in a)
    print(f"{asked.documents} documents, {len(sets)} sets ({asked.family}), {asked.threads} thread")
    print("| way | CPU s | CPU s a set | wall s | times faster |\n| --- | ---: | ---: | ---: | ---: |")
    for way, (_, cpu, wall) in told.items():
        times = told["lm-eval on each"][1] / cpu
        print(f"| {way} | {cpu:.1f} | {cpu / len(sets):.2f} | {wall:.1f} | {times:.1f} |")
    print(f"largest difference of a log-probability or of acc: {error:.1e}")


if __name__ == "__main__":
    main()
