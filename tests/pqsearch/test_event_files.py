"""Event files read back by TensorBoard itself: its accumulator, and its plugin for hyperparameters."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

from pqsearch import rooms
from pqsearch.event_files import EventFiles, run_of
from pqsearch.journal.file import Journal
from pqsearch.journal.memory import MemoryJournal
from pqsearch.local import run_locally
from pqsearch.plan import Accuracy, Item, Result
from pqsearch.problem import Proposal
from pqsearch.settings import Settings
from pqsearch.study import Study
from tests.pqsearch.problems import Knapsack, separable

PROBLEM = Knapsack([3] * 6)
SCORE = separable(PROBLEM)
SEEDS = (Proposal((0,) * 6, {"role": "uniform"}, exact=True),)
HALVING = {"factor": 3.0, "kind": "promotion", "window": 30}


def _study(path: Path, **changes: Any) -> Study:
    journal, events, _ = Journal.open(path, lambda: 1000.0)
    search = rooms.load("algorithms", "genetic")(PROBLEM, 0, population=4)
    wanted = {"evaluations": 12, "rungs": 2, "objectives": ("loss",), "confirm": 2, "confirm_repeats": 2, **changes}
    settings = Settings(**wanted)
    return Study(PROBLEM, lambda prior: search, journal, settings, lambda: 1000.0, events=events, seeds=SEEDS)


def _result(item: Item) -> Result:
    loss = SCORE(PROBLEM.encode(item.plan)) + 0.001 * item.repeat + 0.1 * (1 - item.rung)
    failure = "on purpose" if item.id == 5 else None
    return Result(item.id, item.rung, item.repeat, Accuracy(1 - loss / 2, 100), loss, {"train": 2.0}, None, failure)


class _Board:
    """What TensorBoard knows of a folder."""

    def __init__(self, folder: Path) -> None:
        logging.getLogger("tensorboard").setLevel(logging.ERROR)
        self._multiplexer = EventMultiplexer()
        self._multiplexer.AddRunsFromDirectory(str(folder))
        self._multiplexer.Reload()
        provider = MultiplexerDataProvider(self._multiplexer, str(folder))
        self._context = backend_context.Context(TBContext(data_provider=provider))
        self._request = RequestContext()

    @property
    def runs(self) -> set[str]:
        return set(self._multiplexer.Runs()) - {"."}

    def experiment(self) -> api_pb2.Experiment:
        return get_experiment.Handler(
            self._request, self._context, "1", api_pb2.GetExperimentRequest(include_metrics=True)
        ).run()

    def sessions(self) -> dict[str, Any]:
        """By run, what the view of hyperparameters shows: them, the metrics, and the status."""
        asked = api_pb2.ListSessionGroupsRequest(slice_size=10_000, include_metrics=True)
        asked.allowed_statuses.extend([0, 1, 2, 3])
        answer = list_session_groups.Handler(self._request, self._context, "1", asked).run()
        return {
            group.name: {
                "hparams": {key: value.number_value or value.string_value for key, value in group.hparams.items()},
                "metrics": {value.name.tag: value.value for value in group.metric_values},
                "status": api_pb2.Status.Name(group.sessions[0].status).removeprefix("STATUS_").lower(),
            }
            for group in answer.session_groups
        }


def _scalars(folder: Path, id: int, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / run_of(id)))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_every_evaluated_plan_is_a_run_with_its_knobs_scores_and_costs(tmp_path: Path) -> None:
    study = _study(tmp_path / "j")
    run_locally(study, _result)
    EventFiles(tmp_path, 100).follow(study.state)
    board = _Board(tmp_path)
    ended = {row["id"]: row for row in study.candidates() if row["state"] != "same"}
    assert board.runs == {run_of(id) for id in ended}
    sessions = board.sessions()
    assert sessions.keys() == board.runs
    for id, row in ended.items():
        session = sessions[run_of(id)]
        for (kind, name, values, _), level in zip(study.state.table.rows, row["genes"], strict=True):
            assert session["hparams"][f"{kind}/{name}"] == pytest.approx(values[level])
        assert session["hparams"]["role"] == (row["role"] or "searched")
        for budget, cost in row["costs"].items():
            assert session["metrics"][f"cost/{budget}"] == pytest.approx(cost)
        if id in study.state.scores:
            assert session["metrics"]["loss"] == pytest.approx(study.state.scores[id])
            assert session["metrics"]["accuracy"] == pytest.approx(sum(row["repeats"]) / len(row["repeats"]))
            lowest = [entry["loss"] for entry in row["measurements"] if entry["rung"] == 0]
            assert session["metrics"]["rung_0/loss"] == pytest.approx(sum(lowest) / len(lowest))
            assert session["metrics"]["seconds"] == 2.0 * len(row["measurements"])
        assert session["status"] == ("failure" if id == 5 else "success")


def test_the_columns_are_told_with_their_levels(tmp_path: Path) -> None:
    study = _study(tmp_path / "j")
    run_locally(study, _result)
    EventFiles(tmp_path, 100).follow(study.state)
    experiment = _Board(tmp_path).experiment()
    levels = {info.name: list(info.domain_discrete) for info in experiment.hparam_infos}
    assert levels.pop("role") == []
    assert levels == {f"{kind}/{name}": list(values) for kind, name, values, _ in study.state.table.rows}
    tags = [info.name.tag for info in experiment.metric_infos]
    assert tags[:2] == ["loss", "accuracy"] and len(tags) == len(set(tags))


def test_a_knob_that_cannot_vary_has_no_column(tmp_path: Path) -> None:
    problem = Knapsack([3, 1, 3])
    search = rooms.load("algorithms", "genetic")(problem, 0, population=4)
    study = Study(problem, lambda prior: search, MemoryJournal(lambda: 0.0), Settings(evaluations=3), lambda: 0.0)
    items = study.ask("a", 3)
    assert isinstance(items, list)
    for item in items:
        study.fail("a", item.id, "on purpose")
    EventFiles(tmp_path, 100).follow(study.state)
    frozen = [f"{kind}/{name}" for kind, name, values, _ in study.state.table.rows if len(values) == 1]
    assert len(frozen) == 1
    assert not {info.name for info in _Board(tmp_path).experiment().hparam_infos} & set(frozen)


def test_a_plan_that_was_measured_again_has_a_step_for_each_measurement(tmp_path: Path) -> None:
    study = _study(tmp_path / "j")
    run_locally(study, _result)
    EventFiles(tmp_path, 100).follow(study.state)
    (id, *_) = sorted(study.state.confirmed & study.state.scores.keys())
    losses = {(entry["repeat"], entry["rung"]): entry["loss"] for entry in study.state.by_id[id].measurements}
    assert list(losses) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    low, high = ([losses[repeat, rung] for repeat in range(3)] for rung in (0, 1))
    means = [low[0], high[0], high[0], sum(high[:2]) / 2, sum(high[:2]) / 2, sum(high) / 3]
    assert _scalars(tmp_path, id, "loss") == [(step, pytest.approx(mean)) for step, mean in enumerate(means)]
    means = [low[0], sum(low[:2]) / 2, sum(low) / 3]
    assert _scalars(tmp_path, id, "rung_0/loss") == [(2 * step, pytest.approx(mean)) for step, mean in enumerate(means)]


def test_what_is_followed_in_steps_reads_as_what_is_written_at_once(tmp_path: Path) -> None:
    study = _study(tmp_path / "j", evaluations=30, rungs=3, halving=HALVING)
    (tmp_path / "steps").mkdir()
    (tmp_path / "once").mkdir()
    files = EventFiles(tmp_path / "steps", 100)

    def evaluate(item: Item) -> Result:
        files.follow(study.state)
        return _result(item)

    run_locally(study, evaluate)
    files.follow(study.state)
    EventFiles(tmp_path / "once", 100).follow(study.state)
    steps, once = _Board(tmp_path / "steps"), _Board(tmp_path / "once")
    assert steps.sessions() == once.sessions()
    assert len(list((tmp_path / "steps").glob("*/*"))) > len(list((tmp_path / "once").glob("*/*")))


def test_a_board_that_is_open_sees_what_comes_later(tmp_path: Path) -> None:
    study = _study(tmp_path / "j")
    files, seen = EventFiles(tmp_path, 100), []
    multiplexer = EventMultiplexer()

    def evaluate(item: Item) -> Result:
        files.follow(study.state)
        multiplexer.AddRunsFromDirectory(str(tmp_path))
        multiplexer.Reload()
        seen.append(len(multiplexer.Runs()))
        return _result(item)

    run_locally(study, evaluate)
    files.follow(study.state)
    multiplexer.Reload()
    assert seen == sorted(seen) and seen[-1] > 10
    (id, *_) = sorted(study.state.confirmed & study.state.scores.keys())
    assert len(multiplexer.GetAccumulator(run_of(id)).Tensors("loss")) == 6


def test_of_more_plans_than_are_wanted_the_leading_ones_are_there(tmp_path: Path) -> None:
    study = _study(tmp_path / "j", evaluations=30, confirm=0)
    files = EventFiles(tmp_path, 5)

    def evaluate(item: Item) -> Result:
        assert files.follow(study.state) <= 5
        return _result(item)

    run_locally(study, evaluate)
    assert files.follow(study.state) == 5
    assert _Board(tmp_path).runs == {run_of(row["id"]) for row in study.leading(5)}


def test_a_study_without_a_candidate_leaves_the_folder_empty(tmp_path: Path) -> None:
    study = _study(tmp_path / "j")
    (tmp_path / "board").mkdir()
    assert EventFiles(tmp_path / "board", 5).follow(study.state) == 0
    assert list((tmp_path / "board").iterdir()) == []
