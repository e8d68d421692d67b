"""Two processes at one output, at the same time: one whole result and one clear line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner

import kill
from takeback.cli import app
from takeback.run.errors import TakebackError
from takeback.run.files import atomic_file, atomic_folder, one_writer

WAITS = """
import pathlib, signal, sys, time
from takeback import cli
from takeback.run import files

sync = files._sync

def waiting(path):
    if path.parts[0] == "out" or path.parts[0].startswith(".out."):
        pathlib.Path({started!r}).touch()
        while not pathlib.Path({go!r}).exists():
            time.sleep(0.01)
    sync(path)

files._sync = waiting
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs these tests may ignore it
sys.argv = {words!r}
cli.main()
"""
"""A command that stops in the middle of writing its output until it is told to go on."""

COMMANDS = {
    "hybrid": ("--take-back", "L0.H0", "-o", "out"),
    "diff": ("-o", "out"),
    "sweep": ("--sets", "L0.H0", "--situations", "4", "--controls", "1", "-o", "out.parquet"),
}

WRITES = {
    "file": "with atomic_file({path!r}) as draft:\n    draft.write_text('half'); time.sleep(600)",
    "folder": "with atomic_folder({path!r}, True) as draft:\n    (draft / 'a').touch(); time.sleep(600)",
}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_alone(path: Path) -> None:
    with one_writer(path):
        pass


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_two_commands_at_once(
    command: str, players: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["takeback", command, *players, *COMMANDS[command]]
    apart, together = tmp_path / "apart", tmp_path / "together"
    for folder in (apart, together):
        folder.mkdir()
    started, go = tmp_path / "started", tmp_path / "go"
    code = WAITS.format(started=str(started), go=str(go), words=words)
    with subprocess.Popen([sys.executable, "-c", code], cwd=together, text=True, stderr=-1) as first:
        wait_for(started, first)
        second = subprocess.run(
            [sys.executable, "-m", "takeback", *words[1:]],
            cwd=together,
            capture_output=True,
            text=True,
            check=False,
        )
        go.touch()
        _, told = first.communicate()
    assert first.returncode == 0, told
    assert second.returncode == 2
    out = COMMANDS[command][-1]
    line = f"takeback: another process is writing {out}; wait or choose another output"
    assert line in second.stderr.splitlines()
    monkeypatch.chdir(apart)
    assert CliRunner().invoke(app, words[1:]).exit_code == 0
    assert contents(together) == contents(apart)


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_half_written_and_says_that_the_command_goes_on(
    players: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["takeback", "sweep", *players, *COMMANDS["sweep"]]
    started = tmp_path / "started"
    code = WAITS.format(started=str(started), go=str(tmp_path / "go"), words=words)
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, text=True, stderr=-1) as process:
        wait_for(started, process)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    line = "takeback: stopped; what was finished is kept, and the same command goes on"
    assert told.splitlines()[-1] == line
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".part"]
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, words[1:]).exit_code == 0
    assert (tmp_path / "out.parquet").is_file()


@pytest.mark.parametrize("what", WRITES)
def test_what_killed_writers_left_is_swept_and_what_others_write_is_not(what: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    begin = "import time\nfrom takeback.run.files import atomic_file, atomic_folder\n"
    code = begin + WRITES[what].format(path=str(path))
    kill.run_and_kill(code, lambda: bool(names(tmp_path) - {"log"}), tmp_path / "log", limit=60)
    (killed,) = names(tmp_path) - {"log"}
    assert killed.startswith(".out.")
    assert killed.endswith(".part")
    alive = tmp_path / killed.replace(killed.split("-")[1], str(os.getppid()))
    alive.touch()
    if what == "file":
        with atomic_file(path) as draft:
            draft.write_text("whole")
    else:
        with atomic_folder(path) as draft:
            (draft / "text").write_text("whole")
    assert names(tmp_path) == {"log", "out", alive.name}


def test_each_writer_has_a_draft_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with atomic_file(path) as first:
        first.write_text("first")
        with atomic_file(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert names(tmp_path) == {"out"}


def test_of_two_writers_of_a_folder_the_later_one_says_that_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with ExitStack() as stack:
        (stack.enter_context(atomic_folder(path)) / "first").touch()
        with atomic_folder(path) as second:
            (second / "second").touch()
        with pytest.raises(TakebackError, match="out exists already"):
            stack.close()
    assert names(tmp_path) == {"out"}
    assert names(path) == {"second"}


def test_of_two_that_overwrite_a_folder_the_later_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with atomic_folder(path, replace=True) as first:
        (first / "first").touch()
        with atomic_folder(path, replace=True) as second:
            (second / "second").touch()
    assert names(tmp_path) == {"out"}
    assert names(path) == {"first"}


def test_a_file_that_is_not_to_be_replaced_is_not(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with ExitStack() as stack:
        stack.enter_context(atomic_file(path, replace=False)).write_text("late")
        path.write_text("early")
        with pytest.raises(TakebackError, match="out exists already"):
            stack.close()
    assert path.read_text() == "early"
    assert names(tmp_path) == {"out"}
    with atomic_file(tmp_path / "new", replace=False) as draft:
        draft.write_text("new")
    assert names(tmp_path) == {"out", "new"}


def test_one_writer_refuses_another_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out"
    with one_writer(path), ThreadPoolExecutor() as other:
        with pytest.raises(TakebackError, match="another process is writing"):
            other.submit(write_alone, path).result()
        with one_writer(tmp_path / "deep" / "other"), one_writer(path):
            assert names(tmp_path / "deep") == {".out.writing", ".other.writing"}
        assert names(tmp_path / "deep") == {".out.writing"}
    assert names(tmp_path) == set()
    with one_writer(path):
        path.mkdir()
    assert names(tmp_path / "deep") == {"out"}


def test_many_processes_in_turn_hold_an_output_one_at_a_time(tmp_path: Path) -> None:
    code = f"""
import os, time
from takeback.run.errors import TakebackError
from takeback.run.files import one_writer

done = 0
while done < 40:
    try:
        with one_writer({str(tmp_path / "out")!r}):
            os.close(os.open({str(tmp_path / "inside")!r}, os.O_CREAT | os.O_EXCL))
            time.sleep(0.0005)
            os.unlink({str(tmp_path / "inside")!r})
            done += 1
    except TakebackError:
        time.sleep(0.0001)
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", code], text=True, stderr=subprocess.PIPE) for _ in range(4)
    ]
    told = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, told
    assert names(tmp_path) == set()
