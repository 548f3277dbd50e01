"""Modules of the user's, in a folder beside the spec."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def own_modules(folder: Path, **texts: str) -> Iterator[Path]:
    """`folder` with modules of these names; afterwards nobody finds them there, or has them loaded, any more."""
    before = list(sys.path)
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    try:
        yield folder
    finally:
        sys.path[:] = before
        for name in texts:
            sys.modules.pop(name, None)
