"""What a record's things are called: chess has moves and mates, an environment actions and episodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from takeback.draw.numbers import count

if TYPE_CHECKING:
    from takeback.report.record import Arm

REINFORCED: Final = ("rl", "agent")
"""Methods that are reinforcement learning."""


@dataclass(frozen=True)
class Terms:
    """The words of a record: whether it acts in an environment, with networks, and can answer illegally."""

    environment: bool
    network: bool
    legality: bool

    @property
    def action(self) -> str:
        """What a policy chooses."""
        return "action" if self.environment else "move"

    @property
    def situation(self) -> str:
        """Where it chooses."""
        return "situation" if self.environment else "position"

    @property
    def part(self) -> str:
        """A single component that is taken back."""
        return "unit" if self.network else "head or MLP"

    @property
    def parts(self) -> str:
        """Several of them."""
        return "units" if self.network else "heads and MLPs"


def base_name(base: str | Mapping[str, Any]) -> str:
    """Say what a run starts from: a checkpoint's name, or what its recipe makes.

    >>> base_name({"method": "fresh", "architecture": {"hidden": [32, 32], "activation": "tanh"}})
    'a fresh network (32 + 32 units, tanh)'
    >>> base_name({"method": "pretrain", "steps": 2000, "architecture": {"layers": 2, "width": 64}})
    'a language model pretrained for 2,000 steps (2 layers of width 64)'
    """
    if isinstance(base, str):
        return base
    shape = base.get("architecture") or {}
    network = base.get("method") == "fresh" or "hidden" in shape
    kind = "network" if network else "language model"
    if base.get("method") == "fresh":
        name = f"a fresh {kind}"
    else:
        name = f"a {kind} pretrained for {count(base['steps'], 'step')}" if "steps" in base else f"a {kind}"
    if "hidden" in shape:
        units = " + ".join(map(str, shape["hidden"]))
        form = [f"{units} units" if units else "no hidden layer", shape.get("activation")]
    else:
        width = f" of width {shape['width']}" if "width" in shape else ""
        form = [f"{count(shape['layers'], 'layer')}{width}" if "layers" in shape else None]
    told = ", ".join(filter(None, form))
    return f"{name} ({told})" if told else name


def trained_by(arm: Arm) -> str:
    """Say for a table how an arm was trained, toward what, and from what."""
    how = {
        "rl": f"RL ({_algorithm(arm, 'grpo')}){_games(arm)}",
        "rft": "fine-tuning on its own best answers",
        "dpo": "DPO, a best action before a worse one",
        "sft": "SFT on best actions" + (" of other situations" if arm.recipe.get("shuffled") else ""),
        "drift": "pretraining that goes on",
        "clone": f"behaviour cloning of {_teacher(arm)}",
        "agent": f"{_algorithm(arm, 'ppo')} by Stable-Baselines3",
    }.get(arm.method, arm.method)
    if arm.ignores_output:
        how += " with a reward that ignores the answer"
    start = "" if arm.start == "base" else f", starts from {arm.start}"
    return f"{how}{start}, {'goal' if arm.aims else 'read on'}: {arm.goal}"


def described(arm: Arm) -> str:
    """Say the same for a sentence."""
    how = {
        "rl": f"reinforcement learning{' by RLOO' * (_algorithm(arm, 'grpo') == 'RLOO')}{_games(arm)}",
        "rft": "fine-tuning on the best of its own answers",
        "dpo": "preference optimisation",
        "sft": "supervised fine-tuning" + (" on shuffled answers" if arm.recipe.get("shuffled") else ""),
        "drift": "pretraining that goes on",
        "clone": f"behaviour cloning of {_teacher(arm)}",
        "agent": f"reinforcement learning by {_algorithm(arm, 'ppo')}",
    }.get(arm.method, arm.method)
    if arm.ignores_output:
        how += " by a reward that ignores the answer"
    start = "" if arm.start == "base" else f", starting from {arm.start}"
    return f"{how} toward “{arm.goal}”{start}" if arm.aims else f"{how}{start}, read on “{arm.goal}”"


def _algorithm(arm: Arm, default: str) -> str:
    return str(arm.recipe.get("algorithm", default)).upper()


def _games(arm: Arm) -> str:
    """Say of how many moves the games are that are rewarded as a whole, where they are."""
    horizon = arm.recipe.get("horizon")
    return f" on whole games of {count(horizon, 'move')}" if horizon else ""


def _teacher(arm: Arm) -> str:
    """Return the name of the teacher: of a folder with a final model, that of the run."""
    teacher = str(arm.recipe.get("teacher", "another policy"))
    path = Path(teacher)
    return path.parent.name if path.name == "final" and path.parent.name else teacher
