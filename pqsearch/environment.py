"""What must be in the environment before torch or ray load, and what of it a result depends on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

#: OpenMP threads that spin while waiting starve each other as soon as a core is shared.
TORCH_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # The journal is the record; Tune's own snapshots are never read.
    "TUNE_GLOBAL_CHECKPOINT_S": "100000",
    "RAY_AIR_NEW_OUTPUT": "0",
}
#: The folder that relative run directories lie in, for who runs where the current directory does not last.
RUNS_VARIABLE = "PQSEARCH_RUNS"
#: How Ray names the folders into which it unpacks what was sent with a job, and which it removes again.
SENT_FOLDER = "_ray_pkg_"
VERSIONS = ("pqsearch", "torch", "torchvision", "torch-pruning", "ray", "optuna", "numpy", "scipy")


def set_defaults() -> None:
    """Called by every entry point before torch and ray are imported; the user's own settings win."""
    for key, value in (TORCH_ENVIRONMENT | RAY_ENVIRONMENT).items():
        os.environ.setdefault(key, value)


def run_folder(path: str) -> Path:
    """A run directory's place: the current directory's, or what outlives a job where that is only what was sent with it."""
    folder = os.environ.get(RUNS_VARIABLE)
    if folder is None and any(part.startswith(SENT_FOLDER) for part in Path.cwd().parts):
        folder = "~/pqsearch"
    return Path(folder or "").expanduser() / path


def as_sent(path: str) -> str:
    """A path in what was sent with a job, from there on: where Ray unpacks it changes with every attempt. Others as they are."""
    parts = Path(path).parts
    found = next((number for number, part in enumerate(parts) if part.startswith(SENT_FOLDER)), None)
    return path if found is None else Path(*parts[found + 1 :]).as_posix()


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def hardware() -> dict[str, str | int]:
    return {"machine": platform.machine(), "processor": _processor(), "cores": os.cpu_count() or 1}


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            names = {line.partition(":")[2].strip() for line in file if line.startswith("model name")}
    except OSError:
        names = set()
    return ", ".join(sorted(names)) or platform.processor() or "unknown"
