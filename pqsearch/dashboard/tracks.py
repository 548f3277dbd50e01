"""What a page shows of a search and its fold does not keep: who worked when, what was spent by when, how rungs were passed."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from pqsearch.journal.record import Event
from pqsearch.study_state import StudyState

#: Pieces of work kept for the timeline, the latest ones.
MOST_PIECES = 2000
#: Reasons of failures that are told apart, and how much of each is kept.
MOST_REASONS, REASON_LENGTH = 20, 200


@dataclass(slots=True)
class Piece:
    """One rung of one candidate on one worker, from second `began` to `ended` of the journal's clock."""

    worker: str
    id: int
    repeat: int
    rung: int
    began: float
    ended: float
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Fall:
    """A candidate that failed, or took its worker down, at second `time`."""

    worker: str
    id: int
    time: float


@dataclass
class Passed:
    """What became of candidates at one rung."""

    went_on: int = 0
    stopped: int = 0
    failed: int = 0


@dataclass
class Tracks:
    """Folded event by event, behind the study's own fold of the same event."""

    pieces: deque[Piece] = field(default_factory=lambda: deque(maxlen=MOST_PIECES))
    falls: deque[Fall] = field(default_factory=lambda: deque(maxlen=MOST_PIECES))
    hours: dict[int, float] = field(default_factory=dict)  # worker hours spent when a candidate ended
    passed: dict[int, Passed] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    opened: float = 0.0  # when the session of today began
    last: float = 0.0
    _batches: dict[str, list[Piece]] = field(default_factory=dict)  # by worker, what it reported last, at one moment

    def apply(self, event: Event, state: StudyState) -> None:
        """Fold in an event that `state` has folded already."""
        kind, self.last = event["type"], event["time"]
        if kind == "opened":
            self.opened = event["time"]
        elif kind == "reported":
            self._work(event, event["id"], event["rung"], event["accuracy"])
            if event["repeat"] == 0:
                self._reached(event, state)
                self.hours[event["id"]] = state.worker_seconds / 3600
        elif kind == "probed":
            self._work(event, event["id"], 0, None)
        elif kind == "died":
            self.falls.append(Fall(event["worker"], event["id"], event["time"]))
        elif kind == "failed":
            self.falls.append(Fall(event["worker"], event["id"], event["time"]))
            reason = event["reason"].strip().partition("\n")[0][:REASON_LENGTH]
            self.reasons[reason if reason in self.reasons or len(self.reasons) < MOST_REASONS else "others"] += 1
            if event["id"] >= 0 and event["repeat"] == 0:
                self.at(event["rung"]).failed += 1
        elif kind == "promoted":
            for id in event["ids"]:
                passed = self.at(state.tasks[id, 0].rung - 1)
                passed.stopped -= 1
                passed.went_on += 1

    def at(self, rung: int) -> Passed:
        return self.passed.setdefault(rung, Passed())

    def _reached(self, event: Event, state: StudyState) -> None:
        last = event["rung"] == state.settings["rungs"] - 1
        stays = event.get("then") in ("stops", "pauses")
        if stays and not last:
            self.at(event["rung"]).stopped += 1
        else:
            self.at(event["rung"]).went_on += 1

    def _work(self, event: Event, id: int, rung: int, accuracy: float | None) -> None:
        ended, seconds = event["time"], sum(event["seconds"].values())
        piece = Piece(event["worker"], id, event["repeat"], rung, ended - seconds, ended, accuracy)
        batch = self._batches.get(piece.worker, [])
        if batch and batch[-1].ended == ended:
            # Reported together: they were done one after the other, the last one just now.
            for earlier in batch:
                earlier.began, earlier.ended = earlier.began - seconds, earlier.ended - seconds
            batch.append(piece)
        else:
            self._batches[piece.worker] = [piece]
        self.pieces.append(piece)

    def busy(self) -> float | None:
        """The share of the workers' time since the first piece of this session that went into pieces which ended.

        Of the pieces kept; None where there are none.
        """
        mine = [piece for piece in self.pieces if piece.began >= self.opened]
        if not mine:
            return None
        first: dict[str, float] = {}
        for piece in mine:
            first[piece.worker] = min(piece.began, first.get(piece.worker, piece.began))
        end = max(piece.ended for piece in mine)
        time = sum(end - began for began in first.values())
        return min(1.0, sum(piece.ended - piece.began for piece in mine) / time) if time > 0 else None

    def workers(self) -> list[str]:
        """Who ended a piece in this session, of the pieces kept."""
        return sorted({piece.worker for piece in self.pieces if piece.ended >= self.opened})
