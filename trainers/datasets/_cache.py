"""Decoded images on disk: built once, complete or not there at all, shared by every process of a machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pqsearch.errors import UserError

#: Raised when what `build` functions write changes.
FORMAT = 1
META = "meta.json"


def cached(
    cache: str | None, source: Path, options: Mapping[str, Any], build: Callable[[Path], dict[str, Any]]
) -> Path:
    """The folder that `build` filled for `source` (a file or a folder) as it is now, with these options.

    `build` gets an empty folder, writes `.npy` files into it and returns what to keep beside them as `meta.json`.
    Raises `UserError` when the cache cannot be written.
    """
    root = _root(cache)
    folder = root / _key(source, options)
    if _complete(folder):
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=root, prefix=f".{folder.name}-"))
        try:
            meta = build(temporary)
            sizes = {path.name: path.stat().st_size for path in temporary.iterdir()}
            (temporary / META).write_text(json.dumps({**meta, "files": sizes}))
            temporary.chmod(0o755)
            _publish(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"data.cache: cannot write decoded images in {root} ({error.strerror or error}); give another folder"
        ) from None
    return folder


def read_meta(folder: Path) -> dict[str, Any]:
    return json.loads((folder / META).read_text())


def read_array(folder: Path, name: str) -> Any:
    """An array of the folder, memory-mapped: processes share its pages and nothing is read before it is used."""
    return np.load(folder / f"{name}.npy", mmap_mode="r")


def _root(cache: str | None) -> Path:
    if cache is not None:
        return Path(cache).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pqsearch"


def _key(source: Path, options: Mapping[str, Any]) -> str:
    text = json.dumps([FORMAT, str(source.resolve()), _state(source), dict(options)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _state(source: Path) -> list[tuple[str, int, int]]:
    """Size and time of a file, or of every file below a folder: an image that is added or changed gives another key."""
    if source.is_file():
        found = source.stat()
        return [("", found.st_size, found.st_mtime_ns)]
    rows = []
    for parent, _, files in os.walk(source, followlinks=True):
        for name in files:
            path = Path(parent, name)
            if path.exists():
                found = path.stat()
                rows.append((path.relative_to(source).as_posix(), found.st_size, found.st_mtime_ns))
    return sorted(rows)


def _complete(folder: Path) -> bool:
    """Nobody, such as a cleaner of old files, took anything away."""
    try:
        sizes = read_meta(folder)["files"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError):
        return False


def _publish(temporary: Path, folder: Path) -> None:
    try:
        temporary.rename(folder)
    except OSError:
        # A folder that is complete by now is another process's, and as good as ours.
        if not folder.exists():
            raise
        if not _complete(folder):
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
