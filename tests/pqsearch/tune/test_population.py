"""A population on a few long-lived trials of a user's own Trainable, in real Tuners."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune import TuneError

from pqsearch.errors import UserError
from pqsearch.tune import as_scheduler, population

SPACE = {"x": tune.randint(0, 11), "inner": {"y": tune.randint(0, 5)}}


class Worker(tune.Trainable):
    """Notes its processes; candidates with the `bad` x raise, and those with `hard` ones cannot even be taken."""

    def setup(self, config: Any) -> None:
        self.settings = config
        with Path(config["log"]).open("a") as file:
            file.write(f"{os.getpid()}\n")

    def reset_config(self, new_config: Any) -> bool:
        if new_config["x"] == new_config.get("hard"):
            raise ValueError("hard")
        self.settings = new_config
        return bool(new_config.get("takes", True))

    def step(self) -> dict[str, Any]:
        x, y = self.settings["x"], self.settings["inner"]["y"]
        if x == self.settings.get("bad"):
            raise ValueError("bad")
        return {"loss": (x - 7) ** 2 + y + 10 / (1 + self.iteration), "x": x}


def fit(
    folder: Path, scheduler: Any, seats: int = 2, trainable: Any = Worker, deaths: int = -1, **constants: Any
) -> Any:
    tuner = tune.Tuner(
        trainable,
        param_space={"log": str(folder / "processes"), **constants},
        tune_config=tune.TuneConfig(metric="loss", mode="min", scheduler=scheduler, num_samples=seats),
        run_config=tune.RunConfig(verbose=0, failure_config=tune.FailureConfig(max_failures=deaths)),
    )
    return tuner.fit()


def processes(folder: Path) -> int:
    return len((folder / "processes").read_text().split())


def test_seats_keep_their_processes_and_failures_fail_their_candidates_only(cluster: Path) -> None:
    scheduler = as_scheduler("genetic", SPACE, evaluations=40, population=6, mutation=1)
    results = fit(cluster, scheduler, bad=3, hard=5)
    rows = scheduler.rows()
    assert len(rows) == 40 and [row["id"] for row in rows] == list(range(40))
    assert {row["config"]["x"] for row in rows if row["failed"]} <= {3, 5}
    assert all(
        row["loss"] == (row["config"]["x"] - 7) ** 2 + row["config"]["inner"]["y"] + 10 for row in rows if row["loss"]
    )
    assert not any(row["loss"] is None for row in rows if not row["failed"])
    assert processes(cluster) <= 2 + sum(row["config"]["x"] == 3 for row in rows)
    best = scheduler.best()
    assert best is not None and best["loss"] <= 12
    assert len(results) == 2 and not results.errors


def test_one_seat_gives_the_same_population_twice_and_the_last_of_several_steps_counts(cluster: Path) -> None:
    schedulers = [as_scheduler("surrogate_exchange", SPACE, evaluations=12, steps=3, startup=4) for _ in range(2)]
    for scheduler in schedulers:
        fit(cluster, scheduler, seats=1)
    assert schedulers[0].rows() == schedulers[1].rows()
    row = schedulers[0].rows()[5]
    assert row["loss"] == (row["config"]["x"] - 7) ** 2 + row["config"]["inner"]["y"] + 10 / 3
    assert processes(cluster) == 2


def test_more_seats_than_candidates_and_algorithms_that_are_done_end_well(cluster: Path) -> None:
    few = as_scheduler("genetic", SPACE, evaluations=1)
    assert not fit(cluster, few, seats=3).errors and len(few.rows()) == 1
    done = as_scheduler("uniform_plans", SPACE, evaluations=10)
    fit(cluster, done, seats=2)
    assert [row["config"] for row in done.rows()] == [{"x": 5, "inner": {"y": 2}}]


def test_seats_that_die_again_and_again_end_the_search(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Worker):
        def step(self) -> dict[str, Any]:
            raise ValueError("always")

    monkeypatch.setattr(population, "MOST_DEATHS", 3)
    scheduler = as_scheduler("genetic", SPACE, evaluations=50)
    fit(cluster, scheduler, trainable=Broken)
    assert 3 <= len(scheduler.rows()) <= 5 and all(row["loss"] is None for row in scheduler.rows())
    assert scheduler.best() is None


def test_a_trainable_that_takes_no_candidates_is_refused(cluster: Path) -> None:
    class Bare(tune.Trainable):
        def step(self) -> dict[str, Any]:
            return {"loss": 1.0}

    for trainable in (Bare, lambda config: None):
        with pytest.raises(UserError, match="must be a class whose reset_config takes the next candidate"):
            fit(cluster, as_scheduler("genetic", SPACE, evaluations=5), trainable=trainable)
    with pytest.raises(TuneError, match="reset_config: must take the next candidate and return True, got False"):
        fit(cluster, as_scheduler("genetic", SPACE, evaluations=5), takes=False)


def test_what_is_wrong_with_the_arguments_is_said_at_once() -> None:
    with pytest.raises(UserError, match="unknown name 'genetics'"):
        as_scheduler("genetics", SPACE, evaluations=5)
    with pytest.raises(UserError, match=r"x: must not be tune\.grid_search"):
        as_scheduler("genetic", {"x": tune.grid_search([1])}, evaluations=5, metric="loss", mode="min")
    with pytest.raises(UserError, match="mode: must be 'min' or 'max'"):
        as_scheduler("genetic", SPACE, evaluations=5, metric="loss", mode="least")
    for arguments in ({"evaluations": 0}, {"evaluations": -1}, {"evaluations": 5, "steps": 0}):
        with pytest.raises(UserError, match="must be a whole number of at least 1, got"):
            as_scheduler("genetic", SPACE, **arguments)
    with pytest.raises(UserError, match="population: must be at most evaluations, which is 3, got 100"):
        as_scheduler("genetic", SPACE, evaluations=3, population=100)
    with pytest.raises(UserError, match="seed: must be a whole number of at least 0, got -1"):
        as_scheduler("genetic", SPACE, evaluations=3, seed=-1)
    with pytest.raises(UserError, match="metric: is required by as_scheduler unless the TuneConfig has it"):
        as_scheduler("genetic", SPACE, evaluations=5).rows()
