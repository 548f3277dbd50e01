"""A WSGI application under an aiohttp server: one request as its environment, its answer as a response."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from multidict import CIMultiDict

#: What changes nothing and may be asked.
READING = ("GET", "HEAD")


def environment(request: web.Request) -> dict[str, Any]:
    """The WSGI environment of a request without a body."""
    path = unquote(request.rel_url.raw_path)
    found = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path.encode().decode("latin-1"),
        "QUERY_STRING": request.rel_url.raw_query_string,
        "SERVER_NAME": request.url.host or "",
        "SERVER_PORT": str(request.url.port or 80),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": "0",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        found[f"HTTP_{name.upper().replace('-', '_')}"] = value
    # An application may count on these.
    found.setdefault("HTTP_ACCEPT_ENCODING", "")
    return found


def answer(app: Callable[..., Any], values: dict[str, Any]) -> web.Response:
    """What a WSGI application answers, whole."""
    status, headers = HTTPStatus.INTERNAL_SERVER_ERROR.value, CIMultiDict[str]()

    def start(line: str, rows: list[tuple[str, str]], error: Any = None) -> None:
        nonlocal status
        status = int(line.split()[0])
        headers.clear()
        headers.extend(rows)

    parts = app(values, start)
    try:
        body = b"".join(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()
    headers.popall("Content-Length", None)
    return web.Response(status=status, headers=headers, body=body)
