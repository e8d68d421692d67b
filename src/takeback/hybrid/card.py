"""The model card of a hybrid: what it is made of, and how to make it again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from takeback.hybrid.disk import Hybrid

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
*tuned*. Slices were copied, nothing was averaged or trained.

| side | model | SHA-256 of its tensors |
| --- | --- | --- |
{sides}

From *{source_role}* (in the text form that `takeback` parses; empty is nothing, `*` everything):

```
{taken}
```

{how}
"""


def model_card(made: Hybrid, out: Path) -> str:
    """Return the text of the card, with the parents in its front matter."""
    pair, source_role = made.pair, "base" if made.source is made.pair.base else "another source"
    sides = {"base": pair.base, "tuned": pair.tuned, source_role: made.source}
    return _CARD.format(
        parents="\n".join(
            f"- {json.dumps(side.ref, ensure_ascii=False)}" for side in (pair.base, pair.tuned)
        ),
        title=out.name,
        count=len(made.take_back),
        all_of_them=len(made.take_back.universe),
        source_role=source_role,
        sides="\n".join(f"| {role} | `{side.ref}` | `{side.digest}` |" for role, side in sides.items()),
        taken=str(made.take_back),
        how=_command(made, out) if made.source is pair.base else f"The other source is {made.source.ref}.",
    )


def _command(made: Hybrid, out: Path) -> str:
    words = ["takeback", "hybrid", made.pair.base.ref, made.pair.tuned.ref]
    words += ["--take-back", str(made.take_back), "-o", str(out)]
    if made.pair.untied:
        words.append("--untie")
    return f"To make it again:\n\n```sh\n{shlex.join(words)}\n```"
