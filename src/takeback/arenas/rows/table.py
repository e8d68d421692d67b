"""Reading a user's rows: JSONL, JSON, CSV, Parquet, folders of datasets, data sets by name, reasoning-gym."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from takeback.run.errors import TakebackError
from takeback.run.extras import needed
from takeback.run.json_text import parse_json, read_json
from takeback.run.reading import Unreadable, open_regular, read_text

Columns: TypeAlias = Mapping[str, Any]
"""A row as it was read: plain values by column."""

GYM: Final = "reasoning-gym"
ENDINGS: Final = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_MOST: Final = 1 << 32  # bytes of a file: all its rows are held


def read_rows(data: str, limit: int | None = None, seed: int = 0) -> list[Columns]:
    """Return the rows of a user's data, each with the same columns as it had there.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "quiz.jsonl"
    >>> _ = path.write_text('{"prompt": "2+2=", "answer": "4"}')
    >>> read_rows(str(path))
    [{'prompt': '2+2=', 'answer': '4'}]

    Raises:
        TakebackError: there is nothing there, it can't be read, or it holds no rows.
    """
    path = Path(data)
    if data.startswith(f"{GYM}:"):
        rows = _gym(data.partition(":")[2], limit or 200, seed)
    elif path.is_dir():
        rows = _folder(path)
    elif path.suffix in ENDINGS:
        rows = _file(path)
    elif "/" in data and not path.exists():
        rows = _named(data)
    else:
        raise TakebackError(
            f"no rows in {data!r}: name a {', '.join(ENDINGS)} file, a datasets folder, org/name:split, or "
            f"{GYM}:NAME"
        )
    if not rows:
        raise TakebackError(f"{data} holds no rows")
    return rows[:limit]


def _file(path: Path) -> list[Columns]:
    try:
        if path.suffix == ".jsonl":
            return list(_lines(path))
        if path.suffix == ".json":
            return _listed(read_json(path, most=_MOST), path)
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            with open_regular(path) as file:
                return pq.read_table(file).to_pylist()
        import pandas as pd

        with open_regular(path) as file:
            frame = pd.read_csv(file, sep="\t" if path.suffix == ".tsv" else ",", keep_default_na=False)
        return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    except TakebackError:
        raise
    except Exception as error:  # each reader has errors of its own
        line = " ".join(str(error).split())[:200]
        raise TakebackError(f"{path} can't be read as {path.suffix[1:]}: {line}") from None


def _lines(path: Path) -> Iterable[Columns]:
    for number, line in enumerate(read_text(path, most=_MOST).splitlines(), 1):
        if line.strip():
            try:
                row = parse_json(line, path)
            except Unreadable as error:
                raise TakebackError(f"{path}, line {number}, is no JSON: {error.why}") from None
            if not isinstance(row, dict):
                raise TakebackError(f"{path}, line {number}, holds {type(row).__name__}, not columns by name")
            yield row


def _listed(told: Any, path: Path) -> list[Columns]:
    if not isinstance(told, list) or not all(isinstance(row, dict) for row in told):
        raise TakebackError(f"{path} must hold a list of objects, a row each")
    return told


def _folder(path: Path) -> list[Columns]:
    """Read a folder that `datasets` saved, or the files of one kind in a folder."""
    files = [file for file in sorted(path.rglob("*")) if file.suffix in ENDINGS]
    saved = any((path / name).exists() for name in ("state.json", "dataset_dict.json"))
    if not saved and files:
        return [row for file in files for row in _file(file)]
    datasets = needed("datasets", "train")
    try:
        found = datasets.load_from_disk(str(path))
    except Exception as error:
        raise TakebackError(
            f"{path} is no folder of datasets: {' '.join(str(error).split())[:200]}"
        ) from None
    if isinstance(found, datasets.DatasetDict):
        raise TakebackError(f"{path} holds the splits {', '.join(map(str, found))}; name one: {path}/SPLIT")
    return found.to_list()


def _named(data: str) -> list[Columns]:
    """Read a data set by its name, from the cache or, unless that is switched off, from the hub."""
    datasets = needed("datasets", "train")
    name, _, split = data.partition(":")
    try:
        return datasets.load_dataset(name, split=split or "train").to_list()
    except Exception as error:  # the network, a gate, a missing name, a script: many libraries' errors
        line = " ".join(str(error).split())[:160]
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") == "1" else ""
        raise TakebackError(f"could not load the data set {data}{offline}: {line}") from None


def _gym(name: str, size: int, seed: int) -> list[Columns]:
    """Make rows of a procedural task of reasoning-gym, each with its entry for the verifier."""
    gym = reasoning_gym()
    try:
        made: Sequence[Any] = gym.create_dataset(name, size=size, seed=seed)
        entries = [dict(made[place]) for place in range(size)]
    except Exception as error:
        line = " ".join(str(error).split())[:200]
        raise TakebackError(f"reasoning-gym has no data set {name!r} that can be made: {line}") from None
    return [{**entry, "entry": entry, "dataset": name} for entry in entries]


def reasoning_gym() -> Any:
    """Return the library of that name.

    Raises:
        TakebackError: it is not installed.
    """
    return needed("reasoning_gym", "gym-reasoning")
