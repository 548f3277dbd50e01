"""Progress for people: a live table on a terminal, plain lines in a pipe, time-stamped lines in a log."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pqsearch.pace import Pace
from pqsearch.plan import Accuracy
from pqsearch.target_words import target_short
from pqsearch.worker_words import cost_short

LINE_SECONDS = 5.0
#: A stage that was shorter says nothing of its length.
TOLD_SECONDS = 1.0
#: Shown of a plan's costs where the state does not say which ones have budgets.
USUAL_COSTS = ("flops", "weight_bits", "act_bits")


class Progress:
    """Shows the states that stages report. Use it as a context; it may be called from several threads.

    `console` is where the live table goes and decides whether there is one; `clock` gives seconds.
    """

    def __init__(
        self,
        log: Path | None = None,
        quiet: bool = False,
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or Console(stderr=True)
        self._quiet = quiet
        self._log = log
        self._clock = clock
        self._live: Live | None = None
        self._lock = threading.Lock()
        self._stage = ""
        self._began = 0.0
        self._pace = Pace()
        self._latest = self._news = ""
        self._shown = ("", 0.0)

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._quiet:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._end_stage()
            if self._live is not None:
                self._live.stop()
                self._live = None

    def update(self, state: Mapping[str, Any]) -> None:
        """Show where a stage stands. `state` has `stage`, `done`, `total`, and what the stage adds."""
        with self._lock:
            now, stage = self._clock(), state.get("stage", "")
            begins = stage != self._stage
            if begins:
                self._end_stage()
                self._stage, self._began = stage, now
            if "eta_seconds" not in state:
                state = {**state, "eta_seconds": self._pace.left(state, now)}
            # A forecast that moves is no news.
            self._latest, self._news = stage_line(state), stage_line({**state, "eta_seconds": None})
            if self._live is not None:
                self._live.update(live_table(state, now - self._began))
            text, shown = self._shown
            ends = bool(state.get("total")) and state.get("done") == state.get("total")
            if self._news != text and (begins or ends or now - shown >= LINE_SECONDS):
                self._show()

    def line(self, text: str) -> None:
        """Say something that is no progress; on a terminal it stays above the table."""
        with self._lock:
            self._write(text, keep=True)

    def _end_stage(self) -> None:
        if not self._stage:
            return
        if self._news != self._shown[0] or self._live is not None:
            self._show(keep=True)
        seconds = self._clock() - self._began
        if seconds >= TOLD_SECONDS:
            self._write(f"{self._stage} took {duration(seconds)}", keep=True)
        self._stage = ""

    def _show(self, keep: bool = False) -> None:
        if self._news == self._shown[0]:
            self._print(self._latest, keep)  # in the log already
        else:
            self._write(self._latest, keep)
        self._shown = (self._news, self._clock())

    def _write(self, text: str, keep: bool = False) -> None:
        self._print(text, keep)
        if self._log is not None:
            stamp = datetime.now().isoformat(timespec="seconds")
            # A full disk ends the search where that matters, at the journal, and not where it is told.
            with suppress(OSError), self._log.open("a", encoding="utf-8") as file:
                file.write(f"{stamp} {text}\n")

    def _print(self, text: str, keep: bool) -> None:
        if self._quiet:
            return
        if self._live is None:
            print(text, file=sys.stderr, flush=True)
        elif keep:  # the table shows the rest
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def stage_line(state: Mapping[str, Any]) -> str:
    """One plain line for any stage."""
    stage = state.get("stage", "")
    if stage == "search":
        return search_line(state)
    words = [stage, f"{_done(state)}/{state.get('total', 0)} {state.get('unit', 'epochs')}"]
    if state.get("running"):
        words.append(f"running {state['running']}")
    if state.get("role"):
        words.append(str(state["role"]))
    if state.get("reconstructed"):
        words.append("reconstructed {}/{} blocks".format(*state["reconstructed"]))
    if state.get("loss") is not None:
        words.append(f"loss {state['loss']:.3f}")
    if state.get("accuracy") is not None:
        words.append(f"select accuracy {_accuracy(state)}")
    if state.get("eta_seconds") is not None:
        words.append(f"eta {duration(state['eta_seconds'])}")
    return " ".join(words)


def search_line(state: Mapping[str, Any]) -> str:
    """One plain line for the search."""
    words = ["search", f"{state.get('done', 0)}/{state.get('total', 0)}"]
    if state.get("phase") == "confirming":
        words.append("confirming")
    words.append(f"running {state.get('running', 0)}")
    if state.get("failed"):
        words.append(f"failed {state['failed']}")
    if state.get("halted"):
        words.append(f"stopped early {state['halted']}")
    if state.get("recomputed"):
        words.append(f"rungs recomputed {state['recomputed']}")
    best = state.get("best")
    if best and best.get("accuracy") is not None:
        costs = _costs(state, best)
        words.append(f"best accuracy {_accuracy(best)}" + (f" ({' '.join(costs)})" if costs else ""))
    if state.get("target"):
        words.append(target_short(state["target"]))
    if state.get("worker_hours") and (cost := cost_short(state["worker_hours"])):
        words.append(cost)
    if state.get("rate"):
        words.append(f"{60 * state['rate']:.1f}/min")
    if state.get("eta_seconds") is not None:
        words.append(f"eta {duration(state['eta_seconds'])}")
    return " ".join(words)


def live_table(state: Mapping[str, Any], seconds: float | None = None) -> Table:
    """The same as a table that is redrawn; `seconds` since the stage began."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    phase = f" ({state['phase']})" if state.get("phase") else ""
    table.add_row("stage", f"{state.get('stage', '')}{phase}")
    done, total = state.get("done", 0), state.get("total", 0)
    filled = min(30, round(30 * done / total)) if total else 0
    table.add_row("done", f"{'━' * filled}{'╌' * (30 - filled)} {_done(state)}/{total}")
    for key in ("running", "failed", "halted", "recomputed", "role"):
        if state.get(key):
            table.add_row(key, str(state[key]))
    best = state.get("best")
    if best and best.get("accuracy") is not None:
        table.add_row("best plan", f"candidate {best.get('id')}, accuracy {_accuracy(best)}")
        table.add_row("", "  ".join(_costs(state, best)))
        if state.get("target"):
            table.add_row("target", target_short(state["target"]).removeprefix("target "))
    elif state.get("accuracy") is not None:
        table.add_row("accuracy", _accuracy(state))
    if state.get("loss") is not None:
        table.add_row("loss", f"{state['loss']:.3f}")
    if state.get("worker_hours") and (cost := cost_short(state["worker_hours"])):
        table.add_row("cost", cost.removeprefix("cost "))
    if state.get("rate"):
        table.add_row("rate", f"{60 * state['rate']:.1f} a minute")
    if seconds is not None:
        table.add_row("since", duration(seconds))
    if state.get("eta_seconds") is not None:
        table.add_row("left", duration(state["eta_seconds"]))
    return table


def _done(state: Mapping[str, Any]) -> str:
    """Whole, or in tenths and never more than there is: an epoch that is nearly over is not."""
    done = state.get("done", 0)
    return f"{int(done)}" if done == int(done) else f"{math.floor(10 * done) / 10:.1f}"


def _costs(state: Mapping[str, Any], best: Mapping[str, Any]) -> list[str]:
    """`flops 0.498`, with the limit behind it where the state has `budgets`."""
    costs, limits = best.get("costs") or {}, state.get("budgets") or {}
    names = [name for name in limits or USUAL_COSTS if name in costs]
    return [f"{name} {costs[name]:.4g}" + (f" of {limits[name]:g}" if name in limits else "") for name in names]


def _accuracy(state: Mapping[str, Any]) -> str:
    value, images = state["accuracy"], state.get("images")
    error = f" ± {Accuracy(value, images, state.get('deviation')).standard_error:.3f}" if images else ""
    return f"{value:.3f}{error}"


def duration(seconds: float) -> str:
    """`45s`, `12m`, `3h05m`."""
    if seconds < 90:
        return f"{seconds:.0f}s"
    minutes = round(seconds / 60)
    return f"{minutes}m" if minutes < 90 else f"{minutes // 60}h{minutes % 60:02d}m"
