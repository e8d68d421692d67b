"""A bundle: scripts alone, small, and what they say is what a live page is told."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from takeback.lab.export import export
from takeback.lab.lab import Lab
from takeback.run.errors import TakebackError


def value(path: Path) -> tuple[str, Any]:
    """Read a script as the page does: its key and its value."""
    text = path.read_text(encoding="utf-8")
    found = re.fullmatch(r'takebackData\(("[^"]*"),"([A-Za-z0-9+/=]*)"\);\n', text)
    assert found is not None
    return json.loads(found[1]), json.loads(zlib.decompress(base64.b64decode(found[2]), -15))


def readouts(told: dict[str, Any], counts: list[int], kinds: int, add: Any = 0) -> list[dict[str, Any]]:
    """Unpack readouts as the page does."""
    numbers, found, at = np.array(told["numbers"]) + add, list[dict[str, Any]](), 0
    for count in counts:
        some = numbers[at : at + count + kinds + 2]
        p, masses = some[:count] / told["scale"], some[count : count + kinds] / told["scale"]
        found.append({"p": p, "masses": masses, "greedy": int(some[-1]) - 1})
        at += len(some)
    assert at == len(numbers)
    return found


@pytest.fixture(scope="module")
def bundle(shown: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from takeback.lab import server

    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text('<body data-transport="live"><script src="lab.js"></script>')
    (folder / "lab.js").write_text("// the page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "PAGE", folder)
        return export(shown, tmp_path_factory.mktemp("out") / "lab")


@pytest.mark.slow
def test_a_bundle_says_what_a_live_page_is_told(bundle: Path, shown: Lab) -> None:
    stage, data = shown.stage("pair"), bundle / "data" / "pair"
    key, scene = value(data / "scene.js")
    assert key == "pair/scene"
    assert not scene["live"]
    _, tuned = value(data / "tuned.js")
    situations = [one for place in range(1) for one in value(data / f"situations-{place}.js")[1]]
    assert [one["text"] for one in situations] == scene["situations"]["text"]
    counts, kinds = [len(one["actions"]) for one in situations], len(scene["kinds"])
    recorded = {(one["set"], one["direction"]): one["file"] for one in scene["recorded"]}
    for components, direction in (("L0.H1", "take back"), ("L1.*", "graft"), ("*", "take back")):
        message = {"set": components, "direction": direction, "situation": 5}
        live = list(stage.select(message))
        name = str(stage.bench.anatomy.parse(components))
        _, found = value(data / f"{recorded[name, direction]}.js")
        of_tuned = np.array(tuned["readouts"]["numbers"])
        told = readouts(found["readouts"], counts, kinds, of_tuned)[5]
        answer = live[0]["sides"]["hybrid"]
        assert told["p"] == pytest.approx(answer["p"], abs=6e-4)
        assert told["masses"] == pytest.approx(answer["masses"], abs=6e-4)
        assert told["greedy"] == answer["greedy"]
        last = {one["type"]: one for one in live}
        assert found["effects"] == last["effects"]["effects"]
        for name in ("distance", "flip", "outcome"):
            assert found["changes"][name] == last["changes"][name]


@pytest.mark.slow
def test_a_bundle_is_scripts_alone_and_small(bundle: Path) -> None:
    assert b'data-transport="static"' in (bundle / "index.html").read_bytes()
    files = [path for path in bundle.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".html", ".js"}
    for path in (bundle / "data").rglob("*.js"):
        key, _ = value(path)
        assert path == bundle / "data" / f"{key}.js"
    assert sum(path.stat().st_size for path in files) < 2_000_000


@pytest.mark.slow
def test_a_bundle_replaces_nothing(bundle: Path, shown: Lab, page: Path) -> None:
    before = sorted(bundle.rglob("*"))
    with pytest.raises(TakebackError, match="exists already"):
        export(shown, bundle)
    assert sorted(bundle.rglob("*")) == before
