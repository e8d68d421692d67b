"""Laws 10, 11 and 13 for prompts and rewards of a user's own: by command, on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import tiny_chat
from kill import run_and_kill
from readings import counted
from takeback import cli
from takeback.arenas import arena
from takeback.arenas.rows import RowsSpec, rows_arena

REWARD = """
def own(completions, language, **_):
    assert len(language) == len(completions)
    return [{worth} * len(text) for text in completions]
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    base, tuned = tiny_chat.save_pair(tmp_path_factory.mktemp("pair"))
    return str(base), str(tuned)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"what is {n}", "language": "en"} for n in range(10)]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    Path("reward.py").write_text(REWARD.format(worth=1))
    return tmp_path


def words(command: str, pair: tuple[str, str], out: str, *more: str) -> list[str]:
    asked = ["--arena", "rows.jsonl", "--reward", "reward.py:own", "--answers", "2", "--max-tokens", "4"]
    return [command, *pair, *asked, "-o", out, "--situations", "10", *more]


def told(arguments: list[str]) -> Any:
    found = CliRunner().invoke(cli.app, arguments)
    assert found.exit_code == 0, (found.output, found.exception)
    return found


@pytest.mark.slow
def test_an_edited_reward_or_prompt_never_gives_the_old_numbers(pair: tuple[str, str], place: Path) -> None:
    asked = [*words("behaviour", (pair[1], "--against"), "out"), "--json"]
    asked = ["behaviour", pair[1], "--against", pair[0], *asked[3:]]

    def reward() -> float:
        rows = json.loads(told(asked).stdout)["measures"]
        return next(row["value"] for row in rows if row["measure"] == "utility own")

    first = reward()
    Path("reward.py").write_text(REWARD.format(worth=3))
    assert reward() == pytest.approx(3 * first, rel=1e-6)
    assert len(list(Path("out/pool").glob("*.parquet"))) == 2
    rows = [{"prompt": f"what was {n} and two", "language": "en"} for n in range(10)]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert reward() != pytest.approx(3 * first, rel=1e-3)
    assert len(list(Path("out/pool").glob("*.parquet"))) == 3


@pytest.mark.slow
def test_what_one_command_read_on_a_pool_the_next_one_finds(pair: tuple[str, str], place: Path) -> None:
    with counted() as reads:
        told(words("sweep", pair, "out/e.parquet", "--sets", "each layer", "--controls", "1"))
        swept = sum(reads.values())
        asked = ["--sets", "each layer", "--controls", "2", "--with", "strength", "--measure", "margin own"]
        CliRunner().invoke(cli.app, words("localise", pair, "out", *asked))
        told(words("explain", pair, "out", "--take-back", "L0.*", "--controls", "1"))
        told(words("sweep", pair, "out/again.parquet", "--sets", "each layer", "--controls", "1"))
    assert sum(reads.values()) > swept > 0
    assert set(reads.values()) == {1}
    assert len(list(Path("out/pool").glob("*.parquet"))) == 1


@pytest.mark.slow
def test_a_pool_that_was_killed_goes_on_and_ends_the_same(pair: tuple[str, str], place: Path) -> None:
    rows = [{"prompt": f"what is {n}", "language": "en"} for n in range(40)]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code = (
        "import os; os.chdir({place!r})\n"
        "from takeback.cli import main\nimport sys\n"
        "sys.argv = ['takeback', *{words!r}]\nmain()"
    )

    def asked(out: str) -> list[str]:
        more = ["--sets", "each layer", "--controls", "1", "--situations", "40"]
        return words("sweep", pair, f"{out}/e.parquet", *more)

    def parts() -> int:
        return len(list(Path("killed/pool").rglob("[!.]*.parquet")))

    begun = code.format(place=str(place), words=asked("killed"))
    run_and_kill(begun, lambda: parts() >= 2, place / "log")
    assert not (place / "killed" / "e.parquet").exists()
    told(asked("killed"))
    told(asked("whole"))
    for name in ("e.parquet", "e.readouts.parquet"):
        pd.testing.assert_frame_equal(pd.read_parquet(f"killed/{name}"), pd.read_parquet(f"whole/{name}"))
    pools = [next(Path(out, "pool").glob("*.parquet")).read_bytes() for out in ("killed", "whole")]
    assert pools[0] == pools[1]
    assert not list(Path("killed/pool").rglob(".parts"))


@pytest.mark.parametrize(
    "text",
    [
        "rows:rows.jsonl",
        "rows.jsonl",
        "rows:{data: rows.jsonl, max_tokens: 9, stop: ['\\n', ';'], rewards: ['reward.py:own']}",
        "rows:{data: rows.jsonl, prompt: 'Q: {{ prompt }}', system: 'be brief', chat: true, held_out: 0.5}",
    ],
)
def test_the_text_of_an_arena_makes_it_again(place: Path, text: str) -> None:
    spec = RowsSpec.parse(text)
    assert RowsSpec.parse(spec.text) == spec
    again = rows_arena(spec.text)
    assert [row.shown for row in again.rows] == [row.shown for row in arena(text).rows]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_share_held_out_splits_no_cluster(place: Path, share: float) -> None:
    rows = [{"prompt": f"what is {n}", "group": n % 7} for n in range(28)]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = arena("rows:" + json.dumps({"data": "rows.jsonl", "cluster": "group", "held_out": share}))
    held, train = (found.situations(split, 99, 0) for split in ("held-out", "train"))
    assert len(held) + len(train) == 28
    assert not {row.cluster for row in held} & {row.cluster for row in train}


def test_the_same_rows_in_every_form_are_the_same_prompts(place: Path) -> None:
    import datasets

    rows = [{"prompt": f"what is {n}", "label": n} for n in range(4)]
    frame = pd.DataFrame(rows)
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    Path("rows.json").write_text(json.dumps(rows))
    frame.to_csv("rows.csv", index=False)
    frame.to_csv("rows.tsv", index=False, sep="\t")
    frame.to_parquet("rows.parquet")
    datasets.Dataset.from_pandas(frame).save_to_disk("saved")
    for data in ("rows.jsonl", "rows.json", "rows.csv", "rows.tsv", "rows.parquet", "saved"):
        found = rows_arena(f"rows:{data}")
        assert [row.shown for row in found.rows] == [row["prompt"] for row in rows], data
        assert [int(row.columns["label"]) for row in found.rows] == [0, 1, 2, 3], data


def test_rewards_of_trl_and_verl_work_as_they_are(place: Path) -> None:
    Path("reward.py").write_text(
        "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n"
        "    return {'score': float(solution_str == ground_truth)}\n"
        "async def late(completions, **_):\n    return [None for _ in completions]\n"
    )
    rows = [{"prompt": [{"role": "user", "content": "2?"}], "ground_truth": "two", "data_source": "x"}]
    Path("rows.jsonl").write_text(json.dumps(rows[0]))
    rewards = ["reward.py:compute_score", "reward.py:late", "trl.rewards:think_format_reward"]
    found = rows_arena("rows:" + json.dumps({"data": "rows.jsonl", "rewards": rewards}))
    texts = ["two", "<think>\nso\n</think>\ntwo"]
    scored = found.score(list(found.rows) * 2, texts, [(), ()])
    assert scored["compute_score"].tolist() == [1.0, 0.0]
    assert pd.isna(scored["late"]).all()
    assert scored["think_format_reward"].tolist() == [0.0, 1.0]
