"""The one exception that means "the user can mend this"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A mistake in what the user handed in: one line per problem, no traceback, exit code 2.

    Every problem names the field (or the file), the value found, and the way out.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[UserError], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


@contextmanager
def writing(what: object) -> Iterator[None]:
    """Turn what the system refuses while a file that the user has named is written into one line; `what` is how it was named."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{what}: cannot be written ({error.strerror}); name another file") from None


class SearchAborted(Exception):
    """The search cannot go on for a reason that is not the user's spec, such as workers that never start."""
