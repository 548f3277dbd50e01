"""A run as a Ray job: a request that can be printed and compared before anything is sent."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from pqsearch import __version__
from pqsearch.environment import RUNS_VARIABLE
from pqsearch.errors import UserError
from pqsearch.hidden import hide_passwords
from pqsearch.spec import Spec

#: What Ray gives a job between SIGTERM and SIGKILL; its own three seconds are short for a busy head.
STOP_SECONDS = 60
#: The key by which our jobs are known among those of others.
OURS = "pqsearch"


def render(
    spec: Spec,
    command: Sequence[str],
    *,
    digest: str,
    working_dir: str,
    excludes: Sequence[str] = (),
    retries: int = 0,
    runs: str | None = None,
) -> dict[str, Any]:
    """The request for `pqsearch COMMAND...` on a cluster.

    Its `study` and the number of the attempt make the submission id, which only the cluster can complete. `runs` is a folder
    of the cluster in which a relative run directory lies.
    """
    for text in command:
        if hide_passwords(text) != text:
            raise UserError(
                f"--set {hide_passwords(text)}: a job's command is shown to everyone who may see the cluster; leave the "
                "password to ~/.pgpass or PGPASSWORD on the cluster"
            )
    if ".." in spec.run_dir.split("/"):
        raise UserError(f"study.run_dir: {spec.run_dir} may lead anywhere on a cluster; give a path without ..")
    program = ["python", "-m", "cluster.again", str(retries)] if retries else ["python", "-m", "pqsearch"]
    variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}
    if runs is not None:
        variables[RUNS_VARIABLE] = runs
    return {
        "study": f"{spec.study.name}-{digest}",
        "entrypoint": shlex.join([*program, *command]),
        "runtime_env": {"working_dir": working_dir, "excludes": list(excludes), "env_vars": variables},
        "metadata": {
            OURS: __version__,
            "study": spec.study.name,
            "spec": digest,
            "run_dir": spec.run_dir,
            "runs": runs or "",
        },
    }


def digest_of(data: Mapping[str, Any]) -> str:
    """Eight digits for what a spec says, however it is written; a password in it has no part in them."""
    text = json.dumps(data, sort_keys=True, default=str)
    return hashlib.sha256(hide_passwords(text).encode()).hexdigest()[:8]
