"""The objects below an address, by name: listed, read, written whole, removed. A store that does not answer is asked again."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar

from pqsearch.errors import UserError

#: How often something is tried, and the pause before the second time, in seconds, which doubles.
TRIES, PAUSE_SECONDS = 4, 1.0
#: Stores whose objects appear when they are whole; elsewhere a file is written under another name first.
_WHOLE = ("s3", "gcs", "abfs")
#: Words of pyarrow's for what another try does not mend, and those among them that are a matter of keys.
_KEYS = ("ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE_DOES_NOT_MATCH", "HTTP status 403", "HTTP status 401")
_FINAL = ("NO_SUCH_BUCKET", *_KEYS)
#: What a disk says of itself: nothing that waiting mends.
_OF_A_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
_CHUNK_BYTES = 2**20

Found = tuple[int, int]  # size in bytes, time in nanoseconds
Answer = TypeVar("Answer")


class Objects:
    """The objects below `url`, which holds no keys. Whatever a store refuses is a `UserError` in one line."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __reduce__(self) -> tuple[type[Objects], tuple[str]]:
        return type(self), (self.url,)  # another process connects by itself

    def check(self, *, writing: bool = True) -> None:
        """Raises `UserError` where nothing is there that can be read, and written to. Does not wait for a store that may come back."""
        from pyarrow import fs

        sign = f"claims/sign-{uuid.uuid4().hex}"
        try:
            self._files.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
            if writing:
                self._put(sign, lambda stream: stream.write(b""))
        except OSError as error:
            raise self._refused(error) from None
        if writing:
            self.remove(sign)

    def list(self, folder: str = "") -> dict[str, Found]:
        """Size and time by name, of all there are below `folder`."""
        from pyarrow import fs

        selector = fs.FileSelector(self._at(folder) if folder else self._root, recursive=True, allow_not_found=True)
        rows = self._tried(lambda: self._files.get_file_info(selector))
        return {
            PurePosixPath(row.path).relative_to(self._root).as_posix(): (row.size, row.mtime_ns or 0)
            for row in rows
            if row.type == fs.FileType.File
        }

    def look(self, name: str) -> Found | None:
        """Size and time of one; None where there is none."""
        from pyarrow import fs

        found = self._tried(lambda: self._files.get_file_info(self._at(name)))
        return (found.size, found.mtime_ns or 0) if found.type == fs.FileType.File else None

    def read(self, name: str) -> bytes | None:
        """A small one; None where there is none."""

        def get() -> bytes:
            with self._files.open_input_stream(self._at(name)) as stream:
                return stream.read()

        try:
            return self._tried(get)
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> Found | None:
        """A small one; returns what `look` finds afterwards."""
        self._tried(lambda: self._put(name, lambda stream: stream.write(data)))
        return self.look(name)

    def remove(self, name: str) -> None:
        """One that may be gone already."""
        if self.look(name) is not None:
            with suppress(FileNotFoundError):
                self._tried(lambda: self._files.delete_file(self._at(name)))

    def upload(self, path: Path, name: str) -> Found | None:
        """A file as it is now; returns what `look` finds afterwards. Raises `FileNotFoundError` where the file is gone."""

        def send() -> Found | None:
            with path.open("rb") as file:
                self._put(name, lambda stream: shutil.copyfileobj(file, stream, _CHUNK_BYTES))
                sent = file.tell()
            found = self.look(name)
            if found is not None and found[0] != sent:
                # Seen of a server that took what nobody had signed, and kept the framing as part of it.
                raise OSError(f"it keeps {name} as {found[0]} bytes where {sent} were sent")
            return found

        return self._tried(send)

    def download(self, name: str, path: Path, mode: int) -> Found | None:
        """One as a file, which readers see whole or not at all; returns what was found. None, and no file, where it is gone."""

        def get(file: IO[bytes]) -> None:
            file.seek(0)
            file.truncate()
            with self._files.open_input_stream(self._at(name)) as stream:
                shutil.copyfileobj(stream, file, _CHUNK_BYTES)
            file.flush()
            os.fsync(file.fileno())

        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                for _ in range(TRIES):
                    found = self.look(name)
                    try:
                        self._tried(lambda: get(file))
                    except FileNotFoundError:
                        return None
                    # Another one may have come while it was read, piece by piece.
                    if found is not None and found == self.look(name) and file.tell() == found[0]:
                        break
                else:
                    raise UserError(f"{self}: {name} changes faster than it can be read; try again later")
            Path(temporary).chmod(mode)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
        return found

    def __str__(self) -> str:
        return f"study.run_dir: {self.url}"

    def _put(self, name: str, fill: Callable[[Any], object]) -> None:
        place = self._at(name)
        whole = self._files.type_name in _WHOLE
        folder, _, last = place.rpartition("/")
        target = place if whole else f"{folder}/.{last}-{uuid.uuid4().hex[:8]}"
        if not whole:
            self._files.create_dir(folder, recursive=True)
        try:
            with self._files.open_output_stream(target) as stream:
                fill(stream)
        except BaseException:
            # Leaving the stream has ended an upload of which a part may be missing.
            with suppress(OSError):
                self._files.delete_file(target)
            raise
        if not whole:
            self._files.move(target, place)

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    @property
    def _files(self) -> Any:
        return self._opened[0]

    @property
    def _root(self) -> str:
        return self._opened[1]

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        try:
            from pyarrow import fs

            files, root = fs.FileSystem.from_uri(self.url)
        except (OSError, ValueError, ImportError) as error:  # pyarrow's own are among them
            words = " ".join(str(error).split())[:300]
            raise UserError(f"{self}: cannot be opened ({words}); write s3://BUCKET/FOLDER, or name a folder") from None
        return files, root.rstrip("/")

    def _tried(self, action: Callable[[], Answer]) -> Answer:
        """Do it, and again after a while where that may help. What is not there raises `FileNotFoundError`, a full disk its
        own `OSError`.
        """
        for number in range(TRIES):
            try:
                return action()
            except FileNotFoundError:
                raise
            except OSError as error:
                if error.errno in _OF_A_DISK:
                    raise
                if number == TRIES - 1 or any(word in str(error) for word in _FINAL):
                    raise self._refused(error) from None
                time.sleep(PAUSE_SECONDS * 2**number)
        raise AssertionError("not reached")

    def _refused(self, error: Exception) -> UserError:
        words = " ".join(str(error).split())[:300]
        if "NO_SUCH_BUCKET" in words:
            return UserError(
                f"{self}: there is no bucket {self._root.partition('/')[0]!r}; make it, or name another one"
            )
        if "NETWORK_CONNECTION" in words or "resolve" in words:
            return UserError(f"{self}: the store cannot be reached ({words}); check the address and the network")
        if any(word in words for word in _KEYS):
            return UserError(f"{self}: the store gives no access ({words}); check the keys, and what they may do")
        return UserError(f"{self}: the store refuses ({words}); mend that and the same command continues")
