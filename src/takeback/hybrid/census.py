"""What becomes of every model type of transformers; `python -m takeback.hybrid.census PAGE` writes a page."""

from __future__ import annotations

import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from takeback.anatomy.families import families
from takeback.anatomy.tensors import TENSORS
from takeback.anatomy.wiring import known_wiring
from takeback.hybrid.proof import prove
from takeback.hybrid.tiny import tiny_config
from takeback.run.errors import TakebackError, UnknownName

PROVED, WHOLE, REFUTED, UNBUILT = "laws hold", "tensors only", "a law fails", "cannot be built"
"""What may become of a model type."""


@dataclass(frozen=True, slots=True)
class Fate:
    """Says what became of one model type, by which block, and what was tried or is in the way."""

    model_type: str
    outcome: str
    block: str
    told: str

    def __str__(self) -> str:
        return f"| {self.model_type} | {self.outcome} | {self.block} | {self.told} |"


def model_types() -> tuple[str, ...]:
    """Return every model type of which transformers has a causal language model, in the order of names."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return tuple(sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))


def fate_of(model_type: str) -> Fate:
    """Build a tiny random model of a type and try the laws on it."""
    try:
        proof = prove(tiny_config(model_type))
    except UnknownName as error:
        return Fate(model_type, UNBUILT, "", _short(str(error)))
    except TakebackError as error:
        return Fate(model_type, UNBUILT, "", _short(str(error)))
    if proof.broken is not None:
        return Fate(model_type, REFUTED, proof.family, _short(str(proof.broken)))
    if proof.family == TENSORS:
        return Fate(model_type, WHOLE, "", "laws 1 to 3: " + proof.laws[0].told)
    return Fate(model_type, PROVED, proof.family, proof.laws[-1].told)


def census(types: Iterable[str]) -> Iterator[Fate]:
    """Yield what becomes of each model type; takes about half a second for each."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    for model_type in types:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield fate_of(model_type)


def page(fates: Iterable[Fate]) -> str:
    """Write fates as a page of documentation."""
    import transformers

    fates = list(fates)
    counts = Counter(fate.outcome for fate in fates)
    told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in (PROVED, WHOLE, REFUTED, UNBUILT))
    lines = [_HEAD.format(version=transformers.__version__, types=len(fates), told=told), _circuits(fates)]
    lines += ["| model type | outcome | block | tried in law 4, or why not |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *map(str, fates)]) + "\n"


def _circuits(fates: Sequence[Fate]) -> str:
    """Say of which blocks circuits are known, and how many of the types whose laws hold have them."""
    blocks = sorted(name for name in families() if known_wiring(name) is not None)
    types = sum(fate.outcome == PROVED and fate.block in blocks for fate in fates)
    told = (
        f"Circuits (`takeback diff --with circuits`, `align`) are known for {len(blocks)} blocks, which are "
        f"those of {types} of the types whose laws hold: {', '.join(blocks)}. They are held by "
        "`tests/weights/test_circuits.py` and `test_circuits_of_families.py`."
    )
    return "\n".join([*wrap(told, 110), ""])


_HEAD = """# Every model type

Made by `make families` with transformers {version}: a tiny random model of each of its {types} types for
causal language modelling is built offline, and laws 1 to 4 are tried on it: every entry is owned once, live
and on disk; both ends are bit-exact, in memory and on disk; takebacks commute; a head is a head and a neuron
is a neuron in the unmodified module. {told}.

*Laws hold* says so of a default config made tiny. *Tensors only* says that no block tells heads apart:
`diff` and `hybrid` take whole tensors and layers, for which laws 1 to 3 were tried. *Cannot be built* says
why there is no tiny model here; a block may hold all the same. How to add one:
[Architecture families](families.md).
"""


def _short(text: str) -> str:
    """Return the beginning of a message as one cell of a table."""
    text = " ".join(re.sub(re.escape(tempfile.gettempdir()) + r"/\w+", "a folder", text).split()).replace(
        "|", "/"
    )
    return text if len(text) <= 140 else text[:139].rstrip() + "…"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(census(model_types())), encoding="utf-8")
