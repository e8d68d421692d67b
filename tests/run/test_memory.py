"""What a process may use is the least of the machine's memory and of the limits of its control groups."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from takeback.run import memory


def _group(root: Path, path: str, limit: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{limit}\n")


def test_it_is_at_most_what_the_machine_has() -> None:
    usable = memory.usable_memory()
    assert usable is not None
    assert 2**28 < usable <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("line", "files", "limits"),
    [
        ("0::/job/step", {"job/step/memory.max": "max", "job/memory.max": "3000"}, [3000]),
        ("0::/job", {"job/memory.max": "5000", "memory.max": "4000"}, [5000, 4000]),
        (
            "4:memory:/job/step",
            {
                "memory/job/step/memory.limit_in_bytes": "2000",
                "memory/memory.limit_in_bytes": "9223372036854771712",
            },
            [2000, 9223372036854771712],
        ),
        ("3:cpu,cpuacct:/job", {"memory/job/memory.limit_in_bytes": "1"}, []),
        ("0::/", {}, []),
        ("\nno line\n0::job", {"job/memory.max": "7"}, [7]),
    ],
)
def test_limits_of_groups_and_of_those_around_them_count(
    tmp_path: Path, line: str, files: dict[str, str], limits: list[int]
) -> None:
    told = tmp_path / "cgroup"
    told.write_text(f"7:blkio:/\n{line}\n")
    for path, limit in files.items():
        _group(tmp_path / "fs", path, limit)
    assert list(memory._groups(told, tmp_path / "fs")) == limits


def test_a_system_without_groups_has_no_such_limits(tmp_path: Path) -> None:
    assert list(memory._groups(tmp_path / "none", tmp_path)) == []
