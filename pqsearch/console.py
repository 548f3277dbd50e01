"""Progress for people: a live table on a terminal, plain lines in a pipe, time-stamped lines in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

LINE_SECONDS = 5.0


class Progress:
    """Shows the states that stages report. Use it as a context; it may be called from several threads."""

    def __init__(self, log: Path | None = None, quiet: bool = False) -> None:
        self._console = Console(stderr=True)
        self._quiet = quiet
        self._log = log
        self._live: Live | None = None
        self._lock = threading.Lock()
        self._shown = ("", 0.0)
        self._stage = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._quiet:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, state: Mapping[str, Any]) -> None:
        """Show where a stage stands. `state` has `stage`, `done`, `total`, and what the stage adds."""
        line = stage_line(state)
        with self._lock:
            ended = state.get("total") and state.get("done") == state.get("total")
            text, shown = self._shown
            changed = line != text
            due = time.monotonic() - shown >= LINE_SECONDS or state["stage"] != self._stage or ended
            self._stage = state["stage"]
            if self._live is not None:
                self._live.update(live_table(state))
            if changed and due:
                self._shown = (line, time.monotonic())
                self._write(line)

    def line(self, text: str) -> None:
        """Say something that is no progress."""
        with self._lock:
            self._write(text)

    def _write(self, text: str) -> None:
        if self._live is None and not self._quiet:
            print(text, file=sys.stderr, flush=True)
        if self._log is not None:
            stamp = datetime.now().isoformat(timespec="seconds")
            with self._log.open("a", encoding="utf-8") as file:
                file.write(f"{stamp} {text}\n")


def stage_line(state: Mapping[str, Any]) -> str:
    """One plain line for any stage."""
    if state["stage"] == "search":
        return search_line(state)
    words = [state["stage"], f"{state.get('done', 0)}/{state.get('total', 0)} epochs"]
    if state.get("running"):
        words.append(f"running {state['running']}")
    if state.get("role"):
        words.append(state["role"])
    if state.get("loss") is not None:
        words.append(f"loss {state['loss']:.3f}")
    if state.get("accuracy") is not None:
        words.append(f"select accuracy {_accuracy(state)}")
    return " ".join(words)


def search_line(state: Mapping[str, Any]) -> str:
    """One plain line for the search."""
    words = ["search", f"{state['done']}/{state['total']}"]
    if state.get("phase") == "confirming":
        words.append("confirming")
    words.append(f"running {state.get('running', 0)}")
    if state.get("failed"):
        words.append(f"failed {state['failed']}")
    best = state.get("best")
    if best:
        costs = " ".join(f"{name} {value:.4g}" for name, value in _budget_costs(best).items())
        words.append(f"best {_accuracy(best)} ({costs})")
    if state.get("rate"):
        words.append(f"{60 * state['rate']:.1f}/min")
    if state.get("eta_seconds") is not None:
        words.append(f"eta {duration(state['eta_seconds'])}")
    return " ".join(words)


def live_table(state: Mapping[str, Any]) -> Table:
    """The same as a table that is redrawn."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    table.add_row("stage", state["stage"] + (f" ({state['phase']})" if state.get("phase") else ""))
    done, total = state.get("done", 0), state.get("total", 0)
    filled = round(30 * done / total) if total else 0
    table.add_row("done", f"{'━' * filled}{'╌' * (30 - filled)} {done}/{total}")
    for key in ("running", "failed", "role"):
        if state.get(key):
            table.add_row(key, str(state[key]))
    best = state.get("best")
    if best:
        table.add_row("best plan", f"candidate {best['id']}, accuracy {_accuracy(best)}")
        table.add_row("", "  ".join(f"{name} {value:.4g}" for name, value in _budget_costs(best).items()))
    elif state.get("accuracy") is not None:
        table.add_row("accuracy", _accuracy(state))
    if state.get("rate"):
        table.add_row("rate", f"{60 * state['rate']:.1f} a minute")
    if state.get("eta_seconds") is not None:
        table.add_row("left", duration(state["eta_seconds"]))
    return table


def _budget_costs(best: Mapping[str, Any]) -> dict[str, float]:
    return {name: best["costs"][name] for name in ("flops", "weight_bits", "act_bits") if name in best["costs"]}


def _accuracy(state: Mapping[str, Any]) -> str:
    value, images = state["accuracy"], state.get("images")
    error = f" ± {(value * (1 - value) / images) ** 0.5:.3f}" if images else ""
    return f"{value:.3f}{error}"


def duration(seconds: float) -> str:
    """`45s`, `12m`, `3h05m`."""
    if seconds < 90:
        return f"{seconds:.0f}s"
    minutes = round(seconds / 60)
    return f"{minutes}m" if minutes < 90 else f"{minutes // 60}h{minutes % 60:02d}m"
