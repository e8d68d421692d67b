"""Fixtures that several test modules share; being here, it also lets them `import models`."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis
import pytest
import transformers

import models

transformers.utils.logging.disable_progress_bar()
hypothesis.settings.register_profile(
    "takeback", deadline=None
)  # how busy the machine is, is not what is tested
hypothesis.settings.load_profile("takeback")


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
