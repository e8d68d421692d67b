"""Work in parts: the same table whatever ran it, nothing done twice, nothing of other work taken over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from takeback.run.errors import TakebackError
from takeback.run.parts import MOST_PARTS, Shard, collect, collect_shard, discard_parts
from takeback.run.tables import read_table


@dataclass(frozen=True)
class Squares:
    """Squares of numbers, a row each, none for multiples of three; keeps a diary of what it did."""

    diary: Path
    count: int = 300
    identity: str = "squares"
    name: str = "squares"

    def items(self) -> Sequence[str]:
        return [str(number) for number in range(self.count)]

    def rows(self, item: str) -> pd.DataFrame:
        with self.diary.open("a", encoding="utf-8") as diary:
            diary.write(f"{item}\n")
        number = int(item)
        found = [] if number % 3 == 0 else [{"number": number, "root": number**0.5, "note": None}]
        types = {"number": "int64", "root": "Float64", "note": "string"}
        return pd.DataFrame(found, columns=list(types)).astype(types)

    def done(self) -> list[str]:
        return self.diary.read_text(encoding="utf-8").split() if self.diary.exists() else []


@pytest.fixture
def work(tmp_path: Path) -> Squares:
    return Squares(tmp_path / "diary")


@pytest.fixture
def expected(work: Squares, tmp_path: Path) -> pd.DataFrame:
    table = collect(replace(work, diary=tmp_path / "other diary"))
    assert table["number"].tolist() == [number for number in range(300) if number % 3]
    return table


@pytest.mark.slow
def test_parts_give_the_table_of_a_single_run(work: Squares, expected: pd.DataFrame, tmp_path: Path) -> None:
    pd.testing.assert_frame_equal(collect(work, tmp_path / "out"), expected)
    assert len(work.done()) == 300
    pd.testing.assert_frame_equal(collect(work, tmp_path / "out"), expected)
    assert len(work.done()) == 300  # read, not done again


@pytest.mark.slow
def test_two_workers_give_the_table_of_a_single_run(
    work: Squares, expected: pd.DataFrame, tmp_path: Path
) -> None:
    pd.testing.assert_frame_equal(collect(work, tmp_path / "out", workers=2, threads=1), expected)
    assert sorted(work.done(), key=int) == [str(number) for number in range(300)]


@pytest.mark.slow
def test_shards_share_the_work_and_merge_to_the_table_of_a_single_run(
    work: Squares, expected: pd.DataFrame, tmp_path: Path
) -> None:
    for index in (3, 1):
        collect_shard(work, tmp_path / "out", Shard(index, 3))
    before = len(work.done())
    assert 0 < before < 300
    pd.testing.assert_frame_equal(collect(work, tmp_path / "out"), expected)  # does the second share itself
    assert sorted(work.done(), key=int) == [str(number) for number in range(300)]


@pytest.mark.slow
def test_a_lost_part_alone_is_done_again(work: Squares, expected: pd.DataFrame, tmp_path: Path) -> None:
    collect(work, tmp_path / "out")
    parts = sorted((tmp_path / "out" / ".parts" / "squares").glob("*.parquet"))
    assert len(parts) <= MOST_PARTS
    items = len(read_table(parts[5]))
    parts[5].unlink()
    pd.testing.assert_frame_equal(collect(work, tmp_path / "out"), expected)
    assert items <= len(work.done()) - 300 <= 2 * items + 1


@pytest.mark.slow
def test_parts_of_other_work_are_not_taken_over(work: Squares, tmp_path: Path) -> None:
    collect(work, tmp_path / "out")
    with pytest.raises(TakebackError, match="parts of another comparison"):
        collect(replace(work, identity="cubes"), tmp_path / "out")
    discard_parts(tmp_path / "out")
    collect(replace(work, identity="cubes"), tmp_path / "out")


def test_workers_need_a_folder(work: Squares) -> None:
    with pytest.raises(TakebackError, match="--out"):
        collect(work, workers=2)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "-1/2", "1/0"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(TakebackError, match="1/8"):
        Shard.parse(text)


@given(st.integers(1, 12), st.integers(0, 40))
def test_shards_partition_the_parts(count: int, parts: int) -> None:
    dealt = [part for index in range(1, count + 1) for part in Shard(index, count).mine(range(parts))]
    assert sorted(dealt) == list(range(parts))


@pytest.mark.slow
def test_work_that_lasts_shows_how_far_it_is(
    work: Squares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("takeback.run.parts.PATIENCE", 3600.0)
    collect(work)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("takeback.run.parts.PATIENCE", 0.0)
    collect(work)
    assert "squares: items done 1/300" in capsys.readouterr().err
    collect(work, tmp_path / "out")
    assert "squares: parts done 1/60" in capsys.readouterr().err
