"""A private PostgreSQL server in a temporary folder, on a loopback port, ended by its process id.

    python tests/postgres.py    # starts one, prints its address, and stops it at Ctrl-C

It needs Debian's `postgresql` (`make system-deps`). PostgreSQL refuses to run as root, so root starts it as `postgres`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

PASSWORD = "open-sesame:%/@"
QUOTED = "open-sesame%3A%25%2F%40"
START_SECONDS = 60.0


class Server:
    """One server, which may be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        (self._binaries,) = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:] or [Path("/usr/bin")]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._who: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        subprocess.run(
            [self._binaries / "initdb", "-D", folder / "data", "-U", "searcher", "-A", "scram-sha-256", "--pwfile", secret,
             "-E", "UTF8", "--no-locale", "-N"],
            check=True, capture_output=True, cwd=folder, **self._who,
        )  # fmt: skip

    def url(self, database: str = "postgres", user: str = "searcher", password: str = QUOTED) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        command = [self._binaries / "postgres", "-D", self._folder / "data", "-p", str(self.port), "-k", self._folder]
        settings = ["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=30"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *settings], stdout=log, stderr=log, cwd=self._folder, **self._who
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None and time.monotonic() < deadline, (self._folder / "log").read_text()
                time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends connections and shuts down; SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=60)
            self._process = None

    def run(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """A query as the owner of everything."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            cursor = connection.execute(query.encode(), values or None)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def server() -> Iterator[Server]:
    """A running server, gone with its folder when the context ends."""
    folder = Path(tempfile.mkdtemp(prefix="pqsearch-postgres-"))
    found: Server | None = None
    try:
        found = Server(folder)
        found.start()
        yield found
    finally:
        if found is not None:
            found.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    with server() as running:
        print(running.url(), flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopped")
