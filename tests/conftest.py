"""Fixtures that several test modules share; being here, it also lets them `import models`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import hypothesis
import pytest
import transformers

import models

transformers.utils.logging.disable_progress_bar()
hypothesis.settings.register_profile(
    "takeback", deadline=None
)  # how busy the machine is, is not what is tested
hypothesis.settings.load_profile("takeback")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let workers share out slow tests that need nothing of their file, and files; slow ones go first."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    alone = {item for item in items if item.get_closest_marker("slow") and not _shares(item)}
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    for item in items:
        if item not in alone:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))
    items.sort(key=lambda item: (item not in alone, item.path not in slow))


def _shares(item: pytest.Item) -> bool:
    """Return whether a test uses what is made once for its file."""
    found: Mapping[str, Sequence[pytest.FixtureDef[Any]]] = item._fixtureinfo.name2fixturedefs
    return any(one.scope in ("module", "class") for some in found.values() for one in some)


@pytest.fixture(scope="session")
def built() -> Callable[[str, int], transformers.PreTrainedModel]:
    """Build each tiny model once; whoever changes one has to put it back."""
    kept: dict[tuple[str, int], transformers.PreTrainedModel] = {}

    def build(name: str, seed: int = 0) -> transformers.PreTrainedModel:
        if (name, seed) not in kept:
            kept[name, seed] = models.build(name, seed)
        return kept[name, seed]

    return build


@pytest.fixture(params=models.marked(models.CONFIGS))
def name(request: pytest.FixtureRequest) -> str:
    """The name of a tiny model, each in turn."""
    return request.param


@pytest.fixture(scope="session")
def players(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two models that play in the endgame arena, as folders: the shipped base, and it with noise added."""
    base, tuned = models.save_players(tmp_path_factory.mktemp("players"))
    return str(base), str(tuned)


def _faults(words: list[str], value: Any) -> list[str]:
    """Return in what the JSON that a command printed differs from what is said of it."""
    from takeback.cli.printed import PRINTED

    named = " ".join(words[:2])
    return PRINTED[named if named in PRINTED else words[0]].faults(value)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command in this process as the shell would; give what it printed."""
    from takeback import cli

    def run(*words: object, code: int = 0) -> Any:
        monkeypatch.setattr("sys.argv", ["takeback", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert ended.value.code == code, printed.err
        if "--json" in words and printed.out:
            assert _faults([str(word) for word in words], json.loads(printed.out)) == []
        return printed

    return run
