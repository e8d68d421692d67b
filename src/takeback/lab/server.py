"""The live page's server: the page's own files, and a WebSocket to the desk; for this machine unless told."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from takeback.lab.desk import Desk
from takeback.lab.lab import Lab
from takeback.run.errors import TakebackError
from takeback.run.extras import needed

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.datastructures import Headers

HOST: Final = "127.0.0.1"
PORT: Final = 8642
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
"""Names of this machine, by which a page on it is asked for."""

PAGE: Final = Path(__file__).with_name("page")
"""Where the built page lies."""

TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
"""The files of a page that are served, by their endings."""

INDEX: Final = "index.html"
TABS: Final = 32
"""Pages that are open at once, at most."""

LONGEST: Final = 2**18
"""Bytes of a message from a page, at most."""

_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_REFUSED: Final = 4403
"""The code with which a WebSocket is closed that may not speak."""


@dataclass(frozen=True)
class Door:
    """Who may come in.

    Attributes:
        host: the interface that is listened on.
        token: what everyone has to know who comes from elsewhere; None where only this machine is let in.
    """

    host: str = HOST
    token: str | None = None

    @classmethod
    def on(cls, host: str) -> Door:
        """Return the door of an interface: one that others reach has a token."""
        return cls(host, None if host in LOOPBACK else secrets.token_urlsafe(24))

    def knows(self, headers: Headers) -> bool:
        """Tell whether a request names this machine: a page elsewhere whose name leads here does not."""
        return self.token is not None or _name(headers.get("host", "")) in LOOPBACK

    def admits(self, headers: Headers, token: str) -> bool:
        """Tell whether a page may speak: it came from here, and knows the token if there is one."""
        origin, host = headers.get("origin", ""), headers.get("host", "")
        own = bool(host) and origin.partition("://")[2] == host and origin.startswith(("http://", "https://"))
        told = self.token is None or secrets.compare_digest(token.encode(), self.token.encode())
        return self.knows(headers) and own and told

    def address(self, port: int) -> str:
        """Return where the page is."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}/" + (f"?token={self.token}" if self.token else "")


def _name(host: str) -> str:
    """Return the name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def page_files() -> dict[str, bytes]:
    """Return the files of the built page by name: these are served, and nothing else is.

    Raises:
        TakebackError: the page was not built.
    """
    paths = [path for path in sorted(PAGE.glob("*")) if path.suffix in TYPES and path.is_file()]
    files = {path.name: path.read_bytes() for path in paths}
    if INDEX not in files:
        raise TakebackError(f"the lab's page is not built: {PAGE / INDEX} is missing; run make page")
    return files


def app(desk: Desk, door: Door, files: Mapping[str, bytes]) -> Starlette:
    """Make the server."""
    needed("starlette", "lab")
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket, WebSocketDisconnect

    async def page(request: Request) -> Response:
        if not door.knows(request.headers):
            return Response("this server answers to localhost alone", 421, dict(_HEADERS))
        name = request.path_params.get("name") or INDEX
        if name not in files:
            return Response("there is no such file", 404, dict(_HEADERS))
        kind = TYPES[Path(name).suffix]
        return Response(files[name], 200, dict(_HEADERS), kind)

    async def talk(socket: WebSocket) -> None:
        if not door.admits(socket.headers, socket.query_params.get("token", "")) or desk.crowded(TABS):
            await socket.close(_REFUSED)
            return
        await socket.accept()
        loop, told = asyncio.get_running_loop(), asyncio.Queue[str]()
        tab = desk.enter(_sender(loop, told))

        async def tell() -> None:
            while True:
                await socket.send_text(await told.get())

        telling = asyncio.create_task(tell())
        try:
            while True:
                message = _read(await socket.receive_text())
                desk.ask(tab, message) if message is not None else await socket.close(1003)
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            desk.leave(tab)
            telling.cancel()

    routes = [Route("/", page), Route("/{name}", page), WebSocketRoute("/ws", talk)]
    return Starlette(routes=routes)


def _sender(loop: asyncio.AbstractEventLoop, told: asyncio.Queue[str]) -> Callable[[Mapping[str, Any]], None]:
    """Return what hands messages from the desk's thread to the loop."""

    def send(message: Mapping[str, Any]) -> None:
        text = json.dumps(message, allow_nan=False, separators=(",", ":"))
        if not loop.is_closed():
            loop.call_soon_threadsafe(told.put_nowait, text)

    return send


def _read(text: str) -> dict[str, Any] | None:
    """Return a message, None of what is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def serve(
    lab: Lab, host: str = HOST, port: int | None = None, announce: Callable[[str], None] = print
) -> None:
    """Show a lab until it is interrupted.

    Args:
        lab: what is shown.
        host: the interface to listen on; where others reach it they need the token in the address.
        port: the port, which has to be free; by default `PORT`, or any other if that is taken.
        announce: told the address once it is listened on.

    Raises:
        TakebackError: the port is taken, the page is not built, or the extra `lab` is not installed.
    """
    uvicorn, door, files = needed("uvicorn", "lab"), Door.on(host), page_files()
    listening = listen(host, port)
    desk = Desk(lab)
    try:
        config = uvicorn.Config(
            app(desk, door, files),
            log_level="warning",
            lifespan="off",
            ws_max_size=LONGEST,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        announce(door.address(listening.getsockname()[1]))
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        desk.close()
        listening.close()


def listen(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens on a port, or by default on the usual or a free one.

    Raises:
        TakebackError: the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    why = ""
    for wanted in (PORT, 0) if port is None else (port,):
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, wanted))
        except OSError as error:
            found.close()
            why = error.strerror or str(error)
            continue
        found.listen()
        return found
    raise TakebackError(f"can't listen on {host}, port {port or PORT}: {why}; name another --port")
