"""Working on a run in a store from begin to end, and looking on while another machine does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Self

from pqsearch.errors import SearchAborted, UserError
from pqsearch.journal.lock import Lock
from pqsearch.store import Store, results
from pqsearch.store_owner import BEAT_SECONDS, OWNER, Owner, give_back, keep, take

#: Between two times that what has changed is taken to the store, at least, and the share of the time that this may take.
PUSH_SECONDS, MOST_OF_TIME = 30.0, 0.2
#: How often who looks on asks the store for news.
LOOK_SECONDS = 15.0


class Keeper:
    """Takes what changes to the store, beside the work, and says there that its owner lives. Use it as a context.

    `say` is told when the store does not answer; the work goes on, and what it makes stays here until it does.
    """

    def __init__(self, store: Store, owner: Owner, say: Callable[[str], None]) -> None:
        self.say = say
        self.owner: Owner | None = owner  # None from the moment on at which it is another machine
        self._store = store
        self._over, self._soon = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._beat, self._push)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._soon.set()
        for thread in self._threads:
            thread.join()

    def push_soon(self) -> None:
        """Something worth it is done: do not wait for the next time."""
        self._soon.set()

    def _beat(self) -> None:
        while self.owner is not None and not self._over.wait(BEAT_SECONDS):
            try:
                self.owner = keep(self._store.objects, self.owner)
            except UserError:
                continue  # whoever pushes says so
            if self.owner is None:
                self.say(
                    f"{self._store.objects}: another machine has taken the run over; nothing more is taken there from here"
                )

    def _push(self) -> None:
        pause, told = PUSH_SECONDS, False
        while self.owner is not None:
            self._soon.wait(pause)
            if self._over.is_set():
                return
            self._soon.clear()
            began = time.monotonic()
            try:
                self._store.push()
                told = False
            except UserError as error:
                if not told:
                    self.say(f"warning: {error}; the work goes on and is taken there later")
                told = True
            pause = max(PUSH_SECONDS, (time.monotonic() - began) / MOST_OF_TIME)


@contextmanager
def at_work(store: Store | None, database: bool, say: Callable[[str], None]) -> Iterator[Keeper | None]:
    """The run in a store is this process's for as long as the context lasts: its copy here begins as the newest, all of it is in
    the store afterwards. Nothing happens for a run directory that is a folder (None).

    `database` says that the journal is in one. Raises `UserError` where the store or another machine does not let us.
    """
    if store is None:
        yield None
        return
    examine(store)
    owner = Owner.here(store, database)
    with Lock(store.folder / ".session.lock"):
        newest = take(store, owner, say)
        store.pull(_not_tunes, mirror=not newest)
        keeper = Keeper(store, owner, say)
        try:
            with keeper:
                yield keeper
        except BaseException:
            _end(store, keeper, keeper.say)
            raise
        _end(store, keeper, None)


def examine(store: Store) -> None:
    """Raises `UserError` for a store that cannot be used, and where something is there that is no run: nothing is brought from it or
    put beside it. And where nothing is there any more of what this machine has a copy of: who removes a run means to begin anew.
    """
    store.objects.check(writing=False)
    names = [name for name in store.objects.list() if not name.startswith("claims/") and name != OWNER]
    if names and "spec.toml" not in names:
        raise UserError(
            f"{store.objects}: is not empty and holds no run (it has {names[0]}); give an empty or a new folder"
        )
    if not names and store.known():
        raise UserError(
            f"{store.objects}: the run that was there is gone, and a copy of it is in {store.folder}; remove that, too, to begin "
            "anew, or give another folder"
        )
    store.objects.check()


@contextmanager
def looking_on(store: Store | None) -> Iterator[None]:
    """The copy here follows what is in the store; nothing happens for a folder."""
    if store is None:
        yield
        return
    over = threading.Event()

    def follow() -> None:
        while not over.wait(LOOK_SECONDS):
            try:
                store.pull(results)
            except UserError:
                continue  # there may be news the next time

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _end(store: Store, keeper: Keeper, say: Callable[[str], None] | None) -> None:
    """Take everything there and give the run back. What goes wrong is told to `say` where another error is on its way already."""
    try:
        if keeper.owner is None:
            raise SearchAborted(
                f"{store.objects}: another machine has taken the run over; what was done here since is not in it"
            )
        journal = store.folder / "journal.lock"
        # The study's process may live a moment longer, and what it writes then would be missing there.
        with Lock(journal) if journal.is_file() else nullcontext():
            store.push()
        give_back(store.objects, keeper.owner)
    except (UserError, SearchAborted) as error:
        words = f"{error} (everything is in {store.folder}; the same command here takes it there)"
        if say is None:
            raise type(error)(words) from None
        say(words)


def _not_tunes(name: str) -> bool:
    return not name.startswith("logs/ray_tune/")
