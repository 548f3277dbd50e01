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
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from pyarrow import fs

START_SECONDS = 120.0
SECRET = "open-sesame"
#: What a client needs besides the address; without it there is no waiting for keys from a cloud's own service.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "searcher",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Server:
    """One server. Started again after it was stopped, it is empty."""

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

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=60)
            self._process = None

    def ask_for_keys(self, whether: bool) -> None:
        """From now on serve only those whose keys the server has made itself, so nobody; or everybody."""
        data, headers = (b"0" if whether else b"inf"), {"Content-Type": "text/plain"}
        address = f"http://127.0.0.1:{self.port}/moto-api/reset-auth"
        urllib.request.urlopen(urllib.request.Request(address, data, headers), timeout=30).close()

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

    def bucket(self) -> Bucket:
        """A new one."""
        name = f"runs-{uuid.uuid4().hex[:12]}"
        self.files.create_dir(name)
        return Bucket(self, name)


@dataclass(frozen=True)
class Bucket:
    """A bucket, looked at from outside."""

    server: Server
    name: str

    def url(self, folder: str = "small") -> str:
        """The address of a folder in it."""
        endpoint = quote(f"http://127.0.0.1:{self.server.port}", safe="")
        return f"s3://{self.name}/{folder}?endpoint_override={endpoint}"

    def objects(self, folder: str = "small") -> dict[str, bytes]:
        """Everything below a folder, by name."""
        files, root = self.server.files, f"{self.name}/{folder}"
        rows = files.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
        found = {}
        for row in rows:
            if row.type == fs.FileType.File:
                with files.open_input_stream(row.path) as stream:
                    found[row.path.removeprefix(f"{root}/")] = stream.read()
        return found

    def put(self, name: str, data: bytes) -> None:
        """An object from somebody else."""
        with self.server.files.open_output_stream(f"{self.name}/{name}") as stream:
            stream.write(data)

    def remove(self, folder: str = "small") -> None:
        """Everything below a folder."""
        self.server.files.delete_dir_contents(f"{self.name}/{folder}", missing_dir_ok=True)


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
        print(
            *(f"export {name}={value}" for name, value in ENVIRONMENT.items()),
            running.bucket().url("FOLDER"),
            sep="\n",
            flush=True,
        )
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopped")
