"""The Pareto front of a study and its hypervolume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pqsearch import rooms
from pqsearch.front import MOST_PLACES, _growth, front_of, hypervolume
from pqsearch.journal.file import Journal
from pqsearch.local import run_locally
from pqsearch.plan import Accuracy, Item, Result
from pqsearch.settings import Settings
from pqsearch.study import Study
from tests.pqsearch.problems import Free, separable

PROBLEM = Free([4] * 8)
SCORE = separable(PROBLEM)


def test_one_point_covers_its_box() -> None:
    assert hypervolume(np.array([[0.25, 0.5]]), np.ones(2)) == pytest.approx(0.75 * 0.5)
    assert hypervolume(np.array([[0.5, 0.5, 0.5]]), np.ones(3)) == pytest.approx(0.125)


def test_overlap_is_counted_once_and_what_lies_beyond_the_reference_not_at_all() -> None:
    points = np.array([[0.2, 0.8], [0.8, 0.2], [0.5, 0.5], [0.9, 0.9], [0.1, 1.5]])
    # Three steps of a stair: 0.2 x 0.3 wide, then 0.5, then 0.8 high.
    assert hypervolume(points, np.ones(2)) == pytest.approx(0.3 * 0.2 + 0.3 * 0.5 + 0.2 * 0.8)


def test_nothing_covers_nothing() -> None:
    assert hypervolume(np.zeros((0, 2)), np.ones(2)) == 0
    assert hypervolume(np.array([[1.0, 0.0]]), np.ones(2)) == 0


def test_three_objectives_agree_with_counting_drops_of_rain() -> None:
    rng = np.random.default_rng(0)
    points, drops = rng.random((20, 3)), rng.random((20_000, 3))
    covered = (points[:, None] <= drops).all(2).any(0).mean()
    assert hypervolume(points, np.ones(3)) == pytest.approx(covered, abs=0.02)


def _by_cells(points: np.ndarray, reference: np.ndarray) -> float:
    """The volume of the grid cells that points cover, one by one."""
    edges = [np.unique(np.append(column, end)) for column, end in zip(points.T, reference, strict=True)]
    lows = np.stack(np.meshgrid(*(edge[:-1] for edge in edges), indexing="ij"), -1).reshape(-1, len(edges))
    sizes = np.stack(np.meshgrid(*(np.diff(edge) for edge in edges), indexing="ij"), -1).reshape(-1, len(edges))
    covered = (points[:, None] <= lows).all(2).any(0) & (lows < reference).all(1)
    return float(sizes.prod(1)[covered].sum())


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("ties", [False, True])
def test_the_volume_is_that_of_the_cells_covered(objectives: int, ties: bool) -> None:
    for seed in range(10):
        points = np.random.default_rng(seed).random((12, objectives))
        points = (5 * points).round() / 5 if ties else points
        for reference in (np.ones(objectives), np.full(objectives, 0.8)):
            inside = points[(points < reference).all(1)]
            expected = _by_cells(inside, reference) if len(inside) else 0.0
            assert hypervolume(points, reference) == pytest.approx(expected)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_the_growth_is_the_volume_of_all_plans_so_far(objectives: int) -> None:
    points = (20 * np.random.default_rng(0).random((60, objectives)) ** 0.3).round() / 20
    reference = points.max(0)
    rows = _growth(range(60), points, reference)
    assert len(rows) > 3
    for row in rows:
        assert row["volume"] == pytest.approx(hypervolume(points[: int(row["id"]) + 1], reference))


def test_the_growth_of_a_large_front_is_written_down_at_some_places_and_at_its_end() -> None:
    x = np.random.default_rng(0).permutation(3000) / 3000
    points = np.stack([x, (1 - x) ** 2], 1)
    rows = _growth(range(3000), points, np.array([1.5, 1.5]))
    assert len(rows) == MOST_PLACES
    assert (rows[0]["id"], rows[-1]["id"]) == (0, 2999)
    assert rows[-1]["volume"] == pytest.approx(hypervolume(points, np.array([1.5, 1.5])))


def _searched(path: Path) -> Study:
    journal, events, _ = Journal.open(path, lambda: 0.0)
    study = Study(
        PROBLEM, lambda prior: rooms.load("algorithms", "nsga2")(PROBLEM, 0, population=6),
        journal, Settings(60, objectives=("accuracy", "bits")), lambda: 0.0, events=events,
    )  # fmt: skip

    def evaluate(item: Item) -> Result:
        loss = SCORE(PROBLEM.encode(item.plan))
        return Result(item.id, 0, 0, Accuracy(1 - loss, 100), loss, {"train": 1.0})

    run_locally(study, evaluate)
    return study


def test_the_front_holds_the_plans_that_no_other_betters(tmp_path: Path) -> None:
    study = _searched(tmp_path / "j")
    found = front_of(study.state)
    points = {row["id"]: (1 - row["accuracy"], row["costs"]["bits"]) for row in study.candidates()}

    def beaten(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return b[0] <= a[0] and b[1] <= a[1] and a != b

    unbeaten = {id for id, point in points.items() if not any(beaten(point, other) for other in points.values())}
    assert {row["id"] for row in found["plans"]} == unbeaten
    assert found["objectives"] == ("accuracy", "bits") or found["objectives"] == ["accuracy", "bits"]
    assert len(unbeaten) > 3


def test_the_hypervolume_only_grows_and_ends_at_that_of_the_front(tmp_path: Path) -> None:
    found = front_of(_searched(tmp_path / "j").state)
    volumes = [row["volume"] for row in found["hypervolume"]]
    assert volumes == sorted(volumes)
    points = np.array([row["point"] for row in found["plans"]])
    assert volumes[-1] == pytest.approx(hypervolume(points, np.array(found["reference"])))


def test_two_objectives_reach_the_algorithm_as_two_values(tmp_path: Path) -> None:
    study = _searched(tmp_path / "j")
    values: Any = study._told._outcome(0).values
    row = study.candidates()[0]
    assert values == (1 - row["accuracy"], row["costs"]["bits"])
