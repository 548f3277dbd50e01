"""Who works on a run in a store: one machine at a time, and which of them may go on.

A store knows no locks. Whoever wants to begin leaves a claim, looks whether there are others, and withdraws where there are: since
what was written is seen by every later look, of several at least all but one see the others. Then `owner.json` says who it is, whether
the journal there is whole, and by its time that the owner lives. All times are the store's own.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from pqsearch.errors import UserError
from pqsearch.journal.lock import this_process
from pqsearch.objects import Objects
from pqsearch.store import Store

OWNER = "owner.json"
#: An owner says that it lives so often, and is held to be gone after so many seconds without a sign.
BEAT_SECONDS, GONE_SECONDS = 10.0, 60.0
#: Claims last moments; one that is older was left by a process that died in between.
CLAIM_SECONDS = 60.0
POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Owner:
    """`id` is that of a machine's copy, `journal` "file" or "database", `open` whether it has not yet given the run back."""

    id: str
    host: str
    folder: str
    process: str
    journal: str
    open: bool = True
    beat: int = 0

    @classmethod
    def here(cls, store: Store, database: bool) -> Owner:
        """This process."""
        journal = "database" if database else "file"
        return cls(store.id(), socket.gethostname(), str(store.folder), this_process(), journal)

    def write(self, objects: Objects) -> None:
        objects.write(OWNER, json.dumps(asdict(self), indent=2).encode())


def look(objects: Objects) -> Owner | None:
    """Who works on it, or did last; None for nobody. Raises `UserError` for a file that says something else."""
    data = objects.read(OWNER)
    if data is None:
        return None
    try:
        values: dict[str, Any] = json.loads(data)
        return Owner(**values)
    except (ValueError, TypeError):
        raise UserError(f"{objects}: {OWNER} there is damaged; remove it if nobody works on the run") from None


def take(store: Store, owner: Owner, say: Callable[[str], None]) -> bool:
    """Become the owner of a run. True where nobody else has worked on it since this copy did: what is here is the newest then.

    Waits for an owner that may be gone, where the journal is in a database. Raises `UserError` where another machine works on the
    run, or holds a journal that is not whole in the store.
    """
    objects = store.objects
    seen = look(objects)
    if seen is not None and _in_the_way(seen, owner):
        _refuse_its_file(objects, seen)
        _outwait(objects, seen, say)
    claim = f"claims/{owner.id}"
    mine = objects.write(claim, b"")
    try:
        for name, (_, at) in objects.list("claims").items():
            if name != claim and "/sign-" not in name:
                if mine is not None and mine[1] - at < CLAIM_SECONDS * 1e9:
                    raise UserError(f"{objects}: another machine begins on it at this moment; try again")
                objects.remove(name)
        last = look(objects)
        if last is not None and _in_the_way(last, owner) and last != seen:
            raise UserError(f"{objects}: is in use by {last.process}; wait for it or stop it")
        owner.write(objects)
    finally:
        objects.remove(claim)
    return last is None or last.id == owner.id


def keep(objects: Objects, owner: Owner) -> Owner | None:
    """A sign that the owner lives; None where it is another one by now, since none was seen for too long."""
    found = look(objects)
    if found is not None and found.id != owner.id:
        return None
    owner = replace(owner, beat=owner.beat + 1)
    owner.write(objects)
    return owner


def give_back(objects: Objects, owner: Owner) -> None:
    """Everything is there: any machine may go on."""
    if keep(objects, replace(owner, open=False)) is None:
        raise UserError(f"{objects}: another machine has taken the run over; what was done here since is not in it")


def _in_the_way(found: Owner, mine: Owner) -> bool:
    return found.open and found.id != mine.id


def _refuse_its_file(objects: Objects, found: Owner) -> None:
    if found.journal == "file":
        raise UserError(
            f"{objects}: its journal is a file on {found.host}, in {found.folder}, and not whole in the store, since the run "
            "goes on there or was killed; run the command there, or keep the journal of another run in PostgreSQL (study.storage)"
        )


def _outwait(objects: Objects, found: Owner, say: Callable[[str], None]) -> None:
    """Return when the owner has given no sign for long enough; raise `UserError` as soon as it gives one."""
    now, before = objects.write(f"claims/sign-{found.beat}", b""), objects.look(OWNER)
    objects.remove(f"claims/sign-{found.beat}")
    age = (now[1] - before[1]) / 1e9 if now is not None and before is not None else 0.0
    left = GONE_SECONDS - age
    if left > 0:
        say(f"{objects}: {found.process} may be at work on it; waits up to {left:.0f} s for a sign of it")
    deadline = time.monotonic() + left
    while time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        again = look(objects)
        if again is None or not again.open:
            return
        if again != found:
            raise UserError(f"{objects}: is in use by {again.process}; wait for it or stop it")
