"""A wire between a client and a server that can be cut at a chosen moment: what a network does to a connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Self


class Proxy:
    """Forwards bytes between clients of its own loopback port and the server's port, until told otherwise.

    With `hook` set, the next bytes of a client that hold `marker` are given to it, with a function that sends them on, instead of
    being forwarded. From then on the client hears nothing more over this connection, and is cut off when the hook is done.
    The server does not notice, as when a cable is pulled. `refuse` closes new connections at once.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.marker = b""
        self.hook: Callable[[Callable[[], None]], None] | None = None
        self.refuse = False
        self._open: list[socket.socket] = []
        self._muted: set[socket.socket] = set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()
        for side in self._open:
            side.close()

    def cut(self) -> None:
        """End all connections, on both sides."""
        for side in self._open:
            _end(side)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuse:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._server))
            self._open += [client, server]
            threading.Thread(target=self._forward, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._forward, args=(server, client, False), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, from_client: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                hook = self.hook
                if from_client and hook is not None and self.marker in data:
                    self.hook = None
                    self._muted.add(target)
                    hook(lambda data=data: target.sendall(data))  # type: ignore[misc]
                    _end(source)
                    return
                if source not in self._muted:
                    target.sendall(data)
        except OSError:
            return
        finally:
            if not {source, target} & self._muted:
                _end(target)


def _end(side: socket.socket) -> None:
    try:
        side.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
