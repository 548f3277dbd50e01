"""Our algorithms as searchers in real Tuners."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Searcher

from pqsearch import rooms
from pqsearch.errors import UserError
from pqsearch.tune import as_searcher
from tests.pqsearch.problems import LISTS

SPACE = {"x": tune.randint(0, 11), "inner": {"y": tune.quniform(0, 1, 0.1)}, "z": tune.choice(["a", "b"])}


def loss(config: Any) -> float:
    return (config["x"] - 7) ** 2 / 10 + config["inner"]["y"] + (config["z"] == "a")


def told(searcher: Searcher, names: range, fails: bool = True) -> list[Any]:
    """Suggests and completes one trial after another; every fifth errs, every seventh gives no number."""
    configs = []
    for number in names:
        config = searcher.suggest(f"trial{number}")
        assert isinstance(config, dict)
        configs.append(config)
        result = {"loss": math.nan if fails and number % 7 == 3 else loss(config), "training_iteration": 1}
        searcher.on_trial_result(f"trial{number}", result)
        error = fails and number % 5 == 2
        searcher.on_trial_complete(f"trial{number}", None if error else result, error=error)
    return configs


@pytest.mark.parametrize("name", [name for name in rooms.names("algorithms") if name not in LISTS])
def test_a_searcher_restored_from_its_file_goes_on_as_the_unbroken_one(name: str, tmp_path: Path) -> None:
    unbroken = told(as_searcher(name, SPACE, metric="loss", mode="min"), range(24))
    first = as_searcher(name, SPACE, metric="loss", mode="min")
    begun = told(first, range(14))
    first.suggest("lost")  # it is running when the search is killed
    first.save_to_dir(str(tmp_path))
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text())["ids"] == {"lost": 14}
    restored = ConcurrencyLimiter(as_searcher(name, SPACE, metric="loss", mode="min"), 3)
    restored.restore(str(file))
    restored.searcher.on_trial_complete("lost", {"loss": loss(unbroken[14])})
    assert begun + told(restored, range(15, 24)) == [*unbroken[:14], *unbroken[15:]]


def test_a_tuner_gives_space_metric_and_mode(cluster: Path) -> None:
    def train(config: Any) -> None:
        if config["x"] % 4 == 0:
            raise ValueError("no")
        tune.report({"gain": -loss(config)})

    searcher = as_searcher("genetic", population=3, mutation=1)
    tuner = tune.Tuner(
        train,
        param_space={**SPACE, "constant": 3},
        tune_config=tune.TuneConfig(
            metric="gain", mode="max", num_samples=8, search_alg=ConcurrencyLimiter(searcher, 2), reuse_actors=True
        ),
        run_config=tune.RunConfig(name="given", verbose=0),
    )
    results = tuner.fit()
    assert len(results) == 8 and all(result.config["constant"] == 3 for result in results)
    (file,) = (cluster / "given").glob("searcher-state-*")
    words = [row for row in json.loads(file.read_text())["history"] if row["type"] == "told"]
    assert [word["failed"] for word in words].count(True) == len(results.errors)
    assert all(word["values"][0] > 0 for word in words if not word["failed"])


def test_an_experiment_that_broke_is_restored(cluster: Path) -> None:
    def train(config: Any) -> None:
        if not (cluster / "mended").exists():
            raise ValueError("not yet")
        tune.report({"loss": loss(config)})

    tune_config = tune.TuneConfig(
        num_samples=2, max_concurrent_trials=1, search_alg=as_searcher("genetic", SPACE, metric="loss", mode="min")
    )
    run_config = tune.RunConfig(name="broken", verbose=0)
    assert len(tune.Tuner(train, tune_config=tune_config, run_config=run_config).fit().errors) == 2
    (cluster / "mended").touch()
    results = tune.Tuner.restore(str(cluster / "broken"), train, resume_errored=True).fit()
    assert not results.errors and len(results) == 2


def test_trials_that_came_further_outrank_the_others() -> None:
    searcher = as_searcher("genetic", SPACE, metric="loss", mode="min", time_attr="training_iteration")
    for number, depth in enumerate((1, 9)):
        searcher.suggest(str(number))
        searcher.on_trial_complete(str(number), {"loss": float(depth), "training_iteration": depth})
    searcher.suggest("next")
    algorithm = searcher._made._following._algorithm  # type: ignore[attr-defined]
    assert algorithm._archive.ranked()[0] == searcher._made._asked[1].genes  # type: ignore[attr-defined]


def test_points_evaluated_elsewhere_count() -> None:
    searcher = as_searcher("genetic", SPACE, metric="loss", mode="min", population=2, mutation=1)
    for x in (6, 7, 8):
        point = {"x": x, "inner/y": 0.1, "z": "b"}
        searcher.add_evaluated_point(point, loss({"x": x, "inner": {"y": 0.1}, "z": "b"}))
    assert all(abs(config["x"] - 7) < 5 for config in told(searcher, range(4), fails=False))
    with pytest.raises(UserError, match="parameters: must be among the values of the space"):
        searcher.add_evaluated_point({"x": 60, "inner/y": 0.1, "z": "b"}, 1.0)


def test_an_algorithm_that_is_done_ends_the_search() -> None:
    searcher = as_searcher("uniform_plans", SPACE, metric="loss", mode="min")
    assert searcher.suggest("a") == {"x": 5, "inner": {"y": 0.5}, "z": "b"}
    assert searcher.suggest("b") == Searcher.FINISHED


@pytest.mark.parametrize(
    ("domain", "values"),
    [
        (tune.randint(2, 5), [2, 3, 4]),
        (tune.qrandint(1, 10, 3), [3, 6, 9]),
        (tune.qrandint(2, 5, 1), [2, 3, 4]),
        (tune.quniform(0.1, 0.5, 0.1), [0.1, 0.2, 0.3, 0.4, 0.5]),
        (tune.choice([[1, 2], "x"]), [[1, 2], "x"]),
    ],
)
def test_values_are_those_that_tune_would_draw(domain: Any, values: list[Any]) -> None:
    from pqsearch.tune.spaces import choices_of

    choices = choices_of({"p": domain, "constant": 3})
    assert [choices.decode((level,))["p"] for level in range(choices.levels[0])] == values
    assert all(
        value in values or any(math.isclose(value, other) for other in values) for value in domain.sample(size=50)
    )


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"x": tune.grid_search([1, 2])}, "x: must not be tune.grid_search"),
        ({"a": {"x": tune.uniform(0, 1)}}, "a/x: must have a list of values, got Float(0, 1)"),
        ({"x": tune.loguniform(1e-4, 1)}, "x: must have a list of values, got a log scale"),
        ({"x": tune.qloguniform(0.1, 1, 0.1)}, "x: must have a list of values, got a log scale"),
        ({"x": tune.sample_from(lambda spec: 1)}, "x: must have a list of values, got Function"),
        ({"x": [tune.randint(0, 2)]}, "x/0: must not be in a list"),
        ({"x": 3}, "space: must name at least one parameter"),
    ],
)
def test_what_has_no_levels_is_refused_by_name(space: Any, words: str) -> None:
    with pytest.raises(UserError) as caught:
        as_searcher("genetic", space, metric="loss", mode="min")
    assert caught.value.problems[0].startswith(words)


def test_what_neither_the_searcher_nor_the_tuner_says_is_asked_for() -> None:
    with pytest.raises(UserError, match="metric: is required by as_searcher unless the Tuner has it"):
        as_searcher("genetic", SPACE).suggest("a")
    with pytest.raises(UserError, match="genetic searches for one objective, got 2"):
        as_searcher("genetic", SPACE, metric=["a", "b"], mode=["min", "max"])
    with pytest.raises(UserError, match="unknown option of 'genetic'"):
        as_searcher("genetic", SPACE, populations=3)
    with pytest.raises(UserError, match="mode: must be 'min' or 'max', got 'mni'"):
        as_searcher("genetic", mode="mni")
    with pytest.raises(UserError, match=r"mode: must be 'min' or 'max', one for each of \['a', 'b'\], got 'min'"):
        as_searcher("nsga2", SPACE, metric=["a", "b"], mode="min")
    with pytest.raises(UserError, match="seed: must be a whole number of at least 0, got -1"):
        as_searcher("genetic", SPACE, seed=-1)


def test_one_value_for_a_point_of_two_metrics_is_refused() -> None:
    searcher = as_searcher("nsga2", SPACE, metric=["a", "b"], mode=["min", "max"])
    with pytest.raises(UserError, match=r"value: is one number, but the metrics are \['a', 'b'\]"):
        searcher.add_evaluated_point({"x": 6, "inner/y": 0.1, "z": "b"}, 1.0)


def test_a_file_of_another_space_is_not_restored(tmp_path: Path) -> None:
    as_searcher("genetic", SPACE, metric="loss", mode="min").save(str(tmp_path / "state"))
    with pytest.raises(UserError, match="space: must be the saved one"):
        as_searcher("genetic", {"x": tune.randint(0, 3)}, metric="loss", mode="min").restore(str(tmp_path / "state"))
