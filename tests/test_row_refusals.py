"""Bad rows, rewards and settings: one line each, and the disk as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tiny_chat
from takeback.arenas import arena
from takeback.cli import app
from takeback.run.errors import TakebackError

REWARDS = """
import math
def good(completions, **_): return [float(len(text)) for text in completions]
def fails(completions, **_): raise ValueError("two\\nlines")
def few(completions, **_): return [1.0]
def nan(completions, **_): return [math.nan for _ in completions]
def large(completions, **_): return [10**400 for _ in completions]
def silent(completions, **_): return [None for _ in completions]
def leaves(completions, **_): raise SystemExit(3)
def asks(completions, truth): return [0.0 for _ in completions]
def by_place(completions, /): return [0.0 for _ in completions]
def of_verl(solution_str, ground_truth): return 0.0
"""
SMALL = ("--max-tokens", "4", "--answers", "2", "--situations", "3")
ROWS = ("--arena", "rows:p.jsonl")
REFUSED = {
    "reward raises": (*ROWS, "--reward", "r.py:fails"),
    "too few numbers": (*ROWS, "--reward", "r.py:few"),
    "no number": (*ROWS, "--reward", "r.py:nan"),
    "an enormous number": (*ROWS, "--reward", "r.py:large"),
    "a reward of nothing": (*ROWS, "--reward", "r.py:silent"),
    "a reward of nothing, drawn": (*ROWS, "--reward", "r.py:silent", "--reading", "drawn"),
    "a reward that exits": (*ROWS, "--reward", "r.py:leaves"),
    "a reward of a field that rows lack": (*ROWS, "--reward", "r.py:asks"),
    "a reward that is not called by name": (*ROWS, "--reward", "r.py:by_place"),
    "a reward of verl without a truth": (*ROWS, "--reward", "r.py:of_verl"),
    "a reward that tells nothing of itself": (*ROWS, "--reward", "builtins:max"),
    "an enormous prompt": ("--arena", "rows:{data: p.jsonl, prompt: '{{ prompt * 300 }}'}"),
    "a template that divides by 0": ("--arena", "rows:{data: p.jsonl, prompt: '{{ 1 / 0 }}'}"),
    "half a character": ("--arena", "rows:half.jsonl"),
    "games": (*ROWS, "--games", "2"),
    "a temperature of almost nothing": (*ROWS, "--temperature", "1e-300"),
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair that chats, prompts and rewards."""
    folder = tmp_path_factory.mktemp("desk")
    tiny_chat.save_pair(folder)
    rows = [{"prompt": text} for text in ("what is two", "yes or no", "12 34")]
    (folder / "p.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "half.jsonl").write_text('{"prompt": "\\ud800"}', encoding="utf-8")
    (folder / "r.py").write_text(REWARDS, encoding="utf-8")
    return folder


def state(folder: Path) -> dict[str, bytes | None]:
    return {str(one): None if one.is_dir() else one.read_bytes() for one in sorted(folder.rglob("*"))}


@pytest.mark.slow
@pytest.mark.parametrize("words", REFUSED.values(), ids=REFUSED)
def test_a_refusal_is_one_line_and_leaves_the_disk_as_it_was(
    words: tuple[str, ...], desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    before = state(desk)
    done = CliRunner().invoke(app, ["behaviour", "tuned", "--against", "base", "-o", "out", *SMALL, *words])
    assert isinstance(done.exception, TakebackError), done.output
    assert "\n" not in str(done.exception)
    assert state(desk) == before


def test_an_arena_is_made_again_when_its_data_or_reward_is_edited(tmp_path: Path) -> None:
    data, reward = tmp_path / "q.jsonl", tmp_path / "worth.py"
    text = f"rows:{{data: {data}, choices: c, rewards: ['{reward}:worth']}}"

    def worth() -> list[float]:
        found = arena(text)
        return list(found.goals["worth"].utility(found.situations("held-out", 9, 0)))

    data.write_text('{"prompt": "a", "c": ["x", "yy"]}', encoding="utf-8")
    reward.write_text(
        "def worth(completions, **_): return [len(one) for one in completions]", encoding="utf-8"
    )
    assert worth() == [1, 2]
    assert arena(text) is arena(text)
    reward.write_text(
        "def worth(completions, **_): return [-len(one) for one in completions]", encoding="utf-8"
    )
    assert worth() == [-1, -2]
    data.write_text('{"prompt": "a", "c": ["xxx", "yy"]}', encoding="utf-8")
    assert worth() == [-3, -2]


def test_what_a_reward_asks_for_is_told_beside_what_rows_have(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    with pytest.raises(TakebackError, match=r"'r.py:asks' asks for 'truth', and rows have '.*prompt"):
        arena("rows:{data: p.jsonl, rewards: ['r.py:asks']}")


def test_so_is_what_names_kinds(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    with pytest.raises(TakebackError, match=r"kinds 'r.py:asks' asks for 'truth', and rows have '.*prompt"):
        arena("rows:{data: p.jsonl, kinds: 'r.py:asks'}")
    with pytest.raises(TakebackError, match=r"kinds 'os:sep' is no function but str"):
        arena("rows:{data: p.jsonl, kinds: 'os:sep'}")


def test_a_wrapped_reward_is_asked_for_what_it_takes_itself(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"prompt": "a", "c": ["x", "yy"]}', encoding="utf-8")
    (tmp_path / "w.py").write_text(
        "import functools\n"
        "def inner(completions, truth): return [float(len(one)) for one in completions]\n"
        "@functools.wraps(inner)\n"
        "def worth(completions, **_): return inner(completions, truth=1)\n",
        encoding="utf-8",
    )
    place = arena(
        f"rows:{{data: {tmp_path / 'q.jsonl'}, choices: c, rewards: ['{tmp_path / 'w.py'}:worth']}}"
    )
    assert list(place.goals["worth"].utility(place.situations("held-out", 9, 0))) == [1, 2]
