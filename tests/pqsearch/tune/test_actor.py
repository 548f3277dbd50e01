"""Actors of studies in a real Ray."""

from __future__ import annotations

from pathlib import Path

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
