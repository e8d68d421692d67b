"""Write moves of the mixed population of players as rows: `python population.py FILE [--rows N]`.

A row has the position as a sentence, which any language model reads, and a move that the population drew.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from takeback.arenas import arena
from takeback.arenas.endgames.imitation import imitation_batch
from takeback.run.files import atomic_file

BATCH = 512
PROMPT = 4
"""Tokens of a position."""


def rows(count: int, seed: int) -> Iterator[dict[str, str]]:
    """Draw positions of the split for training, each with one move."""
    place: Any = arena("endgames")
    tokenizer = place.tokenizer()
    for start in range(0, count, BATCH):
        drawn = imitation_batch(min(BATCH, count - start), (seed, start))
        for tokens in drawn.tokens:
            position, move = (
                tokenizer.decode(list(part), skip_special_tokens=True)
                for part in (tokens[:PROMPT], tokens[PROMPT:])
            )
            prompt = place.prompt(place.parse(position), "sentence")
            yield {"prompt": prompt, "move": move.strip(), "split": "train"}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=24_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    lines = [json.dumps(row) for row in rows(given.rows, given.seed)]
    given.file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(given.file) as draft:
        draft.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
