"""Ray on this machine, or the cluster that RAY_ADDRESS names."""

from __future__ import annotations

import math
import os
import signal
import socket
import sys
import threading
from typing import Any

from pqsearch.errors import SearchAborted, UserError
from pqsearch.spec import Spec
from pqsearch.spec_search import WorkersSpec

#: Enough for Tune's own messages; data reaches workers through memory-mapped files, not through the object store.
OBJECT_STORE_BYTES = 256 * 2**20
#: A Ray that is started for one process and ends with it.
LOCAL = "local"
#: How long whoever is at RAY_ADDRESS may take to answer at all.
KNOCK_SECONDS = 10.0


def render(spec: Spec, verbose: bool = False) -> dict[str, Any]:
    """Arguments of `ray.init` for a search: a value that can be printed and compared."""
    threads = str(max(1, math.floor(spec.workers.cpus)))
    request: dict[str, Any] = {
        "namespace": "pqsearch",
        "log_to_driver": verbose,
        "logging_level": "INFO" if verbose else "ERROR",
        "configure_logging": True,
        "runtime_env": {"env_vars": {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE"}},
    }
    if os.environ.get("RAY_ADDRESS"):
        return {**request, "address": os.environ["RAY_ADDRESS"]}
    # Those who search, or those who train together afterwards: never both at once.
    count = max(spec.workers.count, spec.baseline.workers, spec.finetune.workers)
    return {
        **request,
        "address": LOCAL,
        "include_dashboard": False,
        "num_cpus": math.ceil(count * spec.workers.cpus),
        "num_gpus": math.ceil(count * spec.workers.gpus),
        # A Ray of one's own has whatever its only search asks for.
        "resources": {name: math.ceil(count * number) for name, number in spec.workers.resources.items()},
        "object_store_memory": OBJECT_STORE_BYTES,
    }


def task_options(workers: WorkersSpec) -> dict[str, Any]:
    """What Ray is told of a task that takes as much as a worker."""
    return {"num_cpus": workers.cpus, "num_gpus": workers.gpus, "resources": workers.resources}


def connect(request: dict[str, Any]) -> None:
    """Send the request; a second call in a process that is already connected changes nothing.

    Raises `UserError` where no Ray, or another version of it, is at RAY_ADDRESS, `SearchAborted` where none starts on this machine.
    """
    import ray

    if ray.is_initialized():
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        _knock(request["address"])
        ray.init(**request)
    except Exception as error:
        raise _refused(request["address"], " ".join(str(error).split())) from error
    # Ray's own handler aborts the process; stopping a job must end it as whoever embeds us has said.
    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def joined() -> bool:
    """Whether this process is part of a Ray. Nobody who has not imported it is."""
    return "ray" in sys.modules and sys.modules["ray"].is_initialized()


def _knock(address: str) -> None:
    """Where nobody listens Ray would try for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()


def _refused(address: str, reason: str) -> Exception:
    if address == LOCAL:
        return SearchAborted(
            f"Ray did not start on this machine ({reason}); nothing finished is lost; the same command continues"
        )
    way = (
        "install one version in both places" if "Version mismatch" in reason else "give the host:port of one that runs"
    )
    return UserError(
        f"RAY_ADDRESS: Ray cannot be joined at {address!r} ({reason}); {way}, or unset it for a Ray of this machine's own"
    )
