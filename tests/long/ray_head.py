"""A Ray cluster of one node on this machine, with a job server: its own ports, its own folder, on loopback, behind a token."""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import psutil
import ray

START_SECONDS, END_SECONDS, BIND_SECONDS = 300.0, 30.0, 60.0
#: With other ports each time.
STARTS = 3
ROOT = Path(__file__).resolve().parent.parent.parent


class RayHead:
    """`ray start --head --block` and everything that descends from it. Use it as a context. `settings` are environment variables
    of Ray's own, for its processes. Another head in the same folder sees what the first one's jobs have written, and nothing else
    of them.
    """

    def __init__(self, folder: Path, cpus: int = 2, **settings: str) -> None:
        # On a busy machine a node and its agents take longer to start than Ray would wait.
        patience = {
            "RAY_raylet_start_wait_time_s": f"{START_SECONDS:.0f}",
            "RAY_agent_register_timeout_ms": f"{START_SECONDS:.0f}000",
        }
        self._settings = {**patience, **settings}
        self.folder = folder
        self.home = folder / "home"
        self.token = folder / "token"
        self._cpus = cpus
        self._temporary = tempfile.TemporaryDirectory(prefix="ray", dir="/tmp")  # names of sockets have to be short
        self._ports = free_ports(5)

    def __enter__(self) -> Self:
        self.home.mkdir(exist_ok=True)
        self.token.write_text(secrets.token_hex(32))
        self.token.chmod(0o600)
        for _ in range(STARTS):
            if self._starts():
                return self
            # Between the look for free ports and Ray's taking them somebody else took one.
            self._ports = free_ports(5)
        raise AssertionError(f"no head after {STARTS} starts: {(self.folder / 'head.log').read_text()[-3000:]}")

    def _starts(self) -> bool:
        """Whether all of it runs in the end; one of its ports was taken where it does not."""
        dashboard, gcs, client, agent, metrics = self._ports
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats",
            "--node-ip-address", "127.0.0.1", "--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard),
            "--port", str(gcs), "--ray-client-server-port", str(client), "--dashboard-agent-listen-port", str(agent),
            "--metrics-export-port", str(metrics), "--min-worker-port", "0", "--max-worker-port", "0",
            "--num-cpus", str(self._cpus), "--num-gpus", "0", "--object-store-memory", str(128 * 2**20),
            "--temp-dir", self._temporary.name,
        ]  # fmt: skip
        with (self.folder / "head.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self.environment(**self._settings), start_new_session=True
            )
        started = False
        try:
            self._wait()
            started = self._listens()
            return started
        finally:
            if not started:
                _end(self._process)

    def __exit__(self, *error: object) -> None:
        _end(self._process)
        self._temporary.cleanup()

    def kill(self) -> None:
        """End all of it at once: the node, its jobs, the cluster's memory."""
        Node(self._process).kill()

    @property
    def address(self) -> str:
        """Of the job server."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def logs(self) -> Path:
        """What Ray writes down of this cluster, the output of jobs included."""
        return self.session / "logs"

    @property
    def session(self) -> Path:
        """The folder of Ray's session."""
        return Path(self._temporary.name) / "session_latest"

    @property
    def gcs(self) -> str:
        """What RAY_ADDRESS is for a command that joins this cluster: Ray takes the machine's own address for loopback."""
        return f"{ray.util.get_node_ip_address()}:{self._ports[1]}"

    def exported(self) -> str:
        """What this node exports for Prometheus."""
        host, *_ = self.gcs.split(":")
        with urllib.request.urlopen(f"http://{host}:{self._ports[-1]}/metrics", timeout=30) as answer:
            return answer.read().decode()

    def actors(self) -> str:
        """Names of the actors that are or were there, as JSON: what Ray's own `list actors` and its dashboard show."""
        code = (
            "import dataclasses, json, sys\nfrom ray.util.state import list_actors\n"
            "print(json.dumps([dataclasses.asdict(one) for one in list_actors(sys.argv[1], detail=True)]))"
        )
        command = [sys.executable, "-c", code, self.address]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment())
        assert done.returncode == 0, done.stderr
        return done.stdout

    def family(self) -> list[psutil.Process]:
        """Everything that this head has started and that lives."""
        return [one for one in _descendants(self._process.pid) if one.status() != psutil.STATUS_ZOMBIE]

    @contextmanager
    def another_node(self, *prefix: str, resources: Mapping[str, float] | None = None) -> Iterator[Node]:
        """One more node on this machine, of one CPU and resources by name; `prefix` is a command that starts it."""
        # As on a machine of its own: nodes that share a folder take the working directories of jobs away from each other.
        temporary = tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True)
        _, gcs, *_ = self._ports
        agent, metrics = free_ports(2)
        command = [
            *prefix, sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats",
            "--address", f"127.0.0.1:{gcs}", "--node-ip-address", "127.0.0.1", "--num-cpus", "1", "--num-gpus", "0",
            "--dashboard-agent-listen-port", str(agent), "--metrics-export-port", str(metrics),
            "--min-worker-port", "0", "--max-worker-port", "0", "--object-store-memory", str(128 * 2**20),
            "--resources", json.dumps(resources or {}), "--temp-dir", temporary.name,
        ]  # fmt: skip
        log = self.folder / f"node-{agent}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=file, env=self.environment(), start_new_session=True
            )
        try:
            deadline = time.monotonic() + START_SECONDS
            while "Ray runtime started" not in log.read_text():
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.2)
            yield Node(process)
        finally:
            _end(process)
            temporary.cleanup()

    def environment(self, **changes: str) -> dict[str, str]:
        """For the head and for commands that talk to it: its token, a home of its own, this python first on the PATH."""
        mine = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        return {
            **mine,
            "HOME": str(self.home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
            "OMP_NUM_THREADS": "1",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            **changes,
        }

    def command(self, *arguments: str | Path, cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
        """`pqsearch ARGUMENTS --address` of this head, as a process of its own."""
        words: Sequence[str] = [sys.executable, "-m", "pqsearch", *map(str, arguments)]
        if "--address" not in words:
            words = [*words, "--address", self.address]
        return subprocess.run(
            words, capture_output=True, text=True, check=False, cwd=cwd, env=self.environment(**changes)
        )

    def _wait(self) -> None:
        """Until it says that it has started, and its job server answers; or it ended since a port was taken."""
        deadline, log = time.monotonic() + START_SECONDS, self.folder / "head.log"
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                assert "Failed to bind" in log.read_text() or "in use" in log.read_text(), log.read_text()[-3000:]
                return
            try:
                urllib.request.urlopen(f"{self.address}/api/version", timeout=5).close()
            except urllib.error.HTTPError:  # it answers, and asks for the token
                if "Ray runtime started" in log.read_text():
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise AssertionError(f"no head: {log.read_text()[-3000:]}")

    def _listens(self) -> bool:
        """Whether its processes come to listen on the ports of dashboard, GCS and client server, and live."""
        deadline, missing = time.monotonic() + BIND_SECONDS, set(self._ports[:3])
        while missing and self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
            for one in self.family():
                with suppress(psutil.NoSuchProcess):
                    missing -= {here.laddr.port for here in one.net_connections() if here.status == psutil.CONN_LISTEN}
        return not missing and self._process.poll() is None


class Node:
    """A node, by the command that started it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def kill(self) -> None:
        """End all of it at once and without a word, as a power cut would."""
        family = [psutil.Process(self._process.pid), *_descendants(self._process.pid)]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.suspend()  # nobody notices that another one is gone, and cleans up
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        self._process.wait()


def _end(process: subprocess.Popen[bytes]) -> None:
    """A command and all that descends from it."""
    family = _descendants(process.pid)
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for member in family:
        try:
            member.kill()  # psutil knows whether the number is still that process's
        except psutil.NoSuchProcess:
            continue


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on now, below those that the system gives to connections."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(20000, 32000), 200):
        with socket.socket() as one, suppress(OSError):
            one.bind(("", port))
            found.append(port)
        if len(found) == number:
            return found
    raise AssertionError("no free ports")
