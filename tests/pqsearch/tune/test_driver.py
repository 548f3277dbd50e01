"""A search that ends before its time leaves a Ray that stays as it found it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import ray

from pqsearch.cli import main
from pqsearch.tune import watch
from tests.conftest import write_spec
from tests.waiting import until


def _kill_the_study() -> None:
    """Once there are places for its workers, and before these have started; for good, so that nobody begins it anew."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        studies = [
            one for one in ray.util.list_named_actors(all_namespaces=True) if one["name"].startswith("small/study")
        ]
        if studies and any(group["state"] == "CREATED" for group in ray.util.placement_group_table().values()):
            ray.kill(ray.get_actor(**studies[0]), no_restart=True)
            return
        time.sleep(0.1)


@pytest.mark.long
@pytest.mark.usefixtures("warm_ray")
def test_the_places_of_its_workers_are_free_for_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watch, "LOST_SECONDS", 0.5)
    path = write_spec(tmp_path, study__evaluations=200)
    killer = threading.Thread(target=_kill_the_study)
    killer.start()
    assert main(["search", str(path)]) == 1
    killer.join()
    assert "Ray has ended under the search" in capsys.readouterr().err
    until(lambda: ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"])
    assert {group["state"] for group in ray.util.placement_group_table().values()} <= {"REMOVED"}
    (tmp_path / "next").mkdir()
    assert main(["search", str(write_spec(tmp_path / "next", study__evaluations=4, study__confirm=0))]) == 0, (
        capsys.readouterr().err
    )
