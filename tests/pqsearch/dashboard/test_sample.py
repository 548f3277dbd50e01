"""Of many candidates some are drawn: the line of the best stays that of all."""

from __future__ import annotations

from pathlib import Path

import pytest

from pqsearch.dashboard import sample
from pqsearch.dashboard.sample import drawn, evenly, on_front
from pqsearch.dashboard.watched import Watched
from pqsearch.report import figures
from tests.pqsearch.dashboard.small_study import begin, search


def _best_so_far(rows: list[dict[str, object]]) -> list[tuple[float, float]]:
    """The corners of the line that convergence draws."""
    (line,) = [trace for trace in figures.convergence(rows).data if trace.name == "best so far"]
    points = list(zip(line.x, line.y, strict=True))
    return [point for place, point in enumerate(points) if place == 0 or point[1] > points[place - 1][1]]


def test_few_candidates_are_all_drawn_and_of_many_those_that_lines_go_through(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run, study__evaluations=120)
    watched = Watched(run)
    watched.follow()
    state = watched.state
    everyone = drawn(state)
    assert everyone == sorted(state.scores)
    some = drawn(state, most=30)
    assert 25 <= len(some) <= 60 and set(some) <= set(everyone)
    assert _best_so_far([state.row(id) for id in some]) == _best_so_far([state.row(id) for id in everyone])
    assert {*state.roles["uniform_filled"]} & set(everyone) <= set(some)


def test_the_front_in_parts_is_that_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"study__objectives": ["loss", "flops"], "algorithm": {"name": "nsga2", "population": 4}}
    run = begin(tmp_path, **changes)
    search(run, study__evaluations=60, **changes)
    watched = Watched(run)
    watched.follow()
    monkeypatch.setattr(sample, "AT_ONCE", 7)
    assert on_front(watched.state) == sorted(row["id"] for row in watched.state.front())


def test_evenly_keeps_both_ends() -> None:
    assert evenly(range(100), 5) == [0, 25, 50, 74, 99]
    assert evenly([1, 2], 5) == [1, 2]
    assert evenly([], 5) == []
