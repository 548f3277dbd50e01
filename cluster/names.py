"""Names and values that others read: what a spec or a command line says, fit for a cluster, or refused."""

from __future__ import annotations

import hashlib
import re

from pqsearch.errors import UserError

#: What may be given for an option, and how that is said.
LABEL = (r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "must be a Kubernetes name (a-z, 0-9 and -, at most 63)")
SUBDOMAIN = (
    r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
    "must be a Kubernetes name (a-z, 0-9, - and .)",
)
IMAGE = (r"[A-Za-z0-9][A-Za-z0-9._/:@-]*", "must be the name of a container image, as in team/pqsearch:1")
FOLDER = (r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+", "must be an absolute folder of letters, digits, '.', '_' and '-'")
WORD = (r"[A-Za-z0-9][A-Za-z0-9._/:,@+-]*", "may hold letters, digits and . _ / : , @ + -")
HOST = (r"[A-Za-z0-9][A-Za-z0-9.:-]*", "must be a host name or an address")
EXPORT = (r"[A-Za-z0-9][A-Za-z0-9.-]*:/[A-Za-z0-9._/-]*", "must be HOST:/EXPORT")
DURATION = (r"(\d+-)?\d+(:\d+){0,2}", "must be a time as Slurm writes it, as in 12:00:00 or 2-00:00:00")
PATH = (r"[^\x00-\x1f\x7f]+", "must be a path in one line")


def check(option: str, value: str | None, rule: tuple[str, str]) -> None:
    """Refuse a value of an option that does not fit its rule."""
    pattern, meaning = rule
    if value is not None and not re.fullmatch(pattern, value):
        raise UserError(f"--{option}: {meaning}, got {value!r}")


def dns_name(name: str, most: int) -> str:
    """A study's name as a Kubernetes name that begins with a letter, of at most `most` characters.

    A name that had to be changed ends in a digest of what it was: `a_b` and `a-b` stay two studies.
    """
    fitting = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not fitting[:1].isalpha():
        fitting = f"study-{fitting}".rstrip("-")
    if fitting == name and len(name) <= most:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{fitting[: most - len(digest) - 1].rstrip('-')}-{digest}"
