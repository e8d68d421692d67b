"""Writing that survives a kill: a file or folder appears whole, under its name, or not at all.

What a killed run leaves behind (`.name.part`) is never read and is swept away by the next run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from takeback.run.errors import TakebackError


@contextmanager
def atomic_file(path: str | Path) -> Generator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends without an error.

    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with atomic_file(folder / "a.txt") as draft:
    ...     _ = draft.write_text("whole")
    >>> (folder / "a.txt").read_text()
    'whole'
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        _sync(draft)
        draft.replace(path)
    except OSError as error:
        raise _unwritten(path, error) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, replace: bool = False) -> Generator[Path]:
    """Yield a temporary folder beside `path` that takes its place when the block ends without an error.

    Raises:
        TakebackError: `path` exists and is not an empty folder (unless `replace`), or the disk refuses.
    """
    path = Path(path)
    draft, aside = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.old")
    try:
        _settle(path, aside)  # an earlier run may have been killed after either of the two renames below
    except OSError as error:
        raise _unwritten(path, error) from error
    if path.exists() and not replace and not (path.is_dir() and not any(path.iterdir())):
        raise TakebackError(f"{path} exists already; choose another folder or remove it first")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        yield draft
        for file in draft.rglob("*"):
            if file.is_file():
                file.chmod(draft.stat().st_mode & 0o666)  # safetensors writes files for the owner alone
                _sync(file)
        if path.exists():
            path.replace(aside)
        draft.replace(path)
    except OSError as error:
        raise _unwritten(path, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        with suppress(OSError):
            _settle(path, aside)


def claim(path: str | Path, text: str) -> bool:
    """Write a text where there is none yet, and return whether the file holds just that text."""
    path = Path(path)
    if path.exists():
        return path.read_text(encoding="utf-8") == text
    with atomic_file(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return True


@contextmanager
def only_one(folder: str | Path) -> Generator[None]:
    """Let one process at a time work in a folder, which is made; the lock goes with the process.

    Work that fails before it wrote anything leaves no folder and no lock that were not there.

    Raises:
        TakebackError: another process is working there, or the folder can't be made.
    """
    from filelock import FileLock, Timeout

    folder = Path(folder)
    path, made = folder / ".lock", [one for one in (folder, *folder.parents) if not one.exists()]
    there = path.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        lock.acquire(timeout=0)
    except Timeout:
        raise TakebackError(
            f"another process is working on {folder}; wait or choose another folder"
        ) from None
    except OSError as error:
        raise _unwritten(folder, error) from error
    try:
        yield
    except BaseException:
        if not there and [*folder.iterdir()] == [path]:
            path.unlink()
            with suppress(OSError):
                for one in made:
                    one.rmdir()
        raise
    finally:
        lock.release()


@contextmanager
def in_turn(path: str | Path) -> Generator[None]:
    """Let one process at a time make what a path is to hold; others wait, and then find it there.

    Raises:
        TakebackError: the disk refuses the lock.
    """
    from filelock import FileLock

    path = Path(path)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire()
    except OSError as error:
        raise _unwritten(path, error) from error
    try:
        yield
    finally:
        lock.release()


def is_held(path: str | Path) -> bool:
    """Return whether a process is within `in_turn` for a path."""
    from filelock import FileLock, Timeout

    path = Path(path)
    place = path.with_name(f".{path.name}.lock")
    if not place.exists():
        return False
    lock = FileLock(place)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


def cache_folder(name: str) -> Path:
    """Return the folder of what can be computed again: `$TAKEBACK_CACHE/name`, or in the system's cache."""
    import platformdirs

    root = os.environ.get("TAKEBACK_CACHE") or platformdirs.user_cache_dir("takeback")
    folder = Path(root) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _settle(path: Path, aside: Path) -> None:
    """Put what was moved aside back where nothing took its place, else remove it."""
    if not os.path.lexists(aside):
        return
    if not os.path.lexists(path):
        aside.replace(path)
    elif aside.is_symlink() or not aside.is_dir():
        aside.unlink()
    else:
        shutil.rmtree(aside)


def _sync(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _unwritten(path: Path, error: OSError) -> TakebackError:
    return TakebackError(f"could not write {path}: {error.strerror or error}; nothing was changed")
