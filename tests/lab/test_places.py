"""Every sort of arena on the stage: boards, choices, pools, drawn answers, observations."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

import networks
import tiny_chat
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.lab.drawing import draw, typed
from takeback.lab.lab import Lab
from takeback.lab.stage import Stage
from takeback.lab.views import view_of_pair
from takeback.measure.read import Ask
from takeback.run.errors import TakebackError

REWARD = """
def own(completions, **_):
    return [len(text) for text in completions]
"""


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    base, tuned = tiny_chat.save_pair(tmp_path_factory.mktemp("pair"))
    return str(base), str(tuned)


def stage_of(pair: tuple[str, str], name: str, situations: int = 4) -> Stage:
    return view_of_pair(open_pair(*pair), arena(name), (situations, 0)).open()


def told(stage: Stage, **message: Any) -> dict[str, dict[str, Any]]:
    """Return the last message of each type."""
    found = {one["type"]: one for one in stage.select(message)}
    json.dumps(found, allow_nan=False)
    return found


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    told = [{"prompt": f"what is {n}", "choices": ["four", "five"], "answer": "four"} for n in range(6)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, told)))
    (tmp_path / "reward.py").write_text(REWARD)
    return tmp_path


def described(folder: Path, **more: Any) -> str:
    path = folder / f"arena-{len(list(folder.glob('arena-*')))}.yaml"
    path.write_text(json.dumps({"data": str(folder / "rows.jsonl"), **more}))
    return f"rows:{path}"


def test_choices_are_answers_in_tokens(chats, rows: Path) -> None:
    stage = stage_of(chats, described(rows, choices="choices", answer="answer"))
    found = told(stage, set="L0.H1", situation=1)
    answer = found["answer"]
    situation = answer["situation"]
    assert situation["kind"] == "answers"
    assert [one["text"].strip() for one in situation["answers"]] == situation["actions"]
    assert [one["worth"]["right"] for one in situation["answers"]] == [1.0, 0.0]
    for side in answer["sides"].values():
        assert sum(side["p"]) == pytest.approx(1, abs=1e-5)
        for texts, each, whole in zip(situation["tokens"], side["tokens"], side["logprobs"], strict=True):
            assert len(texts) == len(each)
            assert sum(each) == pytest.approx(whole, abs=2e-3)
    assert found["effects"]["read"] == 4
    (made,) = [one for one in typed(stage, "how many are two and two", 1) if one["type"] == "situation"]
    assert made["situation"]["actions"] == situation["actions"]
    assert told(stage, set="L0.H1", situation=made["situation"]["place"])["answer"]["situation"]["place"] == 4


@pytest.mark.slow
def test_a_pool_has_typed_prompts_and_answers_that_stream(chats, rows: Path) -> None:
    reward = f"{rows / 'reward.py'}:own"
    stage = stage_of(chats, described(rows, rewards=[reward], answers=2, max_tokens=5))
    scene = stage.scene()
    assert scene["draws"]
    assert scene["typed"]["what"] == "prompt"
    answer = told(stage, set="L0.*", situation=0)["answer"]
    assert {one["side"] for one in answer["situation"]["answers"]} == {"base", "tuned"}
    messages = list(typed(stage, "a new <b>prompt</b>", 0))
    place = messages[-1]["situation"]["place"]
    assert messages[-1]["situation"]["messages"][-1]["content"] == "a new <b>prompt</b>"
    assert told(stage, set="L0.*", situation=place)["answer"]["situation"]["place"] == place
    message = {"set": "L0.*", "situation": 0, "n": 2}
    drawn = list(draw(stage, message))
    sides = [one["side"] for one in drawn]
    assert sides == sorted(sides, key=["hybrid", "tuned", "base"].index)
    hybrid = [one["answers"] for one in drawn if one["side"] == "hybrid"]
    for before, after in pairwise(hybrid[:-1]):
        assert all(len(one["text"]) <= len(other["text"]) for one, other in zip(before, after, strict=True))
    assert hybrid[-1][0]["rewards"]["own"] == len(hybrid[-1][0]["text"])
    whole = stage.bench.on(_drawn(stage, 2), [stage.bench.situations[0].row])
    (readouts,) = whole.read([Ask(stage.bench.anatomy.parse("L0.*"))])
    assert [one["text"] for one in hybrid[-1]] == readouts.answers[0].tolist()


def _drawn(stage: Stage, draws: int) -> Any:
    from takeback.arenas.rows import DrawnRows

    place: Any = stage.bench.arena
    return DrawnRows(place.open, draws)


@pytest.mark.slow
def test_an_arena_read_by_drawing_has_drawn_answers(chats, rows: Path) -> None:
    reward = f"{rows / 'reward.py'}:own"
    name = described(rows, rewards=[reward], answers=2, max_tokens=4, reading="drawn")
    found = told(stage_of(chats, name, 2), set="L0.H0", situation=1)
    for side in found["answer"]["sides"].values():
        assert [one["rewards"]["own"] for one in side["drawn"]] == [len(one["text"]) for one in side["drawn"]]
    assert found["effects"]["effects"]


@pytest.mark.slow
def test_an_agent_shows_what_it_sees(tmp_path: Path) -> None:
    pair = networks.save_agents(tmp_path)["PPO"]
    stage = stage_of(pair, "gym:CartPole-v1", 6)
    assert stage.estimates is None
    found = told(stage, set="L0.U1", situation=2)
    situation = found["answer"]["situation"]
    assert situation["kind"] == "network"
    assert len(situation["observation"]) == 4
    assert len(found["answer"]["sides"]["hybrid"]["p"]) == len(situation["actions"]) == 2
    assert found["controls"]["of"] == 5


def test_a_position_is_typed_as_fen(shown: Lab) -> None:
    stage = shown.stage("pair")
    (one,) = typed(stage, " 1k6/8/1K6/8/8/8/8/7R w - - 0 1 ", None)
    assert one["situation"]["board"] == {"b6": "K", "h1": "R", "b8": "k"}
    answer = told(stage, set="", situation=one["situation"]["place"])["answer"]
    assert answer["sides"]["hybrid"] == answer["sides"]["tuned"]
    for text, said in (("", "nothing"), ("8/8/8/8/8/8/8/8 w - - 0 1", "no situation"), ("x", "no situation")):
        with pytest.raises(TakebackError, match=said):
            list(typed(stage, text, None))


@pytest.mark.slow
def test_illegal_answers_are_told_by_text_and_kind(shown: Lab) -> None:
    stage = shown.stage("pair")
    message = {"set": "L3.MLP", "source": "zeros", "situation": 1}
    answer = told(stage, **message)["answer"]
    spoken = answer["sides"]["hybrid"]["illegal"]
    assert 1 <= len(spoken) <= 4
    legal = stage.bench.arena.legal(stage.bench.situations[1])
    assert not {one["text"] for one in spoken} & set(legal)
    assert [one["p"] for one in spoken] == sorted((one["p"] for one in spoken), reverse=True)
    (every,) = stage.one(1).illegal(stage.nothing)  # tuned, whom what is expanded decides
    masses = dict(zip(stage.bench.arena.kinds, answer["sides"]["tuned"]["masses"], strict=True))
    found = {one.kind: 0.0 for one in every}
    for one in every:
        found[one.kind] += one.probability
    found.pop(stage.bench.arena.dead_end, None)  # of most of these there is no text
    assert found == pytest.approx({kind: masses[kind] for kind in found}, abs=2e-6)
    assert all("illegal" not in side for side in told(stage, set="", situation=0)["answer"]["sides"].values())


@pytest.mark.slow
def test_beyond_the_ends_and_other_sources(shown: Lab) -> None:
    stage = shown.stage("pair")

    def hybrid(**message: Any) -> Any:
        return told(stage, set="L0.*", situation=0, **message)["answer"]["sides"]["hybrid"]

    sides = told(stage, set="*", situation=0)["answer"]["sides"]
    assert sides["hybrid"] == sides["base"]
    assert hybrid(strength=0) == sides["tuned"]
    assert hybrid(strength=1) == hybrid()
    assert len({json.dumps(hybrid(**more)) for more in ({}, {"strength": 2}, {"source": "zeros"})}) == 3


@pytest.mark.slow
def test_no_hybrid_is_read_twice(shown: Lab) -> None:
    stage = shown.stage("pair")
    for message in ({"set": "L1.H2", "situation": 4}, {"set": "L1.H2", "situation": 5}, {"set": "L1.H2"}):
        told(stage, **message)
    reads = [(key, place) for key, places, _ in stage.bench.store.reads for place in places.tolist()]
    assert len(reads) == len(set(reads))


@pytest.mark.slow
def test_what_was_estimated_first_is_read_once(players: tuple[Path, Path]) -> None:
    stage = stage_of((str(players[0]), str(players[1])), "endgames")
    assert stage.estimates is not None
    while not stage.estimates.finished:
        stage.estimates.go_on()
    told(stage, set="L1.H2", situation=1)
    reads = [(key, place) for key, places, _ in stage.bench.store.reads for place in places.tolist()]
    assert len(reads) == len(set(reads))


@pytest.mark.slow
def test_attribution_that_is_waited_for_leaves_the_model_as_it_was(players: tuple[Path, Path]) -> None:
    stage = stage_of((str(players[0]), str(players[1])), "endgames", 2)
    assert stage.estimates is not None
    model: Any = stage.bench.policy("tuned").model
    before = {name: one.clone() for name, one in model.state_dict().items()}
    asked, pieces = 0, 0

    def waited() -> bool:
        nonlocal asked
        asked += 1
        return asked == pieces

    for pieces in (1, 20, 45):
        asked = 0
        stage.estimates.go_on(waited)
        assert asked == pieces
        assert stage.estimates.done == 0
        assert all(torch.equal(before[name], one) for name, one in model.state_dict().items())
    while not stage.estimates.finished:
        stage.estimates.go_on()
    assert stage.estimates.done == 2
