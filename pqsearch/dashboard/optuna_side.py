"""optuna-dashboard beside our page, on a copy of the study's Optuna mirror with our figures in it.

The copy is in a temporary folder: optuna-dashboard can delete studies, and figures are written into the storage they belong to.
Only what does not change anything is passed on to it; still nothing it does could reach the mirror.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

#: What belongs to optuna-dashboard of all that is asked of the server.
PATHS = ("/dashboard", "/api", "/static", "/csv", "/artifacts")
#: Seconds between two looks at the mirror, and between two writings of figures, each of which appends what it shows.
COPY_SECONDS, FIGURE_SECONDS = 2.0, 10.0
#: Figures are written again when the mirror has grown by so much: the copy stays a small multiple of it.
GROWN = 1.05
MISSING = "pip install 'pqsearch[dashboard]' adds optuna-dashboard to this page: every candidate, with its parameters."
NO_MIRROR = "There is no Optuna mirror yet: it is written when the first candidates have ended."

#: Id and figure of each section that has one.
Figures = Callable[[], Sequence[tuple[str, go.Figure]]]


def installed() -> bool:
    """Whether optuna-dashboard can be imported."""
    return importlib.util.find_spec("optuna_dashboard") is not None


class OptunaSide:
    """The WSGI application of optuna-dashboard, made when it is first asked for. `app` and what it needs are called on one thread."""

    def __init__(self, mirror: Path, figures: Figures) -> None:
        self._mirror, self._figures = mirror, figures
        self._folder = tempfile.TemporaryDirectory(prefix="pqsearch-dashboard-")
        self._app: Any = None
        self._study: Any = None
        self._copy = Path()
        self._inode, self._copied, self._shown = 0, 0, 0
        self._looked = self._wrote = float("-inf")

    def trouble(self) -> str | None:
        """Why there is nothing to be shown, None where there is."""
        if not installed():
            return MISSING
        return None if self._mirror.is_file() else NO_MIRROR

    def app(self) -> Any:
        """The application, its copy brought up to date. Only without `trouble`."""
        now = time.monotonic()
        if now - self._looked >= COPY_SECONDS:
            self._looked = now
            self._follow()
            if self._copied > max(GROWN * self._shown, self._shown) and now - self._wrote >= FIGURE_SECONDS:
                self._write_figures()
                self._shown, self._wrote = self._copied, time.monotonic()
        return self._app

    def close(self) -> None:
        self._folder.cleanup()

    def _follow(self) -> None:
        """Append to the copy what is new in the mirror; a mirror that was written anew begins another copy."""
        with self._mirror.open("rb") as file:
            known = os.fstat(file.fileno())
            anew = known.st_ino != self._inode or known.st_size < self._copied or self._app is None
            if anew:
                self._inode, self._copied, self._shown = known.st_ino, 0, 0
                self._wrote = float("-inf")
                handle, name = tempfile.mkstemp(dir=self._folder.name, prefix="copy-", suffix=".log")
                os.close(handle)
                before, self._copy = self._copy, Path(name)
            file.seek(self._copied)
            whole, _, _ = file.read().rpartition(b"\n")
        if whole:
            with self._copy.open("ab") as copy:
                copy.write(whole + b"\n")
            self._copied += len(whole) + 1
        if anew:
            self._begin()
            with suppress(OSError):
                before.unlink()

    def _begin(self) -> None:
        # They load slowly, and are of no use to anyone who never comes here.
        import optuna
        import optuna_dashboard
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        storage = JournalStorage(JournalFileBackend(str(self._copy)))
        (name,) = optuna.get_all_study_names(storage)
        self._study = optuna.load_study(study_name=name, storage=storage)
        self._app = optuna_dashboard.wsgi(storage)

    def _write_figures(self) -> None:
        from optuna_dashboard import save_plotly_graph_object

        for id, figure in self._figures():
            save_plotly_graph_object(self._study, figure, graph_object_id=id)
