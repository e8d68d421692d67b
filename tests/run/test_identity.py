"""One hash of all that a result depends on: equal for equal things in any process, another for any change."""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import json
import operator
import os
import re
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import networks
from takeback.arenas import Asked, arena
from takeback.checkpoint import open_checkpoint, open_pair
from takeback.run import identity as identity_module
from takeback.run.identity import identity
from takeback.run.own import load_own

SCALE = 2.0
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda some: st.lists(some) | st.dictionaries(st.text(), some),
    max_leaves=12,
)


def written(value: Any) -> Any:
    """Tell what a plain value is with its types, in which Python does not see 1, 1.0 and True apart."""
    if isinstance(value, list):
        return [written(one) for one in value]
    if isinstance(value, dict):
        return {name: written(one) for name, one in value.items()}
    return type(value).__name__, repr(value)


@pytest.mark.slow
@given(PLAIN, PLAIN)
def test_plain_values_have_one_identity_just_if_they_are_equal(one: Any, other: Any) -> None:
    assert (identity(one) == identity(other)) == (written(one) == written(other))


@pytest.mark.slow
@given(st.dictionaries(st.text() | st.integers(), st.integers()), st.randoms())
def test_dicts_and_sets_have_no_order(held: dict[Any, int], random: Any) -> None:
    mixed = list(held.items())
    random.shuffle(mixed)
    assert identity(dict(mixed), set(held)) == identity(held, {name for name, _ in mixed})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a"], "a"),
        ([], {}),
        ({"a": 1}, [["a", 1]]),
        ({1}, [1]),
        (b"a", "a"),
        ([[1], 2], [1, [2]]),
        (["told", 1], Path("told")),
        (np.zeros(2), np.zeros(2, np.float32)),
        (np.zeros((2, 1)), np.zeros((1, 2))),
        (np.array([1.0, 2.0]), np.array([1.0, 3.0])),
        (np.array(["a", None], object), np.array(["b", None], object)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.bfloat16)),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])),
        (re.compile("a"), re.compile("b")),
        (operator.itemgetter(1), operator.itemgetter(2)),
        (functools.partial(int, base=2), functools.partial(int, base=3)),
        (np.random.default_rng(0), np.random.default_rng(1)),
        (Path("a"), Path("b")),
        (len, sum),
        ([].append, [1].append),
    ],
)
def test_what_differs_has_another_identity(one: Any, other: Any) -> None:
    assert identity(one) == identity(one) != identity(other) == identity(other)


def adder(bonus: Any) -> Callable[[str], float]:
    return lambda text: len(text) + bonus


def with_default(bonus: Any) -> Callable[..., float]:
    def worth(text: str, extra: Any = bonus, *, more: Any = None) -> float:
        return len(text) + extra

    return worth


@dataclasses.dataclass(frozen=True)
class Reward:
    weights: tuple[float, ...]
    function: Callable[[str], float]

    def __call__(self, text: str) -> float:
        return self.function(text) * self.weights[0]


class Slow:
    def __init__(self, bonus: float) -> None:
        self.bonus = bonus

    @functools.cached_property
    def table(self) -> list[float]:
        return [self.bonus]

    def worth(self, text: str) -> float:
        return self.table[0]


@pytest.mark.parametrize(
    "make",
    [
        adder,
        with_default,
        lambda bonus: functools.partial(adder(0), bonus),
        lambda bonus: functools.cache(adder(bonus)),
        lambda bonus: functools.wraps(len)(adder(bonus)),
        lambda bonus: Reward((bonus,), len),
        lambda bonus: Reward((1.0,), adder(bonus)),
        lambda bonus: Slow(bonus).worth,
        lambda bonus: adder(np.array([bonus, 1.0])),
        lambda bonus: adder(torch.tensor([bonus, 1.0])),
        lambda bonus: adder({"deep": [adder(bonus)]}),
        lambda bonus: staticmethod(adder(bonus)),
    ],
)
def test_what_a_function_closes_over_is_told(make: Callable[[float], Any]) -> None:
    assert identity(make(1.0)) == identity(make(1.0)) != identity(make(2.0))


def test_what_is_cached_by_use_changes_nothing() -> None:
    reward = Slow(1.0)
    before = identity(reward)
    assert reward.worth("") == 1.0
    assert identity(reward) == before


def scaled(text: str) -> float:
    return SCALE * helper(text)


def helper(text: str) -> float:
    return len(text) if text else scaled("a")  # a circle of two functions


class Colour(enum.Enum):
    RED = 1


def test_globals_that_are_used_are_told_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    before, other = identity(scaled), identity(adder(1))
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    assert identity(scaled) != before
    assert identity(adder(1)) == other
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 2.0)
    assert identity(scaled) == before
    assert identity(Colour.RED) == identity(Colour.RED)


FILES = {
    "words.py": "import helpers_of_words\nfrom helpers_of_words import bonus\n"
    "def direct(text):\n    return 1\n"
    "def by_name(text):\n    return bonus(text)\n"
    "def by_module(text):\n    return helpers_of_words.bonus(text)\n"
    "def by_table(text):\n    return helpers_of_words.TABLE['a']\n"
    "def late(text):\n    from helpers_of_words import bonus as found\n    return found(text)\n"
    "def late_module(text):\n    import helpers_of_words as late\n    return late.bonus(text)\n"
    "class Own:\n    def __call__(self, text):\n        return bonus(text)\n"
    "own = Own()\n",
    "helpers_of_words.py": "TABLE = {'a': 1}\n\ndef bonus(text):\n    return 1\n",
}
USES_HELPERS = ("by_name", "by_module", "by_table", "late", "late_module", "own")


def loaded(folder: Path, name: str) -> Any:
    """Load `words.py` anew, as the next process would."""
    for module in ("words", "helpers_of_words"):
        sys.modules.pop(module, None)
    return load_own(f"words:{name}", "reward")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for file, text in FILES.items():
        (tmp_path / file).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


@pytest.mark.parametrize("name", ["direct", *USES_HELPERS])
def test_an_edited_file_makes_another_identity(folder: Path, name: str) -> None:
    before = identity(loaded(folder, name))
    assert identity(loaded(folder, name)) == before
    (folder / "words.py").write_text(FILES["words.py"].replace("return 1\n", "return 2\n"))
    assert identity(loaded(folder, name)) != before
    (folder / "words.py").write_text(FILES["words.py"])
    assert identity(loaded(folder, name)) == before


@pytest.mark.parametrize("name", USES_HELPERS)
def test_an_edited_helper_makes_another_identity(folder: Path, name: str) -> None:
    before, apart = identity(loaded(folder, name)), identity(loaded(folder, "direct"))
    (folder / "helpers_of_words.py").write_text(FILES["helpers_of_words.py"].replace("1", "2"))
    assert identity(loaded(folder, name)) != before
    assert identity(loaded(folder, "direct")) == apart


def test_code_that_was_loaded_before_its_file_was_edited_is_not_taken_for_the_new(folder: Path) -> None:
    old = loaded(folder, "direct")
    (folder / "words.py").write_text(FILES["words.py"].replace("return 1\n", "return 2\n"))
    assert old("") == 1
    assert identity(old) != identity(loaded(folder, "direct"))


def forget(file: Path) -> None:
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == str(file):
            del sys.modules[name]


def test_a_reference_to_a_file_is_told_too(folder: Path) -> None:
    file = folder / "words.py"
    before = identity(load_own(f"{file}:by_name", "reward"))
    forget(file)
    assert identity(load_own(f"{file}:by_name", "reward")) == before
    forget(file)
    file.write_text(FILES["words.py"] + "\n# another thought\n")
    assert identity(load_own(f"{file}:by_name", "reward")) != before


def test_a_function_without_a_file_is_its_code() -> None:
    def made(text: str) -> Any:
        space: dict[str, Any] = {}
        exec(text, space)
        return space["worth"]

    same = [identity(made("worth = lambda text: 1")) for _ in range(2)]
    assert same[0] == same[1] != identity(made("worth = lambda text: 2"))


UNTOLD: dict[str, Callable[[], Any]] = {
    "_thread.lock": threading.Lock,
    "generator": lambda: (one for one in "ab"),
    "_hashlib.HASH": lambda: hashlib.sha256(b"a"),
    "zlib.Compress": zlib.compressobj,
}


@pytest.mark.parametrize("kind", UNTOLD)
def test_what_cant_be_told_is_never_the_same_and_one_line_says_why(
    kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity_module, "_SAID", set())
    held = UNTOLD[kind]()
    reward = adder(held)
    assert len({identity(reward) for _ in range(3)}) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert kind in line
    assert "adder.<locals>.<lambda>" in line
    assert len({identity(held) for _ in range(2)}) == 2


def test_circles_end_and_deep_ones_are_not_told() -> None:
    ring: list[Any] = [Slow(1.0)]
    ring[0].bonus = ring[0]
    assert identity(ring[0]) == identity(ring[0])
    endless: list[Any] = []
    endless.append(endless)
    assert identity(endless) != identity(endless)


def test_versions_count_unless_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    before, apart = identity("a"), identity("a", versions=False)
    monkeypatch.setattr(identity_module, "SCHEMA", 99)
    assert identity("a") != before
    assert identity("a", versions=False) == apart
    monkeypatch.undo()
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"{name} of the future")
    assert identity("a") != before
    assert identity("a", versions=False) == apart


PROCESS = """
import sys; sys.path[:0] = {paths!r}
import enum, functools, re
import numpy as np
from test_identity import Reward, Slow, adder, scaled, Colour
from takeback.arenas import Asked, arena
from takeback.checkpoint import open_pair
from takeback.measure.measures import find_measures
from takeback.run.identity import identity
place = arena("endgames")
asked = Asked(place, place.situations("held-out", 4, 0))
measures = find_measures(["legal", "utility win"], place)
rewards = [scaled, adder({{"b", "a", "c"}}), adder(frozenset(map(str, range(20)))), Reward((1.0,), len)]
told = [*rewards, Slow(2.0).worth, Colour.RED, np.arange(4), asked, open_pair({base!r}, {tuned!r}), measures]
print(*map(identity, told), identity(told))
"""


@pytest.mark.slow
def test_it_is_the_same_in_other_processes_and_under_other_hash_seeds(tmp_path: Path) -> None:
    base, tuned = networks.save_pair(tmp_path, (2, 3, 2))
    code = PROCESS.format(
        paths=[str(Path(__file__).parent), str(Path(__file__).parents[1])], base=base, tuned=tuned
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "77")
    }
    assert len(seen) == 1
    assert len(set(seen.pop().split())) == 11


def test_it_loads_nothing_heavy() -> None:
    code = "import sys, takeback.run.identity; print({'torch', 'numpy', 'pandas'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_checkpoint_is_its_weights_config_and_tokenizer(players: tuple[str, str], tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        out = tmp_path / name
        out.mkdir()
        for file in Path(players[0]).iterdir():
            (out / file.name).write_bytes(file.read_bytes())
        return out

    here = identity(open_checkpoint(players[0]))
    assert identity(open_checkpoint(copy("moved"))) == here
    assert identity(open_checkpoint(players[1])) != here
    tokens = copy("tokens") / "tokenizer_config.json"
    tokens.write_text(json.dumps({**json.loads(tokens.read_text()), "padding_side": "right"}))
    assert identity(open_checkpoint(tokens.parent)) != here
    config = copy("config") / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "rms_norm_eps": 0.5}))
    assert identity(open_checkpoint(config.parent)) != here
    pair = open_pair(*players)
    assert identity(pair) != identity(open_pair(*reversed(players)))
    assert identity(pair) == identity(open_pair(pair.base, pair.tuned))


def test_an_arena_is_all_that_it_says_of_situations() -> None:
    place: Any = arena("endgames")
    some = place.situations("held-out", 4, 0)
    kind = type(place)

    def other(**changed: Any) -> str:
        return identity(Asked(type("Endgames", (kind,), changed)(), some))

    worth = lambda self, goal, situations: 1 - kind.utility(self, goal, situations)  # noqa: E731
    applies = lambda self, goal, situations: kind.applies(self, goal, situations) & False  # noqa: E731
    features = lambda self, situations: {"none": kind.features(self, situations)["check"]}  # noqa: E731
    cluster = lambda self, situation: 0  # noqa: E731
    changes = [
        {},
        {"utility": worth},
        {"applies": applies},
        {"features": features},
        {"cluster": cluster},
        {"illegal": ("wrong",)},
    ]
    assert len({other(**change) for change in changes}) == len(changes)
    assert identity(Asked(place, some)) != identity(Asked(place, some[:3]))
    assert identity(Asked(place, some)) != identity(Asked(place, [*some[1:], some[0]]))


def test_a_gym_arena_is_its_environment_and_an_own_goal_its_source(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = arena("gym:CartPole-v1")
    some = place.situations("held-out", 2, 0)
    assert identity(Asked(place, some)) == identity(Asked(place, some))
    assert identity(Asked(place, some)) != identity(Asked(arena("gym:Acrobot-v1"), ()))
    loaded(folder, "direct")
    before = identity(Asked(place, some, ["words:by_name"]))
    assert before != identity(Asked(place, some))
    (folder / "helpers_of_words.py").write_text("def bonus(text):\n    return 3\nTABLE = 1\n")
    loaded(folder, "direct")
    assert identity(Asked(place, some, ["words:by_name"])) != before
