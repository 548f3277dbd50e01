"""What looks at a search tells a study that is slow from one that has ended."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import ray

from pqsearch.tune import watch
from pqsearch.tune.watch import Watcher
from tests.waiting import until

SLOW_SECONDS, FOR_EVER = 2.0, 3600.0


class Slow:
    """A study whose second answer takes its time."""

    def __init__(self, seconds: float = SLOW_SECONDS) -> None:
        self._asked, self._seconds = 0, seconds

    def progress(self) -> dict[str, Any]:
        self._asked += 1
        if self._asked == 2:
            time.sleep(self._seconds)
        return {"epoch": 0, "asked": self._asked}

    def expect(self, workers: dict[str, Any]) -> None:
        """Nobody runs."""


def _started(seconds: float = SLOW_SECONDS) -> Any:
    """Such a study, which is there, and at its second answer."""
    study = ray.remote(num_cpus=0)(Slow).remote(seconds)
    ray.get(study.progress.remote())
    study.progress.remote()
    return study


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"WATCH_SECONDS": 0.05, "ANSWER_SECONDS": 0.2, "LOST_SECONDS": 0.5}.items():
        monkeypatch.setattr(watch, name, seconds)


def _watched(study: Any, heard: list[int]) -> Watcher:
    """Made off the main thread: what is noticed is looked at here, not told by an interrupt."""
    with ThreadPoolExecutor(1) as other:
        return other.submit(Watcher, study, lambda state: heard.append(state["asked"]), dict).result()


@pytest.mark.usefixtures("warm_ray", "impatient")
def test_a_study_that_is_silent_for_longer_than_ray_may_be_is_waited_for() -> None:
    study, heard = _started(), list[int]()
    with _watched(study, heard) as watcher:
        until(lambda: watcher.lost is not None or heard)
    ray.kill(study)
    assert watcher.lost is None and heard[0] > 2


@pytest.mark.usefixtures("warm_ray", "impatient")
def test_a_study_that_has_ended_for_good_is_given_up_soon() -> None:
    study = _started()
    ray.kill(study)
    with _watched(study, []) as watcher:
        until(lambda: watcher.lost is not None)
    assert watcher.lost == "the study does not answer"


@pytest.mark.usefixtures("warm_ray", "impatient")
def test_a_study_that_stays_silent_is_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SILENT_SECONDS", 1.0)
    study = _started(FOR_EVER)
    with _watched(study, []) as watcher:
        until(lambda: watcher.lost is not None)
    ray.kill(study)
    assert watcher.lost == "the study does not answer"
