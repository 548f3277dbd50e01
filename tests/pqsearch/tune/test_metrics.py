"""Gauges of a real Ray. That they arrive where Prometheus looks is tested in tests/long/test_prometheus.py."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from pqsearch import rooms
from pqsearch.journal.memory import MemoryJournal
from pqsearch.local import run_locally
from pqsearch.plan import Accuracy, Item, Result
from pqsearch.settings import Settings
from pqsearch.study import Study
from pqsearch.study_metrics import Figure, Meter
from pqsearch.tune.metrics import EVERY_SECONDS, MOST_OF_TIME, Exported
from tests.pqsearch.problems import Knapsack

PROBLEM = Knapsack([3] * 6)


def _study() -> Study:
    search = rooms.load("algorithms", "genetic")(PROBLEM, 0, population=4)
    settings = Settings(
        evaluations=5, rungs=2, objectives=("loss",), budgets={"bits": 12.0}, algorithm={"name": "genetic"}
    )
    return Study(PROBLEM, lambda prior: search, MemoryJournal(lambda: 0.0), settings, lambda: 0.0)


def _result(item: Item) -> Result:
    return Result(item.id, item.rung, item.repeat, Accuracy(0.5, 100), 0.5, {"train": 1.0}, None)


def test_every_figure_of_a_study_is_taken_by_its_gauge(cluster: Path) -> None:
    study = _study()
    exported = Exported("small", Meter(study, lambda: 0.0))
    assert exported.update() >= EVERY_SECONDS
    run_locally(study, _result)
    assert exported.update() >= EVERY_SECONDS


def test_what_takes_long_is_done_the_less_often(cluster: Path) -> None:
    seconds = iter([10.0, 10.5])
    exported = Exported("small", Meter(_study(), lambda: 0.0), clock=lambda: next(seconds))
    assert exported.update() == pytest.approx(0.5 / MOST_OF_TIME)


def test_a_figure_that_cannot_be_had_ends_the_metrics_and_nothing_else(
    cluster: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Meter):
        def read(self) -> list[Figure]:
            raise ZeroDivisionError("on purpose")

    exported = Exported("small", Broken(_study(), lambda: 0.0))
    with caplog.at_level(logging.WARNING):
        asyncio.run(exported.keep_up())
    assert "the metrics of Ray stopped: on purpose" in caplog.text
