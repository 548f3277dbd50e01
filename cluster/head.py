"""The job server of a Ray cluster: what it knows of our jobs, and what goes wrong on the way to it, in one line each."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from cluster.job import OURS
from pqsearch.errors import UserError

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
#: Ray's own name for it, which would outrank every address that a caller gives.
ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
ANSWER_SECONDS = 10.0
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
#: Lines of a job's log that Ray writes there itself.
_RAYS = re.compile(r"^(Running entrypoint for job |\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+\t?\s*(INFO|WARNING) )")


class Refused(Exception):
    """The job server does not do what it is asked, as its caller has expected."""


@dataclass(frozen=True)
class Job:
    """A run that was submitted, as the cluster has it. Times are seconds since 1970."""

    id: str
    study: str
    status: str
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    message: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        return self.status in ENDED


class Head:
    """A connection to `http://HEAD:8265`. Everything that the user can mend is a `UserError`."""

    def __init__(self, address: str | None = None) -> None:
        self.address = (address or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS).rstrip("/")
        _reach(self.address)
        import ray

        with self._told(), _outranking(self.address):
            from ray.job_submission import JobSubmissionClient

            for name in ("dashboard_sdk", "job.sdk"):  # they tell of every upload
                logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.ERROR)
            self._client = JobSubmissionClient(self.address)
            theirs = self._client._server_ray_version  # what `/api/version` said
        if theirs != ray.__version__:
            raise UserError(
                f"--address {self.address}: the cluster runs Ray {theirs}, this command Ray {ray.__version__}; "
                f"pip install 'ray=={theirs}' here, or the other version there"
            )

    def submit(self, request: Mapping[str, Any], id: str, package: str | None = None) -> bool:
        """Send a request under an id. False if the id was ever used."""
        environment = {key: value for key, value in request["runtime_env"].items() if key != "excludes"}
        if package is not None:
            environment["working_dir"] = package
        try:
            with self._told("already exists"):
                self._client.submit_job(
                    entrypoint=request["entrypoint"],
                    submission_id=id,
                    runtime_env=environment,
                    metadata=dict(request["metadata"]),
                )
        except Refused:
            return False
        return True

    def jobs(self) -> list[Job]:
        """Ours, oldest first."""
        with self._told():
            found = self._client.list_jobs()
        return sorted((_job(one) for one in found if _ours(one)), key=lambda job: (job.started or 0.0, job.id))

    def job(self, id: str) -> Job:
        """One of ours; a `UserError` for what is not."""
        found = self._details(id)
        if not _ours(found):
            raise UserError(f"{id}: is a job at {self.address}, but no study's; `pqsearch jobs` lists those that are")
        return _job(found)

    def state(self, id: str) -> Job:
        """Any job."""
        return _job(self._details(id))

    def _details(self, id: str) -> Any:
        try:
            with self._told("status code 404"):
                return self._client.get_job_info(quote(id, safe=""))  # it becomes part of an address
        except Refused:
            raise UserError(f"{id}: no such job at {self.address}; `pqsearch jobs` lists those there are") from None

    def logs(self, id: str) -> str:
        """All that the job has printed so far."""
        with self._told():
            return self._client.get_job_logs(id)

    def stop(self, id: str) -> None:
        """Ask a job to end: SIGTERM, and SIGKILL a minute later."""
        with self._told():
            self._client.stop_job(id)

    def delete(self, id: str) -> None:
        """Forget a job that has ended."""
        with self._told():
            self._client.delete_job(id)

    @contextmanager
    def _told(self, expected: str | None = None) -> Iterator[None]:
        """Say what the client raises in one line; `Refused` for what is expected to be."""
        from ray.exceptions import AuthenticationError

        where = f"--address {self.address}"
        try:
            yield
        except AuthenticationError as error:
            raise UserError(f"{where}: {_token_words(str(error))}") from None
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{where}: what answers there is no Ray job server; {_WAY_THERE}") from None
        except OSError as error:  # also those of `requests`
            raise UserError(f"{where}: no Ray job server answers there ({_first_line(error)}); {_WAY_THERE}") from None
        except RuntimeError as error:
            if "ray[default]" in str(error):
                raise UserError(
                    "ray: jobs need more of it than is installed here; pip install 'ray[default]'"
                ) from None
            if expected is not None and expected in str(error):
                raise Refused from None
            raise UserError(f"{where}: the job server refuses: {_last_line(error)}") from None


_WAY_THERE = "give http://HEAD:8265, where `ray start --head` says that the dashboard is, or forward that port"


def own_lines(log: str) -> list[str]:
    """What the command printed, without empty lines and what Ray put around it."""
    return [line for line in log.splitlines() if line.strip() and not _RAYS.match(line)]


def _reach(address: str) -> None:
    """Refuse what is no address, or nothing within ten seconds, before a library waits for minutes."""
    try:
        parts = urlsplit(address)
        usual = {"http": 80, "https": 443}[parts.scheme]
        port = parts.port or usual
        if not parts.hostname:
            raise KeyError
    except (KeyError, ValueError):
        raise UserError(f"--address {address}: must be http://HOST:PORT or https://HOST:PORT; {_WAY_THERE}") from None
    try:
        socket.create_connection((parts.hostname, port), ANSWER_SECONDS).close()
    except OSError as error:
        raise UserError(f"--address {address}: cannot be reached ({error.strerror or error}); {_WAY_THERE}") from None


@contextmanager
def _outranking(address: str) -> Iterator[None]:
    """The address that was asked for counts, whatever the environment says."""
    before = os.environ.get(ADDRESS_VARIABLE)
    os.environ[ADDRESS_VARIABLE] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ[ADDRESS_VARIABLE]
        else:
            os.environ[ADDRESS_VARIABLE] = before


def _token_words(text: str) -> str:
    way = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's own"
    if text.startswith("Authentication failed"):
        return f"the cluster refuses the token that it was sent; {way}"
    return f"the cluster asks for a token and got none; {way}"


def _ours(details: Any) -> bool:
    return details.submission_id is not None and OURS in (details.metadata or {}) and "of" not in details.metadata


def _job(details: Any) -> Job:
    metadata = dict(details.metadata or {})
    return Job(
        details.submission_id,
        metadata.get("study", ""),
        str(getattr(details.status, "value", details.status)),
        details.start_time / 1000 if details.start_time else None,
        details.end_time / 1000 if details.end_time else None,
        details.driver_exit_code,
        details.message or "",
        metadata,
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _last_line(error: BaseException) -> str:
    """The server answers with the traceback of what it refuses."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1].strip()[:300]
