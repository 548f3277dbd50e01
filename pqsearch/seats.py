"""Who sits where: the worker that has each seat, those the study has given up, and set-ups that failed."""

from __future__ import annotations

#: Set-ups of one seat that may fail in a row before the search gives up with the reason.
MOST_SETUPS = 3
#: A worker that sits, of whom a study that has begun anew has not heard yet.
UNHEARD = ""


class Seats:
    """A seat is taken by one incarnation of its worker at a time; a worker that is started again is another one.

    Some ends are told twice, by the worker itself or by its silence first, and by Ray when the process is gone: they count once.
    """

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}
        self._given_up: set[str] = set()  # incarnations that lost their seat without having left it
        self._unnoticed: set[str] = set()  # seats of those, whose end nobody else has noticed yet
        self._setups: dict[str, list[str]] = {}  # reasons, since something last worked
        self._told: set[str] = set()  # seats whose last reason is the worker's own
        #: Why the search has to end: one seat's set-up failed `MOST_SETUPS` times.
        self.hopeless: str | None = None

    def __len__(self) -> int:
        return len(self._taken)

    def at(self, seat: str) -> str | None:
        """The incarnation that sits there; `UNHEARD` if somebody is only expected to."""
        return self._taken.get(seat)

    def take(self, seat: str, incarnation: str) -> None:
        """Somebody sits down."""
        self._unnoticed.discard(seat)
        self._taken[seat] = incarnation

    def expect(self, seat: str) -> None:
        """Somebody sits there already."""
        self._taken.setdefault(seat, UNHEARD)

    def lives(self, seat: str, incarnation: str) -> bool:
        """A sign of life; False from one that was given up."""
        if incarnation in self._given_up:
            return False
        self._taken[seat] = self._taken.get(seat) or incarnation
        return True

    def is_lost(self, seat: str) -> bool:
        """Whether it was given up and nobody has taken the seat since: it is handed nothing."""
        return seat in self._unnoticed

    def displaced(self, incarnation: str) -> None:
        """Another one has its seat."""
        self._given_up.add(incarnation)

    def give_up(self, seat: str, incarnation: str) -> None:
        """It is silent, or said that it ends; whoever notices its end later notices nothing new."""
        self._given_up.add(incarnation)
        self._unnoticed.add(seat)

    def leave(self, seat: str, incarnation: str | None, reason: str, died: bool) -> bool:
        """Somebody is gone (`incarnation`, if it is known which); False where that was known, or is about one that had gone before."""
        known = self._taken.get(seat)
        if incarnation is not None and incarnation != known:
            return False
        if died and known is None:
            if seat in self._unnoticed:
                self._unnoticed.discard(seat)
                return False
            # It never sat down: a set-up that failed, which the worker may have told already.
            if seat in self._told:
                self._told.discard(seat)
            else:
                self._count(seat, reason)
        self._taken.pop(seat, None)
        return True

    def setup_failed(self, seat: str, reason: str) -> None:
        """A worker says that it could not be set up; its end is not counted again."""
        self._count(seat, reason)
        self._told.add(seat)

    def works(self, seat: str) -> None:
        """Something came of a worker there: what failed before does not count any more."""
        self._setups.pop(seat, None)
        self._told.discard(seat)

    def _count(self, seat: str, reason: str) -> None:
        noted = self._setups.setdefault(seat, [])
        noted.append(reason)
        if len(noted) >= MOST_SETUPS:
            self.hopeless = (
                f"{seat} could not work {len(noted)} times: {reason}; mend that, then the same command continues"
            )
