"""Over a socket, as a page does: what is told, what is dropped, and who is let in."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import closing
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.lab.lab import Lab
from takeback.lab.server import Door
from takeback.lab.views import view_of_pair


@pytest.mark.slow
def test_a_click_is_answered_with_readouts_effects_and_random_sets(serve, shown: Lab, talk) -> None:
    stage = shown.stage("pair")
    with serve(shown).connect() as socket:
        scene = talk(socket, type="hello", id=0)[0]["scene"]
        assert scene["components"]["name"] == [str(one) for one in stage.bench.anatomy.universe]
        told = talk(socket, type="select", id=1, set="L0.H1", situation=3)
    answer, *_ = told
    assert [one["type"] for one in told if one["type"] not in ("progress", "estimated")][:3] == [
        "answer",
        "changes",
        "effects",
    ]
    assert all(one["id"] == 1 for one in told)
    legal = stage.bench.arena.legal(stage.bench.situations[3])
    assert answer["situation"]["actions"] == list(legal)
    for side in answer["sides"].values():
        assert sum(side["p"]) + sum(side["masses"]) + side["undecided"] == pytest.approx(1, abs=1e-4)
    last = [one for one in told if one["type"] == "effects"][-1]
    assert last["read"] == last["of"] == stage.count
    controls = [one for one in told if one["type"] == "controls"][-1]
    assert controls["done"] == controls["of"] == len(controls["sets"])
    beyond = controls["beyond"]
    assert set(beyond) == {one["measure"] for one in last["effects"]}


@pytest.mark.slow
def test_the_newest_selection_wins(serve, shown: Lab, talk) -> None:
    with serve(shown).connect() as socket:
        talk(socket, type="hello", id=0)
        for number in range(1, 31):
            socket.send(json.dumps({"type": "select", "id": number, "set": "L1.*", "situation": 0}))
        heard: list[int] = []
        while True:
            told = json.loads(socket.recv(timeout=60))
            heard.append(told["id"])
            if told["type"] == "done" and told["id"] == 30:
                break
    assert heard == sorted(heard)  # nothing of an older one after a newer
    assert set(heard) - {0} < set(range(1, 31))


def test_what_runs_is_stopped(serve, players, talk) -> None:
    own = Lab([view_of_pair(open_pair(*map(str, players)), arena("endgames"), (20, 0))])
    with serve(own).connect() as socket:
        socket.send(json.dumps({"type": "sweep", "id": 1}))
        json.loads(socket.recv(timeout=60))
        socket.send(json.dumps({"type": "stop", "id": 2}))
        told = [json.loads(socket.recv(timeout=60)) for _ in range(1)]
        while told[-1].get("id") != 2:
            told.append(json.loads(socket.recv(timeout=60)))
    assert {"type": "done", "id": 1, "stopped": True} in told
    assert not [one for one in told if one["type"] == "colouring"]


def test_two_tabs_are_told_each_their_own(serve, shown: Lab, talk) -> None:
    served = serve(shown)
    with served.connect() as one, served.connect() as other:
        one.send(json.dumps({"type": "select", "id": 1, "set": "L0.H0", "situation": 1}))
        told = talk(other, type="select", id=7, set="L1.MLP", situation=2)
        assert {message["id"] for message in told} == {7}
        assert told[0]["set"] == "L1.MLP"
        first = json.loads(one.recv(timeout=60))
        while first["type"] != "answer":
            first = json.loads(one.recv(timeout=60))
        assert (first["id"], first["set"]) == (1, "L0.H0")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"type": "select", "set": "L0.H99"}, "unknown component"),
        ({"type": "select", "set": 5}, "set is no text"),
        ({"type": "select", "set": "*", "situation": 999}, "there are"),
        ({"type": "select", "set": "*", "situation": "0"}, "no place"),
        ({"type": "select", "set": "*", "strength": "x"}, "no number"),
        ({"type": "select", "set": "L0.H0", "direction": "graft", "strength": 0.5}, "graft"),
        ({"type": "select", "set": "L0.H0", "source": "checkpoint:/etc/passwd"}, "unknown source"),
        ({"type": "select", "set": "L0.H0", "source": "noise:x"}, "noise"),
        ({"type": "open", "view": "other"}, "unknown view"),
        ({"type": "shout"}, "unknown message"),
        ({"set": "*"}, "type is no text"),
        ({"type": "type", "text": "nowhere"}, "no situation"),
        ({"type": "draw", "set": "", "situation": 0, "n": 1}, "open arena"),
    ],
)
def test_nonsense_is_refused_in_one_line_and_the_lab_goes_on(serve, shown: Lab, talk, message, said) -> None:
    with serve(shown).connect() as socket:
        refused = talk(socket, id=1, **message)[-1]
        assert refused["type"] == "refused"
        assert said in refused["message"]
        assert "\n" not in refused["message"]
        assert talk(socket, type="select", id=2, set="", situation=0)[0]["type"] == "answer"


def test_what_is_no_message_closes_the_socket(serve, shown: Lab) -> None:
    with serve(shown).connect() as socket:
        socket.send("[1]")
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=60)


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost", "null", "file://"])
def test_a_page_from_elsewhere_is_not_heard(serve, shown: Lab, origin: str) -> None:
    with pytest.raises(InvalidStatus):
        serve(shown).connect(origin=origin)


def test_a_name_that_leads_here_is_not_this_machine(serve, shown: Lab) -> None:
    served = serve(shown)
    host = f"evil.example:{served.port}"
    assert _get(served.port, "/", host)[0] == 421
    with pytest.raises(InvalidStatus):  # DNS rebinding: origin and host agree, and are somebody else's
        served.connect(origin=f"http://{host}", additional_headers={"Host": host})


def test_others_need_the_token(serve, shown: Lab, talk) -> None:
    served = serve(shown, Door("0.0.0.0", "mellon"))
    assert served.door.address(1).endswith("?token=mellon")
    for token in ("", "melon"):
        with pytest.raises(InvalidStatus):
            served.connect(token=token)
    with served.connect(token="mellon") as socket:
        assert talk(socket, type="hello", id=0)[0]["type"] == "scene"
    assert len(Door.on("0.0.0.0").token or "") > 20
    assert Door.on("127.0.0.1").token is None


@pytest.mark.parametrize(
    "path",
    ["/notes.txt", "/../secret.js", "/%2e%2e/secret.js", "/..%2fsecret.js", "/page/../../secret.js", "/x"],
)
def test_only_the_page_is_served(serve, shown: Lab, path: str) -> None:
    status, body, _ = _get(serve(shown).port, path)
    assert status == 404
    assert b"secret" not in body


def test_the_page_may_load_nothing_from_elsewhere(serve, shown: Lab) -> None:
    status, body, headers = _get(serve(shown).port, "/")
    assert status == 200
    assert b"data-transport" in body
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_answers_to_clicks_are_quick(serve, shown: Lab, talk) -> None:
    with serve(shown).connect() as socket:
        talk(socket, type="hello", id=0)
        talk(socket, type="select", id=1, set="L0.H0", situation=0)
        began = time.monotonic()
        socket.send(json.dumps({"type": "select", "id": 2, "set": "L0.H0 L1.H1", "situation": 1}))
        while json.loads(socket.recv(timeout=60))["type"] != "answer":
            pass
    assert time.monotonic() - began < 5  # far from the machine's noise: benchmarks/lab.py says how quick


def _get(port: int, path: str, host: str | None = None) -> tuple[int, bytes, dict[str, str]]:
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.putrequest("GET", path, skip_host=True)
        connection.putheader("Host", host or f"127.0.0.1:{port}")
        connection.endheaders()
        found = connection.getresponse()
        return found.status, found.read(), {name.lower(): value for name, value in found.getheaders()}


def test_a_lab_without_a_page_says_so(page: Path, shown: Lab) -> None:
    from takeback.lab.server import page_files
    from takeback.run.errors import TakebackError

    (page / "index.html").unlink()
    with pytest.raises(TakebackError, match="not built"):
        page_files()
