"""Parquet tables of the record: written whole, with a schema version that reading checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file, atomic_folder

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
"""Version of the tables' columns; it grows when a reader would have to know."""

_KEY = b"takeback_schema"


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table atomically, without its index, stamped with the schema version.

    Raises:
        TakebackError: the disk refuses; what was there before is kept.

    Examples:
        >>> import pandas as pd, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "effects.parquet"
        >>> write_table(pd.DataFrame({"value": [0.5]}), path)
        >>> read_table(path)["value"].tolist()
        [0.5]
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = frame.copy(deep=False)
    plain.attrs = {}  # names of folders, which would make equal tables unequal
    table = pa.Table.from_pandas(plain, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: str(SCHEMA).encode()})
    with atomic_file(path) as draft:
        pq.write_table(table, draft, compression="zstd")


def write_tables(tables: Mapping[str, pd.DataFrame], folder: str | Path) -> None:
    """Write tables as `NAME.parquet` into a folder; a new one appears whole, in others each table does.

    Raises:
        TakebackError: the disk refuses; files that were there stay as they were.
    """
    folder = Path(folder)
    new = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    with atomic_folder(folder) if new else nullcontext(folder) as place:
        for name, table in tables.items():
            write_table(table, place / f"{name}.parquet")


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table that `write_table` wrote, or some of its columns.

    Raises:
        TakebackError: there is no such file, it is not a Parquet table, or of another schema version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=None if columns is None else list(columns))
    except FileNotFoundError:
        raise TakebackError(f"no table at {path}") from None
    except (OSError, pa.ArrowException) as error:
        raise TakebackError(f"{path} is not a whole Parquet table: {str(error).splitlines()[0]}") from None
    version = (table.schema.metadata or {}).get(_KEY, b"none").decode()
    if version != str(SCHEMA):
        raise TakebackError(
            f"{path} has schema {version}, this takeback reads {SCHEMA}; run the command that made it"
        )
    return table.to_pandas()


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows as plain values by column, None where one is missing.

    >>> import pandas as pd
    >>> records(pd.DataFrame({"a": [1, 2], "b": pd.array([0.5, None], "Float64")}))
    [{'a': 1, 'b': 0.5}, {'a': 2, 'b': None}]
    """
    columns = [
        [None if missing else value for value, missing in zip(column.tolist(), column.isna(), strict=True)]
        for _, column in frame.items()
    ]
    names = list(frame.columns)  # an index of strings is slow to go through once for each row
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
