"""What of the working directory is sent with a job: code and specs, neither data nor runs."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pqsearch.errors import UserError
from pqsearch.spec import paths_in
from pqsearch.store_url import is_url

#: What Ray's job server accepts.
MOST_BYTES = 100 * 2**20
#: Keys whose files stay where they are: put where the nodes see them.
DATA_KEYS = ("data.root", "data.validation", "data.cache")
#: Left out of every package. As in a `.gitignore`, and beside what `.gitignore` and `.rayignore` name.
ALWAYS = (
    "/runs/",
    ".git",
    ".venv",
    "venv",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
)
#: Files that are named when a package is too large.
NAMED = 3


def excludes(data: Mapping[str, Any], run_dir: str, folder: Path) -> list[str]:
    """Patterns of what is not sent from `folder`. `data` is a spec with its paths as they are written: the job reads them there."""
    paths = [path for key, path in paths_in(data) if key in DATA_KEYS]
    folders = paths if is_url(run_dir) else [*paths, run_dir]
    inside = [found for path in folders if (found := _inside(Path(path).expanduser(), folder)) is not None]
    return [*ALWAYS, *(f"/{path}" for path in inside if path != "." and not path.startswith("runs/"))]


def command_path(spec: str | Path, folder: Path) -> str:
    """The spec's path as the job will know it. Raises a `UserError` if it is not sent at all."""
    found = _inside(spec, folder)
    if found is None:
        raise UserError(
            f"{spec}: is outside the working directory {folder}, which is what the cluster gets; move it there or give "
            "--working-dir"
        )
    return found


def pack(folder: Path, patterns: list[str], target: Path) -> Path:
    """The package as a file. Raises a `UserError` if it is more than Ray takes, before anything is sent."""
    import logging

    from ray._private.runtime_env.packaging import create_package  # what Ray itself would make of the folder

    quiet = logging.getLogger("pqsearch.package")
    quiet.setLevel(logging.WARNING)
    create_package(str(folder), target, include_gitignore=True, excludes=patterns, logger=quiet)
    size = target.stat().st_size
    if size > MOST_BYTES:
        raise UserError(
            f"{folder}: is {size / 2**20:.0f} MiB to send, Ray takes {MOST_BYTES // 2**20} MiB (largest: {_largest(target)}); "
            "name what the cluster does not need in .rayignore, or give another --working-dir"
        )
    return target


def sent_problems(data: Mapping[str, Any], folder: Path, package: Path) -> Iterator[str]:
    """What a spec names by a relative path and the cluster will not have. `data` has paths as they are written."""
    with zipfile.ZipFile(package) as archive:
        names = set(archive.namelist())
    for key, path in paths_in(data):
        if path.startswith(("/", "~")) or key in ("data.cache", "study.optuna_log"):
            continue
        if key in DATA_KEYS:
            yield (
                f"{key}: {path} would have to be sent, and data are not; put it where all nodes see it and give that path, "
                f"--set {key}=/PATH/ON/THE/CLUSTER"
            )
            continue
        found = _inside(folder / path, folder)
        if found is None:
            yield f"{key}: {path} is outside the working directory {folder}, which is what the cluster gets; move it there"
        elif (folder / found).is_file() and found not in names:
            yield f"{key}: {path} is not sent, an ignore file of the working directory leaves it out; take it out of there"


def _inside(path: str | Path, folder: Path) -> str | None:
    """`path` from the folder on, with links followed; None if it is elsewhere."""
    try:
        return (folder / path).resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return None


def _largest(package: Path) -> str:
    with zipfile.ZipFile(package) as archive:
        files = sorted(archive.infolist(), key=lambda file: -file.compress_size)[:NAMED]
    return ", ".join(f"{file.filename} {file.compress_size / 2**20:.0f} MiB" for file in files)
