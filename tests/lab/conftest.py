"""A pair of tiny players on a stage, and a server that shows them to whoever has a WebSocket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection

import models
from lab_serving import Serve, serving
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.lab import server
from takeback.lab.lab import Lab
from takeback.lab.views import view_of_pair

SITUATIONS = 20


@pytest.fixture(scope="session")
def players(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Base and tuned of two tiny models that play endgames."""
    return models.save_players(tmp_path_factory.mktemp("players"))


@pytest.fixture(scope="session")
def shown(players: tuple[Path, Path]) -> Lab:
    """A lab of them; whoever types or sweeps uses one of his own."""
    pair = open_pair(*map(str, players))
    return Lab([view_of_pair(pair, arena("endgames"), (SITUATIONS, 0))])


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page in the place of the built one, with a file beside it that is none of its own."""
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "index.html").write_text('<body data-transport="live"><script src="lab.js"></script>')
    (folder / "lab.js").write_text("// the page")
    (folder / "widget.js").write_text("export default {}")
    (folder / "notes.txt").write_text("secret")
    (tmp_path / "secret.js").write_text("secret")
    monkeypatch.setattr(server, "PAGE", folder)
    return folder


@pytest.fixture
def serve(page: Path) -> Iterator[Serve]:
    """Serve labs behind the page that stands in, on free ports, until the test ends."""
    yield from serving()


def say(socket: ClientConnection, **message: Any) -> None:
    """Send a message."""
    socket.send(json.dumps(message))


def hear(socket: ClientConnection, until: int | None = None) -> list[dict[str, Any]]:
    """Return the messages up to the one that ends what has an id."""
    found: list[dict[str, Any]] = []
    while not found or found[-1]["type"] not in ("done", "refused") or found[-1].get("id") != until:
        found.append(json.loads(socket.recv(timeout=60)))
    return found


@pytest.fixture
def talk() -> Callable[..., list[dict[str, Any]]]:
    """Ask something over a socket and return all that comes of it."""

    def asked(socket: ClientConnection, **message: Any) -> list[dict[str, Any]]:
        say(socket, **message)
        return hear(socket, message.get("id"))

    return asked
