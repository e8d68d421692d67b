"""What guides show in Python runs, on two checkpoints called base and tuned, in fewer situations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from takeback.findings.localise.shares import NoChange
from test_site import GUIDES

PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
SMALLER = {
    "(192, 0)": "(48, 0)",
    "(384, 0)": "(24, 0)",
    "localise(bench)": "localise(bench, ['shares'])",
    "workers=8": "workers=2",
    '"cuda"': '"cpu"',
}


def shown(guide: Path) -> list[str]:
    return PYTHON.findall(guide.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("guide", [one for one in GUIDES if shown(one)], ids=lambda path: path.stem)
def test_what_a_guide_shows_runs(
    guide: Path, players: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, folder in zip(("tuned", "base"), players, strict=True):  # base has noise: tuned wins more
        (tmp_path / name).symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    for whole in shown(guide):
        code = whole
        for large, small in SMALLER.items():
            code = code.replace(large, small)
        names: dict[str, object] = {"__name__": "builtins"}
        try:
            exec(compile(code, str(guide), "exec", dont_inherit=True), names)
        except NoChange:
            if guide.stem != "repair":  # this pair has lost nothing that could be restored
                raise
