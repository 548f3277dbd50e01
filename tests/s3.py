"""A private S3 server on a loopback port, and the environment in which it is found. What is in it ends with it.

    python tests/s3.py    # starts one, prints what to set, and stops it at Ctrl-C
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from pyarrow import fs

START_SECONDS = 120.0
BUCKET = "runs"
SECRET = "open-sesame"
#: What a client needs besides the address; without it there is no waiting for keys from a cloud's own service.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "searcher",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Server:
    """One server with one bucket. Stopped, it is not there; started again, it is empty."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/moto-api/", timeout=5).close()
                break
            except OSError:
                assert self._process.poll() is None and time.monotonic() < deadline, "no S3 server"
                time.sleep(0.1)
        self.files.create_dir(BUCKET)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=60)
            self._process = None

    @property
    def query(self) -> str:
        return f"?endpoint_override={quote(f'http://127.0.0.1:{self.port}', safe='')}"

    def url(self, path: str = "small", bucket: str = BUCKET) -> str:
        """The address of a folder in a bucket."""
        return f"s3://{bucket}/{path}{self.query}"

    @property
    def files(self) -> fs.S3FileSystem:
        """A client of its own, that sees what is really there."""
        return fs.S3FileSystem(
            access_key=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
            secret_key=SECRET,
            region=ENVIRONMENT["AWS_DEFAULT_REGION"],
            endpoint_override=f"http://127.0.0.1:{self.port}",
            allow_bucket_creation=True,
        )

    def objects(self, path: str = "small", bucket: str = BUCKET) -> dict[str, bytes]:
        """Everything below a folder, by name."""
        selector = fs.FileSelector(f"{bucket}/{path}", recursive=True, allow_not_found=True)
        found = [row.path for row in self.files.get_file_info(selector) if row.type == fs.FileType.File]
        return {name.removeprefix(f"{bucket}/{path}/"): self.files.open_input_stream(name).read() for name in found}


@contextmanager
def server() -> Iterator[Server]:
    """A running server, gone when the context ends."""
    found = Server()
    try:
        found.start()
        yield found
    finally:
        found.stop()


if __name__ == "__main__":
    with server() as running:
        print(*(f"export {name}={value}" for name, value in ENVIRONMENT.items()), running.url("FOLDER"), sep="\n", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopped")
