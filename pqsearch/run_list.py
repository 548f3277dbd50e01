"""The runs under a folder, each in a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pqsearch.errors import UserError
from pqsearch.journal.lock import look
from pqsearch.run_dir import RunDirectory
from pqsearch.study import read_study
from pqsearch.tables import text_table


def list_runs(root: str | Path) -> list[dict[str, Any]]:
    """What is known of each run under `root`, the one that was touched last first. Raises `UserError` without such a folder.

    A run that cannot be read has its reason in `trouble`, and the others are listed all the same.
    """
    top = Path(root)
    if not top.is_dir():
        raise UserError(f"{root}: is not a folder; give the one that runs are in")
    found = [_row(run, top) for run in _runs(top)]
    return sorted(found, key=lambda row: -row["touched"])


def _runs(folder: Path) -> Iterator[RunDirectory]:
    run = RunDirectory(folder)
    if run.holds_run:
        yield run
        return
    for inner in sorted(folder.iterdir()):
        if inner.is_dir() and not inner.is_symlink() and not inner.name.startswith("."):
            yield from _runs(inner)


def _row(run: RunDirectory, top: Path) -> dict[str, Any]:
    row: dict[str, Any] = {
        "run": str(run.path.relative_to(top.absolute())) if run.path != top.absolute() else ".",
        "touched": max(path.stat().st_mtime for path in (run.spec, run.logs, run.path)),
        "trouble": None,
    }
    try:
        return {**row, **_known(run)}
    except UserError as error:
        return {**row, "trouble": str(error).splitlines()[0]}


def _known(run: RunDirectory) -> dict[str, Any]:
    spec = run.read_spec()
    summary = run.read(run.summary)
    known: dict[str, Any] = {
        "model": spec.model.name,
        "data": spec.data.name,
        "algorithm": spec.algorithm.name,
        "budgets": dict(spec.budgets),
        "evaluations": spec.study.evaluations,
        "done": 0,
        "best": None,
        "state": "baseline" if run.baseline.is_file() else "begun",
        "test_accuracy": None,
        "test_standard_error": None,
        "baseline_accuracy": None,
    }
    if run.journal.exists():
        state = read_study(run.journal)
        best = state.best()
        known["done"] = state.done
        known["best"] = best["accuracy"] if best is not None else None
        known["state"] = "searched" if state.finished else "searching"
    if summary is not None:
        searched = summary.get("searched") or {}
        known["state"] = "finished"
        known["test_accuracy"] = searched.get("test_accuracy")
        known["test_standard_error"] = searched.get("test_standard_error")
        known["baseline_accuracy"] = summary["baseline"]["test_accuracy"]
    elif look(run.lock) is None and known["state"] == "searching":
        known["state"] = "stopped"
    return known


def runs_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """For reading."""
    heads = ("run", "state", "model", "algorithm", "plans", "proxy %", "test %", "float %", "budgets")
    rows = []
    for run in runs:
        if run["trouble"]:
            rows.append((run["run"], "unreadable", "", "", "", "", "", "", run["trouble"]))
            continue
        test = run["test_accuracy"]
        rows.append(
            (
                run["run"], run["state"], run["model"], run["algorithm"], f"{run['done']}/{run['evaluations']}",
                _percent(run["best"]),
                "" if test is None else f"{_percent(test)} ± {_percent(run['test_standard_error'])}",
                _percent(run["baseline_accuracy"]),
                " ".join(f"{name}={limit:g}" for name, limit in run["budgets"].items()),
            )
        )  # fmt: skip
    return text_table(heads, rows)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"
