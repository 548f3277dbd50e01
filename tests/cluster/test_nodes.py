"""What nodes say of themselves, in lines for the user. (A real cluster is asked in `tests/long`.)"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.nodes import _look_at, _sign, check_nodes, node_problems, other_versions, room, room_words, small_words
from pqsearch import environment
from pqsearch.errors import UserError
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import parse_spec
from pqsearch.spec_search import WorkersSpec
from tests.conftest import small_spec
from tests.s3 import Bucket

RUN = "/mnt/runs/small"


def _answer(**changes: Any) -> dict[str, Any]:
    return {"missing": [], "shared": True, "writable": True, "versions": environment.versions(), **changes}


def test_a_node_that_has_all_is_no_problem() -> None:
    assert list(node_problems("a", _answer(), RUN)) == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (_answer(missing=[("data.root", "/data")]), "data.root: /data does not exist on node a (b, c0ffee);"),
        (_answer(shared=False), "study.run_dir: what is written to /mnt/runs/small is not seen on node a (b, c0ffee);"),
        (_answer(writable=False), "study.run_dir: /mnt/runs/small may not be written to on node a (b, c0ffee);"),
        (
            _answer(
                store="study.run_dir: s3://runs/small: the store gives no access (403); check the keys, and what they may do"
            ),
            "study.run_dir: s3://runs/small: the store gives no access (403); check the keys, and what they may do (on node a (b, c0",
        ),
        (
            _answer(versions={"optuna": "not installed"}),
            "workers: node a (b, c0ffee) has no package optuna; install it there",
        ),
        (
            {"error": "No module named 'pqsearch'"},
            "workers: node a (b, c0ffee) cannot work: No module named 'pqsearch'",
        ),
    ],
)
def test_what_a_node_lacks_is_said_with_its_name(answer: dict[str, Any], words: str) -> None:
    (problem,) = node_problems("a (b, c0ffee)", answer, RUN)
    assert problem.startswith(words)


def test_workers_fit_only_where_their_resources_are() -> None:
    workers = WorkersSpec(count=4, resources={"pool": 0.5})
    nodes = [{"CPU": 8.0, "pool": 1.0}, {"CPU": 8.0}]
    assert room(nodes, workers) == 2
    assert small_words([{"CPU": 8.0}], workers) == (
        "a worker takes 1 cpus, 0 gpus and 0.5 pool, the cluster has 1 node (CPU 8 GPU 0 pool 0); none of them can hold one"
    )


def test_other_versions_are_worth_a_warning() -> None:
    (text,) = other_versions("a", {**environment.versions(), "numpy": "1.0"})
    assert text.startswith("node a has numpy 1.0, the driver ")


def test_workers_fit_node_by_node() -> None:
    workers = WorkersSpec(count=8, cpus=2, gpus=0.5)
    nodes = [{"CPU": 5.0, "GPU": 1.0}, {"CPU": 3.0, "GPU": 4.0}, {"CPU": 64.0}, {}]
    assert room(nodes, workers) == 3
    assert room_words(nodes, workers) == (
        "cluster: room for 3 of 8 workers on 4 nodes; begins with these, takes more as they come"
    )
    assert room_words([{"CPU": 16.0, "GPU": 4.0}], workers) == "cluster: room for 8 of 8 workers on 1 node"


def test_a_fraction_that_fills_a_node_fits() -> None:
    assert room([{"CPU": 0.3}], WorkersSpec(cpus=0.1)) == 3


def test_a_cluster_that_is_too_small_is_told_what_it_has() -> None:
    assert small_words([{"CPU": 1.0}, {"CPU": 2.0, "GPU": 1.0}], WorkersSpec(cpus=4)) == (
        "a worker takes 4 cpus and 0 gpus, the cluster has 2 nodes (CPU 1 GPU 0; CPU 2 GPU 1); none of them can hold one"
    )


def test_on_one_machine_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    said: list[str] = []
    check_nodes(parse_spec(small_spec()), RunDirectory(tmp_path / "nowhere"), said.append)
    assert said == []


@pytest.mark.usefixtures("warm_ray")
def test_a_ray_that_the_program_has_joined_is_waited_for_with_a_word(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    said: list[str] = []
    fits, larger = ({"cpus": cpus, "wait": 2.0} for cpus in (1, 64))
    check_nodes(parse_spec(small_spec(workers=fits)), RunDirectory(tmp_path / "nowhere"), said.append)
    assert said == []
    with pytest.raises(UserError, match=r"^workers.wait: no room for a worker after 2 seconds: a worker takes 64 cpus"):
        check_nodes(parse_spec(small_spec(workers=larger)), RunDirectory(tmp_path / "nowhere"), said.append)
    assert said and said[0].startswith("cluster: waits for room: a worker takes 64 cpus")


@pytest.mark.parametrize("kind", ["folder", "store"])
def test_a_sign_in_the_run_directory_is_seen_by_who_looks_at_the_same_one(
    kind: str, tmp_path: Path, s3_bucket: Bucket
) -> None:
    where = s3_bucket.url() if kind == "store" else str(tmp_path / "run")
    run = RunDirectory(where)
    run.scratch.mkdir(parents=True)
    with _sign(run) as sign:
        assert _look_at(RunDirectory(run.where), sign) == {"shared": True, "writable": True}
    assert _look_at(RunDirectory(run.where), sign) == {"shared": False, "writable": True}


def test_a_node_that_the_store_does_not_let_in_says_so(s3_bucket: Bucket) -> None:
    with _sign(RunDirectory(s3_bucket.url())) as sign:
        s3_bucket.server.ask_for_keys(True)
        answer = _look_at(RunDirectory(s3_bucket.url()), sign)
        s3_bucket.server.ask_for_keys(False)
    assert "the store gives no access" in answer["store"]
