"""The server of the page: plain HTTP, news as server-sent events, optuna-dashboard under its own paths."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from aiohttp import web
from plotly.offline import get_plotlyjs

from pqsearch.dashboard import bridge
from pqsearch.dashboard.feed import Feed
from pqsearch.dashboard.optuna_side import PATHS, OptunaSide
from pqsearch.dashboard.watched import Watched
from pqsearch.errors import UserError
from pqsearch.report.style import STYLE

PAGE = Path(__file__).with_name("page.html")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
#: A connection that carries nothing for so long gets an empty line: whoever stands between may cut it off otherwise.
KEEP_ALIVE_SECONDS = 15.0
#: After so many milliseconds a page that lost its server asks again.
RETRY = 2000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound, on a free port for port 0. Raises `UserError`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise UserError(f"--host {host}: is no address of this machine; leave it out for 127.0.0.1") from None
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        # Two that are bound and not listening would not notice each other.
        bound.listen(128)
    except (OSError, OverflowError) as error:
        bound.close()
        words = getattr(error, "strerror", None) or str(error)
        raise UserError(f"--port {port}: cannot be had on {host} ({words}); give another one, or 0 for any") from None
    return bound


def address(bound: socket.socket) -> str:
    """Where the page is, as a browser on this machine takes it."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class Dashboard:
    """Routes and what they answer. `private` ones are answered to this machine's own names only."""

    def __init__(self, watched: Watched, private: bool) -> None:
        self._watched = watched
        self._private = private
        self._feed = Feed(watched)
        optuna_log = watched.spec.study.optuna_log
        self._optuna = OptunaSide(Path(optuna_log) if optuna_log else watched.run.optuna, self._figures)
        self._closing = asyncio.Event()
        # A page that comes back to another server forgets what it was told by the last one.
        self._name = secrets.token_hex(4)
        self._page = PAGE.read_text(encoding="utf-8")
        self._plotly = b""

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._headers])
        app.router.add_get("/", self._index)
        app.router.add_get("/style.css", self._style)
        app.router.add_get("/plotly.js", self._plotly_js)
        app.router.add_get("/state", self._state)
        app.router.add_get("/events", self._events)
        app.router.add_get("/figure/{id}", self._figure)
        app.router.add_get("/report", self._report)
        for path in PATHS:
            app.router.add_route("*", path + "{rest:(/.*)?}", self._bridged)
        app.router.add_get("/favicon.ico", self._bridged)
        app.cleanup_ctx.append(self._watching)
        app.on_shutdown.append(self._close)
        return app

    async def _watching(self, app: web.Application) -> AsyncIterator[None]:
        await self._feed.look()
        task = asyncio.create_task(self._feed.watch())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        self._feed.close()
        self._optuna.close()

    async def _close(self, app: web.Application) -> None:
        self._closing.set()

    @web.middleware
    async def _headers(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # A page elsewhere may give its own name the address of this machine: a browser would let it read what is here.
        if self._private and request.url.host not in LOOPBACK:
            raise web.HTTPForbidden(
                text="ask for this page as localhost or 127.0.0.1; --host serves it under other names"
            )
        response = await handler(request)
        if not response.prepared:
            response.headers.setdefault("X-Content-Type-Options", "nosniff")
            response.headers.setdefault("X-Frame-Options", "DENY")
            response.headers.setdefault("Referrer-Policy", "no-referrer")
        return response

    async def _index(self, request: web.Request) -> web.Response:
        script = self._page.partition("<script>")[2].partition("</script>")[0]
        digest = base64.b64encode(sha256(script.encode()).digest()).decode()
        # Whatever a name should smuggle in: nothing runs but our own script and plotly.
        policy = (
            f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
            "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache"}
        return web.Response(text=self._page, content_type="text/html", headers=headers)

    async def _style(self, request: web.Request) -> web.Response:
        return web.Response(text=STYLE, content_type="text/css", headers={"Cache-Control": "no-cache"})

    async def _plotly_js(self, request: web.Request) -> web.Response:
        if not self._plotly:
            self._plotly = await asyncio.to_thread(lambda: gzip.compress(get_plotlyjs().encode(), compresslevel=5))
        return _zipped(self._plotly, "text/javascript", "max-age=86400")

    async def _state(self, request: web.Request) -> web.Response:
        return web.json_response(self._content())

    async def _figure(self, request: web.Request) -> web.Response:
        data = await self._feed.figure(request.match_info["id"])
        if data is None:
            raise web.HTTPNotFound(text="there is no such figure")
        return _zipped(data, "application/json", "no-store")

    async def _report(self, request: web.Request) -> web.StreamResponse:
        if not self._watched.run.report.is_file():
            raise web.HTTPNotFound(text="there is no report yet; `pqsearch report` writes one")
        return web.FileResponse(self._watched.run.report)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(f"retry: {RETRY}\n\n".encode())
        seen = 0
        with contextlib.suppress(ConnectionError):  # whoever looked on has gone
            while not self._closing.is_set():
                if await self._next(seen):
                    seen = self._feed.number
                    await response.write(f"data: {json.dumps(self._content())}\n\n".encode())
                else:
                    await response.write(b":\n\n")
        return response

    async def _next(self, seen: int) -> bool:
        """Whether there is news, as soon as there is; not later than the server ends."""
        news = asyncio.create_task(self._feed.next(seen, KEEP_ALIVE_SECONDS))
        end = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait((news, end), return_when=asyncio.FIRST_COMPLETED)
            return news.done() and news.result()
        finally:
            news.cancel()
            end.cancel()

    def _content(self) -> dict[str, object]:
        return {"server": self._name, **self._feed.content, "optuna": self._optuna.trouble()}

    def _figures(self) -> list[tuple[str, Any]]:
        """As optuna-dashboard takes them: named inside, since it shows no heading, and as high as the place that it has."""
        named = {"x": 0, "xref": "paper", "y": 0.98, "yref": "container", "yanchor": "top", "font": {"size": 15}}
        return [
            (one.id, one.draw().update_layout(title={"text": one.title, **named}, margin={"t": 110}, height=None))
            for one in self._feed.sections()
            if one.draw is not None
        ]

    async def _bridged(self, request: web.Request) -> web.Response:
        if request.method not in bridge.READING:
            raise web.HTTPMethodNotAllowed(
                request.method, bridge.READING, text="this is a copy to look at: nothing in it can be changed"
            )
        if (trouble := self._optuna.trouble()) is not None:
            raise web.HTTPNotFound(text=trouble)
        values = bridge.environment(request)
        app = await self._feed.run(self._optuna.app)
        # It may take its time, over the importance of parameters for one: our own page goes on.
        return await asyncio.to_thread(bridge.answer, app, values)


def _zipped(data: bytes, kind: str, cache: str) -> web.Response:
    """Every browser takes gzip; what does not is told so by the header."""
    headers = {"Content-Encoding": "gzip", "Cache-Control": cache}
    return web.Response(body=data, content_type=kind, charset="utf-8", headers=headers)


async def serve(watched: Watched, bound: socket.socket, say: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM. `say` is called once pages are answered."""
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    dashboard = Dashboard(watched, private=bound.getsockname()[0] in LOOPBACK)
    runner = web.AppRunner(dashboard.app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, bound).start()
        say()
        await over.wait()
    finally:
        await runner.cleanup()
