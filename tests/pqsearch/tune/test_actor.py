"""Actors of studies in a real Ray."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ray

from pqsearch.run_dir import RunDirectory
from pqsearch.spec import parse_spec
from pqsearch.tune import actor
from tests.conftest import small_spec
from tests.pqsearch.report.made_up import model_info


def test_two_runs_of_one_study_in_one_ray_have_an_actor_each_that_says_whose_it_is(cluster: Path) -> None:
    found = []
    for name in ("one", "two"):
        spec = parse_spec(small_spec(sensitivity={"source": "none"}, study__run_dir=str(cluster / name)))
        run = RunDirectory.of(spec)
        run.prepare(spec)
        called = actor.name_of(spec)
        assert called.startswith("small/study-")
        found.append((called, actor.start(called, spec.to_dict(), run, model_info().to_json(), "none")))
    try:
        (first, one), (second, two) = found
        assert first != second
        assert ray.get_actor(first) == one and ray.get_actor(second) == two
        for study in (one, two):
            assert ray.get(study.progress.remote())["asked"] == 0
            ray.get(study.close.remote())
    finally:
        for _, study in found:
            ray.kill(study)


def _answer(study: Any, seat: str, holding: list[tuple[int, int]]) -> list[tuple[int, int]]:
    answer = ray.get(study.exchange.remote(seat, [], 1, holding, None))
    return [(item.id, item.repeat) for item in answer["items"]]


def test_a_study_whose_process_dies_gives_no_worker_what_another_one_is_at(cluster: Path) -> None:
    spec = parse_spec(small_spec(sensitivity={"source": "none"}, study__run_dir=str(cluster / "one")))
    run = RunDirectory.of(spec)
    run.prepare(spec)
    study = actor.start(actor.name_of(spec), spec.to_dict(), run, model_info().to_json(), "none")
    try:
        held = {}
        for seat in ("a", "b"):
            ray.get(study.join.remote(seat, seat * 2, {}))
            (held[seat],) = _answer(study, seat, [])
        before = ray.get(study.progress.remote())["epoch"]
        ray.kill(study, no_restart=False)
        deadline = time.monotonic() + 60
        while (epoch := ray.get(study.progress.remote())["epoch"]) == before:
            assert time.monotonic() < deadline, "the study does not begin anew"
            time.sleep(0.05)
        # Its worker has done what it had and asks, while the other one's is still at work and says nothing.
        ray.get(study.fail.remote("b", *held["b"][:1], "for the test", 0))
        (new,) = _answer(study, "b", [])
        assert new not in held.values()
        ray.get(study.claim.remote(epoch - 1, "a", "aa", []))  # to the study before
        ray.get(study.expect.remote({}))
        assert _answer(study, "c", []) == [held["a"]], "nobody works any more who could be at it"
    finally:
        ray.kill(study)
