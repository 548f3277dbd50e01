"""A run directory in a store: this machine works in a folder of its own, whose files go there and come from there.

`.store.json` in that folder holds, by name, size and time of a file here and of its object there when they were last the same: what
differs from it has changed since. Processes of one machine take turns (`.store.lock`).
"""

from __future__ import annotations

import fcntl
import json
import os
import tomllib
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import tomli_w

from pqsearch.errors import UserError
from pqsearch.hidden import drop_passwords
from pqsearch.objects import Found, Objects
from pqsearch.store_url import below, folder_of, is_url, url_problems

_SPEC, _INDEX, _LOCK, _ID = "spec.toml", ".store.json", ".store.lock", ".store-id"
#: What is there until something is done, and goes then.
_CHECKPOINT = "checkpoint.pth"

Same = dict[str, tuple[Found, Found]]  # by name: a file here, its object there
Names = Callable[[str], bool]


def store_of(where: str | Path) -> Store | None:
    """The store that a run directory is in; None where it is a folder. Raises `UserError` for a wrong address."""
    if not isinstance(where, str) or not is_url(where):
        return None
    if problems := list(url_problems(where)):
        raise UserError(problems)  # it may be from a command line, and with keys in it that nobody should see
    return Store(where)


def everything(name: str) -> bool:
    """All that is shared."""
    return True


def results(name: str) -> bool:
    """What to look at: neither where fine-tunes would go on, nor Tune's logs."""
    return not name.endswith(_CHECKPOINT) and not name.startswith("logs/ray_tune/")


def shared(name: str) -> bool:
    """Whether a file of a run directory is kept in the store: not what lives on one machine (weights of rungs, locks, files half
    written, TensorBoard's), not runs of their own below it, nor what says who works on it.
    """
    parts = name.split("/")
    return not (
        any(part.startswith(".") for part in parts)
        or parts[0] in ("scratch", "claims", "tensorboard", "owner.json")
        or (parts[0] == "resolved" and len(parts) > 2)
        or name.endswith(".lock")
    )


class Store:
    """Where a run directory is kept, and its copy in `folder`. Errors are `UserError` in one line."""

    def __init__(self, url: str, folder: Path | None = None) -> None:
        self.url = url
        self.folder = (folder or folder_of(url)).absolute()
        self.objects = Objects(url)

    def below(self, name: str) -> str:
        """The address of a folder in it."""
        return below(self.url, name)

    def id(self) -> str:
        """What tells this copy from those on other machines."""
        with self._turn():
            path = self.folder / _ID
            if not path.is_file():
                path.write_text(uuid.uuid4().hex)
            return path.read_text()

    def known(self) -> bool:
        """Whether anything here is known to have been there."""
        return bool(self._read_index())

    def pull(self, wanted: Names = results, *, theirs: bool = False, mirror: bool = False) -> None:
        """Bring what is missing here or has changed there.

        What has changed here stays; where it has changed on both sides, too, unless it is `theirs` that counts then. With `mirror`
        the copy becomes what is there, whatever was here.
        """
        with self._turn() as same:
            there = {name: found for name, found in self.objects.list().items() if shared(name) and wanted(name)}
            for name, found in there.items():
                here, known = _stat(self.folder / name), same.get(name)
                changed_here = known is None or known[0] != here
                changed_there = known is None or known[1] != found
                if changed_here and changed_there and here is not None:
                    bring = theirs or mirror
                else:
                    bring = here is None or changed_there or (changed_here and mirror)
                if bring:
                    self._bring(name, same)
            if mirror:
                for name in [name for name in self._here() if wanted(name) and name not in there]:
                    (self.folder / name).unlink(missing_ok=True)
                    same.pop(name, None)

    def push(self, wanted: Names = everything) -> None:
        """Take there what has changed here, in the order in which it was written: who looks finds nothing before what it needs.

        Checkpoints that are gone here, since what they were for is done, go there as well.
        """
        with self._turn() as same:
            found = ((name, _stat(self.folder / name)) for name in self._here() if wanted(name))
            changed = [(here[1], name) for name, here in found if here and same.get(name, (None,))[0] != here]
            for _, name in sorted(changed):
                self._take(name, same)
            for name in [name for name in same if name.endswith(_CHECKPOINT) and wanted(name)]:
                if not (self.folder / name).is_file():
                    self.objects.remove(name)
                    del same[name]

    def forget(self, name: str) -> None:
        """Remove a file there, then here."""
        with self._turn() as same:
            self.objects.remove(name)
            (self.folder / name).unlink(missing_ok=True)
            same.pop(name, None)

    def _here(self) -> Iterator[str]:
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder).as_posix()
            if shared(name) and path.is_file() and not path.is_symlink():
                yield name

    def _bring(self, name: str, same: Same) -> None:
        target = self.folder / name
        there = self.objects.download(name, target, 0o600 if name == _SPEC else 0o644)
        here = _stat(target)
        if there is not None and here is not None:
            same[name] = here, there

    def _take(self, name: str, same: Same) -> None:
        path = self.folder / name
        here = _stat(path)
        with suppress(FileNotFoundError):  # removed since it was listed
            there = self._take_spec(path) if name == _SPEC else self.objects.upload(path, name)
            if here is not None and there is not None:
                same[name] = here, there

    def _take_spec(self, path: Path) -> Found | None:
        return self.objects.write(_SPEC, _public(path.read_bytes()))

    @contextmanager
    def _turn(self) -> Iterator[Same]:
        """What is the same here and there, for one process at a time; it is written down again as far as it came."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            same = self._read_index()
            before = dict(same)
            try:
                yield same
            except OSError as error:
                raise self._unwritable(error) from None
            finally:
                if same != before:
                    self._write_index(same)
        finally:
            os.close(handle)

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"{self.objects}: its copy here, {self.folder}, cannot be written ({error.strerror or error}); mend that, or let "
            "XDG_CACHE_HOME name another folder"
        )

    def _read_index(self) -> Same:
        try:
            rows = json.loads((self.folder / _INDEX).read_text())
            return {name: ((a, b), (c, d)) for name, (a, b, c, d) in rows.items()}
        except (OSError, ValueError):
            return {}  # then everything is held to have changed

    def _write_index(self, same: Same) -> None:
        text = json.dumps({name: (*here, *there) for name, (here, there) in same.items()})
        with suppress(OSError):  # on a full disk more is compared the next time, and nothing lost
            fresh = self.folder / f"{_INDEX}-new"
            fresh.write_text(text)
            fresh.replace(self.folder / _INDEX)


def _stat(path: Path) -> Found | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _public(data: bytes) -> bytes:
    """A spec without the password of its database, which those who may read a bucket need not have."""
    values = tomllib.loads(data.decode())
    storage = values.get("study", {}).get("storage")
    if storage is None:
        return data
    values["study"]["storage"] = drop_passwords(storage)
    return tomli_w.dumps(values).encode()
