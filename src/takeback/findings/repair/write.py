"""The repaired model as an ordinary folder, both numbers on its card; and on the hub, where that is named."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from takeback.checkpoint import Pair
from takeback.draw.numbers import estimate, percent, share
from takeback.findings.repair.repair import SIDES, Repaired
from takeback.hybrid import hybrid, write_hybrid
from takeback.hybrid.card import is_written_here
from takeback.hybrid.sources import source_of
from takeback.measure.read import BASE, Ask
from takeback.run.errors import TakebackError
from takeback.run.tables import records

MODEL: Final = "model"
"""The folder of the hybrid, within that of the repair."""

CARD: Final = "README.md"
KIND: Final = "model"
"""What the hub calls such a repository."""
_OF_PARENTS: Final = ("base_model", "base_model_relation")

_NUMBERS = """\
## What it keeps and what it restores

Measured on held-out situations that did not choose it, with 95% intervals over situations:

| | base | tuned | this model | share |
| --- | --- | --- | --- | --- |
| `{keep}` (kept) | {keep_base} | {keep_tuned} | {keep_here} | {kept} of the gain kept |
| `{restore}` (restored) | {restore_base} | {restore_tuned} | {restore_here} | {restored} of the damage gone |

{beside}
{again}"""


class Hub(Protocol):
    """What uploads folders, as `huggingface_hub.HfApi` does."""

    def create_repo(self, repo_id: str, *, repo_type: str, exist_ok: bool) -> Any:
        """Make a repository, if there is none."""
        ...

    def upload_folder(
        self, *, folder_path: str, repo_id: str, repo_type: str, ignore_patterns: list[str]
    ) -> Any:
        """Upload a folder, but for some files."""
        ...

    def upload_file(self, *, path_or_fileobj: bytes, path_in_repo: str, repo_id: str, repo_type: str) -> Any:
        """Upload one file."""
        ...


def write_repaired(found: Repaired, pair: Pair, folder: Path) -> Path | None:
    """Write the chosen hybrid into `model` within a folder; nothing where none was chosen.

    Its card states what it keeps and restores. One of an earlier repair is replaced.

    Raises:
        TakebackError: there is something else in its place, or the disk refuses.
    """
    if found.chosen is None:
        return None
    made = hybrid(pair, found.chosen.take_back, source_of(found.chosen.source, pair))
    plain = pair.tuned.config is None
    out = folder / (f"{MODEL}.safetensors" if plain else MODEL)
    there = out.is_file() if plain else is_written_here(out)
    return write_hybrid(made, out, overwrite=there, words=_numbers(found, pair, out))


def push(folder: Path, name: str, hub: Hub | None = None) -> str:
    """Upload a written model to the Hugging Face Hub, and return where it is.

    The hub takes no card whose parents are not its own models: folders of this machine are left out there.

    Args:
        folder: the model's.
        name: `org/name`.
        hub: what uploads; by default `huggingface_hub`, with the token that is logged in there.

    Raises:
        TakebackError: the hub refuses, or can't be reached.
    """
    if hub is None:
        from huggingface_hub import HfApi

        hub = HfApi()
    try:
        hub.create_repo(name, repo_type=KIND, exist_ok=True)
        card = hub_card((folder / CARD).read_text(encoding="utf-8")).encode()
        hub.upload_folder(folder_path=str(folder), repo_id=name, repo_type=KIND, ignore_patterns=[CARD])
        hub.upload_file(path_or_fileobj=card, path_in_repo=CARD, repo_id=name, repo_type=KIND)
    except Exception as error:  # a network and a hub can fail in any way
        told = " ".join(str(error).split())[:200]
        raise TakebackError(f"{folder} is written, but {name} could not be pushed: {told}") from error
    return f"https://huggingface.co/{name}"


def hub_card(card: str) -> str:
    """Return a card whose parents are models of the hub alone, without revisions; none where none is."""
    from takeback.run.yaml_text import as_yaml, parse_yaml

    front, _, rest = card.removeprefix("---\n").partition("\n---\n")
    told: Any = parse_yaml(front, "the card")
    parents = [str(ref).partition("@")[0] for ref in told["base_model"]]
    known = [one for one in parents if _is_hub_name(one) and not Path(one).exists()]
    kept = {key: value for key, value in told.items() if known or key not in _OF_PARENTS}
    if known:
        kept["base_model"] = known
    return f"---\n{as_yaml(kept).strip()}\n---\n{rest}"


def check_name(name: str) -> None:
    """Refuse what is no name of a repository, before anything is read.

    Raises:
        TakebackError: it is none.
    """
    if not _is_hub_name(name):
        raise TakebackError(f"--push takes the name of a model on the hub, org/name, not {name!r}")


def _is_hub_name(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def _numbers(found: Repaired, pair: Pair, out: Path) -> str:
    rows = records(found.table)
    by = {row["way"]: row for row in rows if row["way"] in SIDES}
    (here,) = (row for row in rows if row["chosen"])
    levels = {
        f"{of}_{side}": _level(row, of)
        for of in ("keep", "restore")
        for side, row in ((*by.items(), ("here", here)))
    }
    assert found.chosen is not None
    return _NUMBERS.format(
        keep=found.keep,
        restore=found.restore,
        **levels,
        kept=share(here["kept"], here["kept_low"], here["kept_high"]),
        restored=share(here["restored"], here["restored_low"], here["restored_high"]),
        beside=f"{share(here['above'], here['above_low'], here['above_high'])} of the damage more is undone "
        "than by one strength for all weights that keeps as much of the gain (negative: less); up to "
        f"{percent(found.margin)} of the gain might be lost. It was made as: {here['way']}, {here['name']}.",
        again=_again(found.chosen, pair, out),
    )


def _level(row: Mapping[str, Any], of: str) -> str:
    return estimate(row[f"{of}_value"], row[f"{of}_low"], row[f"{of}_high"])


def _again(chosen: Ask, pair: Pair, out: Path) -> str:
    """Return how to make a hybrid of another source again; the card says it of ordinary ones."""
    if chosen.source == BASE:
        return ""
    words = ["takeback", "hybrid", pair.base.ref, pair.tuned.ref, "--take-back", str(chosen.take_back)]
    words += ["--source", chosen.source, "-o", str(out), *(["--untie"] if pair.untied else [])]
    return f"\nTo make it again:\n\n```sh\n{shlex.join(words)}\n```\n"
