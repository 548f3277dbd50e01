"""A run, followed from beside it: what is new in its journal is folded in, and who is at work on it is looked up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pqsearch.dashboard.tracks import Tracks
from pqsearch.errors import UserError
from pqsearch.journal.lock import Holder, look
from pqsearch.run_dir import RunDirectory
from pqsearch.study_state import StudyState
from pqsearch.worker_time import worker_time_of

#: How much of the end of the log is read for its last line.
LOG_BYTES = 4096


class Watched:
    """A run's study as of the last `follow`. Nothing is written into the run directory and no lock is taken."""

    def __init__(self, run: RunDirectory) -> None:
        """Raises `UserError` where no search has begun."""
        self.run = run
        self.spec = run.read_spec()
        if not run.journal.exists():
            raise UserError(
                f"{run.path}: no search has begun here (there is no journal yet); `pqsearch run {run.spec}` begins one, "
                "`pqsearch show` says how far the run is"
            )
        self._tail = run.journal.tail()
        self.state, self.tracks = StudyState(), Tracks()
        self.events = 0  # that were folded in, counted on when a journal is read anew
        self.trouble: str | None = None

    def follow(self) -> bool:
        """Fold in what is new; returns whether anything was. Raises `UserError` for a journal that cannot be read."""
        changed = False
        while True:
            news = self._tail.read()
            if news.anew:
                self.state, self.tracks, changed = StudyState(), Tracks(), True
            for event in news.events:
                self.state.apply(event)
                self.tracks.apply(event, self.state)
            self.events += len(news.events)
            # For a study to hand out; nobody is handed anything here.
            self.state.opened_tasks.clear()
            if not news.events:
                return changed
            changed = True

    def try_to_follow(self) -> bool:
        """As `follow`, but what is in the way is kept as `trouble`, to be shown: it may pass."""
        before = self.trouble
        try:
            changed = self.follow()
            self.trouble = None
        except UserError as error:
            changed, self.trouble = False, str(error)
        return changed or self.trouble != before

    def mark(self) -> tuple[int, float | None]:
        """Another value when anything that figures show is another: events, and when correlation.json was written."""
        path = self.run.correlation
        return self.events, path.stat().st_mtime if path.is_file() else None

    @property
    def begun(self) -> bool:
        """Whether a study is in the journal: a file is there a moment before its first event."""
        return bool(self.state.settings)

    def holder(self) -> Holder | None:
        """Who is at work on the run."""
        return look(self.run.lock)

    def worker_hours(self) -> Mapping[str, Any]:
        return worker_time_of(self.run, self.state, self.spec.workers.price)

    def last_line(self) -> str:
        """The last line of the run's log; empty where there is none."""
        path = self.run.logs / "pqsearch.log"
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - LOG_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""
