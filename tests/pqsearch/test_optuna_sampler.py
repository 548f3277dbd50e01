"""Our algorithms as samplers in real Optuna studies."""

from __future__ import annotations

import math
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

import pqsearch
from pqsearch import rooms
from pqsearch.errors import UserError
from pqsearch.optuna_history import NOTE
from tests.pqsearch.problems import LISTS, Knapsack

optuna.logging.set_verbosity(optuna.logging.ERROR)
SPACE = {
    "x": IntDistribution(0, 20),
    "y": FloatDistribution(0, 1, step=0.05),
    "z": CategoricalDistribution(["a", "b", "c"]),
}
SEARCHING = [name for name in rooms.names("algorithms") if name not in LISTS]


def objective(trial: optuna.Trial) -> float:
    x, y = trial.suggest_int("x", 0, 20), trial.suggest_float("y", 0, 1, step=0.05)
    return (x - 14) ** 2 / 100 + (y - 0.3) ** 2 + (trial.suggest_categorical("z", ["a", "b", "c"]) != "b")


def failing(trial: optuna.Trial) -> float:
    value = objective(trial)
    if trial.number % 4 == 1:
        raise ValueError("no")
    if trial.number % 4 == 2:
        trial.report(value, 0)
        raise optuna.TrialPruned
    return value


def fruits(study: optuna.Study) -> list[Any]:
    return [(trial.state, trial.params, trial.values) for trial in study.trials]


def searched(sampler: optuna.samplers.BaseSampler, trials: int = 30, **options: Any) -> optuna.Study:
    study = optuna.create_study(sampler=sampler, **options)
    study.optimize(failing, trials, catch=ValueError)
    return study


@pytest.mark.parametrize("name", SEARCHING)
@pytest.mark.parametrize("space", [None, SPACE])
def test_the_same_seed_gives_the_same_trials(name: str, space: Any) -> None:
    first, again = (searched(pqsearch.as_sampler(name, space=space, seed=3)) for _ in range(2))
    assert fruits(first) == fruits(again)
    assert len({str(trial.params) for trial in first.trials}) > 15


def test_another_seed_gives_other_trials() -> None:
    first, other = (searched(pqsearch.as_sampler("genetic", space=SPACE, seed=seed), 3) for seed in (0, 1))
    assert fruits(first) != fruits(other)


@pytest.mark.parametrize("name", ["surrogate_exchange", "genetic", "particle_swarm", "bee_colony", "ant_colony", "tpe"])
def test_a_study_reopened_from_its_journal_goes_on_as_the_unbroken_one(name: str, tmp_path: Path) -> None:
    unbroken = searched(pqsearch.as_sampler(name), 25)
    for trials in (12, 13):
        storage = JournalStorage(JournalFileBackend(str(tmp_path / "optuna.log")))
        study = optuna.create_study(
            storage=storage, study_name="broken", load_if_exists=True, sampler=pqsearch.as_sampler(name)
        )
        study.optimize(failing, trials, catch=ValueError)
    assert fruits(study) == fruits(unbroken)


@pytest.mark.parametrize("name", ["surrogate_exchange", "particle_swarm"])
def test_both_directions_are_searched(name: str) -> None:
    down = optuna.create_study(sampler=pqsearch.as_sampler(name, space=SPACE))
    down.optimize(objective, 40)
    up = optuna.create_study(sampler=pqsearch.as_sampler(name, space=SPACE), direction="maximize")
    up.optimize(lambda trial: -objective(trial), 40)
    assert [trial.params for trial in up.trials] == [trial.params for trial in down.trials]
    assert down.best_value < 0.3


def test_the_space_is_what_completed_trials_share_and_the_rest_is_drawn() -> None:
    def conditional(trial: optuna.Trial) -> float:
        extra = trial.suggest_int("extra", 0, 3) if trial.number % 2 else 0
        return objective(trial) + extra

    study = optuna.create_study(sampler=pqsearch.as_sampler("genetic", population=4))
    study.optimize(conditional, 20)
    noted = [trial.system_attrs[NOTE] for trial in study.trials if NOTE in trial.system_attrs]
    assert len(noted) == 19
    assert all(note["of"] == ["genetic", ["x", 21], ["y", 21], ["z", 3]] for note in noted)
    assert len({trial.params.get("extra") for trial in study.trials}) > 3


def test_an_objective_need_not_ask_for_every_parameter_of_the_space() -> None:
    study = optuna.create_study(sampler=pqsearch.as_sampler("genetic", space=SPACE, population=4))
    study.optimize(lambda trial: trial.suggest_int("x", 0, 20) / 20, 30)
    assert study.best_value < 0.1


def test_enqueued_and_added_trials_count() -> None:
    study = optuna.create_study(sampler=pqsearch.as_sampler("genetic", space=SPACE, population=4, mutation=1))
    study.enqueue_trial({"x": 14, "y": 0.3, "z": "b"})
    study.enqueue_trial({"x": 13})
    study.optimize(objective, 30)
    assert study.trials[0].value == 0 and study.trials[1].params["x"] == 13
    close = [trial for trial in study.trials[8:] if trial.params["z"] == "b" and abs(trial.params["x"] - 14) <= 4]
    assert len(close) > 8  # a tenth of the space


def test_samplers_take_turns_on_a_study() -> None:
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, 15)
    for name in ("bee_colony", "particle_swarm", "genetic"):
        study.sampler = pqsearch.as_sampler(name)
        study.optimize(objective, 15)
    assert [trial.system_attrs[NOTE]["of"][0] for trial in study.trials[15::15]] == [
        "bee_colony",
        "particle_swarm",
        "genetic",
    ]


def test_pruned_trials_rank_behind_whole_ones_and_failed_ones_teach() -> None:
    def halving(trial: optuna.Trial) -> float:
        value = objective(trial)
        trial.report(value, 0)
        if trial.should_prune():
            raise optuna.TrialPruned
        return value

    for pruner in (optuna.pruners.MedianPruner(n_startup_trials=3), optuna.pruners.HyperbandPruner(1, 4)):
        study = optuna.create_study(sampler=pqsearch.as_sampler("surrogate_exchange", startup=6), pruner=pruner)
        study.optimize(halving, 30)
        assert all(NOTE in trial.system_attrs for trial in study.trials[1:])


@pytest.mark.parametrize("name", SEARCHING)
def test_values_without_end_count_as_failures(name: str) -> None:
    def endless(trial: optuna.Trial) -> float:
        value = objective(trial)
        if trial.number % 4 == 1:
            return math.inf
        if trial.number % 4 == 2:
            trial.report(-math.inf, 0)
            raise optuna.TrialPruned
        return value

    study, failed = (optuna.create_study(sampler=pqsearch.as_sampler(name, space=SPACE)) for _ in range(2))
    study.optimize(endless, 20)

    def failing_there(trial: optuna.Trial) -> float:
        if trial.number % 4 in (1, 2):
            objective(trial)
            raise ValueError("no")
        return objective(trial)

    failed.optimize(failing_there, 20, catch=ValueError)
    assert [trial.params for trial in study.trials] == [trial.params for trial in failed.trials]


@pytest.mark.parametrize("name", ["genetic", "bee_colony"])
def test_trials_of_several_threads_are_all_told(name: str) -> None:
    study = optuna.create_study(sampler=pqsearch.as_sampler(name, space=SPACE))
    study.optimize(failing, 40, n_jobs=4, catch=ValueError)
    assert len(study.trials) == 40
    assert len({tuple(trial.system_attrs[NOTE]["genes"]) for trial in study.trials}) > 35


def _process(path: str, trials: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(path))
    study = optuna.load_study(
        study_name="shared", storage=storage, sampler=pqsearch.as_sampler("genetic", population=6)
    )
    study.optimize(objective, trials)


def test_several_processes_share_a_study(tmp_path: Path) -> None:
    path = str(tmp_path / "optuna.log")
    study = optuna.create_study(storage=JournalStorage(JournalFileBackend(path)), study_name="shared")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_process, args=(path, 15)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 30
    assert sum(NOTE in trial.system_attrs for trial in study.trials) >= 28


def test_asking_and_telling_works_without_optimize() -> None:
    study = optuna.create_study(sampler=pqsearch.as_sampler("uniform_plans", space=SPACE))
    trial = study.ask(SPACE)
    assert trial.params == {"x": 10, "y": 0.5, "z": "b"}
    study.tell(trial, 1.0)
    study.tell(study.ask(SPACE), 1.0)


def test_a_study_ends_when_nothing_is_left_to_propose() -> None:
    study = optuna.create_study(sampler=pqsearch.as_sampler("uniform_plans", space=SPACE))
    study.optimize(objective, 30)
    assert len(study.trials) == 2  # the second one found nothing left


def test_a_problem_brings_budgets() -> None:
    problem = Knapsack([4] * 5)
    space = {f"layer{knob}": IntDistribution(0, 3) for knob in range(5)}
    study = optuna.create_study(
        sampler=pqsearch.as_sampler("surrogate_exchange", space=space, problem=problem), direction="maximize"
    )

    def worth(trial: optuna.Trial) -> float:
        levels = [trial.suggest_int(name, 0, 3) for name in space]
        assert (problem.costs([levels]) <= problem.limits).all()  # type: ignore[arg-type]
        return sum(level * (knob + 1) for knob, level in enumerate(levels))

    study.optimize(worth, 20)
    assert len(study.trials) == 20


def test_a_sampler_travels_between_processes() -> None:
    sampler = pqsearch.as_sampler("genetic", space=SPACE, population=5)
    assert fruits(searched(pickle.loads(pickle.dumps(sampler)), 10)) == fruits(searched(sampler, 10))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("genetics", {}, "algorithm.name: unknown name 'genetics', did you mean 'genetic'?"),
        ("genetic", {"populations": 3}, "algorithm.populations: unknown option of 'genetic', did you mean 'population'?"),
        ("genetic", {"population": 1}, "algorithm.population: must be from 2 to 10000, got 1"),
        ("genetic", {"space": {"lr": FloatDistribution(0, 1)}}, "lr: must have a list of values, got a float without a step"),
        ("genetic", {"space": {"lr": FloatDistribution(1e-4, 1, log=True)}}, "lr: must have a list of values, got a log scale"),
        ("genetic", {"space": {"n": IntDistribution(1, 64, log=True)}}, "n: must have a list of values, got a log scale"),
        ("genetic", {"seed": -1}, "seed: must be a whole number of at least 0, got -1"),
        ("genetic", {"seed": 0.5}, "seed: must be a whole number of at least 0, got 0.5"),
        ("genetic", {"problem": Knapsack([3])}, "space: is required with a problem"),
        (
            "genetic",
            {"problem": Knapsack([3]), "space": {"x": IntDistribution(0, 3)}},
            "space: must have as many values as the problem has levels, [3], got [4]",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_named(name: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        pqsearch.as_sampler(name, **arguments)
    assert caught.value.problems[0].startswith(words)


def test_a_parameter_without_levels_is_named_in_the_first_trial_already() -> None:
    study = optuna.create_study(sampler=pqsearch.as_sampler("genetic"))
    with pytest.raises(
        UserError, match="lr: must have a list of values, got a log scale; give it a step, or use suggest_"
    ):
        study.optimize(lambda trial: trial.suggest_float("lr", 1e-4, 1, log=True), 1)


def test_several_objectives_are_for_algorithms_that_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study(
        sampler=pqsearch.as_sampler("genetic", space=SPACE), directions=["minimize", "maximize"]
    )
    with pytest.raises(UserError, match="genetic searches for one objective, got 2"):
        study.optimize(lambda trial: (objective(trial), 1.0), 1)
    constants = rooms.constants
    monkeypatch.setattr(
        rooms, "constants", lambda *file: {**constants(*file), "SEVERAL_OBJECTIVES": file[1] == "random_search"}
    )
    study.sampler = pqsearch.as_sampler("random_search", space=SPACE)
    study.optimize(lambda trial: (objective(trial), 1.0), 5)
    assert [trial.state for trial in study.trials[1:]] == [TrialState.COMPLETE] * 5
