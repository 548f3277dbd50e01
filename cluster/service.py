"""What `pqsearch submit` and `pqsearch fetch` do, from Python. Everything between them is a method of `cluster.head.Head`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cluster import fetching, submitting
from cluster.head import Head
from pqsearch import environment


def submit(
    spec: str | Path,
    overrides: Sequence[str] = (),
    *,
    address: str | None = None,
    working_dir: str | Path = ".",
    runs: str | None = None,
    retries: int = 0,
    timeout: float | None = None,
) -> str:
    """Run a spec on the cluster whose job server is at `address`; returns the job's id once the run has begun.

    Attaches where the study runs already, else begins its next attempt. Raises `UserError`.
    """
    environment.set_defaults()
    prepared = submitting.prepare(spec, overrides, working_dir=working_dir, retries=retries, timeout=timeout, runs=runs)
    head = Head(address)
    id = submitting.submit(prepared, head, _silent)
    submitting.until_begun(head, id, timeout, _silent)
    return id


def fetch(id: str, to: str | Path | None = None, *, address: str | None = None) -> Path:
    """Bring the results of a job's run into `to` (`runs/<study>`); returns that folder. Raises `UserError`."""
    environment.set_defaults()
    return fetching.fetch(Head(address), id, to)[0]


def _silent(text: str) -> None:
    """A library prints nothing."""
