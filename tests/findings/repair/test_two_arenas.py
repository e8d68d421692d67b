"""A measure to keep in one arena of rows, one to restore in another: models shared, written, pushed."""

from __future__ import annotations

import gc
import json
import pickle
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import tiny_answers
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.findings.repair import Repaired, Repairing, Trade, push, repair, write_repaired
from takeback.findings.repair.remedies import LAYERS, RANDOM, SETS, Remedy
from takeback.findings.repair.search import Hunt
from takeback.findings.repair.write import hub_card
from takeback.hybrid import hybrid
from takeback.hybrid.sources import source_of
from takeback.measure.bench import Bench
from takeback.measure.read import Ask
from takeback.measure.setup import Setup
from takeback.run.errors import TakebackError

SETTINGS = Repairing(controls=2, among=4, most=2, margin=0.3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_answers.save_pair(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def texts(folder: Path) -> tuple[str, str]:
    """The pair was tuned to say `a` more, which is wanted; what it says less is b, which is to come back."""
    return (
        f"utility good@{tiny_answers.arena_text(folder)}",
        f"kind, with b@{tiny_answers.arena_text(folder, 12)}",
    )


@pytest.fixture(scope="module")
def trade(folder: Path, texts: tuple[str, str]) -> Trade:
    return Trade.between(open_pair(folder / "base", folder / "tuned"), *texts, (48, 0), Setup(folder / "out"))


@pytest.fixture(scope="module")
def found(trade: Trade) -> Repaired:
    return repair(trade, SETTINGS)


@pytest.mark.slow
def test_both_benches_share_models_and_each_has_its_pool(trade: Trade, found: Repaired, folder: Path) -> None:
    first, second = trade.benches
    pickle.loads(pickle.dumps(first.setup))  # workers get no models
    assert first.policy("tuned").model is second.policy("tuned").model
    assert first.policy("base").model is second.policy("base").model
    assert first.arena is not second.arena
    assert len(list((folder / "out" / "pool").glob("*.parquet"))) == 2
    assert first._readings.reader._other is None  # a source's tensors are let go of
    gc.collect()
    alive = {id(one) for one in gc.get_objects() if type(one).__name__ == "LlamaForCausalLM"}
    assert {id(bench.policy(side).model) for bench in trade.benches for side in ("base", "tuned")} <= alive


def test_a_pool_too_thin_for_one_strength_is_drawn_anew(folder: Path) -> None:
    """Everything from another source is a hybrid as any other: only the sides themselves need no check."""
    place = arena(tiny_answers.arena_text(folder, thin="1.0"))
    bench = Bench.held_out(open_pair(folder / "base", folder / "tuned"), place, ["utility good"], (4, 0))
    bench.answer([bench.nothing, bench.anatomy.universe])
    assert bench._drawn == []
    bench.answer([Ask(bench.anatomy.universe, "strength:0.5")])
    assert len(bench._drawn) == 1


@pytest.mark.slow
def test_intervals_of_two_arenas_add_up(found: Repaired) -> None:
    rows = found.table[found.table["best"]]
    assert len(rows)
    assert (rows["above_low"] <= rows["above"]).all()
    assert (rows["above"] <= rows["above_high"]).all()


@pytest.mark.slow
def test_random_sets_stand_beside_the_best_set_and_the_best_layers(
    trade: Trade, monkeypatch: pytest.MonkeyPatch
) -> None:
    def best_of(hunt: Hunt, some: Iterable[Remedy]) -> Remedy | None:
        """Take a layer, too, though none of the two restores anything."""
        given = list(some)
        hunt.look(given)
        return max(given, key=lambda one: hunt.tried[one][1], default=None)

    monkeypatch.setattr(Hunt, "best", best_of)
    found = repair(trade, SETTINGS)
    parse = trade.first.anatomy.parse
    drawn = [parse(text) for text in found.table.loc[found.table["way"] == RANDOM, "components"]]
    best = [row for way in (SETS, LAYERS) if (row := found.best(way)) is not None]
    assert len(best) == 2
    for row in best:
        kinds = Counter(one.kind for one in parse(row["components"]))
        like = [one for one in drawn if Counter(member.kind for member in one) == kinds]
        assert row["controls"] == len(like) > 0
        assert 0 < row["p"] <= 1


@pytest.mark.slow
def test_the_chosen_hybrid_is_an_ordinary_folder_whose_card_states_both_numbers(
    trade: Trade, found: Repaired, tmp_path: Path
) -> None:
    pair = trade.first.pair
    out = write_repaired(found, pair, tmp_path)
    assert out == tmp_path / "model"
    assert found.chosen is not None
    made = hybrid(pair, found.chosen.take_back, source_of(found.chosen.source, pair))
    written = load_file(out / "model.safetensors")
    assert all(torch.equal(written[name], made.read(name)) for name in written)
    AutoModelForCausalLM.from_pretrained(out)
    card = (out / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["base_model"] == [pair.base.ref, pair.tuned.ref]
    assert front["base_model_relation"] == "merge"
    row = found.table[found.table["chosen"]].iloc[0]
    for value in ("keep_value", "keep_low", "keep_high", "restore_value", "restore_low", "restore_high"):
        assert f"{row[value]:.3f}".replace("-", "−") in card
    assert "of the gain kept" in card
    assert "takeback hybrid" in card
    before = (out / "model.safetensors").read_bytes()
    assert write_repaired(found, pair, tmp_path) == out  # the same again takes its place
    assert (out / "model.safetensors").read_bytes() == before
    (out / "notes").mkdir()
    with pytest.raises(TakebackError, match="exists already"):
        write_repaired(found, pair, tmp_path)


class Stub:
    """Stands in for the hub's client: keeps what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def create_repo(self, repo_id: str, **how: Any) -> None:
        self.asked.append((repo_id, how))

    def upload_folder(self, **how: Any) -> None:
        self.asked.append(("", how))
        if how["repo_id"] == "org/refused":
            raise OSError("403 Forbidden:\nno rights")

    def upload_file(self, **how: Any) -> None:
        self.asked.append(("", how))


def test_a_folder_is_pushed_by_the_hubs_own_client(tmp_path: Path) -> None:
    hub, card = (
        Stub(),
        "---\nbase_model:\n- org/base@main\n- /a/folder\nbase_model_relation: merge\n---\n# It\n",
    )
    (tmp_path / "README.md").write_text(card)
    assert push(tmp_path, "org/name", hub) == "https://huggingface.co/org/name"
    where = {"repo_id": "org/name", "repo_type": "model"}
    assert hub.asked == [
        ("org/name", {"repo_type": "model", "exist_ok": True}),
        ("", {"folder_path": str(tmp_path), "ignore_patterns": ["README.md"], **where}),
        ("", {"path_or_fileobj": hub_card(card).encode(), "path_in_repo": "README.md", **where}),
    ]
    assert yaml.safe_load(hub_card(card).split("---\n")[1]) == {
        "base_model": ["org/base"],
        "base_model_relation": "merge",
    }
    alone = hub_card(card.replace("org/base@main", "/other"))
    assert "base_model" not in alone  # a parent that is no model of the hub makes it refuse the card
    assert alone.endswith("---\n# It\n")
    with pytest.raises(
        TakebackError, match="is written, but org/refused could not be pushed: 403 Forbidden: no"
    ):
        push(tmp_path, "org/refused", hub)


@pytest.fixture
def call(call: Any) -> Any:
    """Run `takeback repair` in this process as the shell would; give what it printed."""
    return partial(call, "repair")


@pytest.mark.slow
def test_the_command_finds_writes_and_pushes(
    call: Any, folder: Path, texts: tuple[str, str], found: Repaired, tmp_path: Path, monkeypatch: Any
) -> None:
    hub = Stub()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    pair = [folder / "base", folder / "tuned"]
    asked = ["--keep", texts[0], "--restore", texts[1], "--situations", 48, "--controls", 2]
    asked += ["--among", 4, "--most", 2, "--margin", 0.3, "-o", folder / "out"]  # where all was read before
    printed = call(*pair, *asked, "--push", "org/name")
    assert "Nothing beats" in printed.out or "Beyond one strength" in " ".join(printed.out.split())
    assert "hybrids to read in 48 situations" in printed.err
    assert "https://huggingface.co/org/name" in printed.out
    assert hub.asked[1][1]["folder_path"] == str(folder / "out" / "model")
    again = json.loads(call(*pair, *asked, "--json").out)["repair"]
    assert [row["name"] for row in again["repair"]] == found.table["name"].tolist()
    assert (folder / "out" / "repair.html").exists()


def test_what_the_command_refuses_leaves_nothing(
    call: Any, folder: Path, texts: tuple[str, str], tmp_path: Path
) -> None:
    pair = [folder / "base", folder / "tuned"]
    out = ["-o", tmp_path / "out"]
    for keep, restore, more, told in (
        (texts[0], "kind, withb", [*out, "--arena", "nowhere"], "unknown arena 'nowhere'"),
        (texts[0].replace("utility good", "utility god"), texts[1], out, "did you mean 'utility good'"),
        (texts[0], texts[1], ["--push", "org/name"], "name a folder"),
        (texts[0], texts[1], [*out, "--push", "name"], "--push takes the name of a model on the hub"),
        (texts[0], texts[1], [*out, "--margin", 1], "the margin is the share"),
        (texts[0], "@rows:x.jsonl", out, "names no measure"),
    ):
        printed = call(*pair, "--keep", keep, "--restore", restore, *more, code=2)
        assert told in printed.err, printed.err
        assert len(printed.err.splitlines()) == 1
        assert not (tmp_path / "out").exists()
