"""Writing that survives a kill: a file or folder appears whole, under its name, or not at all.

What a killed run leaves behind (`.name.….part`) is never read and is swept away by the next run.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from takeback.run.errors import TakebackError
from takeback.run.reading import read_text

_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_TOLD = ("os error 28", "os error 27", "PytorchStreamWriter", "unexpected pos")
"""How safetensors and torch, which give no number, tell of such a refusal."""

if TYPE_CHECKING:
    from filelock import FileLock


@contextmanager
def atomic_file(path: str | Path, replace: bool = True) -> Generator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends without an error.

    Each writer has a draft of its own: of two at once the last one's is there in the end, whole.

    Raises:
        TakebackError: `path` is there by then (unless `replace`), or the disk refuses.

    Examples:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with atomic_file(folder / "a.txt") as draft:
        ...     _ = draft.write_text("whole")
        >>> (folder / "a.txt").read_text()
        'whole'
    """
    path = Path(path)
    draft, made = _own(path, "part"), missing_folders(path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in _left(path, "part"):
            left.unlink(missing_ok=True)
        yield draft
        _sync(draft)
        if not replace and not _put(draft, path):
            raise _is_there(path)
        if replace:
            draft.replace(path)
    except OSError as error:
        raise _unwritten(path, error) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        remove_empty(made)


@contextmanager
def atomic_folder(path: str | Path, replace: bool = False) -> Generator[Path]:
    """Yield a temporary folder beside `path` that takes its place when the block ends without an error.

    Each writer has a draft of its own: of two at once one's is there in the end, whole.

    Raises:
        TakebackError: `path` exists and is not an empty folder (unless `replace`), or is there by the time it
            is written, or the disk refuses.
    """
    path = Path(path)
    draft, aside, made = _own(path, "part"), _own(path, "old"), missing_folders(path.parent)
    try:
        for left in _left(path, "old"):  # of a run that was killed after either of the two renames below
            _settle(path, left)
    except OSError as error:
        raise _unwritten(path, error) from error
    if path.exists() and not replace and not (path.is_dir() and not any(path.iterdir())):
        raise _is_there(path)
    try:
        for left in _left(path, "part"):
            shutil.rmtree(left, ignore_errors=True)
        draft.mkdir(parents=True)
        yield draft
        for file in draft.rglob("*"):
            if file.is_file():
                file.chmod(draft.stat().st_mode & 0o666)  # safetensors writes files for the owner alone
                _sync(file)
        if replace or path.is_symlink():
            with suppress(FileNotFoundError):
                path.replace(aside)
        draft.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR) and path.exists():
            raise _is_there(path) from None
        raise _unwritten(path, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        with suppress(OSError):
            _settle(path, aside)
        remove_empty(made)


def claim(path: str | Path, text: str) -> bool:
    """Write a text where there is none yet, and return whether the file holds just that text."""
    path = Path(path)
    if path.exists():
        return read_text(path) == text
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
    folder = Path(folder)
    place = folder / ".lock"
    there, made = place.exists(), missing_folders(folder)
    lock = _taken(place, f"another process is working on {folder}; wait or choose another folder")
    try:
        yield
    except BaseException:
        remove_empty(one for one in folder.iterdir() if one.is_dir())
        if not there and [*folder.iterdir()] == [place]:
            place.unlink()
            remove_empty(made)
        raise
    finally:
        lock.release()


_WRITTEN: ContextVar[frozenset[Path]] = ContextVar("written", default=frozenset())
"""Outputs that this thread is the writer of."""


@contextmanager
def one_writer(path: str | Path) -> Generator[None]:
    """Let one process at a time make an output, a file or a folder; nothing of the lock stays beside it.

    Who is the writer already is so within it too.

    Raises:
        TakebackError: another process is making it, or the disk refuses.
    """
    told = f"another process is writing {path}; wait or choose another output"
    path = Path(os.path.abspath(path))
    held = _WRITTEN.get()
    if path in held:
        yield
        return
    place, made = path.parent / f".{path.name}.writing", missing_folders(path.parent)
    if path.is_dir() and not os.access(path.parent, os.W_OK):
        place = path / ".writing"
    lock = _taken(place, told)
    while not _is_locked(place):  # the one before removed the file while it was being opened here
        lock.release()
        lock = _taken(place, told)
    mark = _WRITTEN.set(held | {path})
    try:
        yield
    finally:
        _WRITTEN.reset(mark)
        with suppress(OSError):
            place.unlink()
        lock.release()
        remove_empty(made)


@contextmanager
def full_disk_told(folder: str | Path, kept: str) -> Generator[None]:
    """Tell of a disk that others' code could not write to in one line, which ends with what is kept.

    Raises:
        TakebackError: the disk is full, a quota is used up, or it may only be read.
    """
    try:
        yield
    except TakebackError:
        raise
    except Exception as error:
        if not _of_disk(error):
            raise
        reason = error.strerror if isinstance(error, OSError) else "No space left on device"
        raise TakebackError(f"could not write into {folder}: {reason}; {kept}") from error


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
    path = Path(path)
    return _is_locked(path.with_name(f".{path.name}.lock"))


def cache_home() -> Path:
    """Return where the cache is: `$TAKEBACK_CACHE`, or a folder in the system's cache."""
    import platformdirs

    return Path(os.environ.get("TAKEBACK_CACHE") or platformdirs.user_cache_dir("takeback"))


def cache_folder(name: str) -> Path:
    """Return the folder of what can be computed again: `$TAKEBACK_CACHE/name`, or in the system's cache.

    Where neither can be written to, it is one of this process alone, which goes when it ends.

    Raises:
        TakebackError: `$TAKEBACK_CACHE` is no folder that can be written to.
    """
    own = os.environ.get("TAKEBACK_CACHE")
    folder = cache_home() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        if own:
            raise TakebackError(f"the cache {folder} can't be written: {error.strerror or error}") from None
        folder = Path(_passing_cache()) / name
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@cache
def _passing_cache() -> str:
    folder = tempfile.mkdtemp(prefix="takeback-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _put(draft: Path, path: Path) -> bool:
    """Give a file its name where nothing has it, and return whether that was so."""
    try:
        os.link(draft, path)  # unlike a rename, it never takes the place of a file
    except FileExistsError:
        return False
    except OSError:  # a disk without links
        if path.exists():
            return False
        draft.replace(path)
    return True


def _own(path: Path, ending: str) -> Path:
    """Return a name beside a path that no other writer has, and that tells whether its writer still runs."""
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}-{secrets.token_hex(4)}.{ending}")


def _left(path: Path, ending: str) -> list[Path]:
    """Return what writers that were killed left beside a path; other machines' may still be at work."""
    if not path.parent.is_dir():
        return []
    form = re.compile(rf"\.{re.escape(path.name)}(?:\.([0-9a-f]+)-([0-9]+)-[0-9a-f]+)?\.{ending}")
    found = [(form.fullmatch(name), path.with_name(name)) for name in os.listdir(path.parent)]
    return [
        place
        for match, place in found
        if match and (match[1] is None or (match[1] == _host() and not _runs(int(match[2]))))
    ]


@cache
def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _runs(process: int) -> bool:
    """Return whether a process of this machine is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _taken(place: Path, refusal: str) -> FileLock:
    """Take a lock that is free, its folder made; what was made is gone again where it can't be had.

    Raises:
        TakebackError: another process has it, with these words, or the disk refuses.
    """
    from filelock import FileLock, Timeout

    made = missing_folders(place.parent)
    lock = FileLock(place)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise TakebackError(refusal) from None
    except OSError as error:
        remove_empty(made)
        raise _unwritten(place.parent, error) from error
    return lock


def _is_locked(place: Path) -> bool:
    """Return whether a lock is held, by this process or another one."""
    from filelock import FileLock, Timeout

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


def missing_folders(folder: Path) -> list[Path]:
    """Return a folder and its parents as far as they are not there, the deepest first."""
    return [one for one in (folder, *folder.parents) if not one.exists()]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders as far as they are empty."""
    with suppress(OSError):
        for one in folders:
            one.rmdir()


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


def _of_disk(error: BaseException | None) -> bool:
    """Return whether an error, or one that led to it, is of a disk that takes no more."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _REFUSALS:
            return True
        if any(told in str(error) for told in _TOLD):
            return True
        error = error.__cause__ or error.__context__
    return False


def _unwritten(path: Path, error: OSError) -> TakebackError:
    return TakebackError(f"could not write {path}: {error.strerror or error}; nothing was changed")


def _is_there(path: Path) -> TakebackError:
    return TakebackError(f"{path} exists already; choose another folder or remove it first")
