"""A server that shows labs to whoever has a WebSocket or a browser."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import uvicorn
from websockets.sync.client import ClientConnection, connect

from takeback.lab import server
from takeback.lab.desk import Desk
from takeback.lab.lab import Lab


@dataclass
class Served:
    """A server that runs in a thread."""

    port: int
    door: server.Door
    stop: Callable[[], None]

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, origin: str | None = None, token: str = "", **more: Any) -> ClientConnection:
        """Open a page's socket."""
        query = f"?token={token}" if token else ""
        address = f"ws://127.0.0.1:{self.port}/ws{query}"
        return connect(address, origin=origin or self.origin, max_size=None, **more)  # type: ignore[arg-type]


Serve = Callable[..., Served]


def serving() -> Iterator[Serve]:
    """Serve labs, each on a free port unless told, until this is closed."""
    running: list[Served] = []

    def start(
        lab: Lab, door: server.Door | None = None, files: Mapping[str, bytes] | None = None, port: int = 0
    ) -> Served:
        door, desk = door or server.Door(), Desk(lab)
        app = server.app(desk, door, server.page_files() if files is None else files)
        config = uvicorn.Config(
            app, log_level="error", lifespan="off", ws_max_size=2**18, timeout_graceful_shutdown=1
        )
        listening = server.listen("127.0.0.1", port)
        one = uvicorn.Server(config)
        thread = threading.Thread(target=one.run, kwargs={"sockets": [listening]})
        thread.start()

        def stop() -> None:
            one.should_exit = True
            thread.join()
            desk.close()
            listening.close()

        running.append(Served(listening.getsockname()[1], door, stop))
        while not one.started:
            time.sleep(0.01)
        return running[-1]

    yield start
    for one in running:
        one.stop()
