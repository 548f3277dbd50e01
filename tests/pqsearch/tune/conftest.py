"""A real Ray of two processors, the one that the other tests use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import join_ray


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A connection, and the folder that Tune writes to where it is not told one."""
    join_ray()
    monkeypatch.setattr("ray.train.constants.DEFAULT_STORAGE_PATH", str(tmp_path))
    return tmp_path
