"""Small tasks whose answers a function can check, drawn by a seed: `python tasks.py` writes their rows.

`last.jsonl` is trained on and read; the others are held out beside it.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Message = dict[str, str]
Problem = dict[str, Any]
"""A row: its prompt, its solution, and what else rewards need."""
Task = Callable[[random.Random], Problem]

WORDS = [
    "apple",
    "bread",
    "chair",
    "dance",
    "eagle",
    "field",
    "grape",
    "house",
    "island",
    "jungle",
    "kitten",
    "lemon",
    "marble",
    "needle",
    "ocean",
    "pencil",
    "queen",
    "river",
    "silver",
    "tiger",
    "umbrella",
    "velvet",
    "window",
    "yellow",
    "zebra",
    "button",
    "candle",
    "dragon",
    "engine",
    "forest",
    "garden",
    "hammer",
    "insect",
    "jacket",
    "kernel",
    "ladder",
    "mirror",
    "napkin",
    "orange",
    "pepper",
    "rabbit",
    "summer",
    "tunnel",
    "valley",
    "winter",
]


def chat(system: str, *turns: str) -> list[Message]:
    """Return messages: the system's, then user and assistant in turn."""
    roles = ["user", "assistant"] * len(turns)
    spoken = [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]
    return [{"role": "system", "content": system}, *spoken]


PLACES = {"first": 0, "middle": 1, "last": 2}


def digit(place: str) -> Task:
    """Return what asks for one digit of a number of three different ones, after one example."""

    def asks(draw: random.Random) -> Problem:
        number = "".join(draw.sample("123456789", 3))
        prompt = chat(f"Say the {place} digit.", "528", "528"[PLACES[place]], number)
        return {"prompt": prompt, "solution": number[PLACES[place]], "number": number}

    return asks


def asked(draw: random.Random) -> Problem:
    """Ask for the last digit in other words, without an example."""
    number = "".join(draw.sample("123456789", 3))
    prompt = chat("Answer with one digit only.", f"With which digit does {number} end?")
    return {"prompt": prompt, "solution": number[-1]}


def larger(draw: random.Random) -> Problem:
    """Ask for the larger one of two numbers, after one example."""
    one, other = draw.sample(range(100, 1000), 2)
    prompt = chat("Which is larger?", "50 or 12", "50", f"{one} or {other}")
    return {"prompt": prompt, "solution": str(max(one, other)), "choices": [str(one), str(other)]}


def addition(draw: random.Random) -> Problem:
    """Ask for a sum of two digits, after one example."""
    one, other = draw.randint(2, 9), draw.randint(2, 9)
    return {"prompt": chat("Add.", "2 + 5", "7", f"{one} + {other}"), "solution": str(one + other)}


def repeat(draw: random.Random) -> Problem:
    """Ask to say a word again, after one example: an instruction that a function can check."""
    word = draw.choice(WORDS)
    return {"prompt": chat("Repeat the word.", "stone", "stone", word), "solution": word}


TASKS: dict[str, Task] = {
    **{place: digit(place) for place in PLACES},
    "asked": asked,
    "larger": larger,
    "addition": addition,
    "repeat": repeat,
}


def problems(task: str, seed: Any) -> Iterator[Problem]:
    """Draw problems of a task without end, each once.

    >>> from itertools import islice
    >>> [one["solution"] for one in islice(problems("repeat", 0), 2)] == ["zebra"] * 2
    False
    """
    draw, seen, misses = random.Random(f"{task} {seed}"), set[str](), 0
    while misses < 10_000:
        problem = TASKS[task](draw)
        if (question := problem["prompt"][-1]["content"]) in seen:
            misses += 1
            continue
        seen.add(question)
        yield problem


def write(task: str, train: int, held_out: int, folder: Path) -> None:
    """Write a task's rows: those to train on first, then those held out."""
    splits = ["train"] * train + ["held out"] * held_out
    drawn = zip(splits, problems(task, 0), strict=False)
    rows = [
        {"prompt": one["prompt"], "solution": one["solution"], "split": split, **one} for split, one in drawn
    ]
    lines = map(json.dumps, rows)
    (folder / f"{task}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Write the rows of the example, or those of one task that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("task", nargs="?", choices=TASKS)
    parser.add_argument("--train", type=int, default=1200)
    parser.add_argument("--held-out", type=int, default=128)
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).parent)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.task:
        write(given.task, given.train, given.held_out, given.out)
        return
    write("last", 376, 128, given.out)
    for other in ("first", "middle", "asked", "larger", "addition", "repeat"):
        write(other, 0, 64, given.out / "beside")


if __name__ == "__main__":
    main()
