"""Where trainers put things: the folders of their steps, and the places of weights and configs in one.

A trainer's layout is one row, after its documentation and its code for saving; there is a fixture for each in
`tests/checkpoint/test_layouts.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TrainerLayout:
    """Says how a trainer names the folders of its steps, and where weights lie in one, the best place first.

    `configs` are further places of config.json or of the tokenizer, beside the weights' own folder.
    """

    trainer: str
    step: str
    weights: tuple[str, ...]
    configs: tuple[str, ...] = ()
    inside: tuple[str, ...] = ("",)

    def number(self, folder: Path) -> int | None:
        """Return the step that a folder is of by its name, None where it is no step."""
        found = re.fullmatch(self.step, folder.name)
        return int(found[1]) if found and len(found[1]) < 19 else None


LAYOUTS = (
    TrainerLayout(
        "transformers, TRL, accelerate",
        r"checkpoint[-_]([0-9]+)",
        ("", "pytorch_model_fsdp_0", "model", "global_step*"),
    ),
    TrainerLayout(
        "verl, SkyRL",
        r"global_steps?_([0-9]+)",
        (
            "actor/huggingface",
            "policy/huggingface",
            "huggingface",
            "hf",
            "actor/lora_adapter",
            "actor",
            "policy",
            "actor/dist_ckpt",
        ),
        ("actor/huggingface", "policy/huggingface", "huggingface"),
        ("", "exports"),
    ),
    TrainerLayout("OpenRLHF, as transformers loads it", r"global_step([0-9]+)_hf", ("",)),
    TrainerLayout(
        "OpenRLHF, DeepSpeed",
        r"global_step([0-9]+)",
        ("",),
        ("..",),
        ("", "_actor"),
    ),
    TrainerLayout(
        "NeMo-RL, prime-rl",
        r"step_([0-9]+)",
        (
            "policy/weights/model/consolidated",
            "policy/weights/model",
            "policy/weights",
            "weights",
            "trainer",
        ),
        ("policy/weights/model/.hf_metadata", "policy/tokenizer"),
        ("", "checkpoints", "weights"),
    ),
    TrainerLayout(
        "NeMo Automodel",
        r"epoch_[0-9]+_step_([0-9]+)",
        ("model/consolidated", "model"),
        ("model/.hf_metadata",),
    ),
    TrainerLayout("torchtune", r"epoch_([0-9]+)", ("",), ("..", "../base_model")),
    TrainerLayout("torchtitan", r"step-([0-9]+)", ("", "sharded"), (), ("", "checkpoint")),
)
"""What trainers of language models write, by the names of their steps' folders."""

_ELSEWHERE = {"critic", "ref", "reference", "reward", "optim", "optimizer", "value", "merges", ".git"}
_DEPTH = 4


def layout_of(folder: Path) -> TrainerLayout | None:
    """Return the layout whose step a folder is by its name."""
    return next((layout for layout in LAYOUTS if layout.number(folder.absolute()) is not None), None)


def steps_in(folder: Path) -> tuple[tuple[int, Path], ...]:
    """Return the steps of a run as (step, folder) in their order, of the layout that has most of them."""
    best: list[tuple[int, Path]] = []
    for layout in LAYOUTS:
        for inside in layout.inside:
            place = folder / inside
            below = place.iterdir() if place.is_dir() else ()
            found = [
                (step, one) for one in below if (step := layout.number(one)) is not None and one.is_dir()
            ]
            best = max(best, sorted(found), key=len)
    return tuple(best)


def is_step(folder: Path) -> bool:
    """Return whether a folder's name is that of a step of a run."""
    return layout_of(folder) is not None


def places(folder: Path) -> list[Path]:
    """Return where the weights of a checkpoint may lie, the best first; steps of a run are not entered."""
    found = [folder]
    own = layout_of(folder)
    for layout in [own] if own else LAYOUTS:
        found += [place for pattern in layout.weights if pattern for place in sorted(folder.glob(pattern))]
    if own is None and folder.name in ("actor", "policy"):
        found += [folder / "huggingface"]
    found += sorted(_inner(folder, 1), key=lambda place: (len(place.parts), place))
    return [place for place in dict.fromkeys(found) if place.is_dir()]


def config_places(folder: Path, weights: Path) -> list[Path]:
    """Return where the config and tokenizer of weights in a checkpoint's folder may lie, the best first."""
    found = [weights, weights / "huggingface", weights / ".hf_metadata"]
    above = weights
    while above != folder and folder in above.parents:
        above = above.parent
        found += [above, above / "huggingface", above / "hf", above / "tokenizer"]
    layout = layout_of(folder)
    found += [folder / place for place in layout.configs] if layout else []
    if layout:
        found += [folder.parent, folder.parent / "huggingface"]
    return [place for place in dict.fromkeys(found) if place.is_dir()]


def _inner(folder: Path, depth: int) -> Iterator[Path]:
    if depth > _DEPTH:
        return
    try:
        below = [place for place in folder.iterdir() if place.is_dir() and not place.is_symlink()]
    except OSError:
        return
    for place in below[:64]:
        if place.name not in _ELSEWHERE and not is_step(place):
            yield place
            yield from _inner(place, depth + 1)
