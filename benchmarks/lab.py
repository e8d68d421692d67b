"""Time the lab: how long after a click the page is told what the hybrid does in the situation shown.

    python benchmarks/lab.py endgame-base runs/demo/arms/rl-win/seed-0/final
    python benchmarks/lab.py BASE TUNED --arena rows:arena.yaml --situations 8 -o runs/lab

starts the server and clicks as a page does, over its WebSocket. `first` are sets and situations that nobody
asked for before, `new set` are new sets in a situation that was shown, `again` what was read before,
`interrupted` a click while the older one's effects are being read, and `thinking` one while attribution is
made. Milliseconds over some clicks each; CPU is that of the whole process, which what else a machine does
changes little. With -o the pool of an open arena and what is read are kept for the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from websockets.sync.client import ClientConnection, connect

from takeback.arenas import arena
from takeback.checkpoint import open_pair
from takeback.lab.desk import REST, Desk
from takeback.lab.lab import Lab
from takeback.lab.server import Door, app, listen
from takeback.lab.views import view_of_pair
from takeback.measure.setup import Setup
from takeback.policies.load import home_of

THINKING = 0.3
"""Seconds after which attribution is at work."""

ROW = "{:14} {:>8} {:>8} {:>8} {:>8}"


def main() -> None:
    """Click, and print how long answers took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("tuned")
    parser.add_argument("--arena")
    parser.add_argument("--situations", type=int, default=96)
    parser.add_argument("--clicks", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--out", type=Path)
    asked = parser.parse_args()
    setup = Setup(asked.out, threads=asked.threads)
    pair = open_pair(asked.base, asked.tuned)
    place = arena(asked.arena) if asked.arena else home_of(pair.base)
    lab = Lab([view_of_pair(pair, place, (asked.situations, 0), (), setup)])
    stage = lab.stage("pair")
    names = [str(one) for one in stage.bench.anatomy.universe if one.kind in ("H", "MLP", "U")]
    with _served(lab) as socket:
        page = Page(socket, stage.count)
        page.click(names[-1], 0)
        page.rest()
        parts = len(stage.bench.anatomy.universe)
        print(f"{asked.tuned}: {parts} components, {stage.count} situations of {place.name}")
        load = f"{os.getloadavg()[0]:.0f} processes at once" if hasattr(os, "getloadavg") else ""
        machine = f"{platform.machine()}, {os.cpu_count()} cores, {asked.threads} used, {load}"
        print(f"{machine}, {datetime.now(UTC).date()}", flush=True)
        print(ROW.format("click", "median", "worst", "CPU", "clicks"))
        some = names[: asked.clicks]
        _row(
            "first",
            [lambda name=name, n=n: page.click(name, n + 1) for n, name in enumerate(some)],
            page.rest,
        )
        _row("new set", [lambda name=name: page.click(f"{name} {names[-1]}", 0) for name in some], page.rest)
        _row("again", [lambda name=name: page.click(f"{name} {names[-1]}", 0) for name in some], page.rest)
        _row("interrupted", [lambda name=name: page.click(f"{name} {names[-2]}", 0) for name in some])
        page.rest()
        _row(
            "thinking",
            [lambda name=name: page.click(f"{name} {names[-3]}", 0) for name in some],
            lambda: page.rest(REST + THINKING),
        )


class Page:
    """What clicks and waits."""

    def __init__(self, socket: ClientConnection, situations: int) -> None:
        self.socket, self.situations, self.id = socket, situations, 0

    def click(self, components: str, situation: int) -> float:
        """Return after how many milliseconds the answer came."""
        self.id += 1
        message = {
            "type": "select",
            "id": self.id,
            "set": components,
            "situation": situation % self.situations,
        }
        began = time.perf_counter()
        self.socket.send(json.dumps(message))
        self._until("answer")
        return 1000 * (time.perf_counter() - began)

    def rest(self, seconds: float = 0.0) -> None:
        """Stop what the last click began: effects and random sets are not what is timed; and wait."""
        self.id += 1
        self.socket.send(json.dumps({"type": "stop", "id": self.id}))
        self._until("done")
        time.sleep(seconds)

    def _until(self, kind: str) -> None:
        while True:
            told = json.loads(self.socket.recv())
            assert told["type"] != "refused", told
            if (told["type"], told.get("id")) == (kind, self.id):
                return


def _row(name: str, clicks: list[Callable[[], float]], after: Callable[[], None] = lambda: None) -> None:
    times: list[float] = []
    busy: list[float] = []
    for click in clicks:
        began = time.process_time()
        times.append(click())
        busy.append(1000 * (time.process_time() - began))
        after()
    told = [f"{one:.0f}" for one in (statistics.median(times), max(times), statistics.median(busy))]
    print(ROW.format(name, *told, len(times)), flush=True)


@contextmanager
def _served(lab: Lab) -> Iterator[ClientConnection]:
    desk, listening = Desk(lab), listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app(desk, Door(), {}), log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    with connect(f"ws://{address}/ws", origin=f"http://{address}", max_size=None) as socket:  # type: ignore[arg-type]
        yield socket
    server.should_exit = True
    thread.join()
    desk.close()


if __name__ == "__main__":
    main()
