"""What each command prints with `--json`: the keys of its one value, and what they mean.

Tests hold every command to it, and the site's page is made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

NOTHING: Final[Mapping[str, str]] = {}
EXITS: Final[Mapping[int, str]] = {
    0: "done",
    1: "anything else, with a traceback: a bug",
    2: "a mistake in the input: one line on standard error, and outputs are as they were",
    3: "a check found something: of `family` a law that does not hold, of `doctor` what is not sound",
    130: "stopped by Ctrl-C",
}
"""The exit codes of all commands."""


@dataclass(frozen=True)
class Printed:
    """The keys that are always there, those that are there sometimes, and whether it is a list of them."""

    keys: Mapping[str, str]
    also: Mapping[str, str] = field(default_factory=dict[str, str])
    rows: bool = False

    def faults(self, value: Any) -> list[str]:
        """Return in what a value differs from what is said here.

        >>> Printed({"out": "the file"}).faults({"out": "a", "more": 1})
        ["nothing says what 'more' is"]
        """
        if self.rows != isinstance(value, list):
            return [f"it is {'no' if self.rows else 'a'} list"]
        found = list[str]()
        for one in value if self.rows else [value]:
            found += [f"{key!r} is not there" for key in self.keys if key not in one]
            found += [f"nothing says what {key!r} is" for key in one if key not in {**self.keys, **self.also}]
        return found


_RESULT: Final[Mapping[str, str]] = {
    "takeback_schema": "the version of tables and manifests",
    "title": "what it was found of",
    "notes": "sentences that go with all of it",
}


def _results(**parts: str) -> Printed:
    """Say what a command prints that prints results: of each an object of tables, with what columns mean."""
    return Printed(_RESULT, parts)


_OUT: Final = "the file or folder that was written"
_DIFF: Final = {
    "diff": "tables by tensor, component, layer and whole",
    "ulps": "steps of bfloat16",
    "spectra": "ranks, drift, rotation, and their nulls",
    "circuits": "measures that don't depend on coordinates",
    "published": "measures as published",
    "between": "of several tuned checkpoints: how alike their changes are",
    "course": "of a run: how it moved over its snapshots",
    "out": "with --shard: the folder of parts",
    "shard": "with --shard: which part is done",
}
_MEASURES: Final = {
    "measures": "a row for each measure: value, interval, and with --against the effect",
    "games": "how games ended, by result; empty without --games",
}

PRINTED: Final[Mapping[str, Printed]] = {
    "components": Printed(
        {"component": "its name", "parameters": "how many entries it has"},
        rows=True,
    ),
    "diff": Printed(NOTHING, {**_RESULT, **_DIFF}),
    "hybrid": Printed(
        {"note": "what to know of it, or null"},
        {
            "out": _OUT,
            "components": "those that are taken back",
            "of": "how many components there are; of a patch, its side",
            "from": "their source",
            "tuned": "where the others are from",
            "file": "of a patch: the file",
            "changed": "of a patch: entries that it sets",
            "entries": "of a patch: entries of the model",
            "nbytes": "of a patch: its bytes",
            "whole": "of a patch: the bytes of the model",
        },
    ),
    "align": Printed({"out": _OUT, "base": "whose coordinates", "tuned": "what was written in them"}),
    "pack": Printed(
        {
            "out": _OUT,
            "bytes": "of all steps together",
            "checkpoints": "the bytes of the checkpoints",
            "steps": "of each step its kind, bytes, and the share of entries that stayed",
        }
    ),
    "family": Printed(
        {
            "model_type": "what its config says",
            "family": "the block's name",
            "block": "TOML for a file of your own",
            "holds": "whether all laws hold",
            "heads": "whether heads were told apart",
            "laws": "each law, whether it holds, and what was tried",
            "tried": "how many blocks were tried",
        }
    ),
    "train": Printed({"final": "the folder of the final model"}),
    "behaviour": Printed(
        _MEASURES,
        {
            "said": "with --against: what both say in each situation, those farthest apart first",
            "flips": "where answers are listed: items that flipped between pass and fail",
            "items": "where answers are listed: each item before and after",
            "agency": "with --against: how much of the change is pursuit of each goal",
        },
    ),
    "sweep": Printed(
        {"out": "the Parquet file of effects"},
        {
            "sets": "how many sets were taken back and grafted",
            "effects": "the rows of the file",
            "shard": "with --shard: which part is done",
            "estimated": "with --budget: the file of what is estimated and not read",
            "strongest": "with --budget: the file of the strongest, read on the other half",
            "left_out": "with --budget: sets that are estimated only",
        },
    ),
    "localise": _results(
        shares="needed and sufficient, by set",
        curves="what remains as components go",
        carriers="the smallest sets",
        pairs="interactions",
        shapley="values that add up",
        groups="groups that stand in for each other",
        strength="by degree",
        directions="by singular directions",
        sources="from other sources",
        across="of several tuned checkpoints: means over them",
    ),
    "attribute": _results(
        attribution="estimates beside exact effects", precise="with --precision: effects with their intervals"
    ),
    "explain": _results(explain="what changed in behaviour, situation by situation"),
    "agency": Printed(
        {
            "measure": "its name",
            "goal": "of which goal",
            "unit": "bits, nats or a share",
            "value": "of the measure",
            "low": "of its 95% interval",
            "high": "of its 95% interval",
            "beta": "the strength of choice it is at",
            "note": "why something is missing",
        },
        {"se": "its standard error", "n": "situations", "over": "what it is over"},
        rows=True,
    ),
    "retarget": _results(retarget="the set, what it turns, and its random sets; and each step of the search"),
    "probes": Printed({"files": "the tables of probes, one for each arm and seed"}),
    "repair": _results(repair="all that was judged, and all that was tried"),
    "course": _results(course="by snapshot, by component, onsets, and what chance would show"),
    "demo": Printed({"run": "the run folder", "report": "its report"}),
    "report": Printed({"run": "the run folder", "report": "its report"}),
    "lab": Printed(
        NOTHING,
        {
            "address": "where the page is, once it listens",
            "out": "with --export: the folder that was written",
        },
    ),
    "compare": _results(compare="means, differences between arms, values of runs, planned contrasts"),
    "contrasts": _results(
        contrasts="every contrast and quantity, and which components carry the gain",
    ),
    "doctor": Printed(
        {
            "versions": "of Python, takeback and what it needs",
            "machine": "system, cores, and the memory that a process may use",
            "devices": "what models can run on, with free memory",
            "extras": "each extra: whether it is here, what is missing, what it gives",
            "cache": "its folder, size, whether it can be written, and damaged files",
            "wrong": "a line for each thing that is",
            "sound": "whether nothing is",
        }
    ),
    "conjecture add": Printed({"file": "where it was written", "name": "of the conjecture"}),
    "conjecture list": Printed(
        {
            "time": "when they were locked, or null",
            "sha256": "of what was locked, or null",
            "conjectures": "each as it was locked, and what became of it since",
        }
    ),
    "conjecture resolve": _results(conjectures="what became of each, and the scores of their authors"),
    "study run": Printed(
        {"run": "the run folder", "report": "its report", "not_in_tables": "arms on disk that the plan lacks"}
    ),
    "study status": Printed(
        {
            "run": "its folder",
            "done": "arms and seeds that are done",
            "of": "how many there are",
            "workers": "that the estimate is for",
            "left": "seconds that the rest takes, or null",
            "arms": "of each arm and seed its steps, seconds, and KL from its parent",
            "warnings": "sentences",
        }
    ),
    "study keep": Printed({"out": _OUT, "bytes": "of all its files"}),
    "plan merge": Printed(
        {
            "tree": "the file of the merged tree",
            "problems": "how many it has",
            "decisions": "the file of proposals",
            "proposals": "pairs that may be the same",
            "idle": "decisions that decide nothing",
        }
    ),
    "plan common": Printed(
        {
            "problem": "its words",
            "id": "its name in the file, empty where it has none",
            "people": "how many named it",
            "parents": "how many problems it makes hard at first hand",
            "branches": "how many branches it is in",
            "below": "how many problems hang on it",
            "share": "of all problems, it and what hangs on it",
            "who": "who named it",
            "state": "what runs say of it, or null",
        },
        rows=True,
    ),
    "plan extend": Printed({"out": _OUT, "author": "whose copy it is"}),
    "plan compare": Printed(
        {
            "kind": "added, dropped, moved or reworded",
            "problem": "its words now, or before where it was dropped",
            "before": "its words before",
            "under_before": "what it made hard",
            "under": "what it makes hard",
            "line_before": "where it stood",
            "line": "where it stands",
            "likeness": "of the two wordings",
        },
        rows=True,
    ),
    "plan draw": Printed({"files": "the pictures that were written"}),
    "plan evidence": Printed(
        {"links": "problems tied to runs, and what those say", "branches": "what each branch rests on"}
    ),
    "plan check": Printed(
        NOTHING,
        {
            "project": "its name",
            "file": "its file",
            "date": "the day it is",
            "started": "the day it began",
            "last_check_in": "or null",
            "next_check_in": "the day of the next",
            "due": "whether that is over",
            "source": "of the questions",
            "questions": "each with its answers and what is missing",
            "changes": "of answers",
            "notes": "of people",
            "runs": "what their records say",
            "runs_not_here": "runs that are named and not found",
            "new": "with --new: the file to fill in",
        },
    ),
    "plan predict": Printed(
        {"file": "where it was written", "name": "of the prediction", "seal": "its hash"}
    ),
    "plan resolve": _results(predictions="each prediction, and the scores of their authors"),
    "plan hat": Printed(
        {"file": "what was written to", "answered": "questions", "of": "how many there are", "hat": "whose"}
    ),
}
"""By the words that call a command."""
