"""Addresses of run directories that are no folders: what may stand in one, and where this machine keeps its copy. No network."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit

from pqsearch.hidden import hide_passwords

#: What pyarrow opens by itself; whatever fsspec knows is `fsspec+<its name>://`.
SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs", "file")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
_ONE_SLASH = re.compile(rf"(?:{'|'.join(SCHEMES)}):/")
#: Schemes in whose addresses a bucket is named first, and nothing stands before an @.
_BUCKETS = ("s3", "gs", "gcs")


def is_url(text: str | Path) -> bool:
    """Whether a run directory is named by its address in a store. A `Path` never is: it has lost a slash."""
    return isinstance(text, str) and _URL.match(text) is not None


def url_problems(url: str) -> Iterator[str]:
    """What is wrong with the `study.run_dir` of a spec where it is an address, or was meant to be one; nothing for a folder."""
    shown = hide_passwords(url)
    if not is_url(url):
        if _ONE_SLASH.match(url):
            yield f"study.run_dir: an address begins as {url.partition(':')[0]}://BUCKET/FOLDER, got {shown!r}"
        return
    parts = urlsplit(url)
    scheme = parts.scheme
    if scheme not in SCHEMES and not scheme.startswith("fsspec+"):
        yield (
            f"study.run_dir: unknown store {scheme}:// in {shown!r}, choose from "
            f"{', '.join(f'{name}://' for name in SCHEMES)} and fsspec+NAME://, or name a folder"
        )
        return
    if shown != url or (scheme in _BUCKETS and "@" in parts.netloc):
        yield (
            f"study.run_dir: keys must not stand in an address, got {_without_user(shown)!r}; leave them out and give them to "
            "all nodes in the environment (for s3:// as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
        )
    elif scheme in _BUCKETS and not parts.netloc:
        yield f"study.run_dir: no bucket in {shown!r}; write {scheme}://BUCKET/FOLDER"
    elif parts.fragment or ".." in parts.path.split("/") or any(letter.isspace() for letter in url):
        yield f"study.run_dir: # and .. and spaces may not stand in an address, got {shown!r}; write {scheme}://BUCKET/FOLDER"


def below(url: str, name: str) -> str:
    """The address of what is called `name` in the folder at `url`."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


def folder_of(url: str) -> Path:
    """Where this machine keeps its copy of a run directory in a store: in the user's cache, one folder for each address.

    Options of the address that do not say which files are meant have no part in it, but another endpoint is another store.
    """
    parts = urlsplit(url)
    path = re.sub("/+", "/", parts.path).rstrip("/")
    same = [parts.scheme, parts.netloc, path, *parse_qs(parts.query).get("endpoint_override", ())]
    digest = hashlib.sha256("\n".join(same).encode()).hexdigest()[:12]
    name = re.sub(r"[^A-Za-z0-9._-]", "_", path.rpartition("/")[2] or parts.netloc)
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "pqsearch" / "runs" / f"{name}-{digest}"


def _without_user(url: str) -> str:
    """An address without what stands before the @ of its host: a key's name says which key it is."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"***@{host}")) if host != parts.netloc else url
