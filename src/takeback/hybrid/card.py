"""The model card of a hybrid: what it is made of, and how to make it again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from takeback.checkpoint.checkpoint import TOKENIZER_FILES
from takeback.checkpoint.pair import summaries
from takeback.hybrid.hybrid import Hybrid
from takeback.run.reading import Unreadable, read_text

_CARD = """\
---
base_model:
{parents}
base_model_relation: merge
library_name: transformers
tags:
- takeback
---

# {title}

Parts of a fine-tune taken back: {count} of {all_of_them} components are from *{source_role}*, all others from
*tuned*. Slices were copied{kept}.

| side | model | SHA-256 of its tensors |
| --- | --- | --- |
{sides}

From *{source_role}* (in the text form that `takeback` parses; empty is nothing, `*` everything):

```
{taken}
```
{differences}
{how}
{words}"""

_DIFFERENCES = """
Config, tokenizer and generation config are *tuned*'s. *Base* has others, or differs in element types:

```
{lines}
```
"""


def is_written_here(folder: Path) -> bool:
    """Return whether all that a folder holds is a hybrid: its card has our tag, and it has no folders."""
    try:
        text = read_text(folder / "README.md")
    except Unreadable:
        return False
    front = text.removeprefix("---\n").partition("\n---\n")[0]
    if front == text or "- takeback" not in front.splitlines():
        return False
    return not any(file.is_dir() and file.name not in TOKENIZER_FILES for file in folder.iterdir())


def model_card(made: Hybrid, out: Path, words: str = "") -> str:
    """Return the text of the card, with the parents in its front matter, and words of somebody's own last."""
    pair, source_role = made.pair, "base" if made.source is made.pair.base else "another source"
    lines = summaries(made.differences)
    sides = {"base": pair.base, "tuned": pair.tuned, source_role: made.source}
    return _CARD.format(
        parents="\n".join(
            f"- {json.dumps(side.ref, ensure_ascii=False)}" for side in (pair.base, pair.tuned)
        ),
        title=out.name,
        count=len(made.take_back),
        all_of_them=len(made.take_back.universe),
        source_role=source_role,
        kept=", nothing was averaged or trained" if made.source is pair.base else "",
        sides="\n".join(f"| {role} | `{side.ref}` | `{side.digest}` |" for role, side in sides.items()),
        taken=str(made.take_back),
        differences=_DIFFERENCES.format(lines="\n".join(lines)) if lines else "",
        how=_command(made, out) if made.source is pair.base else f"The other source is {made.source.ref}.",
        words=f"\n{words.strip()}\n" if words else "",
    )


def _command(made: Hybrid, out: Path) -> str:
    words = ["takeback", "hybrid", made.pair.base.ref, made.pair.tuned.ref]
    words += ["--take-back", str(made.take_back), "-o", str(out)]
    if made.take_back.resolution == "neurons":
        words += ["--resolution", "neurons"]
    if made.pair.untied:
        words.append("--untie")
    return f"To make it again:\n\n```sh\n{shlex.join(words)}\n```"
