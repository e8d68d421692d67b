"""A pair of tiny players on a stage, and a server that shows them to whoever has a WebSocket."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from websockets.sync.client import ClientConnection, connect

import models
from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.lab import server
from takeback.lab.desk import Desk
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


@dataclass
class Served:
    """A server that runs in a thread."""

    port: int
    door: server.Door

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, origin: str | None = None, token: str = "", **more: Any) -> ClientConnection:
        """Open a page's socket."""
        query = f"?token={token}" if token else ""
        address = f"ws://127.0.0.1:{self.port}/ws{query}"
        return connect(address, origin=origin or self.origin, max_size=None, **more)  # type: ignore[arg-type]


Serve = Callable[..., Served]


@pytest.fixture
def serve(page: Path) -> Iterator[Serve]:
    """Serve labs on free ports until the test ends."""
    running: list[tuple[uvicorn.Server, threading.Thread, Desk]] = []

    def start(lab: Lab, door: server.Door | None = None) -> Served:
        door, desk = door or server.Door(), Desk(lab)
        config = uvicorn.Config(
            server.app(desk, door, server.page_files()), log_level="error", lifespan="off", ws_max_size=2**18
        )
        listening = server.listen("127.0.0.1", 0)
        one = uvicorn.Server(config)
        thread = threading.Thread(target=one.run, kwargs={"sockets": [listening]})
        thread.start()
        running.append((one, thread, desk))
        while not one.started:
            time.sleep(0.01)
        return Served(listening.getsockname()[1], door)

    yield start
    for one, thread, desk in running:
        one.should_exit = True
        thread.join()
        desk.close()


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
