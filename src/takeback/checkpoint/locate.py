"""From what a user writes to folders on disk: paths, `org/name@revision`, `base+adapter`."""

from __future__ import annotations

import re
from pathlib import Path

from takeback.checkpoint.shipped import shipped, shipped_names
from takeback.run.errors import TakebackError, near_by
from takeback.run.json_text import read_json
from takeback.run.reading import own_path

_HUB_NAME = re.compile(r"(?P<repo>[\w][\w.-]*/[\w][\w.-]*)(?:@(?P<revision>[\w][\w./-]*))?")
_WANTED = ["*.json", "*.safetensors", "*.jinja", "*.txt", "tokenizer.model", "spiece.model"]


def split_adapter(ref: str) -> tuple[str, str | None]:
    """Split `base+adapter` into its two references; anything else comes back whole.

    >>> split_adapter("org/base@main+runs/lora")
    ('org/base@main', 'runs/lora')
    >>> split_adapter("runs/tuned")
    ('runs/tuned', None)

    Raises:
        TakebackError: there is nothing before or after the `+`.
    """
    if "+" not in ref or own_path(ref).exists():
        return ref, None
    cuts = [place for place, letter in enumerate(ref) if letter == "+"]
    for cut in reversed(cuts):
        if all(part and own_path(part).exists() for part in (ref[:cut], ref[cut + 1 :])):
            return ref[:cut], ref[cut + 1 :]
    base, adapter = ref[: cuts[-1]], ref[cuts[-1] + 1 :]
    if not base or not adapter:
        raise TakebackError(f"{ref!r} names no {'adapter' if base else 'base'}; write base+adapter")
    return base, adapter


def locate(ref: str) -> Path:
    """Return the file or folder that `ref` names: a path, a shipped name, or a hub name.

    `org/name@revision` is looked up in the local cache, then on the hub; `org/name` in the cache only.

    Raises:
        TakebackError: it is nowhere, with each place that was looked at.
    """
    if not ref:
        raise TakebackError(
            "an empty name is no model; name a folder, a .safetensors file or org/name@revision"
        )
    path = own_path(ref)
    if path.exists():
        return path
    if ref in shipped_names():
        return shipped(ref)
    name = _HUB_NAME.fullmatch(ref)
    if name is None or ref.endswith(".safetensors"):
        raise TakebackError(
            f"there is no file or folder {ref!r}{near_by(path)}; a model is a folder, a .safetensors file, "
            "org/name@revision or base+adapter"
        )
    return _snapshot(ref, name["repo"], name["revision"])


def _snapshot(ref: str, repo: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                repo, revision=revision, allow_patterns=_WANTED, ignore_patterns="*/*", local_files_only=True
            )
        )
        if _is_complete(folder):
            return folder
    except LocalEntryNotFoundError:
        pass
    except HFValidationError as error:
        told = " ".join(str(error).split())
        raise TakebackError(f"there is no folder {ref!r}, and it is no name of the hub: {told}") from None
    if revision is None:
        raise TakebackError(
            f"there is no folder {ref!r}{near_by(ref)}, and the local cache has no complete {repo}; "
            f"write {repo}@main to fetch it from the hub"
        )
    return _download(ref, repo, revision)


def _download(ref: str, repo: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage] of whichever client it uses
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
        RevisionResolutionError,
    )

    nowhere = f"there is no folder {ref!r}, the local cache has no complete {repo}"
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=_WANTED, ignore_patterns="*/*"))
    except RevisionNotFoundError as error:
        raise TakebackError(f"{repo} on the hub has no revision {revision!r}") from error
    except RepositoryNotFoundError as error:
        raise TakebackError(
            f"{nowhere}, and the hub shows no such model (private ones need a login)"
        ) from error
    except (OfflineModeIsEnabled, EntryNotFoundError, RevisionResolutionError) as error:
        raise TakebackError(
            f"{nowhere}, and the hub could not be reached; download it or check the name"
        ) from error
    except (HfHubHTTPError, HTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TakebackError(f"{nowhere}, and fetching it from the hub failed: {reason}") from error


def _is_complete(folder: Path) -> bool:
    """Return whether a cached snapshot holds weights, and all the shards that its index names."""
    return any(folder.glob("*.safetensors")) and not _absent_shards(folder)


def _absent_shards(folder: Path) -> bool:
    index = folder / "model.safetensors.index.json"
    if not index.is_file() or (folder / "model.safetensors").is_file():
        return False
    try:
        files = read_json(index)["weight_map"].values()
        return not all((folder / file).is_file() for file in files)
    except (ValueError, KeyError, TypeError, AttributeError):
        return True
