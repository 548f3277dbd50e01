"""A real Ray of two processors, the one that the other tests use."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster import local
from pqsearch.spec import parse_spec
from tests.conftest import small_spec


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A connection, and the folder that Tune writes to where it is not told one."""
    local.connect(local.render(parse_spec(small_spec())))
    monkeypatch.setattr("ray.train.constants.DEFAULT_STORAGE_PATH", str(tmp_path))
    return tmp_path
