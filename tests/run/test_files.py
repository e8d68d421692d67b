"""Writing that survives a kill at any moment: each window is made on disk, then the next run is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file, atomic_folder


def folder_with(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "text").write_text(text)
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def overwrite(path: Path, text: str) -> None:
    with atomic_folder(path, replace=True) as draft:
        (draft / "text").write_text(text)


def test_killed_before_the_new_folder_took_its_place(tmp_path: Path) -> None:
    folder_with(tmp_path / ".out.old", "first")
    with pytest.raises(TakebackError, match="exists already"), atomic_folder(tmp_path / "out"):
        pytest.fail("the block must not run")
    assert (tmp_path / "out" / "text").read_text() == "first"
    assert names(tmp_path) == {"out"}


def test_killed_after_the_new_folder_took_its_place(tmp_path: Path) -> None:
    folder_with(tmp_path / ".out.old", "first")
    folder_with(tmp_path / "out", "second")
    overwrite(tmp_path / "out", "third")
    assert (tmp_path / "out" / "text").read_text() == "third"
    assert names(tmp_path) == {"out"}


def test_killed_after_a_file_was_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".out.old").write_text("first")
    folder_with(tmp_path / "out", "second")
    overwrite(tmp_path / "out", "third")
    assert names(tmp_path) == {"out"}


def test_a_rename_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_with(tmp_path / "out", "first")
    rename = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(TakebackError, match="Input/output error"):
        overwrite(tmp_path / "out", "second")
    assert (tmp_path / "out" / "text").read_text() == "first"
    assert names(tmp_path) == {"out"}


def test_an_error_inside_leaves_what_was_there(tmp_path: Path) -> None:
    folder_with(tmp_path / "out", "first")
    with pytest.raises(KeyError), atomic_folder(tmp_path / "out", replace=True) as draft:
        raise KeyError(draft)
    assert (tmp_path / "out" / "text").read_text() == "first"
    assert names(tmp_path) == {"out"}


def test_what_can_not_be_settled_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_with(tmp_path / ".out.old", "first")

    def refused(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(TakebackError, match="Permission denied"):
        overwrite(tmp_path / "out", "second")


@pytest.mark.parametrize("write", [atomic_file, atomic_folder])
def test_a_parent_that_is_a_file_is_told(write: type, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(TakebackError, match="could not write"), write(tmp_path / "file" / "out"):
        pytest.fail("the block must not run")
    with pytest.raises(TakebackError, match="could not write"), write(tmp_path / "file" / "deep" / "out"):
        pytest.fail("the block must not run")
    assert (tmp_path / "file").read_text() == "no folder"
